//! Reads values of a JSON document by pointers (RFC 6901), in one pass that builds nothing of what is not asked for: each
//! byte is looked at once, however many pointers there are and however they contain each other.

mod scanner;

use wasmtime::Result as WasmResult;

use self::scanner::{Scanner, Stop};
use super::{JsonError, JsonValue, TEXT_BYTES_MAX};
use crate::budget::Look;

const POINTERS_MAX: usize = 64;
const POINTER_BYTES_MAX: usize = 4 << 10;
/// Levels that a pointer leads down. It bounds the recursion too: what no pointer leads into is skipped without any.
const LEVELS_MAX: usize = 32;
/// Bytes of all values together.
const VALUES_BYTES_MAX: usize = 1 << 20;

/// What is asked for at a place of the document and below it.
#[derive(Default)]
struct Wanted {
    /// Places in the outcome of this value itself.
    here: Vec<usize>,
    /// By name, in order.
    members: Vec<(String, Self)>,
    /// The same ones by number, where the name is one: number and place in `members`, in order.
    items: Vec<(usize, usize)>,
}

pub(super) fn read(
    document: &[u8],
    pointers: &[String],
    look: Look<'_>,
) -> WasmResult<Result<Vec<Option<JsonValue>>, JsonError>> {
    match find(document, pointers, look) {
        Ok(values) => Ok(Ok(values)),
        Err(Stop::Error(error)) => Ok(Err(error)),
        Err(Stop::OutOfTime(error)) => Err(error),
    }
}

fn find(document: &[u8], pointers: &[String], look: Look<'_>) -> Result<Vec<Option<JsonValue>>, Stop> {
    if document.len() > TEXT_BYTES_MAX || pointers.len() > POINTERS_MAX {
        return Err(Stop::Error(JsonError::TooLarge));
    }
    let mut wanted = Wanted::default();
    for (place, pointer) in pointers.iter().enumerate() {
        wanted.add(&parse(pointer)?, place);
    }
    wanted.number_items();
    let text = std::str::from_utf8(document).map_err(|_| malformed("it is not UTF-8 text"))?;
    let mut found = vec![None; pointers.len()];
    Scanner::new(text, look).document(&wanted, &mut found)?;
    if found.iter().flatten().map(|raw: &&str| raw.len()).sum::<usize>() > VALUES_BYTES_MAX {
        return Err(Stop::Error(JsonError::TooLarge));
    }
    found.into_iter().map(|raw| raw.map(value).transpose()).collect()
}

fn malformed(why: impl Into<String>) -> Stop {
    Stop::Error(JsonError::Malformed(why.into()))
}

/// The steps of a pointer: RFC 6901, 3 and 4.
fn parse(pointer: &str) -> Result<Vec<String>, Stop> {
    if pointer.len() > POINTER_BYTES_MAX {
        return Err(Stop::Error(JsonError::TooLarge));
    }
    let invalid = || Stop::Error(JsonError::InvalidPointer(pointer.to_owned()));
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
    if steps.len() > LEVELS_MAX { Err(Stop::Error(JsonError::TooLarge)) } else { Ok(steps) }
}

fn value(raw: &str) -> Result<JsonValue, Stop> {
    Ok(match raw.as_bytes().first() {
        Some(b'n') => JsonValue::Null,
        Some(b't') => JsonValue::Boolean(true),
        Some(b'f') => JsonValue::Boolean(false),
        Some(b'"') => JsonValue::Text(scanner::text(raw)?.into_owned()),
        Some(b'[') => JsonValue::Items(raw.to_owned()),
        Some(b'{') => JsonValue::Members(raw.to_owned()),
        _ => JsonValue::Number(raw.to_owned()),
    })
}

impl Wanted {
    fn add(&mut self, steps: &[String], place: usize) {
        let Some((first, rest)) = steps.split_first() else {
            self.here.push(place);
            return;
        };
        let at = match self.members.binary_search_by(|(name, _)| name.cmp(first)) {
            Ok(at) => at,
            Err(at) => {
                self.members.insert(at, (first.clone(), Self::default()));
                at
            }
        };
        self.members[at].1.add(rest, place);
    }

    /// Finds the steps that are numbers of items. RFC 6901, 4: without leading zeros. `-` is the item behind the last, which
    /// there never is.
    fn number_items(&mut self) {
        let number = |name: &str| name.parse::<usize>().ok().filter(|number| number.to_string() == name);
        let steps = self.members.iter().enumerate();
        self.items = steps.filter_map(|(at, (name, _))| Some((number(name)?, at))).collect();
        self.items.sort_unstable();
        self.members.iter_mut().for_each(|(_, below)| below.number_items());
    }
}
