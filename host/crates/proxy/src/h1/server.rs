//! Serves the clients that speak HTTP/1.

use std::rc::Rc;
use std::time::Duration;

use portcullis_http::h1::{HeadLimits, ParsedRequest};
use portcullis_net::Stream;
use portcullis_policy::Exchange;

use super::arrive::{Arrived, arrive};
use super::body::{Decoder, Downlink, RequestBody};
use super::close;
use super::downstream::{After, Client, H1Downstream};
use super::io::Io;
use super::tunnel_end::H1TunnelEnd;
use crate::body::Body;
use crate::connection::Connection;
use crate::error::StreamError;
use crate::pace::Pace;
use crate::prefixed::Prefixed;
use crate::serve::{Serving, Upgraded};
use crate::slot::Slot;
use crate::timer::Timer;
use crate::trace::{RawRequest, Trace};
use crate::tunnel_end::TunnelEnd;
use crate::worker::Worker;

/// The client of a tunnel that is silent for half of this is asked by the kernel whether it is still there, and the tunnel
/// ends after all of it without an answer. It may be silent for an hour by default, and a client that has vanished would hold
/// two connections for as long.
const TUNNEL_KEEPALIVE: Duration = Duration::from_secs(120);

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
    /// Close, and let the client read its response first: it may still be sending.
    Close,
    /// Close at once: what was answered before has had its time to arrive.
    End,
    /// A response was cut off: nothing is to be sent any more.
    Cut,
    /// The upstream has accepted an upgrade.
    Tunnel(Box<Upgraded>),
}

impl From<After> for Next {
    fn from(after: After) -> Self {
        match after {
            After::KeepAlive => Self::KeepAlive,
            After::Close => Self::Close,
            After::Cut => Self::Cut,
        }
    }
}

/// Serves a connection to its end. With `sniff` the client may turn out to speak HTTP/2; the connection is then returned.
/// Dropping the future closes the connection.
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
    let mut timeout = connection.timeouts().request_head;
    loop {
        let next = match server.arrive(timeout).await {
            Arrived::Request(parsed, exchange) => server.exchange(parsed, exchange).await,
            Arrived::Refused(error, exchange) => {
                server.refuse(exchange, error.status(), &error.to_string()).await
            }
            Arrived::Late => {
                let exchange = server.worker.take_exchange();
                server.refuse(exchange, 408, "the request head took too long").await
            }
            Arrived::Preface => {
                let io = Rc::into_inner(server.link)?.io.into_inner();
                return Some(Prefixed::new(io.unread, io.stream));
            }
            Arrived::Gone | Arrived::Idle => Next::End,
            Arrived::Draining => Next::Close,
        };
        server.sniff = false;
        timeout = connection.timeouts().idle;
        match next {
            Next::KeepAlive => {}
            Next::Cut => return None,
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
    async fn arrive(&mut self, timeout: Duration) -> Arrived {
        let Self { worker, connection, link, timer, limits, sniff, .. } = self;
        arrive(worker, connection, link, timer, limits, *sniff, timeout).await
    }

    fn serving(&mut self) -> Serving<'_> {
        Serving { worker: self.worker, connection: self.connection, slot: &self.slot, timer: &mut self.timer }
    }

    /// Takes a request to its end.
    async fn exchange(&mut self, parsed: ParsedRequest, exchange: Box<Exchange>) -> Next {
        let trace = Trace::start();
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
        let link = self.link.clone();
        let mut downstream = H1Downstream::new(self.worker, self.connection, &link, client);
        match self.serving().run(trace, exchange, body, &mut downstream).await {
            Some(upgraded) => Next::Tunnel(upgraded),
            None => downstream.after().into(),
        }
    }

    /// Refuses what is not a valid request, of which as much is read as came.
    async fn refuse(&mut self, exchange: Box<Exchange>, status: u16, reason: &str) -> Next {
        let raw = RawRequest::h1(&self.link.io.borrow().unread);
        let link = self.link.clone();
        let mut downstream = H1Downstream::new(self.worker, self.connection, &link, Client::default());
        self.serving().refuse(exchange, raw, status, reason, &mut downstream).await;
        Next::Close
    }

    /// Accepts an upgrade, and copies both ways.
    async fn tunnel(mut self, upgraded: Upgraded) {
        let accepted = self.accept_upgrade().await;
        let Self { worker, connection, link, slot, mut timer, .. } = self;
        let client = accepted.and_then(|()| {
            let io = Rc::into_inner(link).ok_or(StreamError::InUse)?.io.into_inner();
            if let Err(error) = io.stream.watch_peer(TUNNEL_KEEPALIVE, None) {
                tracing::debug!(peer = %connection.peer, %error, "a tunnel's client cannot be watched");
            }
            let end = H1TunnelEnd { stream: io.stream, unread: io.unread };
            Ok(Box::new(end) as Box<dyn TunnelEnd>)
        });
        let mut serving = Serving { worker, connection, slot: &slot, timer: &mut timer };
        serving.tunnel(upgraded, client, 101).await;
    }

    async fn accept_upgrade(&mut self) -> Result<(), StreamError> {
        let link = self.link.clone();
        let mut downstream = H1Downstream::new(self.worker, self.connection, &link, Client::default());
        let exchange = self.slot.taken().await;
        downstream.send_upgrade(&exchange);
        self.slot.put(exchange);
        self.serving().writer(&mut downstream, Pace::default()).flush().await
    }
}
