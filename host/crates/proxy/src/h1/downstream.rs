//! An HTTP/1 client's side of an exchange.

use std::io::{self, ErrorKind};
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use portcullis_cache::store::FilePart;
use portcullis_http::h1::{
    BodyFraming, CHUNK_END, ResponseOptions, capitalize_names, write_chunk_header, write_last_chunk,
    write_response_head,
};
use portcullis_http::{Fields, ResponseHead, Version};
use portcullis_model::{FieldCase, HalfClosed};
use portcullis_policy::Exchange;

use super::body::SharedConnection;
use super::io::{COPY_BYTES_MAX, READ_BYTES};
use crate::body::{Body, BodyError};
use crate::connection::Connection;
use crate::downstream::{Content, Downstream, ResponseSink};
use crate::error::StreamError;
use crate::worker::Worker;

/// The parts of a request that decide how its response is written. Read before the policies run, because they may
/// change the method that is forwarded, but not what the client waits for. The default is for a request that could not
/// be read.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Client {
    version: Version,
    /// The method is HEAD.
    wants_head: bool,
    /// The method is CONNECT: data after it is meant for a tunnel, whatever the response is.
    wants_tunnel: bool,
    /// It has offered another protocol, and may use it before it knows whether the offer was accepted.
    offers_upgrade: bool,
    /// It gets its response even if it has closed its sending half after the request.
    half_close: bool,
    /// It may send another request.
    keep_alive: bool,
}

impl Client {
    /// Reads the request in `exchange` before it is changed.
    pub(super) fn of(exchange: &Exchange, half_closed: HalfClosed, keep_alive: bool) -> Self {
        let request = &exchange.request;
        let half_close = match half_closed {
            HalfClosed::Answer => true,
            HalfClosed::Cancel => false,
            // It has announced that it sends no further request.
            HalfClosed::AnswerLast => !keep_alive,
        };
        Self {
            version: request.version,
            wants_head: request.method == "HEAD",
            wants_tunnel: request.method == "CONNECT",
            offers_upgrade: request.upgrade.is_some(),
            half_close,
            keep_alive,
        }
    }
}

/// What happens to the connection after a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AfterResponse {
    /// It takes another request.
    KeepAlive,
    /// It closes once the client has read its response. The client may still be sending.
    Close,
    /// It closes at once: a response was cut off, and nothing may follow it.
    Abort,
}

/// The client's side of an exchange.
pub(super) struct H1Downstream<'a> {
    worker: &'a Worker,
    connection: &'a Connection,
    shared: &'a Rc<SharedConnection>,
    client: Client,
    keep_alive: bool,
    chunked: bool,
    /// The body ends with the connection. Until the body is complete, the connection must end with a reset, so that the
    /// client sees the difference.
    cut_is_reset: bool,
    /// The rest of the piece that is being written, if one is.
    piece: Option<Bytes>,
    /// The same for a piece that is in a file.
    file: Option<FilePart>,
    /// How many bytes of that were sent.
    file_at: u64,
    after: AfterResponse,
}

impl<'a> H1Downstream<'a> {
    pub(super) const fn new(
        worker: &'a Worker,
        connection: &'a Connection,
        shared: &'a Rc<SharedConnection>,
        client: Client,
    ) -> Self {
        Self {
            worker,
            connection,
            shared,
            client,
            keep_alive: false,
            chunked: false,
            cut_is_reset: false,
            piece: None,
            file: None,
            file_at: 0,
            after: AfterResponse::Abort,
        }
    }

    /// Returns what happens to the connection.
    pub(super) const fn after(&self) -> AfterResponse {
        self.after
    }

    /// Writes a head that accepts the upgrade which the client has offered.
    pub(super) fn send_upgrade(&mut self, exchange: &Exchange) {
        let options = ResponseOptions {
            version: Version::Http11,
            framing: BodyFraming::None,
            keep_alive: true,
            upgrade: exchange.request.upgrade.as_deref(),
        };
        self.write_head(&exchange.response, options);
    }

    /// Appends a head to the bytes that wait to be written.
    fn write_head(&self, head: &ResponseHead, options: ResponseOptions<'_>) {
        let out = &mut self.shared.io.borrow_mut().out.bytes;
        let start = out.len();
        write_response_head(out, head, options);
        if self.connection.listener().field_case == FieldCase::Title {
            capitalize_names(&mut out[start..]);
        }
    }

    /// Returns whether the connection can take another request after this one.
    fn can_go_on(&self, cx: &mut Context<'_>) -> bool {
        let Client { keep_alive, wants_tunnel, offers_upgrade, .. } = self.client;
        self.shared.body_is_over()
            && keep_alive
            && !wants_tunnel
            && !self.shared.half_closed.get()
            && !self.connection.is_draining()
            // Data after an offer that was not accepted may belong to the other protocol, and is not a request.
            && (!offers_upgrade || self.shared.nothing_came(cx))
    }

    fn reset_at_end(&self, reset: bool) {
        if let Err(error) = self.shared.io.borrow().stream.set_reset_at_end(reset) {
            tracing::debug!(peer = %self.connection.peer, %error, "the end of a connection cannot be set");
        }
    }
}

