//! Removes secrets from output: marks in their place say which secret it was.

mod views;

use std::ops::Range;

use portcullis_model::text::hex;
use portcullis_model::{Name, Secret};
use portcullis_policy::recorder::is_mark;
use serde_json::Value;

/// Shorter secrets are only replaced if they are a whole text: `a` within other words is no secret.
const WITHIN_BYTES_MIN: usize = 4;

/// A piece of a removed field that is shorter than this may be an ordinary word: it is replaced between other
/// characters than letters and digits only.
const WORD_BYTES_MAX: usize = 12;

/// A shorter secret may occur in bytes that are not text by chance.
const BINARY_BYTES_MIN: usize = 8;

/// Looks at one text. Each replaces at least something.
const ROUNDS_MAX: usize = 4;

/// Secrets, and what is written in their place.
#[derive(Clone, Default)]
pub struct Scrubber {
    /// Longer ones first, so that none is replaced in part.
    needles: Vec<Needle>,
}

/// One secret. It is found unchanged, in hexadecimal digits, and in each encoding of [`views`].
#[derive(Clone)]
struct Needle {
    bytes: Vec<u8>,
    mark: String,
    /// Whether it must be a whole word.
    as_word: bool,
}

impl Scrubber {
    /// For the secrets that a config names.
    pub fn of_secrets<'a>(secrets: impl IntoIterator<Item = (&'a Name, &'a Secret)>) -> Self {
        let mut scrubber = Self::default();
        for (name, secret) in secrets {
            scrubber.add(secret.expose(), &secret_mark(name));
        }
        scrubber
    }

    /// Replaces `secret` by `mark` wherever it occurs.
    pub fn add(&mut self, secret: &[u8], mark: &str) {
        self.push(secret, mark, false);
        self.sort();
    }

    /// Replaces the value of a removed field or parameter, and the parts into which a policy may split it: the words of
    /// a cookie or of a credential, the parts of a token, its percent-decoded form, user and password.
    pub fn add_field(&mut self, value: &[u8], mark: &str) {
        const PART_BYTES_MIN: usize = 8;
        let mut values = vec![value.to_vec()];
        if let Ok(text) = std::str::from_utf8(value) {
            values.extend(views::decoded(text).into_iter().map(|view| view.bytes));
        }
        if let Some(both) = views::basic(value) {
            let password = both.splitn(2, |byte| *byte == b':').nth(1).map(<[u8]>::to_vec);
            values.extend(password);
            values.push(both);
        }
        for value in values {
            self.push(&value, mark, value.len() < WORD_BYTES_MAX);
            let is_between = |byte: &u8| matches!(byte, b' ' | b'\t' | b';' | b',' | b'=' | b'"');
            let is_within = |byte: &u8| matches!(byte, b'.' | b':' | b'&');
            for word in value.split(is_between) {
                for part in word.split(is_within).chain([word]).filter(|part| part.len() >= PART_BYTES_MIN) {
                    self.push(part, mark, part.len() < WORD_BYTES_MAX);
                }
            }
        }
        self.sort();
    }

    fn push(&mut self, secret: &[u8], mark: &str, as_word: bool) {
        // A secret from a file may be used with and without its line end.
        for secret in [secret, secret.trim_ascii()] {
            if !secret.is_empty() && !self.needles.iter().any(|other| other.bytes == secret) {
                self.needles.push(Needle { bytes: secret.to_vec(), mark: mark.to_owned(), as_word });
            }
        }
    }

    fn sort(&mut self) {
        self.needles.sort_by_key(|needle| std::cmp::Reverse(needle.bytes.len()));
    }

    /// Takes them out of every text in `value`, the names of members too.
    pub fn scrub(&self, value: &mut Value) {
        match value {
            Value::String(text) => {
                if let Some(clean) = self.scrubbed(text) {
                    *text = clean;
                }
            }
            Value::Array(values) => values.iter_mut().for_each(|value| self.scrub(value)),
            Value::Object(members) => {
                for (name, mut value) in std::mem::take(members) {
                    self.scrub(&mut value);
                    members.insert(self.scrubbed(&name).unwrap_or(name), value);
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    /// Returns `text` without them, or `None` if it has none.
    pub fn scrubbed(&self, text: &str) -> Option<String> {
        if self.needles.is_empty() || text.is_empty() {
            return None;
        }
        let mut clean: Option<String> = None;
        // Text in several encodings has a view for each, and a replacement may leave another to be found.
        for round in 0..ROUNDS_MAX {
            let now = clean.as_deref().unwrap_or(text);
            let Some(replaced) = self.replaced(now) else { break };
            if is_mark(&replaced) || round + 1 == ROUNDS_MAX {
                return Some(replaced);
            }
            clean = Some(replaced);
        }
        clean
    }

    /// Returns `text` with marks for everything that one pass over each view finds.
    fn replaced(&self, text: &str) -> Option<String> {
        let whole = |needle: &&Needle| text.as_bytes() == needle.bytes;
        if let Some(needle) = self.needles.iter().find(whole) {
            return Some(needle.mark.clone());
        }
        let mut found = Vec::new();
        let digits = text.to_ascii_lowercase();
        let plain = views::View::plain(text);
        let views = views::decoded(text);
        for needle in self.needles.iter().filter(|needle| needle.bytes.len() >= WITHIN_BYTES_MIN) {
            needle.find(&plain, &mut found);
            let hex = hex(&needle.bytes);
            found.extend(digits.match_indices(&hex).map(|(at, _)| Found::of(at..at + hex.len(), needle)));
            views.iter().for_each(|view| needle.find(view, &mut found));
        }
        // A short one alone may be written in another way, too.
        let short = self.needles.iter().filter(|needle| needle.bytes.len() < WITHIN_BYTES_MIN);
        for needle in short {
            if views.iter().any(|view| view.bytes == needle.bytes) {
                found.push(Found::of(0..text.len(), needle));
            }
        }
        for view in std::iter::once(&plain).chain(&views) {
            for (range, bytes) in views::base64(view) {
                let is_in = |needle: &&Needle| {
                    let min =
                        if std::str::from_utf8(&bytes).is_ok() { WITHIN_BYTES_MIN } else { BINARY_BYTES_MIN };
                    needle.bytes.len() >= min && views::find(&bytes, &needle.bytes).next().is_some()
                };
                if let Some(needle) = self.needles.iter().find(is_in) {
                    found.push(Found::of(range, needle));
                }
            }
        }
        written(text, found)
    }
}

/// The place of a needle in a text.
struct Found<'a> {
    range: Range<usize>,
    needle: &'a Needle,
}

impl<'a> Found<'a> {
    fn of(range: Range<usize>, needle: &'a Needle) -> Self {
        Self { range, needle }
    }
}

/// `text` with marks at what was found; the longest first, of which no other replaces a part.
fn written(text: &str, mut found: Vec<Found<'_>>) -> Option<String> {
    found.sort_by_key(|found| (std::cmp::Reverse(found.needle.bytes.len()), found.range.start));
    let mut taken: Vec<Found<'_>> = Vec::new();
    for mut found in found {
        while !text.is_char_boundary(found.range.start) {
            found.range.start -= 1;
        }
        while !text.is_char_boundary(found.range.end) {
            found.range.end += 1;
        }
        let at = taken.partition_point(|taken| taken.range.end <= found.range.start);
        if taken.get(at).is_none_or(|next| next.range.start >= found.range.end) {
            taken.insert(at, found);
        }
    }
    if taken.is_empty() {
        return None;
    }
    let (mut replaced, mut from) = (String::with_capacity(text.len()), 0);
    for Found { range, needle } in taken {
        replaced.push_str(&text[from..range.start]);
        replaced.push_str(&needle.mark);
        from = range.end;
    }
    replaced.push_str(&text[from..]);
    Some(replaced)
}

impl Needle {
    /// Adds its places in a view, as ranges of the text.
    fn find<'a>(&'a self, view: &views::View, found: &mut Vec<Found<'a>>) {
        let is_word =
            |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte >= 0x80);
        for start in views::find(&view.bytes, &self.bytes) {
            let end = start + self.bytes.len();
            let alone = !is_word(start.checked_sub(1).and_then(|before| view.bytes.get(before)))
                && !is_word(view.bytes.get(end));
            if alone || !self.as_word {
                found.push(Found::of(view.range(start..end), self));
            }
        }
    }
}

impl std::fmt::Debug for Scrubber {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scrubber").field("needles", &self.needles.len()).finish()
    }
}

/// Returns the mark of a named secret.
pub fn secret_mark(name: &str) -> String {
    format!("[secret:{name}]")
}

#[cfg(test)]
mod tests;
