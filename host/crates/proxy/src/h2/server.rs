//! Serves the clients that speak HTTP/2.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use portcullis_http::h2::{Peer, Violation};
use portcullis_http::{Known, ResponseHead, Scheme};
use portcullis_model::DownstreamTimeouts;
use portcullis_net::streams_max;
use tokio::io::AsyncReadExt;
use tokio::time::Instant;

use crate::body::{Body, Frame};
use crate::connection::Connection;
use crate::downstream::Downstream;
use crate::error::ExchangeError;
use crate::exchange::{Answer, Drive, Sent, finish};
use crate::gather::Gathered;
use crate::h1::COPY_BYTES_MAX;
use crate::h2::outbox::Piece;
use crate::h2::request_body::H2RequestBody;
use crate::h2::streams::{StreamGuard, Streams};
use crate::h2::tunnel_end::H2TunnelEnd;
use crate::h2::wire::{Socket, Wire};
use crate::h2::{CONNECTION_WINDOW, SEND_BUFFER, STREAM_WINDOW, convert, describe};
use crate::pace::{Pace, Quiet};
use crate::prefixed::Prefixed;
use crate::respond;
use crate::slot::Slot;
use crate::timer::Timer;
use crate::trace::{RawRequest, Trace};
use crate::tunnel::{self, Life};
use crate::tunnel_end::TunnelEnd;
use crate::worker::Worker;

/// How long a connection that is over waits for its client: to read why, or to answer that it opens no more streams.
const GOODBYE: Duration = Duration::from_secs(1);
/// What is read meanwhile of what such a client still sends.
const GOODBYE_BYTES_MAX: usize = 1 << 20;

/// Serves one connection to its end, and waits for what its last streams do after that, such as hooks that hear of the end:
/// until then it counts as a connection, and a drain waits for it. Dropping the future closes it at once.
pub(crate) async fn serve(worker: Rc<Worker>, connection: Rc<Connection>, stream: Prefixed) {
    let (limits, timeouts) = (connection.limits().clone(), connection.timeouts().clone());
    let mut builder = h2::server::Builder::new();
    builder
        .max_concurrent_streams(limits.streams.min(streams_max()))
        .max_header_list_size(u32::try_from(limits.head_bytes).unwrap_or(u32::MAX))
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buffer_size(SEND_BUFFER)
        .enable_connect_protocol();
    let stuck = stream.stuck();
    let stream = Socket::new(stream);
    let (wire, watch) = Wire::new(stream.clone(), Peer::Client, limits.head_bytes);
    let mut timer = Timer::default();
    let deadline = Instant::now() + timeouts.request_head;
    let handshake = timer.run(deadline, builder.handshake::<_, Piece>(wire));
    let handshake = tokio::select! {
        done = handshake => done,
        () = connection.drained_for(GOODBYE) => return,
    };
    let h2 = match handshake {
        Ok(Ok(h2)) => h2,
        Ok(Err(error)) => {
            tracing::debug!(peer = %connection.peer, "HTTP/2 preface: {}", describe(&error));
            return;
        }
        Err(_) => return,
    };

    let streams = Rc::new(Streams::new(watch, limits.streams));
    // Closed here, not after what the last streams do.
    match accept(&worker, &connection, &streams, &timeouts, (h2, stuck), &mut timer).await {
        true => drop(stream),
        false => linger(stream, &mut timer).await,
    }
    while streams.open.get() > 0 {
        streams.ended.notified().await;
    }
}

