//! Sends requests to endpoints over HTTP/2.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::client::ResponseFuture;
use h2::{Reason, RecvStream, SendStream};
use portcullis_http::{RequestHead, ResponseHead, Scheme, Version, strip_response_trailers};

use crate::body::{Body, BodyError, BodySource, Frame};
use crate::call::{Call, CallError, CallEvent, CallResponse, INFORMATIONAL_MAX, NotSent, WaitsFor};
use crate::coalesce::Coalesced;
use crate::h2::connection::{ClientHandle, Lease, OpenStream};
use crate::h2::outbox::{Outbox, Piece};
use crate::h2::tunnel_end::H2TunnelEnd;
use crate::h2::{convert, describe};

/// Trailers and 1xx heads may have as many fields as final heads.
const FIELDS_MAX: usize = 256;

impl Lease {
    /// Sends a request. The call's first event returns what goes wrong.
    pub(crate) fn start(self, request: &RequestHead, host: &str, scheme: Scheme, body: Body) -> ClientCall {
        let Self { mut handle, mut open, reused } = self;
        let request = handle.write(request, host, scheme, body.length());
        let tunnel =
            matches!(&request, Ok(request) if request.extensions().get::<h2::ext::Protocol>().is_some());
        let bodyless = matches!(&request, Ok(request) if request.method() == http::Method::HEAD);
        let ends = body.is_empty() && !tunnel;
        let outbox = open.outbox().clone();
        let state = match request {
            Err(error) => State::Failed(error),
            Ok(request) => match handle.send.send_request(request, ends) {
                Ok((response, send)) => {
                    open.opened(response.stream_id().as_u32());
                    State::Waiting(response, send)
                }
                // The `h2` crate does not send this request.
                Err(error) if error.get_io().is_none() && !error.is_go_away() && !error.is_reset() => {
                    State::Failed(CallError::NotSent(NotSent::Malformed(describe(&error))))
                }
                Err(error) => State::Failed(CallError::Closed {
                    reason: describe(&error),
                    maybe_stale: reused,
                    unprocessed: true,
                }),
            },
        };
        let pump = Pump {
            body: Coalesced::new(body),
            pending: Bytes::new(),
            state: if ends { PumpState::Done } else { PumpState::Reading },
            progress: 0,
            outbox,
        };
        ClientCall {
            state,
            pump,
            open,
            tunnel,
            head_request: bodyless,
            reused,
            informational: 0,
            received: None,
        }
    }
}

impl ClientHandle {
    /// Makes an upgrade an extended CONNECT if the endpoint accepts that. Otherwise the upgrade is left out, which
    /// RFC 9110, 7.8 allows a server.
    fn write(
        &self,
        request: &RequestHead,
        host: &str,
        scheme: Scheme,
        length: Option<u64>,
    ) -> Result<http::Request<()>, CallError> {
        let extended = request.version == Version::Http2 && request.upgrade.is_some();
        if extended && !self.send.is_extended_connect_protocol_enabled() {
            return Err(CallError::NotSent(NotSent::ExtendedConnect));
        }
        let written =
            convert::write_request(request, host, scheme, length.filter(|length| *length > 0), extended)
                .map_err(|error| CallError::NotSent(NotSent::Malformed(error.to_string())))?;
        match self.shared.head_list_max() {
            Some(max) if list_bytes(&written) > u64::from(max) => {
                Err(CallError::NotSent(NotSent::HeadTooLarge { max }))
            }
            _ => Ok(written),
        }
    }
}

/// Returns the size of a head as RFC 9113, 6.5.2 counts it, with 32 bytes added for each field.
fn list_bytes(request: &http::Request<()>) -> u64 {
    let field = |name: &str, value: usize| name.len() as u64 + value as u64 + 32;
    let uri = request.uri();
    let target = uri.path_and_query().map_or(0, |target| target.as_str().len());
    let authority = uri.authority().map_or(0, |authority| authority.as_str().len());
    let protocol = request.extensions().get::<h2::ext::Protocol>();
    field(":method", request.method().as_str().len())
        + field(":scheme", uri.scheme_str().map_or(0, str::len))
        + field(":authority", authority)
        + field(":path", target)
        + protocol.map_or(0, |protocol| field(":protocol", protocol.as_str().len()))
        + request.headers().iter().map(|(name, value)| field(name.as_str(), value.len())).sum::<u64>()
}

