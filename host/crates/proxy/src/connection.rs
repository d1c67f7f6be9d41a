//! A client's connection, in whatever protocol.

use std::cell::RefCell;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use portcullis_model::{ConnectionLimits, DownstreamTimeouts, Listener};
use portcullis_net::{ConnectionPermit, DrainSignal, ListenerState, TlsInfo};
use portcullis_policy::{ClientTls, Exchange};
use tokio::time::Instant;

use crate::receive::PeerInfo;

/// A connection that has been idle for this long may be closed if others wait for its place.
const IDLE_ENOUGH: Duration = Duration::from_secs(1);

/// What all exchanges of a connection share.
pub(crate) struct Connection {
    /// The listener as it was configured when the connection was accepted. Its limits hold for the whole connection.
    pub(crate) state: Arc<ListenerState>,
    pub(crate) peer: SocketAddr,
    /// The address that the client connected to.
    pub(crate) local: SocketAddr,
    /// The load balancer that named these two.
    pub(crate) proxy: Option<SocketAddr>,
    pub(crate) tls: Option<TlsInfo>,
    /// The same for policies.
    client_tls: Option<ClientTls>,
    /// When it was accepted.
    pub(crate) accepted: Instant,
    drain: DrainSignal,
    waiting: RefCell<Option<Pin<Box<dyn Future<Output = ()>>>>>,
    _permit: ConnectionPermit,
}

impl Connection {
    /// Returns a connection that was accepted now, between these addresses, which a load balancer may have named.
    pub(crate) fn new(
        (peer, local, proxy): (SocketAddr, SocketAddr, Option<SocketAddr>),
        tls: Option<TlsInfo>,
        state: Arc<ListenerState>,
        drain: DrainSignal,
        permit: ConnectionPermit,
    ) -> Self {
        let (accepted, waiting) = (Instant::now(), RefCell::new(None));
        let client_tls = tls.as_ref().map(|tls| ClientTls {
            version: tls.version,
            cipher: tls.cipher.into(),
            alpn: tls.alpn.map(|alpn| alpn.as_str().into()),
        });
        Self { state, peer, local, proxy, tls, client_tls, accepted, drain, waiting, _permit: permit }
    }

    pub(crate) fn listener(&self) -> &Listener {
        self.state.listener()
    }

    pub(crate) fn timeouts(&self) -> &DownstreamTimeouts {
        &self.listener().timeouts
    }

    pub(crate) fn limits(&self) -> &ConnectionLimits {
        &self.listener().limits
    }

    /// Returns what is known of the client's end.
    pub(crate) fn peer_info(&self) -> PeerInfo<'_> {
        let tls = self.tls.as_ref();
        PeerInfo {
            address: self.peer.ip(),
            server_name: tls.and_then(|tls| tls.server_name.as_ref()),
            certificate: tls.and_then(|tls| tls.client_certificate.as_ref()),
            tls: self.client_tls.as_ref(),
            listener: &self.listener().name,
        }
    }

    /// Records the client of a request that could not be read: the exchange may have served another client before.
    pub(crate) fn set_client(&self, exchange: &mut Exchange) {
        self.peer_info().set_client(exchange);
    }

    /// Returns how long a tunnel may be idle.
    pub(crate) fn tunnel_idle(&self) -> Duration {
        self.timeouts().tunnel_idle
    }

    /// Returns whether the connection should end with the current exchange.
    pub(crate) fn is_draining(&self) -> bool {
        self.drain.is_draining()
    }

    /// Waits until a drain has lasted for `grace`.
    pub(crate) async fn drained_for(&self, grace: Duration) {
        self.drain.wait().await;
        tokio::time::sleep(grace).await;
    }

    /// Ready when the connection should end: at a drain, or if it has been idle since `idle_since` for a while and
    /// others wait for its place. Only one task may call this, the one that owns the connection.
    pub(crate) fn poll_draining(&self, cx: &mut Context<'_>, idle_since: Instant) -> Poll<()> {
        let mut waiting = self.waiting.borrow_mut();
        loop {
            if self.drain.is_draining() {
                return Poll::Ready(());
            }
            let nudged = waiting.get_or_insert_with(|| Box::pin(self.drain.nudged()));
            if nudged.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            *waiting = None;
            if idle_since.elapsed() >= IDLE_ENOUGH {
                return Poll::Ready(());
            }
        }
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").field("peer", &self.peer).finish_non_exhaustive()
    }
}
