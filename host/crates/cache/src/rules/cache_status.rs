//! The Cache-Status field (RFC 9211): what a cache did with a request.

#[cfg(test)]
mod tests;

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
    pub fn write(&self, out: &mut String) {
        write_text(self.cache, out);
        if self.hit {
            out.push_str("; hit");
        }
        if let Some(fwd) = self.fwd {
            out.push_str("; fwd=");
            out.push_str(fwd.as_str());
        }
        if let Some(status) = self.fwd_status {
            out.push_str(&format!("; fwd-status={status}"));
        }
        if let Some(ttl) = self.ttl {
            out.push_str(&format!("; ttl={ttl}"));
        }
        if self.stored {
            out.push_str("; stored");
        }
        if self.collapsed {
            out.push_str("; collapsed");
        }
        if let Some(detail) = self.detail {
            out.push_str("; detail=");
            write_text(detail, out);
        }
    }
}

/// Writes `value` as a token, or as a string if it cannot be one (RFC 9651, 3.3.3 and 3.3.4).
fn write_text(text: &str, out: &mut String) {
    let is_token = text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '*')
        && text.bytes().all(|byte| matches!(byte, b':' | b'/') || portcullis_http::is_token(&[byte]));
    if is_token {
        out.push_str(text);
        return;
    }
    out.push('"');
    for letter in text.chars() {
        match letter {
            '"' | '\\' => out.extend(['\\', letter]),
            ' '..='~' => out.push(letter),
            _ => out.push('?'),
        }
    }
    out.push('"');
}
