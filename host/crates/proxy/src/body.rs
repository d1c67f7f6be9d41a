//! A message body as a stream of pieces, whatever protocol it comes from. Bodies are pulled: nothing is read before the
//! writer has room for it. There is no other backpressure.

use std::task::{Context, Poll};

use bytes::Bytes;
use portcullis_cache::store::FilePart;
use portcullis_compress::DecodeError;
use portcullis_http::Fields;
use portcullis_policy::BodySide;

/// A piece of a body.
#[derive(Debug)]
pub(crate) enum Frame {
    /// Bytes; not empty.
    Data(Bytes),
    /// The trailer section, which ends the body.
    Trailers(Box<Fields>),
}

/// Why a body ended too early.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum BodyError {
    /// The client went away or broke the protocol.
    #[error("the client's request body ended early: {0}")]
    Downstream(String),
    /// The client took too long.
    #[error("the client sent nothing of its request body for too long")]
    DownstreamTimeout,
    /// The body is larger than the route allows.
    #[error("the request body is larger than {limit} bytes")]
    TooLarge {
        /// What the route allows.
        limit: u64,
    },
    /// The upstream went away or broke the protocol.
    #[error("the upstream's response body ended early: {0}")]
    Upstream(String),
    /// It cannot be decoded, or is larger than it may be when it is.
    #[error("the {} body cannot be decoded: {error}", if *side == BodySide::Request { "request" } else { "response" })]
    Decode {
        /// Which of the two bodies it is.
        side: BodySide,
        /// Why.
        error: DecodeError,
    },
    /// It cannot be encoded on.
    #[error("{0}")]
    Encode(String),
    /// The file that it comes from cannot be read on.
    #[error("{0}")]
    File(String),
    /// A policy holds it back, and it is larger than the limit for that.
    #[error("{reason}")]
    Unheld {
        /// Which of the two bodies it is.
        side: BodySide,
        /// Which policy, and its limit.
        reason: String,
    },
    /// A policy stopped it.
    #[error("a policy stopped the body: {reason}")]
    Policy {
        /// Its fault, or that it replied.
        reason: String,
    },
}

/// A source of the pieces of a body.
pub(crate) trait BodySource {
    /// Returns the next piece, or `None` at the end. After the end or an error it stays at the end.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame, BodyError>>>;

    /// Returns how many bytes follow, if that is known.
    fn length(&self) -> Option<u64>;

