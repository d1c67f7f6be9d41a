//! A message body as a stream of pieces, whatever protocol it comes from. Bodies are pulled: nothing is read before
//! whoever writes it has room, which is all the backpressure there is.

use std::task::{Context, Poll};

use bytes::Bytes;
use portcullis_http::Fields;
use portcullis_policy::BodySide;

use crate::filter::FilteredBody;
use crate::h1::{RequestBody, ResponseBody};
use crate::h2::{H2RequestBody, H2ResponseBody};
use crate::replay::ReplayBody;
use crate::watched::WatchedBody;

/// A piece of a body.
#[derive(Debug)]
pub(crate) enum Frame {
    /// Bytes; not empty.
    Data(Bytes),
    /// The trailer section, after which nothing comes.
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
    /// A policy holds it back, and it is larger than may be held back.
    #[error("{reason}")]
    Unheld {
        /// Which of the two bodies it is.
        side: BodySide,
        /// Which policy, and how much it may be.
        reason: String,
    },
    /// A policy stopped it.
    #[error("a policy stopped the body: {reason}")]
    Policy {
        /// Its fault, or that it replied.
        reason: String,
    },
}

/// A body.
#[derive(Default)]
pub(crate) enum Body {
    /// No byte and no trailers.
    #[default]
    Empty,
    /// All of it at once.
    Full(Bytes),
    /// From an HTTP/1 client.
    H1Request(RequestBody),
    /// From an HTTP/1 upstream.
    H1Response(Box<ResponseBody>),
    /// From an HTTP/2 client.
    H2Request(H2RequestBody),
    /// From an HTTP/2 upstream.
    H2Response(Box<H2ResponseBody>),
    /// Through policies.
    Filtered(Box<FilteredBody>),
    /// Past those who are only shown it.
    Watched(Box<WatchedBody>),
    /// A request's, kept until the endpoint answers.
    Replay(Box<ReplayBody>),
}

impl Body {
    /// The next piece; none at the end. After the end or an error it stays at the end.
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame, BodyError>>> {
        match self {
            Self::Empty => Poll::Ready(None),
            Self::Full(bytes) => {
                let bytes = std::mem::take(bytes);
                *self = Self::Empty;
                Poll::Ready((!bytes.is_empty()).then_some(Ok(Frame::Data(bytes))))
            }
            Self::H1Request(body) => body.poll_next(cx),
            Self::H1Response(body) => body.poll_next(cx),
            Self::H2Request(body) => body.poll_next(cx),
            Self::H2Response(body) => body.poll_next(cx),
            Self::Filtered(body) => body.poll_next(cx),
            Self::Watched(body) => body.poll_next(cx),
            Self::Replay(body) => body.poll_next(cx),
        }
    }

    /// Drives on what goes on beneath it: of an upstream's response, the sending of what is left of the request's body. Ready
    /// where there is nothing left to do. The error is the request body's.
    pub(crate) fn poll_drive(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BodyError>> {
        match self {
            Self::H1Response(body) => body.poll_drive(cx),
            Self::H2Response(body) => body.poll_drive(cx),
            Self::Filtered(body) => body.poll_drive(cx),
            Self::Watched(body) => body.poll_drive(cx),
            Self::Empty | Self::Full(_) | Self::H1Request(_) | Self::H2Request(_) | Self::Replay(_) => {
                Poll::Ready(Ok(()))
            }
        }
    }

    /// Bytes that have moved beneath it so far: of an upstream's response those that came, and those of the request that were
    /// sent meanwhile. What a client sends of its request is counted by the slot.
    pub(crate) fn moved(&self) -> u64 {
        match self {
            Self::H1Response(body) => body.moved(),
            Self::H2Response(body) => body.moved(),
            Self::Filtered(body) => body.moved(),
            Self::Watched(body) => body.moved(),
            Self::Empty | Self::Full(_) | Self::H1Request(_) | Self::H2Request(_) | Self::Replay(_) => 0,
        }
    }

    /// Makes a request's body fail when it exceeds `limit` bytes.
    pub(crate) fn set_limit(&mut self, limit: u64) {
        match self {
            Self::H1Request(body) => body.set_limit(limit),
            Self::H2Request(body) => body.set_limit(limit),
            // These are not a client's.
            Self::Empty
            | Self::Full(_)
            | Self::H1Response(_)
            | Self::H2Response(_)
            | Self::Filtered(_)
            | Self::Watched(_)
            | Self::Replay(_) => {}
        }
    }

    /// How many bytes it will give, where that is known.
    pub(crate) fn length(&self) -> Option<u64> {
        match self {
            Self::Empty => Some(0),
            Self::Full(bytes) => Some(bytes.len() as u64),
            Self::H1Request(body) => body.length(),
            Self::H1Response(body) => body.length(),
            Self::H2Request(body) => body.length(),
            Self::H2Response(body) => body.length(),
            Self::Filtered(body) => body.length(),
            Self::Watched(body) => body.length(),
            Self::Replay(body) => body.length(),
        }
    }

    /// Keeps up to `bytes_max` bytes of it, if it has any, until [`Self::stop_keeping`].
    pub(crate) fn keeping(self, bytes_max: usize) -> Self {
        match self {
            Self::Replay(_) => self,
            _ if bytes_max == 0 || self.is_empty() => self,
            _ => Self::Replay(Box::new(ReplayBody::new(self, bytes_max))),
        }
    }

    /// It needs not be sent again.
    pub(crate) fn stop_keeping(&mut self) {
        if let Self::Replay(body) = self {
            body.stop();
        }
    }

    /// The body from its beginning: if it is `untouched`, or all that it gave is kept.
    pub(crate) fn into_whole(mut self, untouched: bool) -> Option<Self> {
        match &mut self {
            Self::Replay(body) => body.rewind().then_some(self),
            _ => untouched.then_some(self),
        }
    }

    /// Whether it could be sent from its beginning again though something of it was given.
    pub(crate) fn is_kept(&self) -> bool {
        matches!(self, Self::Replay(body) if body.is_whole())
    }

    /// Whether it is certain that nothing comes.
    pub(crate) fn is_empty(&self) -> bool {
        self.length() == Some(0)
    }

    /// Moves the rest of the body to `out` if all of it is here already and has at most `max` bytes. This is how a
    /// small answer goes out in the same write as its head.
    pub(crate) fn take_buffered(&mut self, out: &mut Vec<u8>, max: usize) -> bool {
        match self {
            Self::Empty => true,
            Self::Full(bytes) if bytes.len() <= max => {
                out.extend_from_slice(bytes);
                *self = Self::Empty;
                true
            }
            Self::H1Response(body) => body.take_buffered(out, max),
            Self::Watched(body) => body.take_buffered(out, max),
            _ => false,
        }
    }
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Body").field("length", &self.length()).finish_non_exhaustive()
    }
}
