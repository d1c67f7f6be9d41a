//! Serves clients over HTTP/2.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use portcullis_http::h2::{Answered, Peer, Violation};
use portcullis_http::{Known, Scheme};
use portcullis_model::DownstreamTimeouts;
use portcullis_net::streams_max;
use tokio::io::AsyncReadExt;
use tokio::time::Instant;

use crate::body::Body;
use crate::connection::Connection;
use crate::error::{ExchangeError, Malformed, StreamError};
use crate::exchange_info::{ExchangeInfo, RawRequest};
use crate::h2::downstream::H2Downstream;
use crate::h2::outbox::Piece;
use crate::h2::request_body::H2RequestBody;
use crate::h2::streams::{StreamGuard, Streams};
use crate::h2::wire::{Socket, Wire};
use crate::h2::{CONNECTION_WINDOW, SEND_BUFFER, STREAM_WINDOW, convert, describe, refused};
use crate::prefixed::Prefixed;
use crate::response_writer::Sent;
use crate::serve::Serving;
use crate::slot::Slot;
use crate::timer::Timer;
use crate::worker::Worker;

/// How long a closing connection waits for its client: to read the reason, or to acknowledge that it opens no more
/// streams.
const GOODBYE: Duration = Duration::from_secs(1);
/// Bytes that are read from such a client meanwhile.
const GOODBYE_BYTES_MAX: usize = 1 << 20;

/// Serves one connection to its end, and waits for work of its last streams after that, such as completed hooks: until
/// then it counts as a connection, and a drain waits for it. Dropping the future closes it at once.
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
    let write_blocked = stream.write_blocked();
    let stream = Socket::new(stream);
    let (wire, monitor) = Wire::new(stream.clone(), Peer::Client, limits.head_bytes, limits.idle_frames);
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

    let streams = Rc::new(Streams::new(monitor, limits.streams, limits.send_buffer_bytes));
    // Closes the socket before it waits for the last streams.
    match accept(&worker, &connection, &streams, &timeouts, (h2, write_blocked), &mut timer).await {
        true => drop(stream),
        false => linger(stream, &mut timer).await,
    }
    while streams.open.get() > 0 {
        streams.ended.notified().await;
    }
}

/// Accepts streams to the connection's end. Returns whether it ended in an orderly way.
async fn accept(
    worker: &Rc<Worker>,
    connection: &Rc<Connection>,
    streams: &Rc<Streams>,
    timeouts: &DownstreamTimeouts,
    (mut h2, write_blocked): (h2::server::Connection<Wire<Socket>, Piece>, Rc<Cell<bool>>),
    timer: &mut Timer,
) -> bool {
    // Since when it is closing, and whether that is because of what the client did.
    let (mut closing, mut ended) = (None, false);
    loop {
        let event = std::future::poll_fn(|cx| {
            if worker.is_drain_over() {
                return Poll::Ready(Event::Abort);
            }
            let idle_since = if streams.open.get() > 0 { Instant::now() } else { streams.last_end.get() };
            if closing.is_none() && connection.poll_draining(cx, idle_since).is_ready() {
                return Poll::Ready(Event::Close);
            }
            if let Poll::Ready(accepted) = h2.poll_accept(cx) {
                return Poll::Ready(Event::Accepted(accepted));
            }
            let refused = streams.monitor.take_refused();
            if !refused.is_empty() {
                return Poll::Ready(Event::Refused(refused));
            }
            if !ended && let Poll::Ready(violation) = streams.monitor.poll_violation(cx) {
                return Poll::Ready(Event::Violation(violation));
            }
            // A frame or header block must be complete as soon as any head, whatever other streams do.
            if let Some(since) = streams.monitor.incomplete_since().filter(|_| !ended)
                && timer.poll(cx, since + timeouts.request_head).is_ready()
            {
                return Poll::Ready(Event::Late);
            }
            let now = Instant::now();
            let deadline = match (closing, streams.open.get()) {
                (Some(since), _) if ended => since + GOODBYE,
                (_, 1..) => now + timeouts.idle,
                // The last data that was written still waits for the client to read it.
                (Some(_), 0) if write_blocked.get() => streams.last_end.get() + timeouts.idle,
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
                // If the client broke a rule, rather than being lost.
                let unanswered = if error.is_library() { streams.monitor.take_unanswered() } else { 0 };
                refused::record(worker, connection, unanswered, &describe(&error)).await;
                return false;
            }
            Event::Refused(refused) => {
                for answered in refused {
                    streams.count_refused();
                    refused::record_stream(worker, connection, answered).await;
                }
            }
            Event::Accepted(None) => return !ended,
            Event::Abort => return true,
            Event::Violation(violation) => {
                tracing::debug!(peer = %connection.peer, "HTTP/2 connection: {violation}");
                let heads = usize::from(violation.is_of_head());
                refused::record(worker, connection, heads, &violation.to_string()).await;
                (closing, ended) = (Some(Instant::now()), true);
                h2.abrupt_shutdown(Reason::from(violation.code()));
            }
            Event::Late => {
                tracing::debug!(peer = %connection.peer, "HTTP/2 connection: a frame took too long");
                let heads = usize::from(streams.monitor.is_settled());
                refused::record(worker, connection, heads, "a frame took too long").await;
                (closing, ended) = (Some(Instant::now()), true);
                h2.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
            }
            Event::Close => {
                // GOAWAY: open streams continue, new ones are refused.
                closing = Some(Instant::now());
                streams.close();
                h2.graceful_shutdown();
            }
        }
    }
}

/// Reads and drops what the client still sends: the kernel resets a socket that is closed with bytes in it, and the
/// client then does not read the reason.
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
    // A timeout is the normal end of this.
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
    /// The crate has refused streams by itself.
    Refused(Vec<Answered>),
    Close,
    Abort,
    /// The client broke a rule for which its connection ends.
    Violation(Violation),
    /// The rest of a frame or a header block did not arrive in time.
    Late,
}