impl Downstream for H1Downstream<'_> {
    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let io = &mut *self.shared.io.borrow_mut();
        if self.worker.is_drain_over() {
            return Poll::Ready(());
        }
        if let Poll::Ready(Err(_)) = io.poll_write(cx) {
            return Poll::Ready(());
        }
        // A reader that waits for more of the body sees the end of the connection. After the client has closed its
        // sending half, only a failed write shows that it has gone.
        if self.shared.reading.get() || self.shared.half_closed.get() {
            return Poll::Pending;
        }
        // Otherwise the gateway has to read ahead to find the end: this much of a body, or one byte of the next
        // request, behind which the end cannot be seen.
        let decoder = self.shared.decoder.borrow();
        let ahead = if decoder.is_done() { 1 } else { READ_BYTES };
        while io.unread.len() < ahead {
            match io.poll_fill(cx) {
                Poll::Ready(Ok(0)) if self.client.half_close && decoder.may_be_whole(&io.unread) => {
                    self.shared.half_closed.set(true);
                    return Poll::Pending;
                }
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(()),
                Poll::Ready(Ok(_)) => {}
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Pending
    }

    fn send_informational(&mut self, head: &ResponseHead) {
        // HTTP/1.0 has none (RFC 9110, 15.2), and 100 is sent when the body is read.
        if self.client.version == Version::Http11 && head.status != 100 {
            let options = ResponseOptions {
                version: self.client.version,
                framing: BodyFraming::None,
                keep_alive: true,
                upgrade: None,
            };
            self.write_head(head, options);
        }
    }
}

impl ResponseSink for H1Downstream<'_> {
    fn wants_head(&self) -> bool {
        self.client.wants_head
    }

    fn send_head(
        &mut self,
        cx: &mut Context<'_>,
        head: &ResponseHead,
        content: Content,
    ) -> Result<(), StreamError> {
        let version = self.client.version;
        let framing = match content.length {
            Some(length) => BodyFraming::Length(length),
            None if content.bodyless => BodyFraming::None,
            None => BodyFraming::UntilClose.for_client(version),
        };
        self.chunked = framing == BodyFraming::Chunked;
        self.cut_is_reset = framing == BodyFraming::UntilClose;
        self.keep_alive = self.can_go_on(cx) && !self.cut_is_reset;
        let options = ResponseOptions { version, framing, keep_alive: self.keep_alive, upgrade: None };
        self.write_head(head, options);
        if self.cut_is_reset {
            self.reset_at_end(true);
        }
        Ok(())
    }

    fn start_buffered(&mut self, body: &mut Body) -> bool {
        body.take_buffered(&mut self.shared.io.borrow_mut().out.bytes, COPY_BYTES_MAX)
    }

    fn start_piece(&mut self, piece: Bytes, _last: bool) {
        let out = &mut self.shared.io.borrow_mut().out;
        if self.chunked {
            write_chunk_header(&mut out.bytes, piece.len());
        }
        // Small pieces are collected, and sent when no more data is available.
        if out.pending().len() + piece.len() > COPY_BYTES_MAX {
            self.piece = Some(piece);
            return;
        }
        out.bytes.extend_from_slice(&piece);
        if self.chunked {
            out.bytes.extend_from_slice(CHUNK_END);
        }
    }

    fn file_piece(&mut self) -> Option<&mut Option<FilePart>> {
        let sends_files = !self.chunked && self.shared.io.borrow().stream.sends_files();
        sends_files.then_some(&mut self.file)
    }

    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamError>> {
        if let Some(part) = &self.file {
            let io = &mut *self.shared.io.borrow_mut();
            ready!(io.poll_write(cx)).map_err(StreamError::ClientLost)?;
            let (at, end) = (&mut self.file_at, part.len());
            ready!(io.stream.poll_send_file(cx, part, part.offset(), at, end)).map_err(file_lost)?;
            (self.file, self.file_at) = (None, 0);
        }
        let Some(piece) = &mut self.piece else { return Poll::Ready(Ok(())) };
        let io = &mut *self.shared.io.borrow_mut();
        ready!(io.poll_write_with(cx, piece)).map_err(StreamError::ClientLost)?;
        self.piece = None;
        if self.chunked {
            io.out.bytes.extend_from_slice(CHUNK_END);
        }
        Poll::Ready(Ok(()))
    }

    fn piece_left(&self) -> usize {
        // A part of a file has a length that is a `usize`.
        let file = self.file.as_ref().map_or(0, |part| (part.len() - self.file_at) as usize);
        self.piece.as_ref().map_or(file, Bytes::len)
    }

    fn buffered(&self) -> usize {
        self.shared.io.borrow().out.pending().len()
    }

    fn end(&mut self, trailers: Option<&Fields>) -> Result<(), StreamError> {
        if self.chunked {
            write_last_chunk(&mut self.shared.io.borrow_mut().out.bytes, trailers);
        }
        Ok(())
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamError>> {
        self.shared.io.borrow_mut().poll_write(cx).map_err(StreamError::ClientLost)
    }

    fn complete(&mut self) {
        if self.cut_is_reset {
            self.reset_at_end(false);
        }
        self.after = if self.keep_alive { AfterResponse::KeepAlive } else { AfterResponse::Close };
    }

    /// The connection closes before the declared length or the last chunk.
    fn cut(&mut self, _: &mut Context<'_>) {
        self.after = AfterResponse::Abort;
    }

    fn skip(&mut self) {
        self.after = AfterResponse::Close;
    }

    /// Small pieces are collected in the write buffer anyway.
    fn coalesces(&self) -> bool {
        false
    }
}

/// Returns what has failed: the file or the client.
fn file_lost(error: io::Error) -> StreamError {
    match error.kind() {
        ErrorKind::UnexpectedEof | ErrorKind::InvalidData => {
            StreamError::Body(BodyError::File(error.to_string()))
        }
        _ => StreamError::ClientLost(error),
    }
}
