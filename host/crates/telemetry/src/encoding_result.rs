//! What became of a response on a route that encodes.

use portcullis_model::Coding;

/// What became of a response on a route that encodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EncodingResult {
    /// It was encoded.
    Encoded(Coding),
    /// It was sent as it was.
    Plain(PlainReason),
}

/// Why a response was sent as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlainReason {
    /// Its status has no body, or a part of one.
    Status,
    /// It was encoded already.
    Encoded,
    /// `Cache-Control: no-transform`.
    NoTransform,
    /// Its media type is not encoded.
    MediaType,
    /// It was smaller than it is worth.
    Small,
    /// It may hold a secret of its client.
    Secrets,
    /// The client takes none of the codings.
    NotAccepted,
    /// As many responses as may be were being encoded, or its head had no room.
    Busy,
}

impl EncodingResult {
    /// How many there are.
    pub(crate) const COUNT: usize = 11;

    /// All of them.
    pub(crate) const ALL: [Self; Self::COUNT] = [
        Self::Encoded(Coding::Zstd),
        Self::Encoded(Coding::Brotli),
        Self::Encoded(Coding::Gzip),
        Self::Plain(PlainReason::Status),
        Self::Plain(PlainReason::Encoded),
        Self::Plain(PlainReason::NoTransform),
        Self::Plain(PlainReason::MediaType),
        Self::Plain(PlainReason::Small),
        Self::Plain(PlainReason::Secrets),
        Self::Plain(PlainReason::NotAccepted),
        Self::Plain(PlainReason::Busy),
    ];

    /// Returns its name in records and labels: the coding, or the reason why there is none.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Encoded(coding) => coding.name(),
            Self::Plain(reason) => match reason {
                PlainReason::Status => "status",
                PlainReason::Encoded => "encoded-already",
                PlainReason::NoTransform => "no-transform",
                PlainReason::MediaType => "type",
                PlainReason::Small => "small",
                PlainReason::Secrets => "secrets",
                PlainReason::NotAccepted => "not-accepted",
                PlainReason::Busy => "busy",
            },
        }
    }

    /// Returns its place in [`Self::ALL`].
    pub(crate) fn place(self) -> usize {
        Self::ALL.iter().position(|result| *result == self).unwrap_or_default()
    }
}

/// What became of one response, and how large it was before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EncodingReport {
    /// What became of it.
    pub result: EncodingResult,
    /// Bytes that went into the encoder; 0 if none was used.
    pub plain_bytes: u64,
}
