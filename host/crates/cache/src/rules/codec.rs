//! A stored head as bytes, for the disk. The form is strict: what this version did not write is an error, never a panic
//! and never a head that breaks a rule of its types.

#[cfg(test)]
mod tests;

use portcullis_http::{Fields, is_token};

use super::directives::SECONDS_MAX;
use super::freshness::last_modified;
use super::stored::{Rules, Span, StoredHead};
use super::time::{Exchanged, Time};
use super::vary::{self, is_selection};
use crate::store::Head;

/// The form of the bytes. A change of it, or of the meaning of what is stored, takes the next number.
const VERSION: u8 = 1;
/// No head is longer: fields are at most 1 MiB, and each line takes some bytes more.
const BYTES_MAX: usize = 2 << 20;

const NO_CACHE: u8 = 1;
const NEVER_STALE: u8 = 2;
const IMMUTABLE: u8 = 4;
const HAS_SPAN: u8 = 8;
const HAS_CONTENT_LENGTH: u8 = 16;
const HAS_ADDED_TAGS: u8 = 32;
const ALL: u8 = NO_CACHE | NEVER_STALE | IMMUTABLE | HAS_SPAN | HAS_CONTENT_LENGTH | HAS_ADDED_TAGS;

/// The bytes are no stored head of this version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecodeError;

impl std::fmt::Display for DecodeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("no stored head of this version")
    }
}

impl std::error::Error for DecodeError {}

impl StoredHead {
    /// Appends the head.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let flag = |set: bool, flag: u8| if set { flag } else { 0 };
        let flags = flag(self.rules.no_cache, NO_CACHE)
            | flag(self.rules.never_stale, NEVER_STALE)
            | flag(self.rules.immutable, IMMUTABLE)
            | flag(self.span.is_some(), HAS_SPAN)
            | flag(self.content_length.is_some(), HAS_CONTENT_LENGTH)
            | flag(!self.added_tags.is_empty(), HAS_ADDED_TAGS);
        out.extend([VERSION, flags]);
        out.extend(self.status.to_le_bytes());
        for number in
            [self.times.sent.millis(), self.times.received.millis(), self.initial_age_millis, self.date]
        {
            out.extend(number.to_le_bytes());
        }
        for number in [self.lifetime, self.stale_while_revalidate, self.stale_if_error] {
            out.extend(number.to_le_bytes());
        }
        if let Some(span) = self.span {
            for number in [span.start, span.end, span.complete] {
                out.extend(number.to_le_bytes());
            }
        }
        if let Some(length) = self.content_length {
            out.extend(length.to_le_bytes());
        }
        write_bytes(&self.selection, out);
        write_count(self.withheld.len(), out);
        self.withheld.iter().for_each(|name| write_bytes(name.as_bytes(), out));
        write_count(self.fields.len(), out);
        for (_, name, value) in self.fields.iter_bytes() {
            write_bytes(name, out);
            write_bytes(value, out);
        }
        if !self.added_tags.is_empty() {
            write_count(self.added_tags.len(), out);
            self.added_tags.iter().for_each(|tag| write_bytes(tag, out));
        }
    }

    /// Reads a head.
    ///
    /// # Errors
    /// For bytes that [`StoredHead::encode`] did not write.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader { rest: bytes };
        let head = (bytes.len() <= BYTES_MAX).then(|| reader.head()).flatten();
        head.filter(|_| reader.rest.is_empty()).ok_or(DecodeError)
    }
}

impl Head for StoredHead {
    fn cost(&self) -> usize {
        self.heap_bytes()
    }

    fn encode(&self, out: &mut Vec<u8>) {
        Self::encode(self, out);
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        Self::decode(bytes).ok()
    }
}

/// Lengths are at most those of a field section, so they fit.
fn write_count(count: usize, out: &mut Vec<u8>) {
    out.extend((count as u32).to_le_bytes());
}

fn write_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    write_count(bytes.len(), out);
    out.extend_from_slice(bytes);
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(*array)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn seconds(&mut self) -> Option<u32> {
        self.u32().filter(|seconds| *seconds <= SECONDS_MAX)
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.u32()?).ok()?;
        let (bytes, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(bytes)
    }

    fn head(&mut self) -> Option<StoredHead> {
        let [version, flags] = self.array()?;
        if version != VERSION || flags & !ALL != 0 {
            return None;
        }
        let is_set = |flag: u8| flags & flag != 0;
        let status = self.array().map(u16::from_le_bytes).filter(|status| (200..600).contains(status))?;
        let times =
            Exchanged { sent: Time::from_millis(self.u64()?), received: Time::from_millis(self.u64()?) };
        let (initial_age_millis, date) = (self.u64()?, self.u64()?);
        let (lifetime, stale_while_revalidate, stale_if_error) =
            (self.seconds()?, self.seconds()?, self.seconds()?);
        let span = if is_set(HAS_SPAN) { Some(self.span()?) } else { None };
        let content_length = if is_set(HAS_CONTENT_LENGTH) { Some(self.u64()?) } else { None };
        let selection = self.bytes().filter(|bytes| bytes.len() <= vary::BYTES_MAX && is_selection(bytes))?;
        let withheld = self.names()?;
        let fields = self.fields()?;
        let added_tags = if is_set(HAS_ADDED_TAGS) { self.tags()? } else { Vec::new() };
        // A part is a 206, and nothing else is.
        (span.is_some() == (status == 206)).then_some(())?;
        Some(StoredHead {
            status,
            times,
            initial_age_millis,
            date,
            modified: last_modified(&fields, date),
            lifetime,
            stale_while_revalidate,
            stale_if_error,
            rules: Rules {
                no_cache: is_set(NO_CACHE),
                never_stale: is_set(NEVER_STALE),
                immutable: is_set(IMMUTABLE),
            },
            fields,
            withheld,
            selection: selection.to_vec(),
            span,
            content_length,
            added_tags,
        })
    }

    fn span(&mut self) -> Option<Span> {
        let span = Span { start: self.u64()?, end: self.u64()?, complete: self.u64()? };
        span.is_valid().then_some(span)
    }

    fn names(&mut self) -> Option<Vec<String>> {
        let count = self.u32()?;
        // Not reserved: the count may be wrong, the bytes that follow are what there is.
        let mut names = Vec::new();
        for _ in 0..count {
            let name = self.name()?;
            names.push(String::from_utf8(name.to_vec()).ok()?);
        }
        Some(names)
    }

    /// Those that are there if there are any.
    fn tags(&mut self) -> Option<Vec<Box<[u8]>>> {
        let mut tags = Vec::new();
        for _ in 0..self.u32()? {
            tags.push(self.bytes().filter(|tag| !tag.is_empty())?.into());
        }
        Some(tags).filter(|tags| !tags.is_empty())
    }

    fn name(&mut self) -> Option<&'a [u8]> {
        self.bytes().filter(|name| is_token(name) && !name.iter().any(u8::is_ascii_uppercase))
    }

    fn fields(&mut self) -> Option<Fields> {
        let mut fields = Fields::new();
        for _ in 0..self.u32()? {
            let name = self.name()?;
            fields.append(name, self.bytes()?).ok()?;
        }
        fields.shrink();
        Some(fields)
    }
}
