//! Small pieces of a body put together, for HTTP/2.

use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};

use crate::body::{Body, BodyError, Frame};

/// Pieces of at least this many bytes go out as they are, and more than this is not gathered: a DATA frame of the usual
/// size.
const GATHER_BYTES: usize = 16 * 1024;

/// A body whose small pieces are put together while more of it is at hand. A body of tiny chunks would otherwise become
/// as many DATA frames, which receivers take for an attack. What is at hand never waits for what is not.
#[derive(Debug, Default)]
pub(crate) struct Gathered {
    body: Body,
    gathered: BytesMut,
    /// What came behind what was gathered.
    next: Option<Result<Frame, BodyError>>,
    /// The body has ended behind what was gathered.
    ended: bool,
}

impl Gathered {
    pub(crate) fn new(body: Body) -> Self {
        Self { body, ..Self::default() }
    }

    /// The body from its beginning: if nothing of it was given or gathered, or all of that was kept.
    pub(crate) fn into_unread(self, untouched: bool) -> Option<Body> {
        let untouched = untouched && self.gathered.is_empty() && self.next.is_none();
        self.body.into_whole(untouched)
    }

    /// The body needs not be sent again.
    pub(crate) fn stop_keeping(&mut self) {
        self.body.stop_keeping();
    }

    /// Whether it is certain that nothing comes.
    pub(crate) fn is_empty(&self) -> bool {
        self.gathered.is_empty() && self.next.is_none() && (self.ended || self.body.is_empty())
    }

    /// See [`Body::poll_drive`].
    pub(crate) fn poll_drive(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BodyError>> {
        self.body.poll_drive(cx)
    }

    /// See [`Body::moved`].
    pub(crate) fn moved(&self) -> u64 {
        self.body.moved()
    }

    /// The next piece; none at the end.
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame, BodyError>>> {
        if let Some(next) = self.next.take() {
            return Poll::Ready(Some(next));
        }
        if self.ended {
            return Poll::Ready(None);
        }
        loop {
            match self.body.poll_next(cx) {
                Poll::Ready(Some(Ok(Frame::Data(piece)))) => {
                    if self.gathered.is_empty() && (piece.len() >= GATHER_BYTES || self.body.is_empty()) {
                        return Poll::Ready(Some(Ok(Frame::Data(piece))));
                    }
                    if self.gathered.len() + piece.len() > GATHER_BYTES {
                        self.next = Some(Ok(Frame::Data(piece)));
                        return Poll::Ready(Some(Ok(Frame::Data(self.take()))));
                    }
                    self.gathered.extend_from_slice(&piece);
                }
                Poll::Pending if self.gathered.is_empty() => return Poll::Pending,
                Poll::Pending => return Poll::Ready(Some(Ok(Frame::Data(self.take())))),
                Poll::Ready(next) if self.gathered.is_empty() => return Poll::Ready(next),
                Poll::Ready(next) => {
                    self.ended = next.is_none();
                    self.next = next;
                    return Poll::Ready(Some(Ok(Frame::Data(self.take()))));
                }
            }
        }
    }

    fn take(&mut self) -> Bytes {
        self.gathered.split().freeze()
    }
}
