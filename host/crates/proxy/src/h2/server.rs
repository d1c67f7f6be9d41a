//! Serves the clients that speak HTTP/2.

use std::cell::Cell;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use portcullis_http::{Known, ResponseHead, Scheme};
use portcullis_model::DownstreamTimeouts;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::body::{Body, Frame};
use crate::connection::Connection;
use crate::downstream::Downstream;
use crate::exchange::{Answer, Drive, Pace, Sent, finish, is_bodyless};
use crate::gather::Gathered;
use crate::h1::COPY_BYTES_MAX;
use crate::h2::{CONNECTION_WINDOW, H2RequestBody, SEND_BUFFER, STREAM_WINDOW, convert, describe};
use crate::prefixed::Prefixed;
use crate::slot::Slot;
use crate::timer::Timer;
use crate::trace::{RawRequest, Trace};
use crate::tunnel::{self, Life, TunnelEnd};
use crate::worker::Worker;

/// What the streams of one connection share.
#[derive(Debug)]
struct Streams {
    open: Cell<u32>,
    last_end: Cell<Instant>,
    ended: Notify,
}

/// Serves one connection to its end, and waits for what its last streams do after that, such as hooks that hear of the end:
/// until then it counts as a connection, and a drain waits for it. Dropping the future closes it at once.
pub(crate) async fn serve(worker: Rc<Worker>, connection: Rc<Connection>, stream: Prefixed) {
    let (limits, timeouts) = (connection.limits().clone(), connection.timeouts().clone());
    let mut builder = h2::server::Builder::new();
    builder
        .max_concurrent_streams(limits.streams)
        .max_header_list_size(u32::try_from(limits.head_bytes).unwrap_or(u32::MAX))
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buffer_size(SEND_BUFFER)
        .enable_connect_protocol();
    let mut timer = Timer::default();
    let handshake = timer.run(Instant::now() + timeouts.request_head, builder.handshake::<_, Bytes>(stream));
    let h2 = match handshake.await {
        Ok(Ok(h2)) => h2,
        Ok(Err(error)) => {
            tracing::debug!(peer = %connection.peer, "HTTP/2 preface: {}", describe(&error));
            return;
        }
        Err(_) => return,
    };

    let streams =
        Rc::new(Streams { open: Cell::new(0), last_end: Cell::new(Instant::now()), ended: Notify::new() });
    accept(&worker, &connection, &streams, &timeouts, h2, timer).await;
    while streams.open.get() > 0 {
        streams.ended.notified().await;
    }
}

/// Accepts streams to the connection's end.
async fn accept(
    worker: &Rc<Worker>,
    connection: &Rc<Connection>,
    streams: &Rc<Streams>,
    timeouts: &DownstreamTimeouts,
    mut h2: h2::server::Connection<Prefixed, Bytes>,
    mut timer: Timer,
) {
    let mut closing = false;
    loop {
        let event = std::future::poll_fn(|cx| {
            if worker.is_cutting_off() {
                return Poll::Ready(Event::Abort);
            }
            if !closing && connection.poll_draining(cx).is_ready() {
                return Poll::Ready(Event::Close);
            }
            if let Poll::Ready(accepted) = h2.poll_accept(cx) {
                return Poll::Ready(Event::Accepted(accepted));
            }
            let now = Instant::now();
            let idle_since = if streams.open.get() > 0 { now } else { streams.last_end.get() };
            match timer.poll(cx, idle_since + timeouts.idle) {
                Poll::Ready(()) if streams.open.get() > 0 => Poll::Pending,
                Poll::Ready(()) if closing => Poll::Ready(Event::Abort),
                Poll::Ready(()) => Poll::Ready(Event::Close),
                Poll::Pending => Poll::Pending,
            }
        });
        match event.await {
            Event::Accepted(Some(Ok((request, respond)))) => {
                let guard = StreamGuard::new(streams);
                let (worker, connection) = (worker.clone(), connection.clone());
                tokio::task::spawn_local(async move {
                    serve_stream(worker, connection, request, respond).await;
                    drop(guard);
                });
            }
            Event::Accepted(Some(Err(error))) => {
                tracing::debug!(peer = %connection.peer, "HTTP/2 connection: {}", describe(&error));
                return;
            }
            Event::Accepted(None) | Event::Abort => return,
            Event::Close => {
                // GOAWAY: streams that are open go on, new ones are refused.
                closing = true;
                streams.last_end.set(Instant::now());
                h2.graceful_shutdown();
            }
        }
    }
}

