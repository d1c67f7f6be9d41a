//! A body on its way through an encoder.

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use portcullis_compress::{EncodeError, Pooled};
use portcullis_http::Fields;
use tokio::time::{Instant, Sleep};

use crate::body::{Body, BodyError, BodySource, Frame};

/// Bytes of a body that is here as a whole, and is encoded at once: its length is then known. The slowest coding takes
/// half a millisecond for them.
const WHOLE_BYTES_MAX: usize = 32 * 1024;
/// Bytes that are encoded before anything else is looked at.
const STEP_BYTES: usize = 16 * 1024;
/// Bytes that are encoded before other tasks get a turn.
const TURN_BYTES: usize = 32 * 1024;
/// Encoded bytes that are passed on although more of the body is here.
const PIECE_BYTES: usize = 16 * 1024;
/// How long encoded data waits for more of the body. Each time it is let go costs some bytes; a reader does not notice
/// the wait.
const FLUSH_AFTER: Duration = Duration::from_millis(20);

/// A body that is encoded at the pace at which its client reads it. It ends well only if the plain body does.
pub(super) struct EncodedBody {
    inner: Body,
    /// `None` once the body has ended.
    encoder: Option<Pooled>,
    /// What is here of the plain body, and not encoded yet.
    piece: Bytes,
    /// What is encoded and not passed on yet.
    out: Vec<u8>,
    /// What follows the last encoded data.
    next: Option<Result<Frame, BodyError>>,
    /// The encoder holds something back.
    holds: bool,
    /// Data goes on as it comes: the reader waits for each message.
    is_live: bool,
    /// Fires when data has waited long enough. Made when first needed.
    flush: Option<Pin<Box<Sleep>>>,
    /// Whether `flush` is set.
    flush_armed: bool,
    /// Bytes since other tasks had their turn.
    in_turn: usize,
    plain_bytes: Rc<Cell<u64>>,
}

/// Returns whether a response is a stream of messages, each of which its reader waits for.
pub(super) fn is_live(fields: &Fields) -> bool {
    let value = fields.get(b"content-type").unwrap_or_default();
    let media_type = value.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    [&b"text/event-stream"[..], b"application/x-ndjson", b"application/jsonl", b"application/json-seq"]
        .iter()
        .any(|live| media_type.eq_ignore_ascii_case(live))
}

impl EncodedBody {
    /// Encodes `inner`. A small one that is here as a whole is encoded now.
    pub(super) fn new(mut inner: Body, encoder: Pooled, is_live: bool, plain_bytes: Rc<Cell<u64>>) -> Self {
        let mut plain = Vec::new();
        let is_whole = inner.take_buffered(&mut plain, WHOLE_BYTES_MAX);
        let mut body = Self {
            inner,
            encoder: Some(encoder),
            piece: Bytes::new(),
            out: Vec::new(),
            next: None,
            holds: false,
            is_live,
            flush: None,
            flush_armed: false,
            in_turn: 0,
            plain_bytes,
        };
        if is_whole {
            body.piece = Bytes::from(plain);
            while !body.piece.is_empty() {
                body.step();
            }
            body.finish();
        }
        body
    }

    /// Encodes the beginning of the piece that is here.
    fn step(&mut self) {
        let step = self.piece.split_to(self.piece.len().min(STEP_BYTES));
        self.in_turn += step.len();
        self.plain_bytes.set(self.plain_bytes.get() + step.len() as u64);
        self.holds = true;
        let Some(encoder) = &mut self.encoder else { return };
        let done = encoder.write(&step, &mut self.out);
        self.settle(done);
    }

    /// Has the encoder pass on what it holds back.
    fn flush(&mut self) {
        self.holds = false;
        self.flush_armed = false;
        let Some(encoder) = &mut self.encoder else { return };
        let done = encoder.flush(&mut self.out);
        self.settle(done);
    }

