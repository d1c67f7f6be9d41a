//! How the end of a body is found (RFC 9112, 6).

use crate::{Fields, Known, Version};

/// How a body is delimited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BodyFraming {
    /// There is no body, and no field says so: a request without Content-Length, a response to HEAD, 204, 304, 1xx.
    #[default]
    None,
    /// This many bytes, by Content-Length.
    Length(u64),
    /// The chunked transfer coding.
    Chunked,
    /// It ends with the connection. Responses only.
    UntilClose,
}

impl BodyFraming {
    /// Returns whether no byte of a body follows.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        matches!(self, Self::None | Self::Length(0))
    }

    /// Returns how a response with this framing is delimited for a client of `version`. Without a length it is chunked
    /// for HTTP/1.1, so that the connection stays open and a cut is noticed, and ends with the connection for HTTP/1.0,
    /// which has no chunks.
    #[must_use]
    pub const fn for_client(self, version: Version) -> Self {
        match (self, version) {
            (Self::Chunked | Self::UntilClose, Version::Http10) => Self::UntilClose,
            (Self::Chunked | Self::UntilClose, _) => Self::Chunked,
            (other, _) => other,
        }
    }
}

/// Why the framing fields of a message were refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FramingError {
    /// Content-Length is not one number of digits up to [`LENGTH_MAX`], or occurs more than once. RFC 9112, 6.3 allows
    /// a recipient to accept several equal ones; no client needs that.
    #[error("invalid content-length")]
    ContentLength,
    /// Transfer-Encoding is malformed, empty, occurs more than once or names chunked twice (RFC 9112, 6.1).
    #[error("invalid transfer-encoding")]
    TransferEncoding,
    /// A transfer coding other than chunked.
    #[error("unsupported transfer coding")]
    TransferCoding,
    /// Both Transfer-Encoding and Content-Length: an attempt at smuggling (RFC 9112, 6.3, rule 3).
    #[error("both transfer-encoding and content-length")]
    Both,
    /// Transfer-Encoding in a message of HTTP/1.0 (RFC 9112, 6.1).
    #[error("transfer-encoding in http/1.0")]
    TransferEncodingIn10,
}

/// What the framing fields of a message say.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct FramingFields {
    pub(super) chunked: bool,
    pub(super) length: Option<u64>,
}

impl FramingFields {
    /// Reads a Content-Length line.
    pub(super) fn content_length(&mut self, value: &[u8]) -> Result<(), FramingError> {
        if self.length.is_some() {
            return Err(FramingError::ContentLength);
        }
        self.length = Some(parse_length(value).ok_or(FramingError::ContentLength)?);
        Ok(())
    }

    /// Reads a Transfer-Encoding line.
    pub(super) fn transfer_encoding(&mut self, value: &[u8]) -> Result<(), FramingError> {
        if self.chunked {
            return Err(FramingError::TransferEncoding);
        }
        if !value.eq_ignore_ascii_case(b"chunked") {
            // A list in which each element is a plain token other than chunked, or chunked last, is well-formed but
            // needs a coding that is not implemented. Everything else is malformed, and tokens glued to chunked are an
            // attack.
            let mut codings = value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).peekable();
            while let Some(coding) = codings.next() {
                let last = codings.peek().is_none();
                let chunked = coding.eq_ignore_ascii_case(b"chunked");
                if !crate::is_token(coding) || (chunked && !last) {
                    return Err(FramingError::TransferEncoding);
                }
            }
            return Err(FramingError::TransferCoding);
        }
        self.chunked = true;
        Ok(())
    }

    /// Checks what can only be known after all lines.
    pub(super) fn check(self, version: Version) -> Result<Self, FramingError> {
        if self.chunked && self.length.is_some() {
            return Err(FramingError::Both);
        }
        if self.chunked && version == Version::Http10 {
            return Err(FramingError::TransferEncodingIn10);
        }
        Ok(self)
    }
}

/// The longest body, and the longest chunk. A larger number does not fit the signed numbers that most servers count
/// with: there it is negative or an error, and the two sides see different messages. No real body is that long.
pub const LENGTH_MAX: u64 = i64::MAX as u64;

/// Reads the number of a Content-Length: digits only (RFC 9110, 8.6), no sign, no list, and at most [`LENGTH_MAX`].
fn parse_length(value: &[u8]) -> Option<u64> {
    if value.is_empty() {
        return None;
    }
    let length = value.iter().try_fold(0u64, |length, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        length.checked_mul(10)?.checked_add(digit)
    })?;
    (length <= LENGTH_MAX).then_some(length)
}

/// Returns whether the connection stays open after the message (RFC 9112, 9.3).
pub(super) fn keep_alive(version: Version, fields: &Fields) -> bool {
    if fields.has_token(Known::Connection, "close") {
        return false;
    }
    version != Version::Http10 || fields.has_token(Known::Connection, "keep-alive")
}
