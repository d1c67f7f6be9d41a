//! How responses are encoded for clients that accept it.

/// A content coding (RFC 9110, 8.4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Coding {
    /// Zstandard (RFC 8878 and 9659).
    Zstd,
    /// Brotli (RFC 7932).
    Brotli,
    /// gzip (RFC 1952).
    Gzip,
}

impl Coding {
    /// All of them, the one that costs the least for what it saves first.
    pub const ALL: [Self; 3] = [Self::Zstd, Self::Brotli, Self::Gzip];

    /// Returns its name in `Accept-Encoding` and `Content-Encoding`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Zstd => "zstd",
            Self::Brotli => "br",
            Self::Gzip => "gzip",
        }
    }

    /// Returns the coding of this name, in any case. `x-gzip` is gzip (RFC 9110, 8.4.1.3).
    #[must_use]
    pub fn named(name: &[u8]) -> Option<Self> {
        let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        Self::ALL.into_iter().find(|coding| is(coding.name())).or_else(|| is("x-gzip").then_some(Self::Gzip))
    }
}

/// How much CPU encoding may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Effort {
    /// As little as possible.
    Low,
    /// What saves most bytes for its time.
    #[default]
    Normal,
    /// More, for some percent of the bytes.
    High,
}

/// Whether responses are encoded that may hold a secret of their client beside text of an attacker's choice. Their
/// length then shows the secret, a byte for each few requests that the attacker has the client's browser send (BREACH).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Credentials {
    /// If pages of the same origin, or the user, brought the request about, as the browser says.
    #[default]
    SameOrigin,
    /// Never.
    Never,
    /// As all others.
    Always,
}

/// `compress` of a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compress {
    /// The codings that may be chosen; of those that a client likes equally, the first. Never empty.
    pub codings: Vec<Coding>,
    /// The media types that are encoded.
    pub types: Vec<MediaPattern>,
    /// How many bytes a body must have to be encoded. One whose length is not known is.
    pub bytes_min: u64,
    /// How much CPU it may cost.
    pub effort: Effort,
    /// What happens to responses that may hold a secret.
    pub credentials: Credentials,
}

/// `decompress` of a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decompress {
    /// Whether bodies of requests are decoded.
    pub requests: bool,
    /// Whether bodies of responses are.
    pub responses: bool,
    /// Bytes that a decoded body may have.
    pub bytes_max: u64,
    /// Bytes that it may have for each byte that was encoded.
    pub ratio_max: u32,
}

/// Media types: one, all of a kind, or all with a suffix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MediaPattern {
    /// This one, in lower case and without parameters.
    Exactly(String),
    /// `text/*`: all that begin with this, which ends with the slash.
    Kind(String),
    /// `*+json`: all that end with this, which begins with the plus.
    Suffix(String),
    /// `*`: all.
    Any,
}

impl MediaPattern {
    /// Reads a pattern, or returns `None` if it is not one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let is_token = |text: &str| {
            !text.is_empty()
                && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$&^_.+-".contains(&byte))
        };
        let text = text.to_ascii_lowercase();
        if matches!(&*text, "*" | "*/*") {
            return Some(Self::Any);
        }
        if let Some(suffix) = text.strip_prefix("*+") {
            return is_token(suffix).then(|| Self::Suffix(format!("+{suffix}")));
        }
        let (kind, subtype) = text.split_once('/')?;
        match subtype {
            _ if !is_token(kind) => None,
            "*" => Some(Self::Kind(format!("{kind}/"))),
            _ => is_token(subtype).then_some(Self::Exactly(text)),
        }
    }

    /// Returns whether `media_type`, without parameters and in any case, is one of them.
    #[must_use]
    pub fn matches(&self, media_type: &[u8]) -> bool {
        let same = |part: Option<&[u8]>, text: &str| {
            part.is_some_and(|part| part.eq_ignore_ascii_case(text.as_bytes()))
        };
        match self {
            Self::Exactly(text) => same(Some(media_type), text),
            Self::Kind(text) => same(media_type.get(..text.len()), text),
            Self::Suffix(text) => {
                let at = media_type.len().checked_sub(text.len());
                same(at.and_then(|at| media_type.get(at..)), text)
            }
            Self::Any => true,
        }
    }
}

impl std::fmt::Display for MediaPattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Exactly(text) => f.write_str(text),
            Self::Kind(text) => write!(f, "{text}*"),
            Self::Suffix(text) => write!(f, "*{text}"),
            Self::Any => f.write_str("*"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Coding, MediaPattern};

    #[test]
    fn patterns_of_media_types_match_without_regard_to_case() {
        for (pattern, matching, others) in [
            ("text/*", &["text/html", "TEXT/css"][..], &["text", "textile/html", "application/text"][..]),
            ("*+json", &["application/ld+json", "a/B+JSON"], &["application/json", "+jso"]),
            ("application/json", &["application/JSON"], &["application/jsonp", "application/jso"]),
            ("*/*", &["x/y", ""], &[]),
        ] {
            let parsed = MediaPattern::parse(pattern).unwrap();
            for media_type in matching {
                assert!(parsed.matches(media_type.as_bytes()), "{pattern} {media_type}");
            }
            for media_type in others {
                assert!(!parsed.matches(media_type.as_bytes()), "{pattern} {media_type}");
            }
        }
        for wrong in
            ["", "text", "/html", "text/", "*/html", "*+", "a/b/c", "text/html; charset=utf-8", "t xt/a"]
        {
            assert_eq!(MediaPattern::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn codings_are_found_by_name() {
        for coding in Coding::ALL {
            assert_eq!(Coding::named(coding.name().to_ascii_uppercase().as_bytes()), Some(coding));
        }
        assert_eq!(Coding::named(b"x-gzip"), Some(Coding::Gzip));
        assert_eq!(Coding::named(b"deflate"), None);
    }
}
