//! Parts of one content become a larger one (RFC 9111, 3.4).

#[cfg(test)]
mod tests;

use std::ops::Range;

use portcullis_http::is_strong_match;

use super::stored::{Span, StoredHead};
use super::storing::set;

/// Two parts as one.
#[derive(Debug, Clone)]
pub struct Combined {
    /// Its head: 200 if it has the whole content, else 206.
    pub head: StoredHead,
    /// Its content, in order.
    pub pieces: Vec<Piece>,
}

/// Some bytes of one of the two bodies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// Whether they are of the newer body.
    pub is_new: bool,
    /// Which bytes of that body.
    pub bytes: Range<u64>,
}

/// Combines a stored part with one that has just come. Returns `None` unless both have the same strong ETag and touch
/// or overlap. If they overlap, the newer bytes are taken.
#[must_use]
pub fn combine(old: &StoredHead, new: &StoredHead) -> Option<Combined> {
    let (of_old, of_new) = (old.span?, new.span?);
    let same = is_strong_match(old.etag()?, new.etag()?)
        && of_old.complete == of_new.complete
        && old.selection == new.selection
        && of_old.start <= of_new.end
        && of_new.start <= of_old.end;
    if !same {
        return None;
    }
    let span = Span {
        start: of_old.start.min(of_new.start),
        end: of_old.end.max(of_new.end),
        complete: of_new.complete,
    };
    let before = of_old.start..of_new.start.max(of_old.start);
    let behind = of_new.end.min(of_old.end)..of_old.end;
    let piece = |is_new, from: u64, bytes: Range<u64>| {
        (!bytes.is_empty()).then(|| Piece { is_new, bytes: bytes.start - from..bytes.end - from })
    };
    let pieces = [
        piece(false, of_old.start, before),
        piece(true, of_new.start, of_new.start..of_new.end),
        piece(false, of_old.start, behind),
    ];
    Some(Combined { head: head(old, new, span), pieces: pieces.into_iter().flatten().collect() })
}

/// The newer head, with the fields that only the older one has.
fn head(old: &StoredHead, new: &StoredHead, span: Span) -> StoredHead {
    let mut head = new.clone();
    for (_, name, value) in old.fields.iter_bytes().filter(|(_, name, _)| new.fields.get(name).is_none()) {
        if head.fields.append_checked(name, value).is_err() {
            break;
        }
    }
    head.content_length = None;
    if span.start == 0 && span.end == span.complete {
        (head.status, head.span) = (200, None);
        head.fields.remove(b"content-range");
    } else {
        head.span = Some(span);
        let range = format!("bytes {}-{}/{}", span.start, span.end - 1, span.complete);
        set(&mut head.fields, b"content-range", range.as_bytes());
    }
    head.fields.shrink();
    head
}
