//! Cache directives of requests and responses (RFC 9111, 5.2).
//!
//! A directive that is malformed has the most restrictive meaning that its name can have: a response is stale rather
//! than fresh, and private as a whole rather than in some fields. If a directive with a number occurs more than once,
//! the first one counts (RFC 9111, 4.2.1).

#[cfg(test)]
mod tests;

use std::borrow::Cow;

use portcullis_http::is_token;

/// The largest number of seconds; larger ones count as this (RFC 9111, 1.2.2).
pub const SECONDS_MAX: u32 = 1 << 31;

/// What a response says to caches.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct ResponseDirectives {
    /// The response must not be stored (5.2.2.5). Also set if a quoted string has no end, because it is unclear then
    /// what the directives are.
    pub(super) no_store: bool,
    /// The response must be validated before each use (5.2.2.4).
    pub(super) no_cache: bool,
    /// The response must not be stored by a shared cache (5.2.2.7).
    pub(super) private: bool,
    /// The response may be stored although something else forbids it by default (5.2.2.9).
    pub(super) public: bool,
    /// Once stale, the response must not be used without validation (5.2.2.2).
    pub(super) must_revalidate: bool,
    /// The same for shared caches (5.2.2.8).
    pub(super) proxy_revalidate: bool,
    /// `no_store` does not count if the cache knows the status code (5.2.2.3).
    pub(super) must_understand: bool,
    /// The response will not change while it is fresh (RFC 8246).
    pub(super) immutable: bool,
    /// The freshness lifetime in seconds (5.2.2.1).
    pub(super) max_age: Option<u32>,
    /// The freshness lifetime for shared caches, which implies `proxy_revalidate` (5.2.2.10).
    pub(super) s_maxage: Option<u32>,
    /// For how many seconds the stale response may be used while it is validated in the background (RFC 5861, 3).
    pub(super) stale_while_revalidate: Option<u32>,
    /// For how many seconds the stale response may be used if the upstream fails (RFC 5861, 4).
    pub(super) stale_if_error: Option<u32>,
    /// The fields, in lower case, that must not be used without validation: `no-cache="a, b"`.
    pub(super) no_cache_fields: Vec<String>,
    /// The fields, in lower case, that a shared cache must not store: `private="a, b"`.
    pub(super) private_fields: Vec<String>,
}

/// What a request says to caches.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct RequestDirectives {
    /// The response must not be older (5.2.1.1).
    pub(super) max_age: Option<u32>,
    /// The response may be stale (5.2.1.2).
    pub(super) max_stale: Option<MaxStale>,
    /// The response must stay fresh for so many seconds (5.2.1.3).
    pub(super) min_fresh: Option<u32>,
    /// The response must have been validated (5.2.1.4).
    pub(super) no_cache: bool,
    /// The response must not be stored (5.2.1.5).
    pub(super) no_store: bool,
    /// The response must come from the cache (5.2.1.7).
    pub(super) only_if_cached: bool,
    /// The response may be stale for so many seconds if the upstream fails (RFC 5861, 4).
    pub(super) stale_if_error: Option<u32>,
}

/// How stale a response may be for a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MaxStale {
    /// However stale.
    Any,
    /// For at most so many seconds.
    Seconds(u32),
}

impl ResponseDirectives {
    /// Reads the lines of Cache-Control of a response.
    pub(super) fn read<'a>(lines: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut read = Self::default();
        for line in lines {
            let mut elements = Elements::new(line);
            for (name, argument) in elements.by_ref() {
                read.add(name, &argument);
            }
            read.no_store |= elements.torn;
        }
        read
    }

    fn add(&mut self, name: &[u8], argument: &Argument<'_>) {
        let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        // An invalid lifetime counts as none at all: RFC 9111, 4.2.1 encourages caches to take it for stale.
        let stale = || argument.seconds().unwrap_or(0);
        if is("max-age") {
            self.max_age.get_or_insert_with(stale);
        } else if is("s-maxage") {
            self.s_maxage.get_or_insert_with(stale);
        } else if is("stale-while-revalidate") {
            self.stale_while_revalidate.get_or_insert_with(stale);
        } else if is("stale-if-error") {
            self.stale_if_error.get_or_insert_with(stale);
        } else if is("no-cache") {
            self.no_cache |= !argument.add_names(&mut self.no_cache_fields);
        } else if is("private") {
            self.private |= !argument.add_names(&mut self.private_fields);
        } else if is("no-store") {
            self.no_store = true;
        } else if is("must-revalidate") {
            self.must_revalidate = true;
        } else if is("proxy-revalidate") {
            self.proxy_revalidate = true;
        } else if !argument.is_none() {
            // What follows relaxes a rule, so a form that no specification knows does not count.
        } else if is("public") {
            self.public = true;
        } else if is("must-understand") {
            self.must_understand = true;
        } else if is("immutable") {
            self.immutable = true;
        }
    }
}