/// A stream that a client has opened.
type Opened = (http::Request<RecvStream>, SendResponse<Bytes>);

#[expect(
    clippy::large_enum_variant,
    reason = "nearly every event is a stream, and a box for each would be in vain"
)]
enum Event {
    Accepted(Option<Result<Opened, h2::Error>>),
    Close,
    Abort,
}

/// Counts a stream as open.
struct StreamGuard(Rc<Streams>);

impl StreamGuard {
    fn new(streams: &Rc<Streams>) -> Self {
        streams.open.set(streams.open.get() + 1);
        Self(streams.clone())
    }
}

impl Drop for StreamGuard {
    fn drop(&mut self) {
        self.0.open.set(self.0.open.get().saturating_sub(1));
        self.0.last_end.set(Instant::now());
        self.0.ended.notify_one();
    }
}

/// The client's side of one stream.
struct H2Downstream {
    respond: SendResponse<Bytes>,
    /// The client waits for 100 (Continue), which it gets when this turns true.
    expects: Option<Rc<Cell<bool>>>,
}

impl H2Downstream {
    /// RFC 9110, 10.1.1: the body is asked for only when someone wants it, so that a policy can refuse the request before
    /// the client has sent it.
    fn ask_for_body(&mut self) {
        if self.expects.take_if(|wanted| wanted.get()).is_some() {
            self.send_informational(&ResponseHead { status: 100, ..ResponseHead::default() });
        }
    }
}