/// A request that was sent, or is being sent, on a stream.
pub(crate) struct ClientCall {
    state: State,
    pump: Pump,
    open: OpenStream,
    /// Whether it is an extended CONNECT.
    tunnel: bool,
    head_request: bool,
    reused: bool,
    informational: u32,
    received: Option<(RecvStream, Option<u64>)>,
}

enum State {
    Waiting(ResponseFuture, SendStream<Piece>),
    Answered(SendStream<Piece>),
    Failed(CallError),
    Over,
}

impl Call for ClientCall {
    fn poll_event(
        &mut self,
        cx: &mut Context<'_>,
        head: &mut ResponseHead,
    ) -> Poll<Result<CallEvent, CallError>> {
        if matches!(self.state, State::Failed(_))
            && let State::Failed(error) = std::mem::replace(&mut self.state, State::Over)
        {
            return Poll::Ready(Err(error));
        }
        let State::Waiting(response, send) = &mut self.state else { return Poll::Pending };
        if !self.tunnel
            && let Poll::Ready(Err(error)) = self.pump.poll(cx, send, &mut self.open)
        {
            return Poll::Ready(Err(CallError::RequestBody(error)));
        }
        let maybe_stale = self.reused && self.informational == 0;
        if let Poll::Ready(Some(informational)) = response.poll_informational(cx) {
            // A stream that ends before any head fails here.
            let informational = informational.map_err(|error| closed(&error, maybe_stale, &self.open))?;
            self.informational += 1;
            if self.informational > INFORMATIONAL_MAX {
                return Poll::Ready(Err(CallError::Protocol(format!(
                    "it sent more than {INFORMATIONAL_MAX} informational responses"
                ))));
            }
            let (status, headers) = (informational.status(), informational.headers());
            // HTTP/2 has no 101 (RFC 9113, 8.6), and an HTTP/1 client would take the data that follows for another
            // protocol.
            if status == http::StatusCode::SWITCHING_PROTOCOLS {
                return Poll::Ready(Err(CallError::Protocol("it switched protocols".to_owned())));
            }
            return Poll::Ready(
                convert::read_response(status, headers, FIELDS_MAX, head)
                    .map(|_| CallEvent::Informational)
                    .map_err(|malformed| CallError::Protocol(malformed.0.to_owned())),
            );
        }
        let response =
            ready!(Pin::new(response).poll(cx)).map_err(|error| closed(&error, maybe_stale, &self.open))?;
        let (parts, receive) = response.into_parts();
        let length = convert::read_response(parts.status, &parts.headers, FIELDS_MAX, head)
            .map_err(|malformed| CallError::Protocol(malformed.0.to_owned()))?;
        self.received = Some((receive, length));
        if let State::Waiting(_, send) = std::mem::replace(&mut self.state, State::Over) {
            self.state = State::Answered(send);
        }
        Poll::Ready(Ok(CallEvent::Final))
    }

    fn progress(&self) -> u64 {
        self.pump.progress
    }

    fn waits_for(&self) -> WaitsFor {
        match self.pump.state {
            _ if self.tunnel => WaitsFor::Head,
            PumpState::Reading => WaitsFor::Client,
            PumpState::Sending => WaitsFor::Room,
            PumpState::Done => WaitsFor::Head,
        }
    }

    fn into_response(self: Box<Self>, head: &ResponseHead) -> CallResponse {
        let mut this = *self;
        this.pump.stop_keeping();
        let (State::Answered(send), Some((receive, length))) = (this.state, this.received) else {
            return CallResponse { body: Body::Empty, tunnel: None, declared: None };
        };
        if this.tunnel && (200..300).contains(&head.status) {
            let outbox = this.pump.outbox;
            let tunnel = Box::new(H2TunnelEnd::new(receive, send, outbox, Some(this.open)));
            return CallResponse { body: Body::Empty, tunnel: Some(tunnel), declared: None };
        }
        // A response that ended with its head is passed on as such, even while the request is being sent: in gRPC a
        // head that ends the stream is a response, and a head followed by an empty body is not. The rest of the request
        // is dropped, as at the end of any response.
        let ended = receive.is_end_stream() || this.open.is_head_alone();
        if ended || head.is_bodyless(this.head_request) {
            return CallResponse { body: Body::Empty, tunnel: None, declared: length };
        }
        let body = H2ResponseBody {
            receive,
            send,
            pump: this.pump,
            left: length,
            unreleased: 0,
            received: 0,
            done: false,
            open: this.open,
        };
        CallResponse { body: Body::stream(body), tunnel: None, declared: length }
    }