    /// Ends the encoded body: the plain one has ended.
    fn finish(&mut self) {
        self.holds = false;
        let Some(mut encoder) = self.encoder.take() else { return };
        let done = encoder.finish(&mut self.out);
        self.settle(done);
    }

    /// Ends the body with an error if the encoder failed. What came before it still goes on.
    fn settle(&mut self, done: Result<(), EncodeError>) {
        if let Err(error) = done {
            self.encoder = None;
            self.piece = Bytes::new();
            self.next = Some(Err(BodyError::Encode(error.to_string())));
        }
    }

    /// Ready when other tasks have had their turn: the runtime looks at its sockets only if no task goes on for ever.
    fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.in_turn >= TURN_BYTES {
            self.in_turn = 0;
            return std::pin::pin!(tokio::task::yield_now()).poll(cx);
        }
        Poll::Ready(())
    }

    /// Ready when what the encoder holds back has to go on, although nothing more of the body is here.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.holds {
            return Poll::Pending;
        }
        if self.is_live {
            return Poll::Ready(());
        }
        let flush = self.flush.get_or_insert_with(|| Box::pin(tokio::time::sleep(FLUSH_AFTER)));
        if !std::mem::replace(&mut self.flush_armed, true) {
            flush.as_mut().reset(Instant::now() + FLUSH_AFTER);
        }
        flush.as_mut().poll(cx)
    }

    /// Takes what is encoded.
    fn take(&mut self) -> Frame {
        Frame::Data(Bytes::from(std::mem::take(&mut self.out)))
    }

    /// Takes in what came of the plain body.
    fn take_in(&mut self, came: Option<Result<Frame, BodyError>>) {
        match came {
            Some(Ok(Frame::Data(piece))) => {
                self.piece = piece;
                self.flush_armed = false;
            }
            Some(Ok(trailers @ Frame::Trailers(_))) => {
                self.finish();
                if self.next.is_none() {
                    self.next = Some(Ok(trailers));
                }
            }
            // Without the end of the encoded body, which shows the client that it is incomplete.
            Some(Err(error)) => {
                self.flush();
                self.encoder = None;
                self.next = Some(Err(error));
            }
            None => self.finish(),
        }
    }
}

impl BodySource for EncodedBody {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame, BodyError>>> {
        loop {
            if self.encoder.is_none() {
                return Poll::Ready(match self.out.is_empty() {
                    false => Some(Ok(self.take())),
                    true => self.next.take(),
                });
            }
            if self.out.len() >= PIECE_BYTES {
                return Poll::Ready(Some(Ok(self.take())));
            }
            if !self.piece.is_empty() {
                ready!(self.poll_turn(cx));
                self.step();
                // The end is known, so it need not be asked for.
                if self.piece.is_empty() && self.encoder.is_some() && self.inner.is_empty() {
                    self.finish();
                }
                continue;
            }
            match self.inner.poll_next(cx) {
                Poll::Ready(came) => self.take_in(came),
                Poll::Pending if !self.out.is_empty() && !self.is_live => {
                    return Poll::Ready(Some(Ok(self.take())));
                }
                Poll::Pending => {
                    ready!(self.poll_flush(cx));
                    self.flush();
                    if !self.out.is_empty() {
                        return Poll::Ready(Some(Ok(self.take())));
                    }
                }
            }
        }
    }

    /// Returns how many bytes follow. Known once all of the body is encoded.
    fn length(&self) -> Option<u64> {
        (self.encoder.is_none() && self.next.is_none()).then_some(self.out.len() as u64)
    }

    fn poll_drive(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BodyError>> {
        self.inner.poll_drive(cx)
    }

    fn drive_hook(&mut self, cx: &mut Context<'_>) {
        self.inner.drive_hook(cx);
    }

    fn moved(&self) -> u64 {
        self.inner.moved()
    }

    fn take_buffered(&mut self, out: &mut Vec<u8>, max: usize) -> bool {
        let is_whole = self.length().is_some_and(|length| length <= max as u64);
        if is_whole {
            out.append(&mut self.out);
        }
        is_whole
    }
}