async fn serve_stream(
    worker: Rc<Worker>,
    connection: Rc<Connection>,
    request: http::Request<RecvStream>,
    respond: SendResponse<Piece>,
    guard: &StreamGuard,
) {
    let (slot, mut timer, mut info) = (Rc::new(Slot::default()), Timer::default(), ExchangeInfo::start());
    let mut exchange = worker.take_exchange();
    let (parts, receive) = request.into_parts();
    let scheme = if connection.tls.is_some() { Scheme::Https } else { Scheme::Http };
    let fields_max = connection.limits().head_fields;
    let mut downstream = H2Downstream::new(respond, guard);
    let target = guard.take_target();
    let read = convert::read_request(&parts, target.as_deref(), scheme, fields_max, &mut exchange.request);
    let read = read.map_err(|malformed| {
        let path = target.as_deref().unwrap_or(parts.uri.path().as_bytes());
        (malformed, RawRequest::new(parts.method.as_str(), path))
    });
    drop(parts);
    // A stream that is reset at once costs no hook and no connection to an upstream. If a client resets many, its next
    // streams wait a moment for that.
    let gone = guard.wait_for_reset(&mut downstream, &mut timer).await;
    let mut serving = Serving { worker: &worker, connection: &connection, slot: &slot, timer: &mut timer };
    let length = match read {
        Ok(length) if !gone => length,
        early => {
            let status = match early {
                Err((malformed, raw)) => {
                    tracing::debug!(peer = %connection.peer, "malformed HTTP/2 request: {}", malformed.0);
                    info.fail(&Malformed(malformed.0));
                    info.raw = Some(raw);
                    let status = malformed.status();
                    downstream.refuse_malformed(status);
                    status.as_u16()
                }
                Ok(_) => {
                    info.fail(&ExchangeError::ClientGone);
                    ExchangeError::ClientGone.response().0
                }
            };
            connection.set_client(&mut exchange);
            slot.put(exchange);
            serving.finish(&mut info, None, Sent { status, bytes: 0 }).await;
            return;
        }
    };
    // The stream of an extended CONNECT is not a body: it may become the tunnel.
    let (mut tunnel, mut inlet, mut expects) = (None, None, None);
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
                expects = Some(body.wanted());
            }
            Body::stream(body)
        }
    };
    downstream.waits_for(exchange.request.method == "HEAD", expects);
    if let Some(upgraded) = serving.run(info, exchange, body, &mut downstream).await {
        let exchange = slot.taken().await;
        let client = match tunnel {
            Some(receive) => downstream.accept_tunnel(&exchange.response, receive),
            None => Err(StreamError::InUse),
        };
        slot.put(exchange);
        serving.tunnel(*upgraded, client, 200).await;
        return;
    }
    // A client that was not asked for its body does not send it.
    if let Some(inlet) = inlet.filter(|_| !downstream.has_not_asked()) {
        guard.read_on(&inlet, &mut timer).await;
    }
}