/// Accepts streams to the connection's end. Returns whether that was an orderly one.
async fn accept(
    worker: &Rc<Worker>,
    connection: &Rc<Connection>,
    streams: &Rc<Streams>,
    timeouts: &DownstreamTimeouts,
    (mut h2, stuck): (h2::server::Connection<Wire<Socket>, Piece>, Rc<Cell<bool>>),
    timer: &mut Timer,
) -> bool {
    // Since when it is closing, and whether it was ended for what the client did.
    let (mut closing, mut ended) = (None, false);
    loop {
        let event = std::future::poll_fn(|cx| {
            if worker.is_cutting_off() {
                return Poll::Ready(Event::Abort);
            }
            let idle_since = if streams.open.get() > 0 { Instant::now() } else { streams.last_end.get() };
            if closing.is_none() && connection.poll_draining(cx, idle_since).is_ready() {
                return Poll::Ready(Event::Close);
            }
            if let Poll::Ready(accepted) = h2.poll_accept(cx) {
                return Poll::Ready(Event::Accepted(accepted));
            }
            streams.count_refused();
            if !ended && let Poll::Ready(violation) = streams.watch.poll_violation(cx) {
                return Poll::Ready(Event::Violation(violation));
            }
            // What was begun has to become whole as soon as any head, whatever other streams do.
            if let Some(since) = streams.watch.owes_since().filter(|_| !ended)
                && timer.poll(cx, since + timeouts.request_head).is_ready()
            {
                return Poll::Ready(Event::Late);
            }
            let now = Instant::now();
            let deadline = match (closing, streams.open.get()) {
                (Some(since), _) if ended => since + GOODBYE,
                (_, 1..) => now + timeouts.idle,
                // What was sent last still waits for the client to read it.
                (Some(_), 0) if stuck.get() => streams.last_end.get() + timeouts.idle,
                (Some(since), 0) => streams.last_end.get().max(since) + GOODBYE.min(timeouts.idle),
                (None, 0) => streams.last_end.get() + timeouts.idle,
            };
            match timer.poll(cx, deadline) {
                Poll::Ready(()) if streams.open.get() > 0 && !ended => Poll::Pending,
                Poll::Ready(()) if closing.is_some() => Poll::Ready(Event::Abort),
                Poll::Ready(()) => Poll::Ready(Event::Close),
                Poll::Pending => Poll::Pending,
            }
        });
        match event.await {
            Event::Accepted(Some(Ok((request, respond)))) => {
                let guard = StreamGuard::new(streams, respond.stream_id().as_u32());
                let (worker, connection) = (worker.clone(), connection.clone());
                tokio::task::spawn_local(async move {
                    serve_stream(worker, connection, request, respond, &guard).await;
                    drop(guard);
                });
            }
            Event::Accepted(Some(Err(error))) => {
                tracing::debug!(peer = %connection.peer, "HTTP/2 connection: {}", describe(&error));
                return false;
            }
            Event::Accepted(None) => return !ended,
            Event::Abort => return true,
            Event::Violation(violation) => {
                tracing::debug!(peer = %connection.peer, "HTTP/2 connection: {violation}");
                (closing, ended) = (Some(Instant::now()), true);
                h2.abrupt_shutdown(Reason::from(violation.code()));
            }
            Event::Late => {
                tracing::debug!(peer = %connection.peer, "HTTP/2 connection: a frame took too long");
                (closing, ended) = (Some(Instant::now()), true);
                h2.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
            }
            Event::Close => {
                // GOAWAY: streams that are open go on, new ones are refused.
                closing = Some(Instant::now());
                streams.close();
                h2.graceful_shutdown();
            }
        }
    }
}

/// Reads what the client still sends and throws it away: a socket that is closed with bytes in it is reset, and then the
/// client does not read why.
async fn linger(mut stream: Socket, timer: &mut Timer) {
    let (mut read, mut buffer) = (0, [0; 4096]);
    let reading = async {
        while read < GOODBYE_BYTES_MAX {
            match stream.read(&mut buffer).await {
                Ok(0) | Err(_) => return,
                Ok(more) => read += more,
            }
        }
    };
    // The time is all that is wanted of it.
    let _late = timer.run(Instant::now() + GOODBYE, reading).await.is_err();
}

/// A stream that a client has opened.
type Opened = (http::Request<RecvStream>, SendResponse<Piece>);

#[expect(
    clippy::large_enum_variant,
    reason = "nearly every event is a stream, and a box for each would be in vain"
)]
enum Event {
    Accepted(Option<Result<Opened, h2::Error>>),
    Close,
    Abort,
    /// The client did what ends a connection.
    Violation(Violation),
    /// The rest of a frame or a header block did not come.
    Late,
}

/// The client's side of one stream.
struct H2Downstream<'a> {
    respond: SendResponse<Piece>,
    guard: &'a StreamGuard,
    /// The client waits for 100 (Continue), which it gets when this turns true.
    expects: Option<Rc<Cell<bool>>>,
}

