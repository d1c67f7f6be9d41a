//! The client's side of an exchange, in whatever protocol the client speaks.
//!
//! A protocol implements [`ResponseSink`]: how its bytes look and when it has room for more. The rest is the same for
//! all of them (timeouts, the order of steps, what a failure leads to) and is in `response_writer.rs`.

use std::task::{Context, Poll};

use bytes::Bytes;
use portcullis_cache::store::FilePart;
use portcullis_http::{Fields, ResponseHead};

use crate::body::Body;
use crate::error::StreamError;

/// What an exchange needs of its client before there is a response.
pub(crate) trait Downstream {
    /// Ready when the client has gone, so that a response would not be read. Also sends what is buffered.
    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()>;

    /// Passes a 1xx response on, if the client's protocol has them.
    fn send_informational(&mut self, head: &ResponseHead);
}

/// What is known of a response's body when its head is written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Content {
    /// The length to declare, if it is known.
    pub(crate) length: Option<u64>,
    /// The response has no body, whatever its head says of one.
    pub(crate) bodyless: bool,
    /// Nothing follows the head.
    pub(crate) ends: bool,
}

/// Writes a response to a client: first its head, then pieces, each of which is written before the next is started, and
/// then its end. If it is dropped before [`complete`](Self::complete), the client can tell that the response is
/// incomplete.
pub(crate) trait ResponseSink: Downstream {
    /// Returns whether the client waits for a head alone. Policies may change the method that is forwarded, but not
    /// that.
    fn wants_head(&self) -> bool;

    /// Writes the head, or buffers it.
    fn send_head(
        &mut self,
        cx: &mut Context<'_>,
        head: &ResponseHead,
        content: Content,
    ) -> Result<(), StreamError>;

    /// Ready if the connection has room for another piece; otherwise wakes `cx` when it has.
    fn poll_room(&mut self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Ready(())
    }

    /// Starts all of `body` as the last piece, if all of it has arrived and is small enough to be sent in one write
    /// with the head. Returns whether it did.
    fn start_buffered(&mut self, body: &mut Body) -> bool;

    /// Starts a piece. `last` says that it ends the body.
    fn start_piece(&mut self, piece: Bytes, last: bool);

    /// Returns the place of a part of a file that becomes the next piece, or `None` if the sink cannot send files.
    fn file_piece(&mut self) -> Option<&mut Option<FilePart>> {
        None
    }

    /// Continues to write the piece that was started. Ready once the sink takes the next one.
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamError>>;

    /// Returns how many bytes of the piece that was started are still to be written.
    fn piece_left(&self) -> usize;

    /// Returns how many further bytes are buffered, which the client has not taken.
    fn buffered(&self) -> usize;

    /// Ends the body, with `trailers` if it has some and the client's protocol allows them here.
    fn end(&mut self, trailers: Option<&Fields>) -> Result<(), StreamError>;

    /// Writes all that is buffered.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamError>>;

    /// Records that all of the response was written.
    fn complete(&mut self);

    /// Cuts the response off, so that the client can tell that it is incomplete.
    fn cut(&mut self, cx: &mut Context<'_>);

    /// Sends nothing, since the client has gone.
    fn skip(&mut self);

    /// Returns whether pieces should be joined before they are started, because each of them becomes a frame.
    fn coalesces(&self) -> bool;

    /// Returns the error for a client that [`poll_gone`](Downstream::poll_gone) reports as gone.
    fn gone(&self) -> StreamError {
        StreamError::ClientGone
    }
}
