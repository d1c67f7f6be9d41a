//! The head of a stored response: its fields, and what the rules need of them at each use, computed once.

use std::ops::Range;

use portcullis_http::Fields;

use super::directives::SECONDS_MAX;
use super::request::Request;
use super::tags::tags;
use super::time::{Exchanged, Time};
use super::vary;

/// For how long after its end a response without validator is still worth keeping, for clients that accept stale ones.
const STALE_KEPT_SECONDS: u32 = 3600;

/// The head of a stored response. It does not change; a validation makes a new one.
#[derive(Debug, Clone)]
pub struct StoredHead {
    pub(super) status: u16,
    /// What is sent, but for Age.
    pub(super) fields: Fields,
    pub(super) times: Exchanged,
    /// The corrected initial age (RFC 9111, 4.2.3).
    pub(super) initial_age_millis: u64,
    /// When the origin made it, in seconds since 1970: Date, or when it was received.
    pub(super) date: u64,
    /// Last-Modified in seconds since 1970, if it is a date.
    pub(super) modified: Option<u64>,
    /// The freshness lifetime in seconds.
    pub(super) lifetime: u32,
    /// For how many seconds it may be used stale while it is validated.
    pub(super) stale_while_revalidate: u32,
    /// For how many seconds it may be used stale if the upstream fails.
    pub(super) stale_if_error: u32,
    pub(super) rules: Rules,
    /// Names, in lower case, of fields that are sent only if it was validated for the request.
    pub(super) withheld: Vec<String>,
    /// The selection by Vary, see [`vary`].
    pub(super) selection: Vec<u8>,
    /// Which bytes of the content it has, if it is a part (206).
    pub(super) span: Option<Span>,
    /// The Content-Length that it had.
    pub(super) content_length: Option<u64>,
    /// The tags that it was given beside those in its fields.
    pub(super) added_tags: Vec<Box<[u8]>>,
}

/// What a stored response demands at each use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Rules {
    /// It has to be validated even while it is fresh.
    pub(super) no_cache: bool,
    /// It must not be used stale because a client or the operator accepts that.
    pub(super) never_stale: bool,
    /// It does not change while it is fresh.
    pub(super) immutable: bool,
}

/// A part of the content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// The first byte.
    pub start: u64,
    /// The byte behind the last.
    pub end: u64,
    /// How long the whole content is.
    pub complete: u64,
}

impl Span {
    /// Returns whether the bytes are in the part.
    #[must_use]
    pub const fn contains(&self, range: &Range<u64>) -> bool {
        self.start <= range.start && range.end <= self.end
    }

    /// Returns whether it is all of the content.
    pub(super) const fn is_whole(&self) -> bool {
        self.start == 0 && self.end == self.complete
    }

    /// Returns whether there is something in the part, and it is in the content.
    pub(super) const fn is_valid(&self) -> bool {
        self.start < self.end && self.end <= self.complete
    }
}

impl StoredHead {
    /// Returns the status code: that of the response, 206 for a part.
    #[must_use]
    pub const fn status(&self) -> u16 {
        self.status
    }

    /// Returns the fields that are sent, without Age.
    #[must_use]
    pub const fn fields(&self) -> &Fields {
        &self.fields
    }

    /// Returns which part of the content it has; `None` if it has all.
    #[must_use]
    pub const fn span(&self) -> Option<Span> {
        self.span
    }

    /// Returns when it was asked for and received, or was last validated.
    #[must_use]
    pub const fn times(&self) -> Exchanged {
        self.times
    }

    /// Returns the freshness lifetime in seconds.
    #[must_use]
    pub const fn lifetime(&self) -> u32 {
        self.lifetime
    }

    pub(super) const fn age_millis(&self, now: Time) -> u64 {
        self.initial_age_millis.saturating_add(now.since(self.times.received))
    }

    /// Returns the age in seconds, as Age has it (RFC 9111, 4.2.3).
    #[must_use]
    pub fn age(&self, now: Time) -> u32 {
        u32::try_from(self.age_millis(now) / 1000).unwrap_or(u32::MAX).min(SECONDS_MAX)
    }

