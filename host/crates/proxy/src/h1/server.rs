//! Serves clients over HTTP/1.

use std::rc::Rc;
use std::time::Duration;

use portcullis_http::h1::{HeadLimits, ParsedRequest};
use portcullis_net::Stream;
use portcullis_policy::Exchange;

use super::body::{Decoder, RequestBody, SharedConnection};
use super::close;
use super::downstream::{AfterResponse, Client, H1Downstream};
use super::io::Io;
use super::read_head::{ReadOutcome, read_head};
use crate::body::Body;
use crate::connection::Connection;
use crate::error::StreamError;
use crate::exchange_info::{ExchangeInfo, RawRequest};
use crate::prefixed::Prefixed;
use crate::serve::{Serving, Upgraded};
use crate::slot::Slot;
use crate::timeouts::Timeouts;
use crate::timer::Timer;
use crate::tunnel_end::TunnelEnd;
use crate::worker::Worker;

/// After half of this time without data the kernel probes the client of a tunnel, and after all of it without an answer
/// the tunnel ends. A tunnel may be idle for an hour by default, and a client that has vanished would hold two
/// connections for as long.
const TUNNEL_KEEPALIVE: Duration = Duration::from_secs(120);

/// One client's connection.
struct Server<'a> {
    worker: &'a Rc<Worker>,
    connection: &'a Rc<Connection>,
    shared: Rc<SharedConnection>,
    slot: Rc<Slot>,
    timer: Timer,
    limits: HeadLimits,
    /// Whether the client may turn out to speak HTTP/2.
    sniff: bool,
}

/// What happens to the connection next.
#[derive(Debug)]
enum NextStep {
    KeepAlive,
    /// Close once the client has read its response. It may still be sending.
    Close,
    /// Close at once: earlier responses have had time to arrive.
    CloseNow,
    /// A response was cut off, and nothing may follow it.
    Abort,
    /// The upstream has accepted an upgrade.
    Tunnel(Box<Upgraded>),
}

impl From<AfterResponse> for NextStep {
    fn from(after: AfterResponse) -> Self {
        match after {
            AfterResponse::KeepAlive => Self::KeepAlive,
            AfterResponse::Close => Self::Close,
            AfterResponse::Abort => Self::Abort,
        }
    }
}

/// Serves a connection to its end. With `sniff` the client may turn out to speak HTTP/2; the connection is then
/// returned. Dropping the future closes the connection.
pub(crate) async fn serve(
    worker: &Rc<Worker>,
    connection: &Rc<Connection>,
    stream: Stream,
    sniff: bool,
) -> Option<Prefixed> {
    let mut server = Server {
        worker,
        connection,
        shared: Rc::new(SharedConnection::new(Io::new(stream))),
        slot: Rc::new(Slot::default()),
        timer: Timer::default(),
        limits: HeadLimits::from(connection.limits()),
        sniff,
    };
    // A new connection has as long for its first head as for any other head, not as long as it may be idle.
    let mut timeout = connection.timeouts().request_head;
    loop {
        let next = match server.read_head(timeout).await {
            ReadOutcome::Request(parsed, exchange) => server.exchange(parsed, exchange).await,
            ReadOutcome::Invalid(error, exchange) => {
                server.refuse(exchange, error.status(), &error.to_string()).await
            }
            ReadOutcome::TimedOut => {
                let exchange = server.worker.take_exchange();
                server.refuse(exchange, 408, "the request head took too long").await
            }
            ReadOutcome::Preface => {
                let io = Rc::into_inner(server.shared)?.io.into_inner();
                return Some(Prefixed::new(io.unread, io.stream));
            }
            ReadOutcome::Closed | ReadOutcome::Idle => NextStep::CloseNow,
            ReadOutcome::Draining => NextStep::Close,
        };
        server.sniff = false;
        timeout = connection.timeouts().idle;
        match next {
            NextStep::KeepAlive => {}
            NextStep::Abort => return None,
            NextStep::Tunnel(upgraded) => {
                server.tunnel(*upgraded).await;
                return None;
            }
            NextStep::Close | NextStep::CloseNow => {
                // A client that sends no more data cannot cause a reset.
                let at_once = matches!(next, NextStep::CloseNow) || server.shared.half_closed.get();
                let io = Rc::into_inner(server.shared)?.io.into_inner();
                close::close(io, worker, connection, &mut server.timer, at_once).await;
                return None;
            }
        }
    }
}

impl Server<'_> {
    /// Waits for the next request's head.
    async fn read_head(&mut self, timeout: Duration) -> ReadOutcome {
        let Self { worker, connection, shared, timer, limits, sniff, .. } = self;
        read_head(worker, connection, shared, timer, limits, *sniff, timeout).await
    }

    fn serving(&mut self) -> Serving<'_> {
        Serving { worker: self.worker, connection: self.connection, slot: &self.slot, timer: &mut self.timer }
    }

    /// Serves one request.
    async fn exchange(&mut self, parsed: ParsedRequest, exchange: Box<Exchange>) -> NextStep {
        let info = ExchangeInfo::start();
        self.slot.clear();
        let decoder = Decoder::new(parsed.framing, self.limits);
        let body = if decoder.is_done() {
            Body::Empty
        } else {
            Body::stream(RequestBody::new(self.shared.clone(), self.slot.clone()))
        };
        *self.shared.decoder.borrow_mut() = decoder;
        self.shared.expects_continue.set(parsed.expect_continue);
        let client = Client::of(&exchange, self.connection.listener().half_closed, parsed.keep_alive);
        let shared = self.shared.clone();
        let mut downstream = H1Downstream::new(self.worker, self.connection, &shared, client);
        match self.serving().run(info, exchange, body, &mut downstream).await {
            Some(upgraded) => NextStep::Tunnel(upgraded),
            None => downstream.after().into(),
        }
    }

    /// Refuses an invalid request. The record gets what was read of it.
    async fn refuse(&mut self, exchange: Box<Exchange>, status: u16, reason: &str) -> NextStep {
        let raw = RawRequest::h1(&self.shared.io.borrow().unread);
        let shared = self.shared.clone();
        let mut downstream = H1Downstream::new(self.worker, self.connection, &shared, Client::default());
        self.serving().refuse(exchange, raw, status, reason, &mut downstream).await;
        NextStep::Close
    }

    /// Accepts an upgrade, and copies both ways.
    async fn tunnel(mut self, upgraded: Upgraded) {
        let accepted = self.accept_upgrade().await;
        let Self { worker, connection, shared, slot, mut timer, .. } = self;
        let client = accepted.and_then(|()| {
            let io = Rc::into_inner(shared).ok_or(StreamError::InUse)?.io.into_inner();
            if let Err(error) = io.stream.watch_peer(TUNNEL_KEEPALIVE, None) {
                tracing::debug!(peer = %connection.peer, %error, "a tunnel's client cannot be watched");
            }
            let end = Prefixed::new(io.unread, io.stream);
            Ok(Box::new(end) as Box<dyn TunnelEnd>)
        });
        let mut serving = Serving { worker, connection, slot: &slot, timer: &mut timer };
        serving.tunnel(upgraded, client, 101).await;
    }

    async fn accept_upgrade(&mut self) -> Result<(), StreamError> {
        let shared = self.shared.clone();
        let mut downstream = H1Downstream::new(self.worker, self.connection, &shared, Client::default());
        let exchange = self.slot.taken().await;
        downstream.send_upgrade(&exchange);
        self.slot.put(exchange);
        self.serving().writer(&mut downstream, Timeouts::default()).flush().await
    }
}
