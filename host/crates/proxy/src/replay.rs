//! A request's body that is kept until the endpoint answers, so that it can be sent once more.

use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use portcullis_http::Fields;

use crate::body::{Body, BodyError, BodySource, Frame};

/// Pieces under this many bytes are copied: each kept piece holds on to the buffer that it was read into.
const SMALL_BYTES: usize = 1024;

/// A body whose pieces are kept after they were read, up to a bound.
#[derive(Debug)]
struct ReplayBody {
    body: Body,
    kept: Vec<Bytes>,
    /// Small pieces that follow those in `kept`, put together.
    small: BytesMut,
    trailers: Option<Box<Fields>>,
    /// Bytes that may still be kept; `None` if it no longer keeps anything.
    room: Option<usize>,
    /// The next kept piece to return again.
    at: usize,
    /// The trailers are to be returned again.
    again: bool,
}

/// Returns `body` with up to `bytes_max` bytes of it kept, if it has any, until [`Body::stop_keeping`].
pub(crate) fn keeping(body: Body, bytes_max: usize) -> Body {
    if bytes_max == 0 || body.is_empty() { body } else { Body::stream(ReplayBody::new(body, bytes_max)) }
}

impl ReplayBody {
    /// Keeps at most `bytes_max` bytes of `body`. If it has more, it cannot be sent again.
    fn new(body: Body, bytes_max: usize) -> Self {
        Self {
            body,
            kept: Vec::new(),
            small: BytesMut::new(),
            trailers: None,
            room: Some(bytes_max),
            at: 0,
            again: false,
        }
    }

    fn keep(&mut self, piece: &Bytes) {
        let Some(room) = self.room else { return };
        match room.checked_sub(piece.len()) {
            None => self.stop(),
            left if piece.len() < SMALL_BYTES => {
                self.room = left;
                self.small.extend_from_slice(piece);
            }
            left => {
                self.room = left;
                self.keep_small();
                self.kept.push(piece.clone());
                self.at = self.kept.len();
            }
        }
    }

    fn keep_small(&mut self) {
        if !self.small.is_empty() {
            self.kept.push(self.small.split().freeze());
        }
        self.at = self.kept.len();
    }

    /// Drops what was kept, and keeps nothing from now on.
    fn stop(&mut self) {
        (self.room, self.trailers, self.again) = (None, None, false);
        (self.kept, self.small, self.at) = (Vec::new(), BytesMut::new(), 0);
    }
}

impl BodySource for ReplayBody {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame, BodyError>>> {
        if let Some(piece) = self.kept.get(self.at) {
            self.at += 1;
            return Poll::Ready(Some(Ok(Frame::Data(piece.clone()))));
        }
        if std::mem::take(&mut self.again)
            && let Some(trailers) = &self.trailers
        {
            return Poll::Ready(Some(Ok(Frame::Trailers(trailers.clone()))));
        }
        let next = std::task::ready!(self.body.poll_next(cx));
        match &next {
            Some(Ok(Frame::Data(piece))) => self.keep(piece),
            Some(Ok(Frame::Trailers(trailers))) if self.room.is_some() => {
                self.trailers = Some(trailers.clone());
            }
            Some(Err(_)) => self.stop(),
            Some(Ok(Frame::Trailers(_))) | None => {}
        }
        Poll::Ready(next)
    }

    fn is_kept(&self) -> bool {
        self.room.is_some()
    }

    fn rewind(&mut self) -> bool {
        self.keep_small();
        (self.at, self.again) = (0, self.trailers.is_some());
        self.room.is_some()
    }

    fn length(&self) -> Option<u64> {
        let again: usize = self.kept.iter().skip(self.at).map(Bytes::len).sum();
        self.body.length().map(|left| left + again as u64)
    }

    fn drive_hook(&mut self, cx: &mut Context<'_>) {
        self.body.drive_hook(cx);
    }

    fn stop_keeping(&mut self) {
        self.stop();
    }
}

#[cfg(test)]
mod tests;