    /// Continues a policy's hook that runs with a piece of the body, if there is one: it may have the exchange. The
    /// piece that the hook releases, or its error, is returned when the body is read.
    fn drive_hook(&mut self, _: &mut Context<'_>) {}

    /// Continues the work beneath the body: for an upstream's response, sending the rest of the request's body. Ready
    /// if nothing is left to do. The error is that of the request's body.
    fn poll_drive(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BodyError>> {
        Poll::Ready(Ok(()))
    }

    /// Returns how many bytes have moved beneath the body so far: for an upstream's response those that arrived, and
    /// those of the request that were sent meanwhile. The slot counts what a client sends of its request.
    fn moved(&self) -> u64 {
        0
    }

    /// Makes a client's body fail once it exceeds `limit` bytes. Other sources have no such limit.
    fn set_limit(&mut self, _limit: u64) {}

    /// Moves the rest of the body to `out` if all of it has arrived and is at most `max` bytes. Returns whether it did.
    fn take_buffered(&mut self, _out: &mut Vec<u8>, _max: usize) -> bool {
        false
    }

    /// Takes the next piece as a part of a file, for a writer that can send it so. `None` if it has to be asked for
    /// with [`poll_next`](Self::poll_next).
    fn take_file_part(&mut self) -> Option<FilePart> {
        None
    }

    /// Returns whether all that the source returned so far is kept.
    fn is_kept(&self) -> bool {
        false
    }

    /// Starts again with the first piece, if all that the source returned so far is kept. Returns whether it did.
    fn rewind(&mut self) -> bool {
        false
    }

    /// Drops what is kept, which is not needed any more.
    fn stop_keeping(&mut self) {}
}

/// A body. Only one that has not arrived yet is allocated.
#[derive(Default)]
pub(crate) enum Body {
    /// No byte and no trailers.
    #[default]
    Empty,
    /// All of it, in memory.
    Full(Bytes),
    /// In pieces.
    Stream(Box<dyn BodySource>),
}

impl Body {
    /// Returns a body whose pieces come from `source`.
    pub(crate) fn stream(source: impl BodySource + 'static) -> Self {
        Self::Stream(Box::new(source))
    }

    /// Returns the next piece, or `None` at the end. After the end or an error it stays at the end.
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame, BodyError>>> {
        match self {
            Self::Empty => Poll::Ready(None),
            Self::Full(bytes) => {
                let bytes = std::mem::take(bytes);
                *self = Self::Empty;
                Poll::Ready((!bytes.is_empty()).then_some(Ok(Frame::Data(bytes))))
            }
            Self::Stream(source) => source.poll_next(cx),
        }
    }

    /// See [`BodySource::drive_hook`].
    pub(crate) fn drive_hook(&mut self, cx: &mut Context<'_>) {
        if let Self::Stream(source) = self {
            source.drive_hook(cx);
        }
    }

    /// See [`BodySource::poll_drive`].
    pub(crate) fn poll_drive(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BodyError>> {
        match self {
            Self::Empty | Self::Full(_) => Poll::Ready(Ok(())),
            Self::Stream(source) => source.poll_drive(cx),
        }
    }

    /// See [`BodySource::moved`].
    pub(crate) fn moved(&self) -> u64 {
        match self {
            Self::Empty | Self::Full(_) => 0,
            Self::Stream(source) => source.moved(),
        }
    }

    /// See [`BodySource::set_limit`].
    pub(crate) fn set_limit(&mut self, limit: u64) {
        if let Self::Stream(source) = self {
            source.set_limit(limit);
        }
    }

    /// Returns how many bytes follow, if that is known.
    pub(crate) fn length(&self) -> Option<u64> {
        match self {
            Self::Empty => Some(0),
            Self::Full(bytes) => Some(bytes.len() as u64),
            Self::Stream(source) => source.length(),
        }
    }

    /// See [`BodySource::stop_keeping`].
    pub(crate) fn stop_keeping(&mut self) {
        if let Self::Stream(source) = self {
            source.stop_keeping();
        }
    }

    /// Returns the body from its beginning, if it is `untouched` or all that it returned is kept.
    pub(crate) fn into_whole(mut self, untouched: bool) -> Option<Self> {
        let rewound = if let Self::Stream(source) = &mut self { source.rewind() } else { false };
        (rewound || untouched).then_some(self)
    }

    /// Returns whether it can be sent from its beginning again although something of it was read.
    pub(crate) fn is_kept(&self) -> bool {
        matches!(self, Self::Stream(source) if source.is_kept())
    }

    /// Returns whether it is certain that nothing follows.
    pub(crate) fn is_empty(&self) -> bool {
        self.length() == Some(0)
    }

    /// See [`BodySource::take_file_part`].
    pub(crate) fn take_file_part(&mut self) -> Option<FilePart> {
        match self {
            Self::Empty | Self::Full(_) => None,
            Self::Stream(source) => source.take_file_part(),
        }
    }

    /// See [`BodySource::take_buffered`]. This is how a small response is sent in the same write as its head.
    pub(crate) fn take_buffered(&mut self, out: &mut Vec<u8>, max: usize) -> bool {
        match self {
            Self::Empty => true,
            Self::Full(bytes) if bytes.len() <= max => {
                out.extend_from_slice(bytes);
                *self = Self::Empty;
                true
            }
            Self::Full(_) => false,
            Self::Stream(source) => source.take_buffered(out, max),
        }
    }
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Body").field("length", &self.length()).finish_non_exhaustive()
    }
}