    /// Returns for how many seconds it is still fresh; negative if it is stale (RFC 9211, 2.5).
    #[must_use]
    pub fn ttl(&self, now: Time) -> i64 {
        i64::from(self.lifetime) - i64::from(self.age(now))
    }

    /// Returns when it becomes stale. It is 1970 if it came stale.
    #[must_use]
    pub fn fresh_until(&self) -> Time {
        match (u64::from(self.lifetime) * 1000).checked_sub(self.initial_age_millis) {
            Some(left) => self.times.received.plus_millis(left),
            None => Time::default(),
        }
    }

    /// Returns when it helps no request any more, whatever the request accepts. A response that can be validated always
    /// helps.
    #[must_use]
    pub fn keep_until(&self) -> Time {
        if self.has_validator() {
            return Time::from_millis(u64::MAX);
        }
        let window = self.stale_while_revalidate.max(self.stale_if_error);
        let accepted = if self.rules.never_stale { 0 } else { STALE_KEPT_SECONDS };
        let start = self.fresh_until().max(self.times.received);
        start.plus_millis(u64::from(window.max(accepted)) * 1000)
    }

    /// Returns whether it can be validated: it has an ETag or a valid Last-Modified.
    #[must_use]
    pub fn has_validator(&self) -> bool {
        self.etag().is_some() || self.modified.is_some()
    }

    pub(super) fn etag(&self) -> Option<&[u8]> {
        self.fields.get(b"etag").filter(|etag| !etag.is_empty())
    }

    /// Returns the fields that the response varies by, each with the request's value, or `None` if the request had
    /// none.
    pub fn varies(&self) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
        vary::lines(&self.selection)
    }

    /// Returns for how many seconds it may be used stale: while it is validated, and if the upstream fails.
    #[must_use]
    pub const fn stale_seconds(&self) -> (u32, u32) {
        (self.stale_while_revalidate, self.stale_if_error)
    }

    /// Returns whether it has to be validated even while it is fresh.
    #[must_use]
    pub const fn is_always_validated(&self) -> bool {
        self.rules.no_cache
    }

    /// Gives it a tag that is not in its fields.
    pub fn add_tag(&mut self, tag: &[u8]) {
        if !self.added_tags.iter().any(|other| **other == *tag) {
            self.added_tags.push(tag.into());
        }
    }

    /// Returns the tags that it was given beside those in its fields.
    pub fn added_tags(&self) -> impl Iterator<Item = &[u8]> {
        self.added_tags.iter().map(|tag| &**tag)
    }

    /// Returns all tags by which it can be purged. One may come twice.
    pub fn tags(&self) -> impl Iterator<Item = &[u8]> {
        tags(&self.fields).chain(self.added_tags())
    }

    /// Returns how many bytes it takes on the heap.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        let names: usize = self.withheld.iter().map(|name| name.capacity() + size_of::<String>()).sum();
        let tags: usize = self.added_tags.iter().map(|tag| tag.len() + size_of::<Box<[u8]>>()).sum();
        self.fields.capacity() + self.selection.capacity() + names + tags
    }

    /// Returns whether the request has the fields that the response was selected by (RFC 9111, 4.1).
    #[must_use]
    pub fn matches(&self, request: &Request<'_>) -> bool {
        self.selection.is_empty()
            || vary::matches(&self.selection, request, self.fields.get(b"content-language"))
    }

    /// Returns bytes that name the variant: the selection by Vary, and where it begins if it is a part. A response
    /// replaces the stored one with the same bytes.
    #[must_use]
    pub fn variant(&self) -> Vec<u8> {
        match self.span {
            None => named(b"C", &self.selection),
            Some(span) => [named(b"P", &span.start.to_be_bytes()), self.selection.clone()].concat(),
        }
    }

    /// Returns the variant that a whole response to the request would be if it varied on the same fields.
    #[must_use]
    pub fn variant_of(&self, request: &Request<'_>) -> Vec<u8> {
        named(b"C", &vary::reselection(&self.selection, request))
    }
}

fn named(kind: &[u8], selection: &[u8]) -> Vec<u8> {
    [kind, selection].concat()
}
