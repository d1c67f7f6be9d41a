//! A field section (RFC 9110, 5): the headers or trailers of one message.
//!
//! All names and values are in one buffer that is reused from message to message, so reading, editing and writing a
//! head allocates nothing once the buffer has grown to the usual size. Names are kept in lower case.

#[cfg(test)]
mod tests;

use std::borrow::Cow;

use crate::known::Known;

/// Headers or trailers, in order of arrival.
#[derive(Default)]
pub struct Fields {
    bytes: Vec<u8>,
    entries: Vec<Entry>,
    /// Lines that are added from now on are marked as edits.
    marks_edits: bool,
}

#[derive(Clone, Copy)]
struct Entry {
    name: Span,
    value: Span,
    known: Known,
    edited: bool,
}

#[derive(Clone, Copy)]
struct Span {
    start: u32,
    end: u32,
}

/// Why a field was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FieldError {
    /// The name is empty or has a byte that is not a token character (RFC 9110, 5.6.2).
    #[error("invalid field name")]
    InvalidName,
    /// The value has a control character or white space at an end (RFC 9110, 5.5).
    #[error("invalid field value")]
    InvalidValue,
    /// The section would exceed 1 MiB or 1024 fields, which no limit of the config allows either.
    #[error("field section too large")]
    TooLarge,
}

/// The largest section, whatever the limits are: offsets are 32 bits and edits leave gaps.
const BYTES_MAX: usize = 1 << 20;
const COUNT_MAX: usize = 1024;

