//! Serves the clients that speak HTTP/1.

use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes};
use portcullis_http::h1::{
    BodyFraming, CHUNK_END, HeadLimits, ParsedRequest, RequestError, ResponseOptions, parse_request,
    write_chunk_header, write_last_chunk, write_response_head,
};
use portcullis_http::{ResponseHead, Scheme, Version};
use portcullis_net::Stream;
use portcullis_policy::Exchange;
use tokio::io::AsyncWriteExt;
use tokio::time::Instant;

use super::body::{Decoder, Downlink, Piece, RequestBody};
use super::io::{COPY_BYTES_MAX, Io, READ_BYTES};
use crate::body::{Body, Frame};
use crate::connection::Connection;
use crate::downstream::Downstream;
use crate::exchange::{Answer, Drive, Matched, Pace, Sent, finish, is_bodyless};
use crate::prefixed::Prefixed;
use crate::respond;
use crate::slot::Slot;
use crate::timer::Timer;
use crate::trace::{RawRequest, Trace};
use crate::tunnel::{self, Life, TunnelEnd};
use crate::worker::Worker;

/// What an HTTP/2 client says first (RFC 9113, 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// How long, and for how many bytes, a connection that ends early is listened to, so that the client reads our answer
/// before it finds the connection reset.
const LINGER: Duration = Duration::from_secs(2);
const LINGER_BYTES_MAX: usize = 512 * 1024;

/// How long the rest of a head may take once a drain has begun.
const DRAIN_GRACE: Duration = Duration::from_secs(2);

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

/// What came first.
enum Arrived {
    Request(ParsedRequest, Box<Exchange>),
    Refused(RequestError, Box<Exchange>),
    /// The client speaks HTTP/2.
    Preface,
    /// The head did not come in time.
    Late,
    /// The client went away, or stayed silent, or it is time to end.
    Over,
}

/// What of a request decides how its response is written. Kept from before the policies, which may change the method
/// that is forwarded but not what the client waits for.
#[derive(Debug, Clone, Copy, Default)]
struct Client {
    version: Version,
    /// The method is HEAD.
    wants_head: bool,
}

impl Client {
    fn of(exchange: &Exchange) -> Self {
        Self { version: exchange.request.version, wants_head: exchange.request.method == "HEAD" }
    }
}

/// What becomes of the connection.
#[derive(Debug)]
enum Next {
    KeepAlive,
    Close,
    /// Close, but let the client read its answer first: it may still be sending.
    Linger,
    /// An answer was cut off: nothing is to be sent any more.
    Gone,
    /// The upstream has accepted an upgrade.
    Tunnel(Box<Upgraded>),
}

/// An exchange that becomes a tunnel.
#[derive(Debug)]
struct Upgraded {
    upstream: TunnelEnd,
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
        link: Rc::new(Downlink::new(Io::new(stream, worker.take_buffer()))),
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
                Next::Linger
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
            Arrived::Over => Next::Close,
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
            Next::Close => {
                server.close(false).await;
                return None;
            }
            Next::Linger => {
                server.close(true).await;
                return None;
            }
        }
    }
}

