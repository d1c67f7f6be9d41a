//! Whether a response is encoded, and how.

#[cfg(test)]
mod tests;

use portcullis_http::ResponseHead;
use portcullis_model::{Coding, Compress, Credentials};

use crate::Asked;
use crate::asked::{has_directive, has_no_transform};

/// Why a response is sent as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// Its status has no body, or it is a part of one (206) or a protocol of its own (101).
    Status,
    /// It is encoded already.
    Encoded,
    /// `Cache-Control: no-transform`, of the response or the request.
    NoTransform,
    /// Its media type is not one of those that are encoded.
    MediaType,
    /// It is smaller than it is worth.
    Small,
    /// It may hold a secret beside text of an attacker's choice.
    Secrets,
    /// The client takes none of the codings, or prefers a plain body.
    NotAccepted,
}

impl Why {
    /// Returns a sentence of it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Status => "its status has no body or a part of one",
            Self::Encoded => "it is encoded already",
            Self::NoTransform => "`Cache-Control: no-transform`",
            Self::MediaType => "its media type is not among `types`",
            Self::Small => "it is smaller than `min-size`",
            Self::Secrets => "it may hold a secret of its client (`credentials`)",
            Self::NotAccepted => "the client takes none of the codings",
        }
    }

    /// Returns whether another client may get the response encoded, so that it varies.
    #[must_use]
    pub const fn varies(self) -> bool {
        matches!(self, Self::Secrets | Self::NotAccepted)
    }
}

/// Decides whether the response with `head`, whose body has `length` bytes if that is known, is encoded. `is_public`
/// says that others get the same response, so that it holds no secret of this client.
///
/// # Errors
/// If it is not: with the reason.
pub fn decide(
    rules: &Compress,
    asked: &Asked,
    head: &ResponseHead,
    length: Option<u64>,
    is_public: bool,
) -> Result<Coding, Why> {
    let fields = &head.fields;
    if matches!(head.status, 100..=199 | 204 | 205 | 206 | 226 | 304)
        || fields.get(b"content-range").is_some()
    {
        return Err(Why::Status);
    }
    if fields.get(b"content-encoding").is_some() {
        return Err(Why::Encoded);
    }
    if asked.no_transform || has_no_transform(fields) {
        return Err(Why::NoTransform);
    }
    let coding = asked.accepted.choose(&rules.codings);
    // A client that takes no plain body gets what it takes, whatever it is worth.
    if coding.is_none() || !asked.accepted.refuses_plain() {
        let media_type = media_type(fields.get(b"content-type").unwrap_or_default());
        if !rules.types.iter().any(|pattern| pattern.matches(media_type)) {
            return Err(Why::MediaType);
        }
        if length.is_some_and(|length| length < rules.bytes_min) {
            return Err(Why::Small);
        }
    }
    if may_hold_secrets(rules.credentials, asked, head, is_public) {
        return Err(Why::Secrets);
    }
    coding.ok_or(Why::NotAccepted)
}

/// Whether a response may hold a secret, and a stranger may have chosen what else it holds.
fn may_hold_secrets(rule: Credentials, asked: &Asked, head: &ResponseHead, is_public: bool) -> bool {
    match rule {
        Credentials::Always => return false,
        Credentials::SameOrigin if asked.is_own => return false,
        Credentials::SameOrigin | Credentials::Never => {}
    }
    let is_private = asked.has_credentials || head.fields.get(b"set-cookie").is_some();
    let is_shared = || has_directive(&head.fields, b"public") || has_directive(&head.fields, b"s-maxage");
    is_private && !is_public && !is_shared()
}

/// Returns a media type without its parameters.
pub(crate) fn media_type(content_type: &[u8]) -> &[u8] {
    content_type.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii()
}
