//! Reads values of a JSON document by pointers (RFC 6901), in one pass that builds nothing of what is not asked for.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::{JsonError, JsonValue, TEXT_BYTES_MAX};

const POINTERS_MAX: usize = 64;
const POINTER_BYTES_MAX: usize = 4 << 10;
/// Levels that a pointer leads down. It bounds the recursion too: what no pointer leads into is skipped without any.
const LEVELS_MAX: usize = 32;
/// Bytes of all values together.
const VALUES_BYTES_MAX: usize = 1 << 20;

/// A pointer's steps, and the place of its value in the outcome.
#[derive(Clone, Copy)]
struct Wanted<'p> {
    place: usize,
    steps: &'p [String],
}

pub(super) fn read(document: &[u8], pointers: &[String]) -> Result<Vec<Option<JsonValue>>, JsonError> {
    if document.len() > TEXT_BYTES_MAX || pointers.len() > POINTERS_MAX {
        return Err(JsonError::TooLarge);
    }
    let steps: Vec<Vec<String>> = pointers.iter().map(|pointer| parse(pointer)).collect::<Result<_, _>>()?;
    let wanted = steps.iter().enumerate().map(|(place, steps)| Wanted { place, steps }).collect();
    let mut found = vec![None; pointers.len()];
    let text = std::str::from_utf8(document).map_err(|_| malformed("it is not UTF-8 text"))?;
    let mut reader = serde_json::Deserializer::from_str(text);
    let read = Level { wanted, found: &mut found }.deserialize(&mut reader).and_then(|()| reader.end());
    read.map_err(malformed)?;
    if found.iter().flatten().map(|raw: &&RawValue| raw.get().len()).sum::<usize>() > VALUES_BYTES_MAX {
        return Err(JsonError::TooLarge);
    }
    found.into_iter().map(|raw| raw.map(value).transpose()).collect()
}

fn malformed(why: impl fmt::Display) -> JsonError {
    JsonError::Malformed(why.to_string())
}

/// The steps of a pointer: RFC 6901, 3 and 4.
fn parse(pointer: &str) -> Result<Vec<String>, JsonError> {
    if pointer.len() > POINTER_BYTES_MAX {
        return Err(JsonError::TooLarge);
    }
    let invalid = || JsonError::InvalidPointer(pointer.to_owned());
    let mut parts = pointer.split('/');
    if parts.next() != Some("") {
        return Err(invalid());
    }
    let steps: Vec<String> = parts
        .map(|part| {
            let escapes = part
                .match_indices('~')
                .all(|(at, _)| matches!(part.as_bytes().get(at + 1), Some(b'0' | b'1')));
            escapes.then(|| part.replace("~1", "/").replace("~0", "~")).ok_or_else(invalid)
        })
        .collect::<Result<_, _>>()?;
    if steps.len() > LEVELS_MAX { Err(JsonError::TooLarge) } else { Ok(steps) }
}

fn value(raw: &RawValue) -> Result<JsonValue, JsonError> {
    let text = raw.get();
    Ok(match text.as_bytes().first() {
        Some(b'n') => JsonValue::Null,
        Some(b't') => JsonValue::Boolean(true),
        Some(b'f') => JsonValue::Boolean(false),
        Some(b'"') => JsonValue::Text(serde_json::from_str(text).map_err(malformed)?),
        Some(b'[') => JsonValue::Items(text.to_owned()),
        Some(b'{') => JsonValue::Members(text.to_owned()),
        _ => JsonValue::Number(text.to_owned()),
    })
}

/// A value that is asked for, or leads to one.
struct Level<'p, 'f, 'de> {
    wanted: Vec<Wanted<'p>>,
    found: &'f mut Vec<Option<&'de RawValue>>,
}

impl<'de> DeserializeSeed<'de> for Level<'_, '_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        let (here, below): (Vec<_>, Vec<_>) =
            self.wanted.into_iter().partition(|wanted| wanted.steps.is_empty());
        let level = Level { wanted: below, found: self.found };
        if here.is_empty() {
            return deserializer.deserialize_any(level);
        }
        let raw = <&RawValue>::deserialize(deserializer)?;
        for wanted in here {
            level.found[wanted.place] = Some(raw);
        }
        if level.wanted.is_empty() {
            return Ok(());
        }
        // Some pointers end here and others lead on.
        let again = serde_json::Deserializer::from_str(raw.get()).deserialize_any(level);
        again.map_err(D::Error::custom)
    }
}

impl<'p, 'de> Level<'p, '_, 'de> {
    /// What is wanted of one member or item.
    fn below(&self, is: impl Fn(&str) -> bool) -> Vec<Wanted<'p>> {
        let leads = |wanted: &Wanted<'p>| {
            let (first, rest) = wanted.steps.split_first()?;
            is(first).then_some(Wanted { place: wanted.place, steps: rest })
        };
        self.wanted.iter().filter_map(leads).collect()
    }
}

#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de> Visitor<'de> for Level<'_, '_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut seen: Vec<Cow<'de, str>> = Vec::new();
        while let Some(Name(name)) = map.next_key()? {
            let wanted = self.below(|step| step == name);
            if wanted.is_empty() {
                map.next_value::<IgnoredAny>()?;
                continue;
            }
            if seen.contains(&name) {
                return Err(A::Error::custom("a member that is asked for is there twice"));
            }
            seen.push(name);
            map.next_value_seed(Level { wanted, found: self.found })?;
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        // RFC 6901, 4: without leading zeros. `-` is the item behind the last, which there never is.
        let steps = self.wanted.iter().filter_map(|wanted| wanted.steps.first());
        let numbers =
            steps.filter_map(|step| step.parse::<usize>().ok().filter(|at| at.to_string() == *step));
        let mut numbers: Vec<usize> = numbers.collect();
        numbers.sort_unstable();
        let mut at = 0;
        loop {
            if numbers.binary_search(&at).is_err() {
                if seq.next_element::<IgnoredAny>()?.is_none() {
                    return Ok(());
                }
            } else {
                let text = at.to_string();
                let wanted = self.below(|step| step == text);
                if seq.next_element_seed(Level { wanted, found: self.found })?.is_none() {
                    return Ok(());
                }
            }
            at += 1;
        }
    }

    // Nothing is below any other value.
    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}