impl Server<'_> {
    /// Waits for the next request's head. While there is nothing of it, the connection holds no buffer.
    async fn arrive(&mut self, patience: Duration) -> Arrived {
        let (worker, connection, link) = (self.worker, self.connection, &self.link);
        let (limits, timer, sniff) = (&self.limits, &mut self.timer, self.sniff);
        let scheme = if connection.tls.is_some() { Scheme::Https } else { Scheme::Http };
        let mut deadline = Instant::now() + patience;
        let (mut looked_at, mut drained) = (0, None);
        std::future::poll_fn(move |cx| {
            let io = &mut *link.io.borrow_mut();
            loop {
                if io.unread.len() > looked_at {
                    if looked_at == 0 {
                        deadline = deadline.min(Instant::now() + connection.timeouts().request_head);
                    }
                    looked_at = io.unread.len();
                    if sniff && io.unread.starts_with(PREFACE) {
                        return Poll::Ready(Arrived::Preface);
                    }
                    if !(sniff && PREFACE.starts_with(&io.unread)) {
                        let mut exchange = worker.take_exchange();
                        match parse_request(&io.unread, limits, scheme, &mut exchange.request) {
                            Ok(Some(parsed)) => {
                                io.unread.advance(parsed.head_len);
                                return Poll::Ready(Arrived::Request(parsed, exchange));
                            }
                            Ok(None) => worker.give_back_exchange(Some(exchange)),
                            Err(error) => return Poll::Ready(Arrived::Refused(error, exchange)),
                        }
                    }
                }
                if io.unread.is_empty() && io.unread.capacity() == 0 {
                    io.unread = worker.take_buffer();
                }
                match io.poll_fill(cx) {
                    Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Arrived::Over),
                    Poll::Ready(Ok(_)) => {}
                    Poll::Pending => break,
                }
            }
            let idle = io.unread.is_empty();
            if idle {
                worker.give_back_buffer(std::mem::take(&mut io.unread));
            }
            if connection.poll_draining(cx).is_ready() {
                // Empty lines before a request are nothing of it (RFC 9112, 2.2).
                if io.unread.iter().all(|byte| matches!(byte, b'\r' | b'\n')) {
                    return Poll::Ready(Arrived::Over);
                }
                // A head that has begun may be on its way, or be all that a client will ever send.
                let end = *drained.get_or_insert_with(|| Instant::now() + DRAIN_GRACE);
                deadline = deadline.min(end);
            }
            match timer.poll(cx, deadline) {
                Poll::Ready(()) if idle => Poll::Ready(Arrived::Over),
                Poll::Ready(()) => Poll::Ready(Arrived::Late),
                Poll::Pending => Poll::Pending,
            }
        })
        .await
    }

    /// Takes a request to its end.
    async fn exchange(&mut self, parsed: ParsedRequest, exchange: Box<Exchange>) -> Next {
        let mut trace = Trace::start();
        self.slot.clear();
        let decoder = Decoder::new(parsed.framing, self.limits);
        let body = if decoder.is_done() {
            Body::Empty
        } else {
            Body::H1Request(RequestBody::new(self.link.clone(), self.slot.clone()))
        };
        *self.link.decoder.borrow_mut() = decoder;
        self.link.expects_continue.set(parsed.expect_continue);
        let client = Client::of(&exchange);

        let mut downstream = H1Downstream { worker: self.worker, link: &self.link, version: client.version };
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
        let over = self.body_is_over();
        let keep_alive = over && parsed.keep_alive && !self.connection.is_draining();
        let (sent, result) = match unread {
            // The status is for the record.
            true => (Sent { status: self.status().await, bytes: 0 }, Ok(false)),
            false => self.respond(body, declared, pace, client, keep_alive).await,
        };
        let next = match result {
            Ok(true) => Next::KeepAlive,
            Ok(false) if over => Next::Close,
            Ok(false) => Next::Linger,
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

    async fn status(&self) -> u16 {
        let exchange = self.slot.taken().await;
        let status = exchange.response.status;
        self.slot.put(exchange);
        status
    }

    /// Writes the response. Gives whether the connection can go on.
    async fn respond(
        &mut self,
        mut body: Body,
        declared: Option<u64>,
        pace: Pace,
        client: Client,
        keep_alive: bool,
    ) -> (Sent, Result<bool, String>) {
        let exchange = self.slot.taken().await;
        let head = &exchange.response;
        let (status, bodyless) = (head.status, is_bodyless(client.wants_head, head));
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
        let result = if whole {
            self.flush(pace).await
        } else {
            self.stream(body, framing == BodyFraming::Chunked, version, &mut sent.bytes, pace).await
        };
        (sent, result.map(|()| keep_alive))
    }

    /// Writes a body that is not here yet.
    async fn stream(
        &mut self,
        mut body: Body,
        chunked: bool,
        version: Version,
        bytes: &mut u64,
        pace: Pace,
    ) -> Result<(), String> {
        loop {
            let idle = self.connection.timeouts().idle;
            let until = pace.until(pace.upstream_idle.unwrap_or(idle));
            let mut downstream = H1Downstream { worker: self.worker, link: &self.link, version };
            let next = self.timer.run(
                until,
                std::future::poll_fn(|cx| {
                    if let Poll::Ready(frame) = body.poll_next(cx) {
                        return Poll::Ready(Ok(frame));
                    }
                    // What is there goes out while the rest is on its way.
                    downstream.poll_gone(cx).map(|()| Err("the client went away"))
                }),
            );
            match next.await {
                Err(_) => {
                    return Err(pace.overdue("the upstream sent nothing of its response body for too long"));
                }
                Ok(Err(gone)) => return Err(gone.to_owned()),
                Ok(Ok(Some(Ok(Frame::Data(piece))))) => {
                    *bytes += piece.len() as u64;
                    self.write_piece(piece, chunked, pace, idle).await?;
                }
                Ok(Ok(Some(Ok(Frame::Trailers(trailers))))) if chunked => {
                    write_last_chunk(&mut self.link.io.borrow_mut().out.bytes, Some(&trailers));
                    return self.flush(pace).await;
                }
                Ok(Ok(Some(Ok(Frame::Trailers(_))))) => return self.flush(pace).await,
                Ok(Ok(None)) => {
                    if chunked {
                        write_last_chunk(&mut self.link.io.borrow_mut().out.bytes, None);
                    }
                    return self.flush(pace).await;
                }
                // The connection is closed before the length or the last chunk, so nobody takes the body for whole. What
                // was let go goes out before; whether it arrives changes nothing.
                Ok(Ok(Some(Err(error)))) => {
                    drop(self.flush(pace).await);
                    return Err(error.to_string());
                }
            }
        }
    }

    async fn write_piece(
        &mut self,
        mut piece: Bytes,
        chunked: bool,
        pace: Pace,
        idle: Duration,
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
        let (link, worker) = (&self.link, self.worker);
        let written = std::future::poll_fn(|cx| match link.io.borrow_mut().poll_write_with(cx, &mut piece) {
            Poll::Pending if worker.is_cutting_off() => {
                Poll::Ready(Err(std::io::Error::other("the drain is over")))
            }
            poll => poll,
        });
        match self.timer.run(pace.until(idle), written).await {
            Err(_) => Err(pace.overdue("the client took nothing of the response body for too long")),
            Ok(Err(error)) => Err(format!("the client went away: {error}")),
            Ok(Ok(())) => {
                if chunked {
                    self.link.io.borrow_mut().out.bytes.extend_from_slice(CHUNK_END);
                }
                Ok(())
            }
        }
    }

    /// Writes all that is to be written.
    async fn flush(&mut self, pace: Pace) -> Result<(), String> {
        // Nearly always the socket takes it at once, without a look at the clock.
        let (link, worker) = (&self.link, self.worker);
        let mut first = true;
        let until = &mut None;
        let timer = &mut self.timer;
        let idle = self.connection.timeouts().idle;
        std::future::poll_fn(|cx| {
            let poll = link.io.borrow_mut().poll_write(cx);
            if let Poll::Ready(result) = poll {
                return Poll::Ready(result.map_err(|error| format!("the client went away: {error}")));
            }
            if worker.is_cutting_off() {
                return Poll::Ready(Err("the drain is over".to_owned()));
            }
            if std::mem::take(&mut first) {
                *until = Some(pace.until(idle));
            }
            let Some(until) = *until else { return Poll::Pending };
            timer
                .poll(cx, until)
                .map(|()| Err(pace.overdue("the client took nothing of the response for too long")))
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
                let client = TunnelEnd::H1 { stream, unread };
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

    /// Closes the connection; with `linger`, only when the client has had time to read.
    async fn close(mut self, linger: bool) {
        let Some(mut io) = Rc::into_inner(self.link).map(|link| link.io.into_inner()) else { return };
        // What cannot be said any more need not be: the connection closes either way.
        let until = Instant::now() + LINGER;
        let goodbye = self.timer.run(until, io.stream.shutdown()).await;
        if !linger || !matches!(goodbye, Ok(Ok(()))) {
            return;
        }
        let mut left = LINGER_BYTES_MAX;
        while left > 0 {
            io.unread.clear();
            match self.timer.run(until, std::future::poll_fn(|cx| io.poll_fill(cx))).await {
                Ok(Ok(read)) if read > 0 => left = left.saturating_sub(read),
                _ => return,
            }
        }
    }
}

/// The client's side of an exchange.
struct H1Downstream<'a> {
    worker: &'a Worker,
    link: &'a Rc<Downlink>,
    version: Version,
}

impl Downstream for H1Downstream<'_> {
    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let io = &mut *self.link.io.borrow_mut();
        if self.worker.is_cutting_off() {
            return Poll::Ready(());
        }
        if let Poll::Ready(Err(_)) = io.poll_write(cx) {
            return Poll::Ready(());
        }
        // Whoever waits for more of the body sees the end.
        if self.link.reading.get() {
            return Poll::Pending;
        }
        // Else the end is behind what has come and nobody has taken. Of a body so much is read ahead; a request that came
        // ahead of its turn hides the end.
        let ahead = if self.link.decoder.borrow().is_done() { 1 } else { READ_BYTES };
        while io.unread.len() < ahead {
            match io.poll_fill(cx) {
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(()),
                Poll::Ready(Ok(_)) => {}
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Pending
    }

    fn send_informational(&mut self, head: &ResponseHead) {
        // HTTP/1.0 has none (RFC 9110, 15.2), and 100 is said when the body is read.
        if self.version == Version::Http11 && head.status != 100 {
            let out = &mut self.link.io.borrow_mut().out.bytes;
            let options = ResponseOptions {
                version: self.version,
                framing: BodyFraming::None,
                keep_alive: true,
                upgrade: None,
            };
            write_response_head(out, head, options);
        }
    }
}