    fn timed_out(&self) {
        self.open.shared.suspect();
    }

    fn holds_body(&self) -> bool {
        self.pump.is_untouched() || self.pump.body.is_kept()
    }

    fn into_unread_body(self: Box<Self>) -> Option<Body> {
        self.pump.into_unread()
    }
}

/// RFC 9113, 8.7: a request was not acted on if its stream was refused, or is after the last stream of a GOAWAY.
fn closed(error: &h2::Error, maybe_stale: bool, open: &OpenStream) -> CallError {
    // A GOAWAY is an error only for the streams after the last one. The others continue, or end with the connection.
    let left_out = error.is_go_away() && error.is_remote();
    let refused = error.is_reset() && error.reason() == Some(Reason::REFUSED_STREAM);
    if refused && error.is_remote() {
        open.shared.refused();
    }
    let unprocessed = left_out || refused;
    let stale = maybe_stale && (error.is_io() || error.is_go_away());
    CallError::Closed { reason: describe(error), maybe_stale: stale, unprocessed }
}

/// Sends the request's body.
struct Pump {
    body: Coalesced,
    pending: Bytes,
    state: PumpState,
    progress: u64,
    outbox: Outbox,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PumpState {
    /// Waits for the client.
    Reading,
    /// Waits for the endpoint's window.
    Sending,
    Done,
}

impl Pump {
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        send: &mut SendStream<Piece>,
        open: &mut OpenStream,
    ) -> Poll<Result<(), BodyError>> {
        let polled = self.poll_sending(cx, send);
        open.set_waits(polled.is_pending() && self.state == PumpState::Sending);
        polled
    }

    fn poll_sending(
        &mut self,
        cx: &mut Context<'_>,
        send: &mut SendStream<Piece>,
    ) -> Poll<Result<(), BodyError>> {
        loop {
            match self.state {
                PumpState::Done => return Poll::Ready(Ok(())),
                PumpState::Reading => match ready!(self.body.poll_next(cx)) {
                    Some(Ok(Frame::Data(piece))) => {
                        self.progress += piece.len() as u64;
                        send.reserve_capacity(piece.len());
                        self.pending = piece;
                        self.state = PumpState::Sending;
                    }
                    Some(Ok(Frame::Trailers(trailers))) => {
                        self.state = PumpState::Done;
                        let sent = convert::write_fields(&trailers, None).map(|map| send.send_trailers(map));
                        return Poll::Ready(self.ended(send, matches!(sent, Ok(Ok(())))));
                    }
                    Some(Err(error)) => {
                        self.state = PumpState::Done;
                        send.send_reset(Reason::CANCEL);
                        return Poll::Ready(Err(error));
                    }
                    None => {
                        self.state = PumpState::Done;
                        let sent = send.send_data(self.outbox.piece(Bytes::new(), false), true).is_ok();
                        return Poll::Ready(self.ended(send, sent));
                    }
                },
                PumpState::Sending if self.outbox.poll_room(cx).is_pending() => {
                    self.body.drive_hook(cx);
                    ready!(send.poll_reset(cx).map(|_| ()));
                    self.refuse();
                }
                PumpState::Sending => match send.poll_capacity(cx) {
                    Poll::Pending => {
                        self.body.drive_hook(cx);
                        return Poll::Pending;
                    }
                    Poll::Ready(Some(Ok(0))) => {}
                    Poll::Ready(Some(Ok(capacity))) => {
                        let part = self.pending.split_to(capacity.min(self.pending.len()));
                        self.progress += part.len() as u64;
                        let more = !self.pending.is_empty();
                        let last = !more && self.body.is_empty();
                        match (send.send_data(self.outbox.piece(part, more), last), more, last) {
                            (Err(_), ..) => self.refuse(),
                            (Ok(()), true, _) => send.reserve_capacity(self.pending.len()),
                            (Ok(()), false, true) => self.state = PumpState::Done,
                            (Ok(()), false, false) => self.state = PumpState::Reading,
                        }
                    }
                    Poll::Ready(Some(Err(_)) | None) => self.refuse(),
                },
            }
        }
    }