impl Downstream for H2Downstream {
    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.ask_for_body();
        self.respond.poll_reset(cx).map(|_| ())
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
    respond: SendResponse<Bytes>,
) {
    let (slot, mut timer, mut trace) = (Rc::new(Slot::default()), Timer::default(), Trace::start());
    let mut exchange = worker.take_exchange();
    let (parts, receive) = request.into_parts();
    let scheme = if connection.tls.is_some() { Scheme::Https } else { Scheme::Http };
    let fields_max = connection.limits().head_fields;
    let mut downstream = H2Downstream { respond, expects: None };
    let read = convert::read_request(&parts, scheme, fields_max, &mut exchange.request);
    let read = read.map_err(|malformed| {
        (malformed, RawRequest::new(parts.method.as_str(), parts.uri.path().as_bytes()))
    });
    drop(parts);
    let length = match read {
        Ok(length) => length,
        Err((malformed, raw)) => {
            tracing::debug!(peer = %connection.peer, "malformed HTTP/2 request: {}", malformed.0);
            trace.fail(&malformed.0);
            trace.raw = Some(raw);
            connection.name_client(&mut exchange);
            let status = malformed.status();
            refuse_malformed(&mut downstream.respond, status);
            slot.put(exchange);
            finish(&worker, &connection, &slot, &mut trace, None, Sent { status: status.as_u16(), bytes: 0 })
                .await;
            worker.give_back_exchange(slot.take());
            return;
        }
    };
    // From before the policies, which may change the method that is forwarded but not what the client waits for.
    let wants_head = exchange.request.method == "HEAD";
    // The stream of an extended CONNECT is not a body but the tunnel to be.
    let (body, tunnel) = match (&exchange.request.upgrade, receive.is_end_stream()) {
        (Some(_), _) => (Body::Empty, Some(receive)),
        (None, true) => (Body::Empty, None),
        (None, false) => {
            let body = H2RequestBody::new(receive, slot.clone(), length, fields_max);
            if exchange.request.fields.has_token(Known::Expect, "100-continue") {
                downstream.expects = Some(body.wanted());
            }
            (Body::H2Request(body), None)
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

    let out = Out { respond: downstream.respond, slot: &slot, timer: &mut timer, trace: &mut trace };
    let sent = match (upstream, tunnel) {
        (Some(upstream), Some(receive)) => {
            let life = Life { idle: connection.tunnel_idle(), deadline: pace.deadline, worker: &worker };
            out.tunnel(upstream, receive, life).await
        }
        _ if unread => out.nothing().await,
        _ => out.response(body, wants_head, declared, connection.timeouts().idle, pace).await,
    };
    finish(&worker, &connection, &slot, &mut trace, route.as_ref(), sent).await;
    worker.give_back_exchange(slot.take());
}

fn refuse_malformed(respond: &mut SendResponse<Bytes>, status: http::StatusCode) {
    let mut response = http::Response::new(());
    *response.status_mut() = status;
    if respond.send_response(response, true).is_err() {
        respond.send_reset(Reason::PROTOCOL_ERROR);
    }
}

/// Sends what an exchange came to.
struct Out<'a> {
    respond: SendResponse<Bytes>,
    slot: &'a Rc<Slot>,
    timer: &'a mut Timer,
    trace: &'a mut Trace,
}

impl Out<'_> {
    async fn response(
        mut self,
        mut body: Body,
        wants_head: bool,
        declared: Option<u64>,
        idle: Duration,
        pace: Pace,
    ) -> Sent {
        let exchange = self.slot.taken().await;
        let head = &exchange.response;
        let bodyless = is_bodyless(wants_head, head);
        let (status, length) = (head.status, if bodyless { declared } else { body.length() });
        let response = convert::write_response(head, length);
        self.slot.put(exchange);
        let mut small = Vec::new();
        let whole = bodyless || body.take_buffered(&mut small, COPY_BYTES_MAX);
        let ends = bodyless || (whole && small.is_empty());
        let mut send = match response
            .map_err(|error| error.to_string())
            .and_then(|response| self.respond.send_response(response, ends).map_err(|error| describe(&error)))
        {
            Ok(send) => send,
            Err(error) => {
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
            self.data(&mut send, Bytes::from(small), true, &mut bytes, idle, pace).await
        } else {
            self.stream(&mut send, body, &mut bytes, idle, pace).await
        };
        if let Err(error) = result {
            self.trace.fail(&error);
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
        send: &mut SendStream<Bytes>,
        body: Body,
        bytes: &mut u64,
        idle: Duration,
        pace: Pace,
    ) -> Result<(), String> {
        let mut body = Gathered::new(body);
        loop {
            let until = pace.until(pace.upstream_idle.unwrap_or(idle));
            let next = self.timer.run(
                until,
                std::future::poll_fn(|cx| {
                    if let Poll::Ready(frame) = body.poll_next(cx) {
                        return Poll::Ready(Ok(frame));
                    }
                    send.poll_reset(cx).map(|_| Err("the client reset the stream"))
                }),
            );
            match next.await {
                Err(_) => {
                    return Err(pace.overdue("the upstream sent nothing of its response body for too long"));
                }
                Ok(Err(reset)) => return Err(reset.to_owned()),
                Ok(Ok(None)) => return send.send_data(Bytes::new(), true).map_err(|error| describe(&error)),
                Ok(Ok(Some(Ok(Frame::Data(piece))))) => {
                    let last = body.is_empty();
                    self.data(send, piece, last, bytes, idle, pace).await?;
                    if last {
                        return Ok(());
                    }
                }
                Ok(Ok(Some(Ok(Frame::Trailers(trailers))))) => {
                    let map = convert::write_fields(&trailers, None).map_err(|error| error.to_string())?;
                    return send.send_trailers(map).map_err(|error| describe(&error));
                }
                Ok(Ok(Some(Err(error)))) => return Err(error.to_string()),
            }
        }
    }

    /// Sends a piece as the client's window allows.
    async fn data(
        &mut self,
        send: &mut SendStream<Bytes>,
        mut piece: Bytes,
        last: bool,
        bytes: &mut u64,
        idle: Duration,
        pace: Pace,
    ) -> Result<(), String> {
        while !piece.is_empty() {
            send.reserve_capacity(piece.len());
            let until = pace.until(idle);
            let capacity =
                match self.timer.run(until, std::future::poll_fn(|cx| send.poll_capacity(cx))).await {
                    Err(_) => {
                        return Err(pace.overdue("the client took nothing of the response body for too long"));
                    }
                    Ok(None) => return Err("the client closed the stream".to_owned()),
                    Ok(Some(Err(error))) => return Err(describe(&error)),
                    Ok(Some(Ok(0))) => continue,
                    Ok(Some(Ok(capacity))) => capacity,
                };
            let part = piece.split_to(capacity.min(piece.len()));
            *bytes += part.len() as u64;
            let ends = last && piece.is_empty();
            send.send_data(part, ends).map_err(|error| describe(&error))?;
        }
        Ok(())
    }

    /// Accepts an extended CONNECT and copies both ways.
    async fn tunnel(mut self, upstream: TunnelEnd, receive: RecvStream, life: Life<'_>) -> Sent {
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
        let client = TunnelEnd::H2 { receive, send, unread: Bytes::new(), _open: None };
        let report = tunnel::run(client, upstream, life, self.timer).await;
        self.slot.count_request_bytes(usize::try_from(report.from_client).unwrap_or(usize::MAX));
        if let Some(error) = &report.error {
            self.trace.fail(error);
        }
        Sent { status: 200, bytes: report.to_client }
    }
}