impl H2Downstream<'_> {
    /// RFC 9110, 10.1.1: the body is asked for only when someone wants it, so that a policy can refuse the request before
    /// the client has sent it.
    fn ask_for_body(&mut self) {
        if self.expects.take_if(|wanted| wanted.get()).is_some() {
            self.send_informational(&ResponseHead { status: 100, ..ResponseHead::default() });
        }
    }
}

impl Downstream for H2Downstream<'_> {
    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.ask_for_body();
        self.respond.poll_reset(cx).map(|_| self.guard.reset())
    }

    fn send_informational(&mut self, head: &ResponseHead) {
        // One that cannot be sent is one that the client does not get: it can do without.
        let sent =
            convert::write_response(head, None).map(|response| self.respond.send_informational(response));
        if !matches!(sent, Ok(Ok(()))) {
            tracing::debug!(status = head.status, "an informational response could not be passed on");
        }
    }
}

async fn serve_stream(
    worker: Rc<Worker>,
    connection: Rc<Connection>,
    request: http::Request<RecvStream>,
    respond: SendResponse<Piece>,
    guard: &StreamGuard,
) {
    let (slot, mut timer, mut trace) = (Rc::new(Slot::default()), Timer::default(), Trace::start());
    let mut exchange = worker.take_exchange();
    let (parts, receive) = request.into_parts();
    let scheme = if connection.tls.is_some() { Scheme::Https } else { Scheme::Http };
    let fields_max = connection.limits().head_fields;
    let mut downstream = H2Downstream { respond, guard, expects: None };
    let target = guard.take_target();
    let read = convert::read_request(&parts, target.as_deref(), scheme, fields_max, &mut exchange.request);
    let read = read.map_err(|malformed| {
        let path = target.as_deref().unwrap_or(parts.uri.path().as_bytes());
        (malformed, RawRequest::new(parts.method.as_str(), path))
    });
    drop(parts);
    // A stream that is reset at once costs no hook and no connection to an upstream. Of a client that resets many, the next
    // ones wait a moment for that.
    let gone = guard.wait_for_reset(&mut downstream, &mut timer).await;
    let length = match read {
        Ok(length) if !gone => length,
        early => {
            let status = match early {
                Err((malformed, raw)) => {
                    tracing::debug!(peer = %connection.peer, "malformed HTTP/2 request: {}", malformed.0);
                    trace.fail(&malformed.0);
                    trace.raw = Some(raw);
                    let status = malformed.status();
                    refuse_malformed(&mut downstream.respond, status);
                    status.as_u16()
                }
                Ok(_) => {
                    trace.fail(&ExchangeError::ClientGone);
                    ExchangeError::ClientGone.response().0
                }
            };
            connection.name_client(&mut exchange);
            slot.put(exchange);
            finish(&worker, &connection, &slot, &mut trace, None, Sent { status, bytes: 0 }).await;
            worker.give_back_exchange(slot.take());
            return;
        }
    };
    // From before the policies, which may change the method that is forwarded but not what the client waits for.
    let wants_head = exchange.request.method == "HEAD";
    // The stream of an extended CONNECT is not a body but the tunnel to be.
    let (mut tunnel, mut inlet) = (None, None);
    let body = match (&exchange.request.upgrade, receive.is_end_stream()) {
        (Some(_), _) => {
            tunnel = Some(receive);
            Body::Empty
        }
        (None, true) => Body::Empty,
        (None, false) => {
            let receive = Rc::new(RefCell::new(receive));
            inlet = Some(receive.clone());
            let body = H2RequestBody::new(receive, slot.clone(), length, fields_max, guard);
            if exchange.request.fields.has_token(Known::Expect, "100-continue") {
                downstream.expects = Some(body.wanted());
            }
            Body::stream(body)
        }
    };
    let drive = Drive {
        worker: &worker,
        connection: &connection,
        slot: &slot,
        downstream: &mut downstream,
        timer: &mut timer,
        trace: &mut trace,
    };
    let Answer { body, tunnel: upstream, route, declared, pace, unread } = drive.run(exchange, body).await;

    // A body that the client was not asked for does not come.
    let inlet = inlet.filter(|_| downstream.expects.is_none());
    let out = Out {
        respond: downstream.respond,
        guard,
        slot: &slot,
        timer: &mut timer,
        trace: &mut trace,
        idle: connection.timeouts().idle,
        pace,
    };
    let sent = match (upstream, tunnel) {
        (Some(upstream), Some(receive)) => {
            let life = Life { idle: connection.tunnel_idle(), deadline: pace.deadline, worker: &worker };
            out.tunnel(upstream, receive, life).await
        }
        _ if unread => out.nothing().await,
        _ => out.response(body, wants_head, declared).await,
    };
    finish(&worker, &connection, &slot, &mut trace, route.as_ref(), sent).await;
    worker.give_back_exchange(slot.take());
    if let Some(inlet) = inlet {
        guard.read_on(&inlet, &mut timer).await;
    }
}

