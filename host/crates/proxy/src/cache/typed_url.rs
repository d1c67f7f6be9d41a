//! URLs of stored responses as operators write them.

#[cfg(test)]
mod tests;

use std::fmt::Write as _;

use portcullis_http::{PathError, Scheme, validate_authority};

/// The longest URL that is read.
const BYTES_MAX: usize = 8 << 10;

const BOTH: &[Scheme] = &[Scheme::Https, Scheme::Http];

/// A URL, or what URLs begin with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TypedUrl {
    /// Both if none was written.
    pub(super) schemes: &'static [Scheme],
    pub(super) authority: String,
    /// Path and query, not normalised.
    pub(super) target: String,
    pub(super) extent: Extent,
}

/// Which URLs are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    /// The one.
    Exactly,
    /// It, and those below it: the path ends there, or a `/` or the query follows.
    Below,
    /// All that begin so: `*` was written behind it.
    Beginning,
}

/// What to purge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PurgeTarget {
    /// One URL, or all that begin with one.
    Url(TypedUrl),
    /// What has this tag.
    Tag(Vec<u8>),
    /// Everything.
    All,
}

/// Why a text is no URL of a stored response.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// It is too long.
    #[error("it has more than 8 KiB")]
    TooLong,
    /// It has another scheme.
    #[error("it has another scheme than http and https")]
    Scheme,
    /// It names no host.
    #[error("it names no host: write https://host/path, or host/path for both http and https")]
    NoHost,
    /// What stands in place of the host is none.
    #[error("`{0}` is no host with an optional port")]
    Host(String),
    /// It has a fragment.
    #[error("it has a fragment (`#`), which no client sends")]
    Fragment,
    /// Its path is not one that a client could ask for.
    #[error("its path is refused in requests: {0}")]
    Path(#[from] PathError),
    /// It ends with `*`, and names one URL.
    #[error("it ends with `*`, which only a prefix may")]
    Star,
}

impl TypedUrl {
    /// Reads one URL.
    ///
    /// # Errors
    /// If it is none.
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        let url = Self::read(text, Extent::Exactly)?;
        if url.target.ends_with("/*") {
            return Err(UrlError::Star);
        }
        Ok(url)
    }

    /// Reads what URLs begin with: up to the end of a segment of the path, or with a `*` at its end up to any byte.
    ///
    /// # Errors
    /// If it is no beginning of a URL.
    pub fn parse_prefix(text: &str) -> Result<Self, UrlError> {
        match text.strip_suffix('*') {
            Some(text) => Self::read(text, Extent::Beginning),
            None => Self::read(text, Extent::Below),
        }
    }

    fn read(text: &str, extent: Extent) -> Result<Self, UrlError> {
        if text.len() > BYTES_MAX {
            return Err(UrlError::TooLong);
        }
        if text.contains('#') {
            return Err(UrlError::Fragment);
        }
        let behind = |start: &str| {
            let written = text.get(..start.len())?;
            written.eq_ignore_ascii_case(start).then(|| &text[start.len()..])
        };
        let (schemes, rest): (&'static [Scheme], _) = if let Some(rest) = behind("https://") {
            (&[Scheme::Https], rest)
        } else if let Some(rest) = behind("http://") {
            (&[Scheme::Http], rest)
        } else if let Some(rest) = text.strip_prefix("//") {
            (BOTH, rest)
        } else if text.find("://").is_some_and(|at| !text[..at].contains(['/', '?'])) {
            return Err(UrlError::Scheme);
        } else {
            (BOTH, text)
        };
        let (authority, target) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        if authority.is_empty() {
            return Err(UrlError::NoHost);
        }
        if !validate_authority(authority) {
            return Err(UrlError::Host(authority.escape_debug().to_string()));
        }
        // As a browser sends it.
        let mut written = String::with_capacity(target.len() + 1);
        if !target.starts_with('/') {
            written.push('/');
        }
        for letter in target.chars() {
            if letter.is_ascii_graphic() {
                written.push(letter);
            } else {
                for byte in letter.encode_utf8(&mut [0; 4]).bytes() {
                    let _infallible = write!(written, "%{byte:02X}");
                }
            }
        }
        Ok(Self { schemes, authority: authority.to_owned(), target: written, extent })
    }
}

impl TypedUrl {
    /// Returns whether its scheme is https, or `None` if none was written.
    #[must_use]
    pub fn is_https(&self) -> Option<bool> {
        match self.schemes {
            [scheme] => Some(*scheme == Scheme::Https),
            _ => None,
        }
    }

    /// Returns its host and port, as they were written.
    #[must_use]
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// Returns its host.
    #[must_use]
    pub fn host(&self) -> &str {
        match self.authority.rfind(':') {
            Some(at) if !self.authority[at..].contains(']') => &self.authority[..at],
            _ => &self.authority,
        }
    }

    /// Returns its path and query, as a client would send them.
    #[must_use]
    pub fn target(&self) -> &str {
        &self.target
    }
}
