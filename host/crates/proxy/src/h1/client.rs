//! Sends requests to endpoints over HTTP/1.

use std::net::SocketAddr;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use portcullis_http::h1::{
    BodyFraming, CHUNK_END, HeadLimits, ParsedResponse, ResponseError, capitalize_names, parse_response,
    write_chunk_header, write_last_chunk, write_request_head,
};
use portcullis_http::proxy_protocol::ProxyHeader;
use portcullis_http::{Fields, Known, RequestHead, ResponseHead, Version};
use portcullis_model::FieldCase;
use portcullis_net::Stream;

use super::body::{Decoder, Piece};
use super::io::{COPY_BYTES_MAX, Io};
use crate::body::{Body, BodyError, BodySource, Frame};
use crate::call::{Call, CallError, CallEvent, CallResponse, INFORMATIONAL_MAX, WaitsFor};
use crate::pool::{Pool, Reusable};
use crate::prefixed::Prefixed;

/// Fields of a response's head.
const FIELDS_MAX: usize = 256;

/// An idle connection to an endpoint.
#[derive(Debug)]
pub(crate) struct ClientConnection {
    io: Io,
    limits: HeadLimits,
    case: FieldCase,
    /// The address that it leads to, if the endpoint is a name.
    peer: Option<SocketAddr>,
    /// What the endpoint was told of its client, if it was.
    announced: Option<Box<ProxyHeader>>,
    /// How long the endpoint keeps it open, if it said so.
    keep_for: Option<Duration>,
}

impl ClientConnection {
    pub(crate) fn new(
        stream: Stream,
        head_bytes_max: usize,
        case: FieldCase,
        peer: Option<SocketAddr>,
    ) -> Self {
        let limits = HeadLimits { head_bytes: head_bytes_max, fields: FIELDS_MAX };
        Self { io: Io::new(stream), limits, case, peer, announced: None, keep_for: None }
    }

    /// Records what the endpoint was told of its client, if it was.
    pub(crate) fn announcing(mut self, announced: Option<ProxyHeader>) -> Self {
        self.announced = announced.map(Box::new);
        self
    }

    /// Sends a request. The connection returns to `pool` when it can be used again.
    pub(crate) fn start(
        mut self: Box<Self>,
        request: &RequestHead,
        host: &str,
        body: Body,
        pool: Option<Rc<Pool<Self>>>,
        reused: bool,
    ) -> ClientCall {
        let framing = match body.length() {
            Some(0) => BodyFraming::None,
            Some(length) => BodyFraming::Length(length),
            None => BodyFraming::Chunked,
        };
        let upgrade = request.upgrade.as_deref();
        self.io.out.prepare();
        match upgrade {
            Some(_) if request.version == Version::Http2 => {
                let handshake = with_key(request);
                write_request_head(&mut self.io.out.bytes, &handshake, host, framing, upgrade);
            }
            _ => write_request_head(&mut self.io.out.bytes, request, host, framing, upgrade),
        }
        if self.case == FieldCase::Title {
            // Nothing else is in the buffer of an idle connection.
            capitalize_names(&mut self.io.out.bytes);
        }
        ClientCall {
            connection: self,
            pump: Pump::new(body, framing),
            pool,
            reused,
            method: Method::of(request),
            upgrade: upgrade.is_some(),
            informational: 0,
            parsed: None,
        }
    }
}

impl Reusable for ClientConnection {
    fn peer(&self) -> Option<SocketAddr> {
        self.peer
    }

    fn announced(&self) -> Option<ProxyHeader> {
        self.announced.as_deref().copied()
    }

    fn keep_for(&self) -> Option<Duration> {
        self.keep_for
    }

    fn is_alive(&mut self) -> bool {
        self.io.unread.is_empty() && self.io.stream.is_idle_alive()
    }
}

/// The handshake that an extended CONNECT stands for (RFC 8441, 5), with the key that only HTTP/1 has.
fn with_key(request: &RequestHead) -> RequestHead {
    let mut handshake = request.clone();
    if handshake.upgrade.as_deref() == Some("websocket") {
        let key = crate::random::websocket_key();
        // A token and valid characters; one line more or less does not exceed a section's bounds.
        let set = handshake.fields.set(b"sec-websocket-key", key.as_bytes());
        debug_assert!(set.is_ok(), "a key is a valid value");
    }
    handshake
}

