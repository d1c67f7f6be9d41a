//! Serves the clients that speak HTTP/1.

use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use portcullis_http::Version;
use portcullis_http::h1::{
    BodyFraming, CHUNK_END, HeadLimits, ParsedRequest, ResponseOptions, write_chunk_header, write_last_chunk,
    write_response_head,
};
use portcullis_net::Stream;
use portcullis_policy::Exchange;
use tokio::time::Instant;

use super::arrive::{Arrived, arrive};
use super::body::{Decoder, Downlink, Piece, RequestBody};
use super::close;
use super::downstream::{Client, H1Downstream};
use super::io::{COPY_BYTES_MAX, Io};
use super::tunnel_end::H1TunnelEnd;
use crate::body::{Body, Frame};
use crate::connection::Connection;
use crate::downstream::Downstream;
use crate::exchange::{Answer, Drive, Matched, Sent, finish};
use crate::pace::{Pace, Quiet};
use crate::prefixed::Prefixed;
use crate::respond;
use crate::slot::Slot;
use crate::timer::Timer;
use crate::trace::{RawRequest, Trace};
use crate::tunnel::{self, Life};
use crate::tunnel_end::TunnelEnd;
use crate::worker::Worker;

/// The client of a tunnel that is silent for half of this is asked by the kernel whether it is still there, and the tunnel
/// ends after all of it without an answer. It may be silent for an hour by default, and a client that has vanished would hold
/// two connections for as long.
const TUNNEL_KEEPALIVE: Duration = Duration::from_secs(120);

/// Why a response is cut off for which nothing comes.
const UPSTREAM_SILENT: &str = "the upstream sent nothing of its response body for too long";
/// Why a response is cut off that the client does not take.
const CLIENT_STALLED: &str = "the client took nothing of the response body for too long";

/// One client's connection.
struct Server<'a> {
    worker: &'a Rc<Worker>,
    connection: &'a Rc<Connection>,
    link: Rc<Downlink>,
    slot: Rc<Slot>,
    timer: Timer,
    limits: HeadLimits,
    /// Whether the client may turn out to speak HTTP/2.
    sniff: bool,
}

/// What becomes of the connection.
#[derive(Debug)]
enum Next {
    KeepAlive,
    /// Close, and let the client read its answer first: it may still be sending.
    Close,
    /// Close at once: what was answered before has had its time to arrive.
    End,
    /// An answer was cut off: nothing is to be sent any more.
    Gone,
    /// The upstream has accepted an upgrade.
    Tunnel(Box<Upgraded>),
}

/// An exchange that becomes a tunnel.
#[derive(Debug)]
struct Upgraded {
    upstream: Box<dyn TunnelEnd>,
    trace: Trace,
    route: Option<Matched>,
    /// When the route's time is over.
    deadline: Option<Instant>,
}