fn refuse_malformed(respond: &mut SendResponse<Piece>, status: http::StatusCode) {
    let mut response = http::Response::new(());
    *response.status_mut() = status;
    if respond.send_response(response, true).is_err() {
        respond.send_reset(Reason::PROTOCOL_ERROR);
    }
}

/// Sends what an exchange came to.
struct Out<'a> {
    respond: SendResponse<Piece>,
    guard: &'a StreamGuard,
    slot: &'a Rc<Slot>,
    timer: &'a mut Timer,
    trace: &'a mut Trace,
    /// How long the client may take nothing.
    idle: Duration,
    pace: Pace,
}

impl Out<'_> {
    async fn response(mut self, body: Body, wants_head: bool, declared: Option<u64>) -> Sent {
        let exchange = self.slot.taken().await;
        let head = &exchange.response;
        let (mut body, declared) = respond::content(head, body, declared);
        let bodyless = head.is_bodyless(wants_head);
        let (status, length) = (head.status, if bodyless { declared } else { body.length() });
        let response = convert::write_response(head, length);
        self.slot.put(exchange);
        let mut small = Vec::new();
        // What is known to be empty, by a policy's hook too, ends with its head.
        let whole = bodyless || body.is_empty() || body.take_buffered(&mut small, COPY_BYTES_MAX);
        let ends = bodyless || (whole && small.is_empty());
        let mut send = match response
            .map_err(|error| error.to_string())
            .and_then(|response| self.respond.send_response(response, ends).map_err(|error| describe(&error)))
        {
            Ok(send) => send,
            Err(error) => {
                self.guard.reset();
                self.trace.fail(&format!("the response head could not be sent: {error}"));
                self.respond.send_reset(Reason::INTERNAL_ERROR);
                return Sent::default();
            }
        };
        let mut bytes = 0;
        if ends {
            return Sent { status, bytes };
        }
        let result = if whole {
            let nothing_more = &mut Gathered::default();
            self.data(&mut send, Bytes::from(small), true, nothing_more, &mut bytes).await
        } else {
            self.stream(&mut send, body, &mut bytes).await
        };
        if let Err(error) = result {
            self.trace.fail(&error);
            if std::future::poll_fn(|cx| Poll::Ready(send.poll_reset(cx).is_ready())).await {
                self.guard.reset();
            }
            // The crate throws away what it has not written when a stream is reset: first the connection writes what it can.
            tokio::task::yield_now().await;
            send.send_reset(Reason::INTERNAL_ERROR);
        }
        Sent { status, bytes }
    }

    /// Sends nothing, where nobody is there to read it: the status is for the record.
    async fn nothing(mut self) -> Sent {
        let exchange = self.slot.taken().await;
        let status = exchange.response.status;
        self.slot.put(exchange);
        self.respond.send_reset(Reason::CANCEL);
        Sent { status, bytes: 0 }
    }

    /// Sends a body that is not here yet.
    async fn stream(
        &mut self,
        send: &mut SendStream<Piece>,
        body: Body,
        bytes: &mut u64,
    ) -> Result<(), String> {
        let mut body = Gathered::new(body);
        let pace = self.pace;
        let upstream_idle = pace.upstream_idle.unwrap_or(self.idle);
        loop {
            let (slot, timer) = (self.slot, &mut *self.timer);
            let mut quiet = Quiet::default();
            let next = std::future::poll_fn(|cx| {
                if let Poll::Ready(frame) = body.poll_next(cx) {
                    return Poll::Ready(Ok(frame));
                }
                if send.poll_reset(cx).is_ready() {
                    return Poll::Ready(Err("the client reset the stream".to_owned()));
                }
                // The request may still be under way, and policies may hold back what comes.
                let moved = body.moved().wrapping_add(slot.request_bytes());
                let until = pace.bounded(quiet.until(moved, slot.is_away(), upstream_idle));
                timer.poll(cx, until).map(|()| {
                    Err(pace.overdue("the upstream sent nothing of its response body for too long"))
                })
            });
            match next.await? {
                None => {
                    let end = self.guard.piece(Bytes::new(), false);
                    return send.send_data(end, true).map_err(|error| describe(&error));
                }
                Some(Ok(Frame::Data(piece))) => {
                    let last = body.is_empty();
                    self.data(send, piece, last, &mut body, bytes).await?;
                    if last {
                        return Ok(());
                    }
                }
                Some(Ok(Frame::Trailers(trailers))) => {
                    let map = convert::write_fields(&trailers, None).map_err(|error| error.to_string())?;
                    return send.send_trailers(map).map_err(|error| describe(&error));
                }
                Some(Err(error)) => return Err(error.to_string()),
            }
        }
    }

    /// Sends a piece of `body` as the client's window allows. The body's other side goes on meanwhile: the client may still
    /// be sending its request, and may not read before it has sent it.
    async fn data(
        &mut self,
        send: &mut SendStream<Piece>,
        mut piece: Bytes,
        last: bool,
        body: &mut Gathered,
        bytes: &mut u64,
    ) -> Result<(), String> {
        let (timer, pace, idle) = (&mut *self.timer, self.pace, self.idle);
        let (mut quiet, whole) = (Quiet::default(), piece.len());
        while !piece.is_empty() {
            let outbox = self.guard.outbox();
            let taken = (whole - piece.len()) as u64;
            let capacity = std::future::poll_fn(|cx| {
                // Room first: what the connection's window gives a stream, others do not get.
                let capacity = match outbox.poll_room(cx) {
                    Poll::Ready(()) => {
                        send.reserve_capacity(piece.len());
                        send.poll_capacity(cx)
                    }
                    Poll::Pending => send.poll_reset(cx).map(|_| None),
                };
                match capacity {
                    Poll::Ready(None) => return Poll::Ready(Err("the client closed the stream".to_owned())),
                    Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(describe(&error))),
                    Poll::Ready(Some(Ok(0))) => cx.waker().wake_by_ref(),
                    Poll::Ready(Some(Ok(capacity))) => return Poll::Ready(Ok(capacity)),
                    Poll::Pending => {}
                }
                if let Poll::Ready(Err(error)) = body.poll_drive(cx) {
                    return Poll::Ready(Err(error.to_string()));
                }
                let until = pace.bounded(quiet.until_taken(taken, idle));
                timer
                    .poll(cx, until)
                    .map(|()| Err(pace.overdue("the client took nothing of the response body for too long")))
            })
            .await?;
            let part = piece.split_to(capacity.min(piece.len()));
            *bytes += part.len() as u64;
            let ends = last && piece.is_empty();
            let part = self.guard.piece(part, !piece.is_empty());
            send.send_data(part, ends).map_err(|error| describe(&error))?;
        }
        Ok(())
    }

    /// Accepts an extended CONNECT and copies both ways.
    async fn tunnel(mut self, upstream: Box<dyn TunnelEnd>, receive: RecvStream, life: Life<'_>) -> Sent {
        let exchange = self.slot.taken().await;
        let mut head = exchange.response.clone();
        self.slot.put(exchange);
        // RFC 8441, 5: where HTTP/1 says 101, HTTP/2 says 200, and the handshake's own fields have no meaning.
        head.status = 200;
        head.fields.remove(b"sec-websocket-accept");
        let response = convert::write_response(&head, None).map_err(|error| error.to_string());
        let send = response.and_then(|response| {
            self.respond.send_response(response, false).map_err(|error| describe(&error))
        });
        let send = match send {
            Ok(send) => send,
            Err(error) => {
                self.trace.fail(&error);
                return Sent::default();
            }
        };
        let outbox = self.guard.outbox().clone();
        let client = Box::new(H2TunnelEnd::new(receive, send, outbox, None));
        let report = tunnel::run(client, upstream, life, self.timer).await;
        self.slot.count_request_bytes(usize::try_from(report.from_client).unwrap_or(usize::MAX));
        if let Some(error) = &report.error {
            self.trace.fail(error);
        }
        Sent { status: 200, bytes: report.to_client }
    }
}