impl RequestDirectives {
    /// Adds a line of Cache-Control of a request.
    pub(super) fn add_line(&mut self, line: &[u8]) {
        for (name, argument) in Elements::new(line) {
            let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
            if is("max-age") {
                self.max_age.get_or_insert_with(|| argument.seconds().unwrap_or(0));
            } else if is("min-fresh") {
                self.min_fresh.get_or_insert_with(|| argument.seconds().unwrap_or(SECONDS_MAX));
            } else if is("max-stale") {
                let allowed = if argument.is_none() { Some(MaxStale::Any) } else { None };
                self.max_stale = self.max_stale.or(allowed).or(argument.seconds().map(MaxStale::Seconds));
            } else if is("stale-if-error") {
                self.stale_if_error = self.stale_if_error.or(argument.seconds());
            } else if is("no-cache") {
                self.no_cache = true;
            } else if is("no-store") {
                self.no_store = true;
            } else if is("only-if-cached") {
                self.only_if_cached = true;
            }
        }
    }
}

/// What stands behind the name of a directive.
enum Argument<'a> {
    None,
    /// A token, or a quoted string without its quotes.
    Value(Cow<'a, [u8]>),
    /// Something that the grammar does not allow.
    Malformed,
}

impl Argument<'_> {
    const fn is_none(&self) -> bool {
        matches!(self, Self::None)
    }

    fn seconds(&self) -> Option<u32> {
        match self {
            Self::Value(value) => delta_seconds(value),
            Self::None | Self::Malformed => None,
        }
    }

    /// Adds the field names that it lists, see [`add_field_names`].
    fn add_names(&self, names: &mut Vec<String>) -> bool {
        match self {
            Self::Value(value) => add_field_names(value, names),
            Self::None | Self::Malformed => false,
        }
    }
}

/// Adds the field names of a list, in lower case. Returns `false`, and adds none, if it does not list at least one name
/// and nothing else.
pub(super) fn add_field_names(list: &[u8], names: &mut Vec<String>) -> bool {
    let before = names.len();
    for name in list.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
        if name.is_empty() {
            continue;
        }
        match std::str::from_utf8(name) {
            Ok(text) if is_token(name) => names.push(text.to_ascii_lowercase()),
            _ => {
                names.truncate(before);
                return false;
            }
        }
    }
    names.len() > before
}

/// Reads `delta-seconds` (RFC 9111, 1.2.2). Numbers over [`SECONDS_MAX`] are [`SECONDS_MAX`].
pub(super) fn delta_seconds(text: &[u8]) -> Option<u32> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let add = |seconds: u32, digit: &u8| seconds.saturating_mul(10).saturating_add(u32::from(digit - b'0'));
    Some(text.iter().fold(0, add).min(SECONDS_MAX))
}

/// The directives of one line, in order. Elements without a name are skipped.
struct Elements<'a> {
    rest: &'a [u8],
    /// Whether a quoted string had no end.
    torn: bool,
}

impl<'a> Elements<'a> {
    const fn new(line: &'a [u8]) -> Self {
        Self { rest: line, torn: false }
    }

    /// Takes the bytes at the start for which `is` returns true.
    fn take(&mut self, is: impl Fn(u8) -> bool) -> &'a [u8] {
        let end = self.rest.iter().position(|byte| !is(*byte)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(end);
        self.rest = rest;
        taken
    }

    /// Takes a quoted string, whose opening quote comes next, without its quotes and escapes. Returns `None` if it has
    /// no end.
    fn take_quoted(&mut self) -> Option<Cow<'a, [u8]>> {
        let content = self.rest.get(1..).unwrap_or_default();
        let mut at = 0;
        let mut unescaped: Option<Vec<u8>> = None;
        loop {
            match *content.get(at)? {
                b'"' => break,
                b'\\' => {
                    let escaped = *content.get(at + 1)?;
                    unescaped.get_or_insert_with(|| content[..at].to_vec()).push(escaped);
                    at += 2;
                }
                byte => {
                    if let Some(unescaped) = &mut unescaped {
                        unescaped.push(byte);
                    }
                    at += 1;
                }
            }
        }
        self.rest = &content[at + 1..];
        Some(unescaped.map_or(Cow::Borrowed(&content[..at]), Cow::Owned))
    }

    fn take_argument(&mut self) -> Argument<'a> {
        if self.rest.first() != Some(&b'=') {
            return Argument::None;
        }
        self.rest = &self.rest[1..];
        if self.rest.first() == Some(&b'"') {
            return match self.take_quoted() {
                Some(value) => Argument::Value(value),
                None => Argument::Malformed,
            };
        }
        match self.take(is_token_byte) {
            b"" => Argument::Malformed,
            value => Argument::Value(Cow::Borrowed(value)),
        }
    }

    /// Skips what stands before the next comma, and returns whether that was white space alone.
    fn skip_element(&mut self) -> bool {
        let mut clean = true;
        loop {
            self.take(is_space);
            match self.rest.first() {
                None | Some(b',') => return clean,
                Some(b'"') => {
                    clean = false;
                    if self.take_quoted().is_none() {
                        self.torn = true;
                        self.rest = &[];
                    }
                }
                Some(_) => {
                    clean = false;
                    self.rest = &self.rest[1..];
                }
            }
        }
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = (&'a [u8], Argument<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            self.take(|byte| byte == b',' || is_space(byte));
            if self.rest.is_empty() {
                return None;
            }
            let name = self.take(is_token_byte);
            let argument = self.take_argument();
            let clean = self.skip_element();
            if !name.is_empty() {
                return Some((name, if clean { argument } else { Argument::Malformed }));
            }
        }
    }
}

fn is_token_byte(byte: u8) -> bool {
    is_token(&[byte])
}

const fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}
