//! The Cache-Status field (RFC 9211): what a cache did with a request.

#[cfg(test)]
mod tests;

use portcullis_model::text::push_decimal;

/// A member of Cache-Status.
#[derive(Debug, Clone, Copy, Default)]
pub struct CacheStatus<'a> {
    /// The name of the cache.
    pub cache: &'a str,
    /// A stored response was used, without the upstream.
    pub hit: bool,
    /// Why the request went upstream.
    pub fwd: Option<Fwd>,
    /// The status that the upstream answered with, if it is not that of the response.
    pub fwd_status: Option<u16>,
    /// For how many seconds the response is still fresh; negative if it is stale.
    pub ttl: Option<i64>,
    /// The response was stored.
    pub stored: bool,
    /// The request waited for another one's response.
    pub collapsed: bool,
    /// More, for people.
    pub detail: Option<&'a str>,
}

/// Why a request went upstream (RFC 9211, 2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fwd {
    /// The cache is not used for such requests.
    Bypass,
    /// The method has to be forwarded.
    Method,
    /// Nothing is stored for the URL.
    UriMiss,
    /// Nothing of what is stored for the URL matches the request's fields.
    VaryMiss,
    /// Nothing is stored, and no more is known.
    Miss,
    /// The request demanded it.
    Request,
    /// What is stored is stale.
    Stale,
    /// What is stored has not all that was asked for.
    Partial,
}

impl Fwd {
    /// Returns the token.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Bypass => "bypass",
            Self::Method => "method",
            Self::UriMiss => "uri-miss",
            Self::VaryMiss => "vary-miss",
            Self::Miss => "miss",
            Self::Request => "request",
            Self::Stale => "stale",
            Self::Partial => "partial",
        }
    }
}

impl CacheStatus<'_> {
    /// Appends the member. It goes behind what other caches wrote, as a line of its own.
    pub fn write(&self, out: &mut Vec<u8>) {
        write_text(self.cache, out);
        if self.hit {
            out.extend_from_slice(b"; hit");
        }
        if let Some(fwd) = self.fwd {
            out.extend_from_slice(b"; fwd=");
            out.extend_from_slice(fwd.as_str().as_bytes());
        }
        if let Some(status) = self.fwd_status {
            out.extend_from_slice(b"; fwd-status=");
            push_decimal(out, u64::from(status));
        }
        if let Some(ttl) = self.ttl {
            out.extend_from_slice(if ttl < 0 { b"; ttl=-" } else { b"; ttl=" });
            push_decimal(out, ttl.unsigned_abs());
        }
        if self.stored {
            out.extend_from_slice(b"; stored");
        }
        if self.collapsed {
            out.extend_from_slice(b"; collapsed");
        }
        if let Some(detail) = self.detail {
            out.extend_from_slice(b"; detail=");
            write_text(detail, out);
        }
    }
}

/// Appends `text` as a token, or as a string if it cannot be one (RFC 9651, 3.3.3 and 3.3.4).
fn write_text(text: &str, out: &mut Vec<u8>) {
    let is_token = text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '*')
        && text.bytes().all(|byte| matches!(byte, b':' | b'/') || portcullis_http::is_token(&[byte]));
    if is_token {
        out.extend_from_slice(text.as_bytes());
        return;
    }
    out.push(b'"');
    for letter in text.chars() {
        match letter {
            '"' | '\\' => out.extend([b'\\', letter as u8]),
            ' '..='~' => out.push(letter as u8),
            _ => out.push(b'?'),
        }
    }
    out.push(b'"');
}
