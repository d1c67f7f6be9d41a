//! Joins small pieces of a body, for HTTP/2 and for policies.

use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use portcullis_cache::store::FilePart;

use crate::body::{Body, BodyError, Frame};

/// Pieces of at least this many bytes are passed on unchanged, and smaller ones are joined up to this size, which is
/// that of a usual DATA frame.
const COALESCE_BYTES: usize = 16 * 1024;

/// A body whose small pieces are joined while more data is available. A body of tiny chunks would otherwise become as
/// many DATA frames, which receivers treat as an attack, or as many calls of policies. Data that has arrived never
/// waits for data that has not.
#[derive(Debug, Default)]
pub(crate) struct Coalesced {
    body: Body,
    /// The first piece. Nothing is copied as long as it is the only one.
    first: Bytes,
    /// The first piece and those that were appended to it.
    joined: BytesMut,
    /// The frame or error that follows the joined data.
    next: Option<Result<Frame, BodyError>>,
    /// The body has ended after the joined data.
    ended: bool,
    /// Pieces are passed on unchanged.
    passthrough: bool,
}

impl Coalesced {
    pub(crate) fn new(body: Body) -> Self {
        Self { body, ..Self::default() }
    }

    /// Returns `body` without joining its pieces, for a writer that does that itself.
    pub(crate) fn passthrough(body: Body) -> Self {
        Self { body, passthrough: true, ..Self::default() }
    }

    /// Returns the body from its beginning, if nothing of it was read or all that was read is kept.
    pub(crate) fn into_unread(self, untouched: bool) -> Option<Body> {
        let untouched = untouched && self.joined() == 0 && self.next.is_none();
        self.body.into_whole(untouched)
    }

    /// Drops what is kept: the body will not be sent again.
    pub(crate) fn stop_keeping(&mut self) {
        self.body.stop_keeping();
    }

    /// Returns whether it is certain that nothing follows.
    pub(crate) fn is_empty(&self) -> bool {
        self.joined() == 0 && self.next.is_none() && (self.ended || self.body.is_empty())
    }

    /// Returns whether the piece returned last is known to be the end. If the end had to be asked for, it is not known:
    /// the end is then returned separately.
    pub(crate) fn ends_with_last(&self) -> bool {
        !self.ended && self.is_empty()
    }

    /// See [`Body::length`].
    pub(crate) fn length(&self) -> Option<u64> {
        let next = match &self.next {
            None => 0,
            Some(Ok(Frame::Data(piece))) => piece.len() as u64,
            Some(_) => return None,
        };
        let left = if self.ended { Some(0) } else { self.body.length() };
        left.map(|left| left + next + self.joined() as u64)
    }

    /// See [`Body::take_buffered`].
    pub(crate) fn take_buffered(&mut self, out: &mut Vec<u8>, max: usize) -> bool {
        self.joined() == 0 && self.next.is_none() && self.body.take_buffered(out, max)
    }

    /// See [`Body::take_file_part`].
    pub(crate) fn take_file_part(&mut self) -> Option<FilePart> {
        if self.joined() == 0 && self.next.is_none() && !self.ended {
            self.body.take_file_part()
        } else {
            None
        }
    }

    /// See [`Body::is_kept`].
    pub(crate) fn is_kept(&self) -> bool {
        self.body.is_kept()
    }

    /// See [`Body::drive_hook`].
    pub(crate) fn drive_hook(&mut self, cx: &mut Context<'_>) {
        self.body.drive_hook(cx);
    }

    /// See [`Body::poll_drive`].
    pub(crate) fn poll_drive(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BodyError>> {
        self.body.poll_drive(cx)
    }

    /// See [`Body::moved`].
    pub(crate) fn moved(&self) -> u64 {
        self.body.moved()
    }

    /// Returns the next piece, or `None` at the end.
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame, BodyError>>> {
        if let Some(next) = self.next.take() {
            return Poll::Ready(Some(next));
        }
        if self.ended {
            return Poll::Ready(None);
        }
        if self.passthrough {
            return self.body.poll_next(cx);
        }
        loop {
            match self.body.poll_next(cx) {
                Poll::Ready(Some(Ok(Frame::Data(piece)))) => {
                    let joined = self.joined();
                    if joined == 0 && (piece.len() >= COALESCE_BYTES || self.body.is_empty()) {
                        return Poll::Ready(Some(Ok(Frame::Data(piece))));
                    }
                    if joined + piece.len() > COALESCE_BYTES {
                        self.next = Some(Ok(Frame::Data(piece)));
                        return Poll::Ready(Some(Ok(Frame::Data(self.take()))));
                    }
                    self.push(piece);
                    // The end is known, so it need not be asked for.
                    if self.body.is_empty() {
                        return Poll::Ready(Some(Ok(Frame::Data(self.take()))));
                    }
                }
                Poll::Pending if self.joined() == 0 => return Poll::Pending,
                Poll::Pending => return Poll::Ready(Some(Ok(Frame::Data(self.take())))),
                Poll::Ready(next) if self.joined() == 0 => return Poll::Ready(next),
                Poll::Ready(next) => {
                    self.ended = next.is_none();
                    self.next = next;
                    return Poll::Ready(Some(Ok(Frame::Data(self.take()))));
                }
            }
        }
    }

    fn joined(&self) -> usize {
        self.first.len() + self.joined.len()
    }

    fn push(&mut self, piece: Bytes) {
        if self.joined() == 0 {
            self.first = piece;
            return;
        }
        let first = std::mem::take(&mut self.first);
        self.joined.extend_from_slice(&first);
        self.joined.extend_from_slice(&piece);
    }

    fn take(&mut self) -> Bytes {
        if self.first.is_empty() {
            return self.joined.split().freeze();
        }
        std::mem::take(&mut self.first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(pieces: &[&'static str]) -> (usize, Bytes) {
        let mut joined = Coalesced::default();
        pieces.iter().for_each(|piece| joined.push(Bytes::from_static(piece.as_bytes())));
        (joined.joined(), joined.take())
    }

    #[test]
    fn one_piece_is_not_copied_and_several_are_put_together() {
        let one = Bytes::from(vec![7; 100]);
        let mut alone = Coalesced::default();
        alone.push(one.clone());
        assert_eq!(alone.take().as_ptr(), one.as_ptr());
        assert_eq!(joined(&["a", "bc", "d"]), (4, Bytes::from_static(b"abcd")));
    }
}