impl Fields {
    /// Returns an empty section. Allocates nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self { bytes: Vec::new(), entries: Vec::new(), marks_edits: false }
    }

    /// Removes all fields and keeps the buffers.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.entries.clear();
        self.marks_edits = false;
    }

    /// Marks every line that is added from now on as an edit, see [`Fields::edits`]. [`Fields::clear`] ends that.
    pub fn mark_edits(&mut self) {
        self.marks_edits = true;
    }

    /// The lines that were added or replaced since [`Fields::mark_edits`], also if they say what was there before, and
    /// those beside which one of the same name was added: name in lower case, value.
    pub fn edits(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let edited = self.entries.iter().filter(|entry| entry.edited);
        edited.map(|entry| (&self.bytes[entry.name.range()], &self.bytes[entry.value.range()]))
    }

    /// Returns the number of field lines.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Returns whether there are no lines.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Returns the size as RFC 9113, 6.5.2 counts it: names, values and 32 bytes for each line.
    #[must_use]
    pub fn size(&self) -> usize {
        self.entries.iter().map(|entry| entry.name.len() + entry.value.len() + 32).sum()
    }

    /// Appends a line. The name is converted to lower case.
    ///
    /// # Errors
    /// If the name is not a token, the value is not a field value, or the section grows too large.
    pub fn append(&mut self, name: &[u8], value: &[u8]) -> Result<(), FieldError> {
        if !is_token(name) {
            return Err(FieldError::InvalidName);
        }
        if !is_field_value(value) {
            return Err(FieldError::InvalidValue);
        }
        self.push(name, value).map(drop)
    }

    /// Adds a line whose name and value a strict parser already checked.
    ///
    /// # Errors
    /// If the section grows too large.
    pub fn append_checked(&mut self, name: &[u8], value: &[u8]) -> Result<(), FieldError> {
        self.push(name, value).map(drop)
    }

    /// Adds a line of a known name, whose value the caller has made or checked. Cheaper than [`Fields::append`].
    ///
    /// # Errors
    /// For `Other`, which has no name, and if the section grows too large.
    pub fn append_known(&mut self, known: Known, value: &[u8]) -> Result<(), FieldError> {
        debug_assert!(is_field_value(value));
        if known == Known::Other {
            return Err(FieldError::InvalidName);
        }
        self.push_line(known.name(), value, |_| known).map(drop)
    }

    /// As [`Fields::append_checked`]. Returns which name it was.
    pub(crate) fn push(&mut self, name: &[u8], value: &[u8]) -> Result<Known, FieldError> {
        debug_assert!(is_token(name) && is_field_value(value));
        self.push_line(name, value, |name| {
            name.make_ascii_lowercase();
            Known::of(name)
        })
    }

    /// `lower` converts the name to lower case in place and returns which name it is.
    fn push_line(
        &mut self,
        name: &[u8],
        value: &[u8],
        lower: impl FnOnce(&mut [u8]) -> Known,
    ) -> Result<Known, FieldError> {
        if self.entries.len() >= COUNT_MAX || name.len() + value.len() > BYTES_MAX {
            return Err(FieldError::TooLarge);
        }
        if self.bytes.len() + name.len() + value.len() > BYTES_MAX {
            self.compact();
            if self.bytes.len() + name.len() + value.len() > BYTES_MAX {
                return Err(FieldError::TooLarge);
            }
        }
        let name_start = self.bytes.len();
        self.bytes.extend_from_slice(name);
        let value_start = self.bytes.len();
        self.bytes.extend_from_slice(value);
        let known = lower(&mut self.bytes[name_start..value_start]);
        if self.marks_edits {
            // A line beside others of its name changes what they say together.
            let name = &self.bytes[name_start..value_start];
            let same = self.entries.iter_mut().filter(|entry| &self.bytes[entry.name.range()] == name);
            same.for_each(|entry| entry.edited = true);
        }
        self.entries.push(Entry {
            name: Span::new(name_start, value_start),
            value: Span::new(value_start, self.bytes.len()),
            known,
            edited: self.marks_edits,
        });
        Ok(known)
    }

    /// Drops what is not used of the buffers, for a section that is kept.
    pub fn shrink(&mut self) {
        self.compact();
        self.bytes.shrink_to_fit();
        self.entries.shrink_to_fit();
    }

    /// Returns how many bytes the buffers take.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.bytes.capacity() + self.entries.capacity() * size_of::<Entry>()
    }

    /// Drops the bytes that no line uses.
    fn compact(&mut self) {
        let mut packed = Vec::with_capacity(self.bytes.len());
        for entry in &mut self.entries {
            for span in [&mut entry.name, &mut entry.value] {
                let start = packed.len();
                packed.extend_from_slice(&self.bytes[span.range()]);
                *span = Span::new(start, packed.len());
            }
        }
        self.bytes = packed;
    }

    /// Replaces all lines of `name` by one, in the position of the first.
    ///
    /// # Errors
    /// As [`Fields::append`]. Nothing is changed then.
    pub fn set(&mut self, name: &[u8], value: &[u8]) -> Result<(), FieldError> {
        self.append(name, value)?;
        // The new line is the last. Move it to the first one's position and drop the others.
        if let Some(new) = self.entries.pop() {
            let mut placed = false;
            let (bytes, known) = (&self.bytes, new.known);
            let same = |entry: &Entry| {
                entry.known == known
                    && (known != Known::Other || bytes[entry.name.range()] == bytes[new.name.range()])
            };
            self.entries.retain_mut(|entry| {
                if !same(entry) {
                    return true;
                }
                *entry = new;
                !std::mem::replace(&mut placed, true)
            });
            if !placed {
                self.entries.push(new);
            }
        }
        Ok(())
    }

    /// Removes all lines of `name` (any case) and returns how many there were.
    pub fn remove(&mut self, name: &[u8]) -> usize {
        let before = self.entries.len();
        let bytes = &self.bytes;
        self.entries.retain(|entry| !bytes[entry.name.range()].eq_ignore_ascii_case(name));
        before - self.entries.len()
    }

    /// Removes all lines of a known name and returns how many there were.
    pub fn remove_known(&mut self, known: Known) -> usize {
        let before = self.entries.len();
        self.entries.retain(|entry| entry.known != known);
        before - self.entries.len()
    }

    /// Keeps the lines for which `keep` returns `true`.
    pub fn retain(&mut self, mut keep: impl FnMut(Known, &str, &[u8]) -> bool) {
        let bytes = &self.bytes;
        self.entries.retain(|entry| {
            keep(entry.known, name_str(&bytes[entry.name.range()]), &bytes[entry.value.range()])
        });
    }

    /// As [`Fields::retain`], with the name as bytes: checking that they are UTF-8 costs as much as all the rest.
    pub(crate) fn retain_bytes(&mut self, mut keep: impl FnMut(Known, &[u8], &[u8]) -> bool) {
        let bytes = &self.bytes;
        self.entries
            .retain(|entry| keep(entry.known, &bytes[entry.name.range()], &bytes[entry.value.range()]));
    }

    /// Returns the value of the first line of `name` (any case).
    #[must_use]
    pub fn get(&self, name: &[u8]) -> Option<&[u8]> {
        self.get_all(name).next()
    }

    /// Returns the values of all lines of `name` (any case), in order.
    pub fn get_all<'a, 'n>(&'a self, name: &'n [u8]) -> impl Iterator<Item = &'a [u8]> + use<'a, 'n> {
        self.entries
            .iter()
            .filter(move |entry| {
                entry.name.len() == name.len() && self.bytes[entry.name.range()].eq_ignore_ascii_case(name)
            })
            .map(|entry| &self.bytes[entry.value.range()])
    }

    /// Returns the value of the first line of a known name.
    #[must_use]
    pub fn get_known(&self, known: Known) -> Option<&[u8]> {
        self.all_known(known).next()
    }

    /// Returns the values of all lines of a known name, in order.
    pub fn all_known(&self, known: Known) -> impl DoubleEndedIterator<Item = &[u8]> {
        self.entries
            .iter()
            .filter(move |entry| entry.known == known)
            .map(|entry| &self.bytes[entry.value.range()])
    }

    /// Returns all values of `name` joined by `", "` (RFC 9110, 5.3), those of Cookie by `"; "`, which separates
    /// cookies (RFC 6265, 4.2.1; RFC 9113, 8.2.3), or `None` if there is no line. Allocates only if there are several.
    #[must_use]
    pub fn get_joined(&self, name: &[u8]) -> Option<Cow<'_, [u8]>> {
        let mut values = self.get_all(name);
        let first = values.next()?;
        let Some(second) = values.next() else { return Some(Cow::Borrowed(first)) };
        let separator: &[u8] = if name.eq_ignore_ascii_case(b"cookie") { b"; " } else { b", " };
        let mut joined = first.to_vec();
        for value in std::iter::once(second).chain(values) {
            joined.extend_from_slice(separator);
            joined.extend_from_slice(value);
        }
        Some(Cow::Owned(joined))
    }

    /// Returns whether a list-valued known field has `token` as an element, ignoring case (RFC 9110, 5.6.1).
    #[must_use]
    pub fn has_token(&self, known: Known, token: &str) -> bool {
        self.all_known(known).any(|value| {
            value
                .split(|byte| *byte == b',')
                .any(|item| item.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
        })
    }

    /// Returns all lines in order: known name, name in lower case, value.
    pub fn iter(&self) -> impl Iterator<Item = (Known, &str, &[u8])> {
        self.entries.iter().map(|entry| {
            (entry.known, name_str(&self.bytes[entry.name.range()]), &self.bytes[entry.value.range()])
        })
    }

    /// As [`Fields::iter`], with the names as bytes: showing that they are UTF-8 costs as much as all the rest.
    pub fn iter_bytes(&self) -> impl Iterator<Item = (Known, &[u8], &[u8])> {
        self.entries
            .iter()
            .map(|entry| (entry.known, &self.bytes[entry.name.range()], &self.bytes[entry.value.range()]))
    }
}