/// Serves a connection to its end. With `sniff` the client may turn out to speak HTTP/2, and the connection is given
/// back. Dropping the future closes the connection.
pub(crate) async fn serve(
    worker: &Rc<Worker>,
    connection: &Rc<Connection>,
    stream: Stream,
    sniff: bool,
) -> Option<Prefixed> {
    let mut server = Server {
        worker,
        connection,
        link: Rc::new(Downlink::new(Io::new(stream))),
        slot: Rc::new(Slot::default()),
        timer: Timer::default(),
        limits: HeadLimits::from(connection.limits()),
        sniff,
    };
    // A fresh connection has as long for its first head as for any, not as long as an idle one.
    let mut patience = connection.timeouts().request_head;
    loop {
        let next = match server.arrive(patience).await {
            Arrived::Request(parsed, exchange) => server.exchange(parsed, exchange).await,
            Arrived::Refused(error, exchange) => {
                let raw = RawRequest::h1(&server.link.io.borrow().unread);
                server.refuse(exchange, raw, error.status(), &error.to_string()).await;
                Next::Close
            }
            Arrived::Late => {
                let exchange = server.worker.take_exchange();
                let raw = RawRequest::h1(&server.link.io.borrow().unread);
                server.refuse(exchange, raw, 408, "the request head took too long").await;
                Next::Close
            }
            Arrived::Preface => {
                let io = Rc::into_inner(server.link)?.io.into_inner();
                return Some(Prefixed::new(io.unread, io.stream));
            }
            Arrived::Gone | Arrived::Idle => Next::End,
            Arrived::Draining => Next::Close,
        };
        server.sniff = false;
        patience = connection.timeouts().idle;
        match next {
            Next::KeepAlive => {}
            Next::Gone => return None,
            Next::Tunnel(upgraded) => {
                server.tunnel(*upgraded).await;
                return None;
            }
            Next::Close | Next::End => {
                // A client that sends nothing more cannot cause a reset.
                let at_once = matches!(next, Next::End) || server.link.half_closed.get();
                let io = Rc::into_inner(server.link)?.io.into_inner();
                close::close(io, worker, connection, &mut server.timer, at_once).await;
                return None;
            }
        }
    }
}

