//! What of a representation a request gets: its conditions and its range, in the order of RFC 9110, 13.2.2.

#[cfg(test)]
mod tests;

use std::ops::Range;

use crate::range::{Requested, byte_range};
use crate::{Fields, parse_http_date};

/// What is known of the representation that the request would get.
#[derive(Debug, Clone, Copy, Default)]
pub struct Validators<'a> {
    /// The value of ETag.
    pub etag: Option<&'a [u8]>,
    /// When it was last modified, in seconds since 1970.
    pub modified: Option<u64>,
    /// Whether no other representation can have had the same `modified` (RFC 9110, 8.8.2.2).
    pub modified_is_strong: bool,
    /// How many bytes it has; `None` if no range of it can be sent.
    pub length: Option<u64>,
}

/// What the request gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    /// All of it.
    Whole,
    /// A part of its bytes: 206.
    Part(Range<u64>),
    /// Nothing, because the client has it: 304.
    NotModified,
    /// Nothing, because a precondition of the request failed: 412.
    Failed,
    /// Nothing, because it has no such bytes: 416.
    Unsatisfiable,
}

/// Evaluates the conditions of a request, then its range. The response without them has to be 200. `now`, in seconds
/// since 1970, decides the century of a date in the format of RFC 850.
#[must_use]
pub fn select_representation(
    fields: &Fields,
    method: &str,
    validators: &Validators<'_>,
    now: u64,
) -> Selection {
    let is_read = matches!(method, "GET" | "HEAD");
    let date = |name: &[u8]| parse_http_date(fields.get(name)?, now);
    let modified_after = |since: u64| validators.modified.is_some_and(|modified| modified > since);
    if fields.get(b"if-match").is_some() {
        if !any_tag(fields, b"if-match", validators.etag, is_strong_match) {
            return Selection::Failed;
        }
    } else if date(b"if-unmodified-since").is_some_and(modified_after) {
        return Selection::Failed;
    }
    let not_modified = if fields.get(b"if-none-match").is_some() {
        any_tag(fields, b"if-none-match", validators.etag, is_weak_match)
    } else {
        let since = date(b"if-modified-since").filter(|_| is_read && validators.modified.is_some());
        since.is_some_and(|since| !modified_after(since))
    };
    match (not_modified, validators.length, fields.get(b"range")) {
        (true, ..) if is_read => Selection::NotModified,
        (true, ..) => Selection::Failed,
        (false, Some(length), Some(range)) if method == "GET" && if_range_holds(fields, validators, now) => {
            match byte_range(range, length) {
                Requested::Whole => Selection::Whole,
                Requested::Part(part) => Selection::Part(part),
                Requested::Unsatisfiable => Selection::Unsatisfiable,
            }
        }
        _ => Selection::Whole,
    }
}

/// Returns whether Range counts: there is no If-Range, or it names this very representation (RFC 9110, 13.1.5).
fn if_range_holds(fields: &Fields, validators: &Validators<'_>, now: u64) -> bool {
    let Some(wanted) = fields.get(b"if-range") else { return true };
    if validators.etag.is_some_and(|etag| is_strong_match(etag, wanted)) {
        return true;
    }
    validators.modified_is_strong
        && validators.modified.is_some()
        && parse_http_date(wanted, now) == validators.modified
}

/// Returns whether the list `name` has a tag that matches `etag`, or is `*`.
fn any_tag(
    fields: &Fields,
    name: &[u8],
    etag: Option<&[u8]>,
    matches: impl Fn(&[u8], &[u8]) -> bool,
) -> bool {
    let mut listed = fields.get_all(name).flat_map(list_elements);
    listed.any(|tag| tag == b"*" || etag.is_some_and(|etag| matches(etag, tag)))
}

/// Returns whether two entity tags are the same and both strong (RFC 9110, 8.8.3.2).
#[must_use]
pub fn is_strong_match(one: &[u8], other: &[u8]) -> bool {
    one == other && !one.starts_with(b"W/")
}

/// Returns whether two entity tags are the same, weak or strong (RFC 9110, 8.8.3.2).
#[must_use]
pub fn is_weak_match(one: &[u8], other: &[u8]) -> bool {
    let opaque = |tag| <[u8]>::strip_prefix(tag, b"W/").unwrap_or(tag);
    opaque(one) == opaque(other)
}

/// Returns the elements of a list (RFC 9110, 5.6.1) without the white space around them. A comma in a quoted string
/// does not separate; a quoted string without an end goes to the end of the line. Empty elements are skipped.
pub fn list_elements(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = line;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let end = element_end(rest);
        let element = &rest[..end];
        rest = rest.get(end + 1..).unwrap_or_default();
        Some(element.trim_ascii())
    })
    .filter(|element| !element.is_empty())
}

/// Returns where the first element of a list ends.
fn element_end(list: &[u8]) -> usize {
    let (mut quoted, mut escaped) = (false, false);
    for (at, byte) in list.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b',' if !quoted => return at,
            _ => {}
        }
    }
    list.len()
}