impl Clone for Fields {
    fn clone(&self) -> Self {
        let (bytes, entries) = (self.bytes.clone(), self.entries.clone());
        Self { bytes, entries, marks_edits: self.marks_edits }
    }

    /// Copies two buffers into those that are there, so that a response that was kept costs no allocation.
    fn clone_from(&mut self, source: &Self) {
        self.bytes.clone_from(&source.bytes);
        self.entries.clone_from(&source.entries);
        self.marks_edits = source.marks_edits;
    }
}

impl std::fmt::Debug for Fields {
    /// Shows names only: values carry credentials.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.iter().map(|(_, name, _)| name)).finish()
    }
}

impl Span {
    // The section is at most 1 MiB, so offsets fit.
    fn new(start: usize, end: usize) -> Self {
        Self { start: start as u32, end: end as u32 }
    }

    fn range(self) -> std::ops::Range<usize> {
        self.start as usize..self.end as usize
    }

    fn len(self) -> usize {
        (self.end - self.start) as usize
    }
}

/// Names are tokens, which are ASCII.
fn name_str(name: &[u8]) -> &str {
    std::str::from_utf8(name).unwrap_or_default()
}

/// Returns whether `bytes` is a token (RFC 9110, 5.6.2).
#[must_use]
pub fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|byte| TOKEN[*byte as usize])
}

/// Returns whether `bytes` is a field value (RFC 9110, 5.5): visible characters, obs-text, and spaces or tabs that are
/// not at an end.
#[must_use]
pub fn is_field_value(bytes: &[u8]) -> bool {
    let trimmed = !matches!(bytes.first(), Some(b' ' | b'\t')) && !matches!(bytes.last(), Some(b' ' | b'\t'));
    trimmed && bytes.iter().all(|byte| *byte == b'\t' || (*byte >= 0x20 && *byte != 0x7f))
}

const TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 128 {
        let value = byte as u8;
        table[byte] = value.is_ascii_alphanumeric()
            || matches!(
                value,
                b'!' | b'#'
                    | b'$'
                    | b'%'
                    | b'&'
                    | b'\''
                    | b'*'
                    | b'+'
                    | b'-'
                    | b'.'
                    | b'^'
                    | b'_'
                    | b'`'
                    | b'|'
                    | b'~'
            );
        byte += 1;
    }
    table
};
