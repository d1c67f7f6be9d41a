//! Parts of one content become a larger one (RFC 9111, 3.4).

#[cfg(test)]
mod tests;

use std::ops::Range;

use portcullis_http::is_strong_match;

use super::stored::{Span, StoredHead};
use super::storing::set;

/// A part that has just come, with what stored ones have before and behind it.
#[derive(Debug, Clone)]
pub struct Combined {
    /// Its head: 200 if it has the whole content, else 206.
    pub head: StoredHead,
    /// What comes before the new bytes.
    pub before: Option<Piece>,
    /// What comes behind them.
    pub behind: Option<Piece>,
}

/// Some bytes of a stored part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// The index of the part.
    pub of: usize,
    /// Which of its bytes, from its own first.
    pub bytes: Range<u64>,
}

/// Combines a part that has just come with those of `olds` that touch or overlap it. Where they overlap, the new bytes
/// are taken. Returns `None` if there is none with the same strong ETag and the new part is not the whole, or if all
/// would be more than `bytes_max`.
#[must_use]
pub fn combine<'s>(
    olds: impl Iterator<Item = &'s StoredHead> + Clone,
    new: &StoredHead,
    bytes_max: u64,
) -> Option<Combined> {
    let added = new.span?;
    let near = olds.enumerate().filter_map(|(at, old)| {
        let span = old.span.filter(|span| span.start <= added.end && added.start <= span.end)?;
        old.is_of_same_content(new).then_some((at, old, span))
    });
    let first =
        near.clone().min_by_key(|(.., span)| span.start).filter(|(.., span)| span.start < added.start);
    let last = near.max_by_key(|(.., span)| span.end).filter(|(.., span)| span.end > added.end);
    let start = first.as_ref().map_or(added.start, |(.., span)| span.start);
    let end = last.as_ref().map_or(added.end, |(.., span)| span.end);
    let one = first.as_ref().or(last.as_ref()).map(|(_, old, _)| *old);
    let span = Span { start, end, complete: added.complete };
    if end - start > bytes_max || (one.is_none() && !span.is_whole()) {
        return None;
    }
    let before = first.map(|(of, _, span)| Piece { of, bytes: 0..added.start - span.start });
    let behind = last.map(|(of, _, span)| Piece { of, bytes: added.end - span.start..span.end - span.start });
    Some(Combined { head: head(one.unwrap_or(new), new, span), before, behind })
}

impl StoredHead {
    /// Whether it and `other`, of which at least one is a part, are surely of one content: they have the same strong
    /// ETag, the same length and the same selection.
    fn is_of_same_content(&self, other: &Self) -> bool {
        let complete = |head: &Self| head.span.map(|span| span.complete);
        let same_length = complete(self).zip(complete(other)).is_none_or(|(one, other)| one == other);
        let tags = self.etag().zip(other.etag());
        same_length && self.selection == other.selection && tags.is_some_and(|(a, b)| is_strong_match(a, b))
    }

    /// Returns whether it takes the place of `old` when it is stored, though not under the same name: `old` is a part
    /// that it contains, or one of other content, or it is a part of other content than `old` is.
    #[must_use]
    pub fn replaces(&self, old: &Self) -> bool {
        if self.selection != old.selection {
            return false;
        }
        match (self.span, old.span) {
            (None, None) => false,
            (None, Some(_)) => true,
            (Some(new), Some(old_span)) => {
                !self.is_of_same_content(old) || new.contains(&(old_span.start..old_span.end))
            }
            // A whole without a tag may still be what the part is of.
            (Some(_), None) => old.etag().is_some() && !self.is_of_same_content(old),
        }
    }
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
    if span.is_whole() {
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
