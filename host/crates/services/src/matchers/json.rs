//! Reads values of a JSON document by pointers (RFC 6901), in one pass that builds nothing of what is not asked for:
//! each byte is looked at once, however many pointers there are and however they contain each other.

mod error;
mod scanner;
mod wanted;

pub use self::error::JsonError;
use self::scanner::{Scanner, Stop, malformed};
use self::wanted::Wanted;
use crate::{CheckTime, OutOfTime};

/// Bytes of a document.
const DOCUMENT_BYTES_MAX: usize = 1 << 20;

const POINTERS_MAX: usize = 64;
const POINTER_BYTES_MAX: usize = 4 << 10;
/// Levels that a pointer leads down. It bounds the recursion too: what no pointer leads into is skipped without any.
const LEVELS_MAX: usize = 32;
/// Bytes of all values together.
const VALUES_BYTES_MAX: usize = 1 << 20;

/// A value of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JsonValue {
    /// `null`.
    Null,
    /// `true` or `false`.
    Boolean(bool),
    /// A number as it is written.
    Number(String),
    /// A string, without its escapes.
    Text(String),
    /// An array as it is written.
    Items(String),
    /// An object as it is written.
    Members(String),
}

/// Returns the values of a document at these pointers; `None` for each that leads to nothing.
///
/// # Errors
/// When the call runs out of time; within that, when the document or a pointer cannot be read.
pub fn read_json(
    document: &[u8],
    pointers: &[String],
    check_time: CheckTime<'_>,
) -> Result<Result<Vec<Option<JsonValue>>, JsonError>, OutOfTime> {
    match find(document, pointers, check_time) {
        Ok(values) => Ok(Ok(values)),
        Err(Stop::Error(error)) => Ok(Err(error)),
        Err(Stop::OutOfTime(error)) => Err(error),
    }
}

fn find(
    document: &[u8],
    pointers: &[String],
    check_time: CheckTime<'_>,
) -> Result<Vec<Option<JsonValue>>, Stop> {
    if document.len() > DOCUMENT_BYTES_MAX || pointers.len() > POINTERS_MAX {
        return Err(Stop::Error(JsonError::TooLarge));
    }
    let mut wanted = Wanted::default();
    for (place, pointer) in pointers.iter().enumerate() {
        wanted.add(&parse(pointer)?, place);
    }
    wanted.number_items();
    let text = std::str::from_utf8(document).map_err(|_| malformed("it is not UTF-8 text"))?;
    let mut found = vec![None; pointers.len()];
    Scanner::new(text, check_time).document(&wanted, &mut found)?;
    if found.iter().flatten().map(|raw: &&str| raw.len()).sum::<usize>() > VALUES_BYTES_MAX {
        return Err(Stop::Error(JsonError::TooLarge));
    }
    found.into_iter().map(|raw| raw.map(value).transpose()).collect()
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
