//! The response that is made of a stored one (RFC 9111, 4.3.2 and 5.1; RFC 9110, 14).

#[cfg(test)]
mod tests;

use std::ops::Range;

use portcullis_http::{ResponseHead, Selection};

use super::request::Request;
use super::stored::StoredHead;
use super::storing::{LINES_MAX, set};
use super::time::Time;

/// What of a stored response a request gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// All that is stored, with the stored status.
    Full,
    /// 304: the client has it.
    NotModified,
    /// 206 with a part of the content.
    Part(Part),
    /// 416: the content has no such bytes.
    Unsatisfiable {
        /// How long the content is.
        complete: u64,
    },
}

/// A part of the content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Which bytes of the whole content.
    pub content: Range<u64>,
    /// Which bytes of the stored ones: others, if a part is stored.
    pub stored: Range<u64>,
    /// How long the whole content is.
    pub complete: u64,
}

impl StoredHead {
    /// Returns what a request gets. `body_bytes` is how long the stored content is, or `None` if it is not known or not
    /// all there yet; then a request for a range gets all, which is allowed (RFC 9110, 14.2).
    #[must_use]
    pub fn answer(&self, request: &Request<'_>, body_bytes: Option<u64>) -> Answer {
        // RFC 9110, 13.2.1: conditions count only for a response that would be a success.
        if !(request.has_conditions() || request.has_range()) || !matches!(self.status, 200..=299) {
            return Answer::Full;
        }
        let complete = match self.span {
            Some(span) => Some(span.complete),
            None => body_bytes.filter(|_| self.status == 200),
        };
        let (start, end) = self.span.map_or((0, body_bytes.unwrap_or(0)), |span| (span.start, span.end));
        match (self.select(request, complete), complete) {
            (Selection::NotModified, _) => Answer::NotModified,
            (Selection::Part(content), Some(complete)) if start <= content.start && content.end <= end => {
                let stored = content.start - start..content.end - start;
                Answer::Part(Part { content, stored, complete })
            }
            (Selection::Unsatisfiable, Some(complete)) => Answer::Unsatisfiable { complete },
            _ => Answer::Full,
        }
    }

    /// Writes status and fields of the answer. `validated` says that the origin has just confirmed the response, so
    /// that the fields of `no-cache="..."` may be sent. The buffers of `head` are used again.
    pub fn write(&self, answer: &Answer, validated: bool, now: Time, head: &mut ResponseHead) {
        head.status = match answer {
            Answer::Full => self.status,
            Answer::NotModified => 304,
            Answer::Part(_) => 206,
            Answer::Unsatisfiable { .. } => 416,
        };
        let fields = &mut head.fields;
        fields.clone_from(&self.fields);
        if !validated && !self.withheld.is_empty() {
            fields.retain(|_, name, _| self.withheld.iter().all(|withheld| withheld != name));
        }
        match answer {
            Answer::Full => {}
            // RFC 9110, 15.4.5: what describes the content does not go with a 304.
            Answer::NotModified => fields.retain(|_, name, _| !is_about_content(name)),
            Answer::Part(part) => {
                let Range { start, end } = part.content;
                set(
                    fields,
                    b"content-range",
                    format!("bytes {start}-{}/{}", end - 1, part.complete).as_bytes(),
                );
            }
            Answer::Unsatisfiable { complete } => {
                fields.retain(|_, name, _| !is_about_content(name) && !is_about_storing(name));
                set(fields, b"content-range", format!("bytes */{complete}").as_bytes());
            }
        }
        let mut digits = [0; 10];
        // Age is not stored, so nothing is replaced; a section without room goes without Age.
        let full = fields.append_checked(b"age", decimal(self.age(now), &mut digits)).is_err();
        debug_assert!(!full || fields.len() > LINES_MAX);
    }
}

/// Whether a field says how to read content.
fn is_about_content(name: &str) -> bool {
    matches!(
        name,
        "content-disposition"
            | "content-encoding"
            | "content-language"
            | "content-md5"
            | "content-range"
            | "content-type"
            | "content-digest"
            | "repr-digest"
            | "digest"
    )
}

/// Whether a field says how a response may be stored and validated.
fn is_about_storing(name: &str) -> bool {
    matches!(name, "cache-control" | "etag" | "expires" | "last-modified") || name.ends_with("-cache-control")
}

/// Writes a number without allocating.
fn decimal(mut number: u32, digits: &mut [u8; 10]) -> &[u8] {
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            return &digits[at..];
        }
    }
}