/// The part of the request that decides how its response is read.
#[derive(Debug, Clone, Copy)]
struct Method(&'static str);

impl Method {
    fn of(request: &RequestHead) -> Self {
        Self(match request.method.as_str() {
            "HEAD" => "HEAD",
            _ => "GET",
        })
    }
}

/// A request that was sent, or is being sent.
pub(crate) struct ClientCall {
    connection: Box<ClientConnection>,
    pump: Pump,
    pool: Option<Rc<Pool<ClientConnection>>>,
    reused: bool,
    method: Method,
    upgrade: bool,
    informational: u32,
    parsed: Option<ParsedResponse>,
}

impl ClientCall {
    fn head_arrived(&mut self, parsed: ParsedResponse, status: u16) -> Result<CallEvent, CallError> {
        if status == 101 && !self.upgrade {
            return Err(CallError::Protocol("it switched protocols without being asked".to_owned()));
        }
        if status >= 200 || status == 101 {
            self.parsed = Some(parsed);
            return Ok(CallEvent::Final);
        }
        self.informational += 1;
        if self.informational > INFORMATIONAL_MAX {
            return Err(CallError::Protocol(format!(
                "it sent more than {INFORMATIONAL_MAX} informational responses"
            )));
        }
        Ok(CallEvent::Informational)
    }
}

impl Call for ClientCall {
    fn poll_event(
        &mut self,
        cx: &mut Context<'_>,
        head: &mut ResponseHead,
    ) -> Poll<Result<CallEvent, CallError>> {
        let ClientConnection { io, limits, .. } = &mut *self.connection;
        if let Poll::Ready(Err(error)) = self.pump.poll(cx, io) {
            return Poll::Ready(Err(CallError::RequestBody(error)));
        }
        loop {
            if !io.unread.is_empty() {
                let parsed =
                    parse_response(&io.unread, limits, self.method.0, head).map_err(|error| match error {
                        ResponseError::TooLarge | ResponseError::TooManyFields => CallError::HeadTooLarge,
                        _ => CallError::Protocol(error.to_string()),
                    })?;
                if let Some(parsed) = parsed {
                    io.unread.advance(parsed.head_len);
                    return Poll::Ready(self.head_arrived(parsed, head.status));
                }
            }
            let reason = match ready!(io.poll_fill(cx)) {
                Ok(0) => "end of stream".to_owned(),
                Ok(_) => continue,
                Err(error) => error.to_string(),
            };
            let nothing_came = io.unread.is_empty() && self.informational == 0;
            let maybe_stale = self.reused && nothing_came;
            return Poll::Ready(Err(CallError::Closed { reason, maybe_stale, unprocessed: false }));
        }
    }

    fn progress(&self) -> u64 {
        self.pump.progress
    }

    fn waits_for(&self) -> WaitsFor {
        match self.pump.state {
            PumpState::Reading => WaitsFor::Client,
            PumpState::Writing | PumpState::Ending => WaitsFor::Room,
            PumpState::Done | PumpState::Refused => WaitsFor::Head,
        }
    }

    fn into_response(self: Box<Self>, head: &ResponseHead) -> CallResponse {
        let mut this = *self;
        this.pump.stop_keeping();
        let (mut connection, parsed) = (this.connection, this.parsed);
        if head.status == 101 {
            let Io { stream, unread, .. } = connection.io;
            if let Err(error) = stream.allow_standstill() {
                tracing::debug!(%error, "the socket of a tunnel cannot be set up");
            }
            let tunnel = Box::new(Prefixed::new(unread, stream));
            return CallResponse { body: Body::Empty, tunnel: Some(tunnel), declared: None };
        }
        // There is a final head, because this is called only after one.
        let (framing, keep_alive, declared) = parsed.map_or((BodyFraming::None, false, None), |parsed| {
            (parsed.framing, parsed.keep_alive, parsed.content_length)
        });
        let decoder = Decoder::new(framing, connection.limits);
        connection.keep_for = keep_alive_time(&head.fields);
        let mut body = ResponseBody {
            connection: Some(connection),
            decoder,
            pump: this.pump,
            received: 0,
            // The connection returns to the pool only if the endpoint keeps it open.
            pool: this.pool.filter(|_| keep_alive),
        };
        if body.decoder.is_done() && body.pump.state == PumpState::Done {
            body.release();
            return CallResponse { body: Body::Empty, tunnel: None, declared };
        }
        CallResponse { body: Body::stream(body), tunnel: None, declared }
    }

    fn holds_body(&self) -> bool {
        !self.pump.touched || self.pump.body.is_kept()
    }

    fn into_unread_body(self: Box<Self>) -> Option<Body> {
        self.pump.into_unread()
    }
}

/// Returns how long a connection may stay idle according to the `Keep-Alive` field of its last response: a second less
/// than the endpoint keeps it, so that no request meets its closing. Zero if it takes no more requests.
fn keep_alive_time(fields: &Fields) -> Option<Duration> {
    let mut time = None;
    let lines = fields.iter().filter(|(known, ..)| *known == Known::KeepAlive);
    for parameter in lines.flat_map(|(_, _, value)| value.split(|byte| *byte == b',')) {
        let mut parts = parameter.splitn(2, |byte| *byte == b'=');
        let name = parts.next().unwrap_or_default().trim_ascii();
        let value = parts.next().unwrap_or_default().trim_ascii();
        let value = std::str::from_utf8(
            value.strip_prefix(b"\"").and_then(|v| v.strip_suffix(b"\"")).unwrap_or(value),
        );
        let Some(value) = value.ok().and_then(|value| value.parse::<u64>().ok()) else { continue };
        if name.eq_ignore_ascii_case(b"timeout") {
            time = Some(Duration::from_secs(value.saturating_sub(1)));
        } else if name.eq_ignore_ascii_case(b"max") && value == 0 {
            return Some(Duration::ZERO);
        }
    }
    time
}

/// Sends the request's body.
struct Pump {
    body: Body,
    chunked: bool,
    /// A piece that is being written.
    piece: Bytes,
    state: PumpState,
    progress: u64,
    touched: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PumpState {
    /// Waits for the client.
    Reading,
    /// Waits for the endpoint's socket.
    Writing,
    /// The body has ended. Its last bytes are being written.
    Ending,
    Done,
    /// The endpoint takes no more. Its response may still say why.
    Refused,
}

impl Pump {
    fn new(body: Body, framing: BodyFraming) -> Self {
        let state = if framing == BodyFraming::None { PumpState::Ending } else { PumpState::Reading };
        let chunked = framing == BodyFraming::Chunked;
        Self { body, chunked, piece: Bytes::new(), state, progress: 0, touched: false }
    }

    /// Continues sending as far as possible. At first the head is in `io.out`.
    fn poll(&mut self, cx: &mut Context<'_>, io: &mut Io) -> Poll<Result<(), BodyError>> {
        loop {
            match self.state {
                PumpState::Done | PumpState::Refused => return Poll::Ready(Ok(())),
                PumpState::Reading => match self.body.poll_next(cx) {
                    Poll::Pending => {
                        // The head, and what was read of the body, are sent while the client sends nothing.
                        if let Poll::Ready(Err(_)) = io.poll_write(cx) {
                            self.refuse();
                        }
                        return Poll::Pending;
                    }
                    Poll::Ready(Some(Ok(Frame::Data(piece)))) => self.take(piece, io),
                    Poll::Ready(Some(Ok(Frame::Trailers(trailers)))) => {
                        if self.chunked {
                            write_last_chunk(&mut io.out.bytes, Some(&trailers));
                        }
                        self.state = PumpState::Ending;
                    }
                    Poll::Ready(Some(Err(error))) => {
                        self.state = PumpState::Refused;
                        return Poll::Ready(Err(error));
                    }
                    Poll::Ready(None) => {
                        if self.chunked {
                            write_last_chunk(&mut io.out.bytes, None);
                        }
                        self.state = PumpState::Ending;
                    }
                },
                PumpState::Writing => match ready!(self.poll_write(cx, io)) {
                    Ok(()) => {
                        if self.chunked {
                            io.out.bytes.extend_from_slice(CHUNK_END);
                        }
                        self.state = PumpState::Reading;
                    }
                    Err(_) => self.refuse(),
                },
                PumpState::Ending => {
                    self.state = match ready!(self.poll_write(cx, io)) {
                        Ok(()) => PumpState::Done,
                        Err(_) => PumpState::Refused,
                    };
                }
            }
        }
    }

    /// Writes what is pending. Each part counts as progress as soon as it is written.
    fn poll_write(&mut self, cx: &mut Context<'_>, io: &mut Io) -> Poll<std::io::Result<()>> {
        let before = self.piece.len() + io.out.pending().len();
        let written = io.poll_write_with(cx, &mut self.piece);
        self.progress += (before - self.piece.len() - io.out.pending().len()) as u64;
        written
    }

    fn take(&mut self, piece: Bytes, io: &mut Io) {
        self.touched = true;
        self.progress += piece.len() as u64;
        if self.chunked {
            write_chunk_header(&mut io.out.bytes, piece.len());
        }
        if io.out.pending().len() + piece.len() <= COPY_BYTES_MAX {
            io.out.bytes.extend_from_slice(&piece);
            if self.chunked {
                io.out.bytes.extend_from_slice(CHUNK_END);
            }
        } else {
            self.piece = piece;
            self.state = PumpState::Writing;
        }
    }

    fn into_unread(self) -> Option<Body> {
        self.body.into_whole(!self.touched)
    }

    /// Records that the endpoint takes no more. A body that was not read, or is kept, may be sent again.
    fn refuse(&mut self) {
        match self.touched && !self.body.is_kept() {
            true => self.give_up(),
            false => self.state = PumpState::Refused,
        }
    }

    /// Keeps nothing of the body any more, because there is a response. If the endpoint has refused the rest, it is
    /// dropped: a hook that is running with a piece of it continues by itself.
    fn stop_keeping(&mut self) {
        self.body.stop_keeping();
        if self.state == PumpState::Refused {
            self.give_up();
        }
    }

    /// Stops sending. A hook of the body that is running continues by itself.
    fn give_up(&mut self) {
        if self.state != PumpState::Done {
            self.body = Body::Empty;
            self.state = PumpState::Refused;
        }
    }
}

/// The body of a response. Releases the connection at its end.
struct ResponseBody {
    /// `None` once it was released.
    connection: Option<Box<ClientConnection>>,
    decoder: Decoder,
    pump: Pump,
    /// Bytes received so far.
    received: u64,
    pool: Option<Rc<Pool<ClientConnection>>>,
}

impl BodySource for ResponseBody {
    fn moved(&self) -> u64 {
        self.pump.progress.wrapping_add(self.received)
    }

    fn length(&self) -> Option<u64> {
        match self.connection {
            Some(_) => self.decoder.length(),
            None => Some(0),
        }
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame, BodyError>>> {
        let Some(connection) = &mut self.connection else { return Poll::Ready(None) };
        if let Poll::Ready(Err(error)) = self.pump.poll(cx, &mut connection.io) {
            self.abandon();
            return Poll::Ready(Some(Err(error)));
        }
        match ready!(self.decoder.poll_piece(&mut connection.io, cx)) {
            Ok(Piece::Data(data)) => {
                self.received += data.len() as u64;
                if self.decoder.is_done() {
                    self.release();
                }
                Poll::Ready(Some(Ok(Frame::Data(data))))
            }
            Ok(Piece::End(trailers)) => {
                self.release();
                Poll::Ready(trailers.map(|trailers| Ok(Frame::Trailers(trailers))))
            }
            Err(reason) => {
                self.abandon();
                Poll::Ready(Some(Err(BodyError::Upstream(reason))))
            }
        }
    }

    fn poll_drive(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BodyError>> {
        let Some(connection) = &mut self.connection else { return Poll::Ready(Ok(())) };
        // The client takes nothing at the moment, perhaps for long.
        connection.io.release_read_buffer();
        let driven = ready!(self.pump.poll(cx, &mut connection.io));
        if driven.is_err() {
            self.abandon();
        }
        Poll::Ready(driven)
    }

    fn take_buffered(&mut self, out: &mut Vec<u8>, max: usize) -> bool {
        let (Some(connection), Decoder::Length(left)) = (&mut self.connection, &self.decoder) else {
            return self.connection.is_none();
        };
        let Some(length) = usize::try_from(*left).ok().filter(|length| *length <= max) else { return false };
        let unread = &mut connection.io.unread;
        if unread.len() < length {
            return false;
        }
        out.extend_from_slice(&unread[..length]);
        unread.advance(length);
        self.decoder = Decoder::Done;
        self.release();
        true
    }
}

impl ResponseBody {
    /// Returns the connection to the pool, unless its request was not sent completely or bytes arrived that belong to
    /// no response.
    fn release(&mut self) {
        let Some(mut connection) = self.connection.take() else { return };
        if let Some(pool) = self.pool.take()
            && self.pump.state == PumpState::Done
            && connection.io.unread.is_empty()
        {
            connection.io.release_buffers();
            pool.keep(connection);
        }
        self.pump.give_up();
    }

    /// Closes the connection.
    fn abandon(&mut self) {
        self.connection = None;
        self.pump.give_up();
    }
}
