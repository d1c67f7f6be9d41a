//! Reads bodies of HTTP/1 messages from a socket.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use portcullis_http::h1::{BodyFraming, ChunkedDecoder, Decoded, HeadLimits};
use portcullis_http::{Fields, strip_request_trailers};

use super::io::Io;
use crate::body::{BodyError, BodySource, Frame};
use crate::slot::Slot;

/// Finds the end of a body.
#[derive(Debug)]
pub(super) enum Decoder {
    /// The end was reached.
    Done,
    /// This many bytes follow; at least one.
    Length(u64),
    /// Chunks. Boxed, because most messages have none.
    Chunked(Box<ChunkedDecoder>),
    /// The body ends with the stream.
    UntilClose,
}

/// A piece of a body.
#[derive(Debug)]
pub(super) enum Piece {
    Data(Bytes),
    End(Option<Box<Fields>>),
}

impl Decoder {
    pub(super) fn new(framing: BodyFraming, limits: HeadLimits) -> Self {
        match framing {
            BodyFraming::None | BodyFraming::Length(0) => Self::Done,
            BodyFraming::Length(length) => Self::Length(length),
            BodyFraming::Chunked => Self::Chunked(Box::new(ChunkedDecoder::new(limits))),
            BodyFraming::UntilClose => Self::UntilClose,
        }
    }

    pub(super) const fn is_done(&self) -> bool {
        matches!(self, Self::Done)
    }

    /// Returns how many bytes follow, if that is known.
    pub(super) const fn length(&self) -> Option<u64> {
        match self {
            Self::Done => Some(0),
            Self::Length(left) => Some(*left),
            Self::Chunked(_) | Self::UntilClose => None,
        }
    }

    /// Returns whether what was read may be the whole rest of the body. This is certain for a length and likely for
    /// chunks, whose end is checked when they are read.
    pub(super) fn may_be_whole(&self, unread: &[u8]) -> bool {
        match self {
            Self::Done => true,
            Self::Length(left) => unread.len() as u64 >= *left,
            Self::Chunked(_) => unread.ends_with(b"\r\n\r\n"),
            Self::UntilClose => false,
        }
    }

    /// Returns the next piece of what was read already, or `None` if more has to be read. The error says what the peer
    /// did wrong.
    pub(super) fn take(&mut self, io: &mut Io) -> Result<Option<Piece>, String> {
        match self {
            Self::Done => Ok(Some(Piece::End(None))),
            Self::Length(_) | Self::UntilClose if io.unread.is_empty() => Ok(None),
            Self::Length(left) => {
                let taken = usize::try_from(*left).unwrap_or(usize::MAX).min(io.unread.len());
                *left -= taken as u64;
                if *left == 0 {
                    *self = Self::Done;
                }
                Ok(Some(Piece::Data(io.unread.split_to(taken).freeze())))
            }
            Self::UntilClose => Ok(Some(Piece::Data(io.unread.split().freeze()))),
            Self::Chunked(decoder) => match decoder.decode(&io.unread).map_err(|error| error.to_string())? {
                Decoded::Data { skip, len } => {
                    io.unread.advance(skip);
                    Ok(Some(Piece::Data(io.unread.split_to(len).freeze())))
                }
                Decoded::More => {
                    io.unread.clear();
                    Ok(None)
                }
                Decoded::End { consumed } => {
                    io.unread.advance(consumed);
                    let trailers = decoder.take_trailers();
                    *self = Self::Done;
                    Ok(Some(Piece::End((!trailers.is_empty()).then(|| Box::new(trailers)))))
                }
            },
        }
    }

    /// Returns the next piece, reading as needed.
    pub(super) fn poll_piece(&mut self, io: &mut Io, cx: &mut Context<'_>) -> Poll<Result<Piece, String>> {
        loop {
            if let Some(piece) = self.take(io)? {
                return Poll::Ready(Ok(piece));
            }
            match ready!(io.poll_fill(cx)) {
                Ok(0) if matches!(self, Self::UntilClose) => {
                    *self = Self::Done;
                    return Poll::Ready(Ok(Piece::End(None)));
                }
                Ok(0) => return Poll::Ready(Err("the connection was closed".to_owned())),
                Ok(_) => {}
                Err(error) => return Poll::Ready(Err(error.to_string())),
            }
        }
    }
}