impl Server<'_> {
    /// Waits for the next request's head.
    async fn arrive(&mut self, patience: Duration) -> Arrived {
        let Self { worker, connection, link, timer, limits, sniff, .. } = self;
        arrive(worker, connection, link, timer, limits, *sniff, patience).await
    }

    /// Takes a request to its end.
    async fn exchange(&mut self, parsed: ParsedRequest, exchange: Box<Exchange>) -> Next {
        let mut trace = Trace::start();
        self.slot.clear();
        let decoder = Decoder::new(parsed.framing, self.limits);
        let body = if decoder.is_done() {
            Body::Empty
        } else {
            Body::stream(RequestBody::new(self.link.clone(), self.slot.clone()))
        };
        *self.link.decoder.borrow_mut() = decoder;
        self.link.expects_continue.set(parsed.expect_continue);
        let client = Client::of(&exchange, self.connection.listener().half_closed, parsed.keep_alive);

        let mut downstream = H1Downstream::of(self.worker, &self.link, client);
        let drive = Drive {
            worker: self.worker,
            connection: self.connection,
            slot: &self.slot,
            downstream: &mut downstream,
            timer: &mut self.timer,
            trace: &mut trace,
        };
        let Answer { body, tunnel, route, declared, pace, unread } = drive.run(exchange, body).await;

        if let Some(upstream) = tunnel {
            return Next::Tunnel(Box::new(Upgraded { upstream, trace, route, deadline: pace.deadline }));
        }
        let stays = self.body_is_over() && parsed.keep_alive && !client.wants_tunnel;
        let stays = stays && !self.link.half_closed.get() && !self.connection.is_draining();
        // What came behind an offer that was not accepted may be the other protocol, and is no request.
        let keep_alive = stays && (!client.offers_upgrade || self.nothing_came().await);
        let (sent, result) = match unread {
            // The status is for the record.
            true => (Sent { status: self.status().await, bytes: 0 }, Ok(false)),
            false => self.respond(body, declared, pace, client, keep_alive).await,
        };
        let next = match result {
            Ok(true) => Next::KeepAlive,
            Ok(false) => Next::Close,
            Err(error) => {
                trace.fail(&error);
                Next::Gone
            }
        };
        finish(self.worker, self.connection, &self.slot, &mut trace, route.as_ref(), sent).await;
        self.worker.give_back_exchange(self.slot.take());
        next
    }

    /// Whether the request's body was read to its end, or what is left of it was here and could be dropped.
    fn body_is_over(&self) -> bool {
        let mut decoder = self.link.decoder.borrow_mut();
        if decoder.is_done() || self.link.wanted.get() || self.link.expects_continue.get() {
            return decoder.is_done();
        }
        let mut io = self.link.io.borrow_mut();
        loop {
            match decoder.take(&mut io) {
                Ok(Some(Piece::Data(_))) if !decoder.is_done() => {}
                Ok(Some(_)) => return true,
                Ok(None) | Err(_) => return false,
            }
        }
    }

    /// Whether nothing has come behind the request. Looks once, and does not wait.
    async fn nothing_came(&self) -> bool {
        std::future::poll_fn(|cx| {
            let io = &mut *self.link.io.borrow_mut();
            Poll::Ready(io.unread.is_empty() && io.poll_fill(cx).is_pending())
        })
        .await
    }

    async fn status(&self) -> u16 {
        let exchange = self.slot.taken().await;
        let status = exchange.response.status;
        self.slot.put(exchange);
        status
    }

    /// Writes the response. Gives whether the connection can go on.
    async fn respond(
        &mut self,
        body: Body,
        declared: Option<u64>,
        pace: Pace,
        client: Client,
        keep_alive: bool,
    ) -> (Sent, Result<bool, String>) {
        let exchange = self.slot.taken().await;
        let head = &exchange.response;
        let (mut body, declared) = respond::content(head, body, declared);
        let (status, bodyless) = (head.status, head.is_bodyless(client.wants_head));
        let version = client.version;
        let framing = match (bodyless, body.length()) {
            (true, _) => declared.map_or(BodyFraming::None, BodyFraming::Length),
            (false, Some(length)) => BodyFraming::Length(length),
            (false, None) => BodyFraming::UntilClose.for_client(version),
        };
        let keep_alive = keep_alive && framing != BodyFraming::UntilClose;
        let mut whole = bodyless;
        let mut sent = Sent { status, bytes: 0 };
        {
            let io = &mut *self.link.io.borrow_mut();
            write_response_head(
                &mut io.out.bytes,
                head,
                ResponseOptions { version, framing, keep_alive, upgrade: None },
            );
            if let (false, BodyFraming::Length(length)) = (whole, framing) {
                whole = body.take_buffered(&mut io.out.bytes, COPY_BYTES_MAX);
                sent.bytes = if whole { length } else { 0 };
            }
        }
        self.slot.put(exchange);
        // The end of the connection is the end of the body: until that is reached, whatever ends the connection has to
        // look otherwise.
        let cut_is_reset = framing == BodyFraming::UntilClose;
        if cut_is_reset {
            self.reset_at_end(true);
        }
        let result = if whole {
            self.flush(pace).await
        } else {
            self.stream(body, framing == BodyFraming::Chunked, client, &mut sent.bytes, pace).await
        };
        if cut_is_reset && result.is_ok() {
            self.reset_at_end(false);
        }
        (sent, result.map(|()| keep_alive))
    }

    fn reset_at_end(&self, reset: bool) {
        if let Err(error) = self.link.io.borrow().stream.set_reset_at_end(reset) {
            tracing::debug!(peer = %self.connection.peer, %error, "the end of a connection cannot be set");
        }
    }

    /// Writes a body that is not here yet.
    async fn stream(
        &mut self,
        mut body: Body,
        chunked: bool,
        client: Client,
        bytes: &mut u64,
        pace: Pace,
    ) -> Result<(), String> {
        let idle = self.connection.timeouts().idle;
        let upstream_idle = pace.upstream_idle.unwrap_or(idle);
        loop {
            let mut downstream = H1Downstream::of(self.worker, &self.link, client);
            let (link, slot, timer) = (&self.link, &self.slot, &mut self.timer);
            let (mut quiet, mut untaken) = (Quiet::default(), Quiet::default());
            let next = std::future::poll_fn(|cx| {
                if let Poll::Ready(frame) = body.poll_next(cx) {
                    return Poll::Ready(Ok(frame));
                }
                // What is there goes out while the rest is on its way.
                if downstream.poll_gone(cx).is_ready() {
                    return Poll::Ready(Err("the client went away".to_owned()));
                }
                // The request may still be under way, and policies may hold back what comes.
                let moved = body.moved().wrapping_add(slot.request_bytes());
                let until = pace.bounded(quiet.until(moved, slot.is_away(), upstream_idle));
                if timer.poll(cx, until).is_ready() {
                    return Poll::Ready(Err(pace.overdue(UPSTREAM_SILENT)));
                }
                // What the client sends does not excuse that it takes nothing.
                let left = link.io.borrow().out.pending().len();
                if left > 0 && timer.poll(cx, untaken.until_taken(0, idle)).is_ready() {
                    return Poll::Ready(Err(pace.overdue(CLIENT_STALLED)));
                }
                Poll::Pending
            });
            match next.await? {
                Some(Ok(Frame::Data(piece))) => {
                    *bytes += piece.len() as u64;
                    self.write_piece(piece, chunked, &mut body, pace).await?;
                }
                Some(Ok(Frame::Trailers(trailers))) if chunked => {
                    write_last_chunk(&mut self.link.io.borrow_mut().out.bytes, Some(&trailers));
                    return self.flush(pace).await;
                }
                Some(Ok(Frame::Trailers(_))) => return self.flush(pace).await,
                None => {
                    if chunked {
                        write_last_chunk(&mut self.link.io.borrow_mut().out.bytes, None);
                    }
                    return self.flush(pace).await;
                }
                // The connection is closed before the length or the last chunk, so nobody takes the body for whole. What
                // was let go goes out before; whether it arrives changes nothing.
                Some(Err(error)) => {
                    drop(self.flush(pace).await);
                    return Err(error.to_string());
                }
            }
        }
    }

    /// Writes a piece of `body`, whose other side goes on meanwhile: the client may still be sending its request, and may
    /// not read before it has sent it.
    async fn write_piece(
        &mut self,
        mut piece: Bytes,
        chunked: bool,
        body: &mut Body,
        pace: Pace,
    ) -> Result<(), String> {
        {
            let out = &mut self.link.io.borrow_mut().out;
            if chunked {
                write_chunk_header(&mut out.bytes, piece.len());
            }
            // Small pieces gather, and go out when there is nothing more at hand.
            if out.pending().len() + piece.len() <= COPY_BYTES_MAX {
                out.bytes.extend_from_slice(&piece);
                piece.clear();
            }
            if piece.is_empty() {
                if chunked {
                    out.bytes.extend_from_slice(CHUNK_END);
                }
                return Ok(());
            }
        }
        let (link, worker, timer) = (&self.link, self.worker, &mut self.timer);
        let idle = self.connection.timeouts().idle;
        let whole = link.io.borrow().out.pending().len() + piece.len();
        let mut quiet = Quiet::default();
        std::future::poll_fn(|cx| {
            let (written, left) = {
                let io = &mut *link.io.borrow_mut();
                let written = io.poll_write_with(cx, &mut piece);
                (written, io.out.pending().len() + piece.len())
            };
            if let Poll::Ready(written) = written {
                return Poll::Ready(written.map_err(|error| format!("the client went away: {error}")));
            }
            if worker.is_cutting_off() {
                return Poll::Ready(Err("the drain is over".to_owned()));
            }
            if let Poll::Ready(Err(error)) = body.poll_drive(cx) {
                return Poll::Ready(Err(error.to_string()));
            }
            let until = pace.bounded(quiet.until_taken(whole.saturating_sub(left) as u64, idle));
            timer.poll(cx, until).map(|()| Err(pace.overdue(CLIENT_STALLED)))
        })
        .await?;
        if chunked {
            self.link.io.borrow_mut().out.bytes.extend_from_slice(CHUNK_END);
        }
        Ok(())
    }

    /// Writes all that is to be written.
    async fn flush(&mut self, pace: Pace) -> Result<(), String> {
        // Nearly always the socket takes it at once, without a look at the clock.
        let (link, worker, timer) = (&self.link, self.worker, &mut self.timer);
        let idle = self.connection.timeouts().idle;
        let whole = link.io.borrow().out.pending().len();
        let mut quiet = Quiet::default();
        std::future::poll_fn(|cx| {
            let (written, left) = {
                let io = &mut *link.io.borrow_mut();
                (io.poll_write(cx), io.out.pending().len())
            };
            if let Poll::Ready(written) = written {
                return Poll::Ready(written.map_err(|error| format!("the client went away: {error}")));
            }
            if worker.is_cutting_off() {
                return Poll::Ready(Err("the drain is over".to_owned()));
            }
            let until = pace.bounded(quiet.until_taken(whole.saturating_sub(left) as u64, idle));
            timer.poll(cx, until).map(|()| Err(pace.overdue(CLIENT_STALLED)))
        })
        .await
    }

    /// Answers what is no valid request. There is no route, and so no policy, that it could belong to.
    async fn refuse(
        &mut self,
        mut exchange: Box<Exchange>,
        raw: Option<RawRequest>,
        status: u16,
        reason: &str,
    ) {
        let mut trace = Trace::start();
        // If nothing has come that could be shown, no method or path of an earlier request is either.
        trace.raw = Some(raw.unwrap_or_default());
        trace.fail(&reason);
        self.connection.name_client(&mut exchange);
        self.slot.clear();
        let body = respond::error(&mut exchange.response, status, reason);
        self.worker.add_date(&mut exchange.response.fields);
        self.slot.put(exchange);
        let (sent, result) =
            self.respond(Body::Full(body), None, Pace::default(), Client::default(), false).await;
        if let Err(error) = result {
            tracing::debug!(peer = %self.connection.peer, "a refusal was not read: {error}");
        }
        finish(self.worker, self.connection, &self.slot, &mut trace, None, sent).await;
        self.worker.give_back_exchange(self.slot.take());
    }

    /// Tells the client that the upgrade was accepted, and copies both ways.
    async fn tunnel(mut self, upgraded: Upgraded) {
        let Upgraded { upstream, mut trace, route, deadline } = upgraded;
        let sent = self.accept_upgrade().await;
        let (worker, connection, slot) = (self.worker, self.connection, self.slot.clone());
        let sent = match (sent, Rc::into_inner(self.link).map(|link| link.io.into_inner())) {
            (Ok(()), Some(Io { stream, unread, .. })) => {
                if let Err(error) = stream.watch_peer(TUNNEL_KEEPALIVE, None) {
                    tracing::debug!(peer = %connection.peer, %error, "a tunnel's client cannot be watched");
                }
                let client = Box::new(H1TunnelEnd { stream, unread });
                let life = Life { idle: connection.tunnel_idle(), deadline, worker };
                let report = tunnel::run(client, upstream, life, &mut self.timer).await;
                slot.count_request_bytes(usize::try_from(report.from_client).unwrap_or(usize::MAX));
                if let Some(error) = &report.error {
                    trace.fail(error);
                }
                Sent { status: 101, bytes: report.to_client }
            }
            (result, _) => {
                trace.fail(&result.err().unwrap_or_else(|| "the connection is still in use".to_owned()));
                Sent::default()
            }
        };
        finish(worker, connection, &slot, &mut trace, route.as_ref(), sent).await;
        worker.give_back_exchange(slot.take());
    }

    async fn accept_upgrade(&mut self) -> Result<(), String> {
        let exchange = self.slot.taken().await;
        let options = ResponseOptions {
            version: Version::Http11,
            framing: BodyFraming::None,
            keep_alive: true,
            upgrade: exchange.request.upgrade.as_deref(),
        };
        write_response_head(&mut self.link.io.borrow_mut().out.bytes, &exchange.response, options);
        self.slot.put(exchange);
        self.flush(Pace::default()).await
    }
}