    fn ended(&mut self, send: &mut SendStream<Piece>, sent: bool) -> Result<(), BodyError> {
        if !sent {
            send.send_reset(Reason::CANCEL);
        }
        Ok(())
    }

    /// Keeps nothing of the body any more, because there is a response. If the endpoint has refused the rest, it is
    /// dropped: a hook that is running with a piece of it continues by itself.
    fn stop_keeping(&mut self) {
        self.body.stop_keeping();
        if self.state == PumpState::Done {
            self.give_up();
        }
    }

    /// Stops sending because the endpoint takes no more, which its response explains. Keeps a body that may be sent
    /// again.
    fn refuse(&mut self) {
        self.state = PumpState::Done;
        if self.progress > 0 && !self.body.is_kept() {
            self.give_up();
        }
    }

    /// Stops sending. A hook of the body that is running continues by itself.
    fn give_up(&mut self) {
        self.body = Coalesced::default();
        self.state = PumpState::Done;
    }

    fn is_untouched(&self) -> bool {
        self.progress == 0 && self.pending.is_empty()
    }

    fn into_unread(self) -> Option<Body> {
        let untouched = self.is_untouched();
        self.body.into_unread(untouched)
    }
}

/// What an endpoint sends on a stream.
struct H2ResponseBody {
    receive: RecvStream,
    send: SendStream<Piece>,
    pump: Pump,
    left: Option<u64>,
    unreleased: usize,
    /// Bytes received so far.
    received: u64,
    done: bool,
    open: OpenStream,
}

impl BodySource for H2ResponseBody {
    fn moved(&self) -> u64 {
        self.pump.progress.wrapping_add(self.received)
    }

    fn length(&self) -> Option<u64> {
        if self.done || self.receive.is_end_stream() { Some(0) } else { self.left.filter(|left| *left > 0) }
    }

    fn poll_drive(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BodyError>> {
        if self.done {
            return Poll::Ready(Ok(()));
        }
        let driven = ready!(self.pump.poll(cx, &mut self.send, &mut self.open));
        if driven.is_err() {
            self.end();
        }
        Poll::Ready(driven)
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame, BodyError>>> {
        if self.done {
            return Poll::Ready(None);
        }
        if let Poll::Ready(Err(error)) = self.pump.poll(cx, &mut self.send, &mut self.open) {
            self.end();
            return Poll::Ready(Some(Err(error)));
        }
        let failed = |error: &h2::Error| Poll::Ready(Some(Err(BodyError::Upstream(describe(error)))));
        if self.unreleased > 0 {
            let released = self.receive.flow_control().release_capacity(std::mem::take(&mut self.unreleased));
            if let Err(error) = released {
                self.end();
                return failed(&error);
            }
        }
        loop {
            match ready!(self.receive.poll_data(cx)) {
                Some(Ok(data)) if data.is_empty() => {}
                Some(Ok(data)) => {
                    self.unreleased = data.len();
                    self.received += data.len() as u64;
                    self.left = self.left.map(|left| left.saturating_sub(data.len() as u64));
                    return Poll::Ready(Some(Ok(Frame::Data(data))));
                }
                Some(Err(error)) => {
                    self.end();
                    // RFC 9113, 8.1: a reset after a whole response only says that the rest of the request is not
                    // needed. Without END_STREAM the response was cut off, whatever the code of the reset.
                    if error.is_reset() && self.open.has_ended() && self.left.is_none_or(|left| left == 0) {
                        return Poll::Ready(None);
                    }
                    return failed(&error);
                }
                None => break,
            }
        }
        let trailers = ready!(self.receive.poll_trailers(cx));
        self.end();
        // The crate has dropped trailers that exceeded its limit or are not allowed there.
        if let Some(fault) = self.open.trailers() {
            return Poll::Ready(Some(Err(BodyError::Upstream(fault.to_string()))));
        }
        match trailers {
            Ok(None) => Poll::Ready(None),
            Ok(Some(trailers)) => Poll::Ready(Some(match convert::read_trailers(&trailers, FIELDS_MAX) {
                Ok(mut fields) => {
                    strip_response_trailers(&mut fields);
                    Ok(Frame::Trailers(Box::new(fields)))
                }
                Err(malformed) => Err(BodyError::Upstream(malformed.0.to_owned())),
            })),
            Err(error) => failed(&error),
        }
    }
}

impl H2ResponseBody {
    fn end(&mut self) {
        self.done = true;
        self.pump.give_up();
    }
}