/// A client's connection, shared by the task that serves it and the body of the current request.
#[derive(Debug)]
pub(super) struct SharedConnection {
    pub(super) io: RefCell<Io>,
    /// Reads the body of the current request.
    pub(super) decoder: RefCell<Decoder>,
    /// The client waits for 100 (Continue).
    pub(super) expects_continue: Cell<bool>,
    /// Whether the body may still be read.
    pub(super) wanted: Cell<bool>,
    /// Whether a reader of the body waits for the socket, and so will see its end.
    pub(super) reading: Cell<bool>,
    /// The client has closed its sending half, and still gets its response.
    pub(super) half_closed: Cell<bool>,
}

impl SharedConnection {
    pub(super) fn new(io: Io) -> Self {
        Self {
            io: RefCell::new(io),
            decoder: RefCell::new(Decoder::Done),
            expects_continue: Cell::new(false),
            wanted: Cell::new(false),
            reading: Cell::new(false),
            half_closed: Cell::new(false),
        }
    }

    /// Returns whether the request's body was read to its end, or the rest of it had arrived and was dropped.
    pub(super) fn body_is_over(&self) -> bool {
        let mut decoder = self.decoder.borrow_mut();
        if decoder.is_done() || self.wanted.get() || self.expects_continue.get() {
            return decoder.is_done();
        }
        let mut io = self.io.borrow_mut();
        loop {
            match decoder.take(&mut io) {
                Ok(Some(Piece::Data(_))) if !decoder.is_done() => {}
                Ok(Some(_)) => return true,
                Ok(None) | Err(_) => return false,
            }
        }
    }

    /// Returns whether nothing has arrived after the request. Checks once and does not wait.
    pub(super) fn nothing_came(&self, cx: &mut Context<'_>) -> bool {
        let io = &mut *self.io.borrow_mut();
        io.unread.is_empty() && io.poll_fill(cx).is_pending()
    }
}

/// The body of a request.
pub(super) struct RequestBody {
    shared: Rc<SharedConnection>,
    slot: Rc<Slot>,
    limit: u64,
    over: bool,
}

impl RequestBody {
    pub(super) fn new(shared: Rc<SharedConnection>, slot: Rc<Slot>) -> Self {
        shared.wanted.set(true);
        Self { shared, slot, limit: u64::MAX, over: false }
    }
}

impl BodySource for RequestBody {
    fn set_limit(&mut self, limit: u64) {
        self.limit = limit;
    }

    fn length(&self) -> Option<u64> {
        if self.over { Some(0) } else { self.shared.decoder.borrow().length() }
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame, BodyError>>> {
        if self.over {
            return Poll::Ready(None);
        }
        let (mut io, mut decoder) = (self.shared.io.borrow_mut(), self.shared.decoder.borrow_mut());
        self.shared.reading.set(false);
        if self.shared.expects_continue.replace(false) {
            // RFC 9110, 10.1.1: sent only when the body is read, so that a policy can refuse the request before the
            // client sends the body.
            io.out.bytes.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
        }
        if let Poll::Ready(Err(error)) = io.poll_write(cx) {
            self.over = true;
            return Poll::Ready(Some(Err(BodyError::Downstream(error.to_string()))));
        }
        let polled = decoder.poll_piece(&mut io, cx);
        self.shared.reading.set(polled.is_pending());
        let frame = match ready!(polled) {
            Ok(Piece::Data(data)) => {
                if self.slot.count_request_bytes(data.len()) > self.limit {
                    self.over = true;
                    Some(Err(BodyError::TooLarge { limit: self.limit }))
                } else {
                    Some(Ok(Frame::Data(data)))
                }
            }
            Ok(Piece::End(trailers)) => {
                self.over = true;
                trailers.map(|mut trailers| {
                    strip_request_trailers(&mut trailers);
                    Ok(Frame::Trailers(trailers))
                })
            }
            Err(reason) => {
                self.over = true;
                Some(Err(BodyError::Downstream(reason)))
            }
        };
        Poll::Ready(frame)
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        self.shared.wanted.set(false);
        self.shared.reading.set(false);
    }
}
