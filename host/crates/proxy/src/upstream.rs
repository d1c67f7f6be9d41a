//! The upstreams: what all workers share of them, and each worker's connections to them.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use portcullis_http::{Known, RequestHead, ResponseHead, Scheme, strip_response_hop_by_hop};
use portcullis_model::{HostHeader, Name, Upstream, UpstreamProtocol, UpstreamTimeouts};
use portcullis_net::{ConnectError, Connector, UpstreamTlsContext};
use portcullis_policy::Exchange;
use portcullis_telemetry::UpstreamMetrics;
use portcullis_traffic::{EndpointState, UpstreamState};
use tokio::time::Instant;

use crate::body::Body;
use crate::call::Call;
use crate::{h1, h2};

/// HTTP/2 connections that a worker keeps to one endpoint; each carries a hundred exchanges and more.
const H2_CONNECTIONS_MAX: usize = 16;

/// An upstream as all workers see it. Kept over reloads that do not change it.
#[derive(Debug)]
pub(crate) struct SharedUpstream {
    pub(crate) config: Upstream,
    pub(crate) state: UpstreamState,
    pub(crate) tls: Option<UpstreamTlsContext>,
    pub(crate) metrics: Arc<UpstreamMetrics>,
    /// What times given to `state` count from.
    origin: Instant,
}

impl SharedUpstream {
    /// The upstream of `config`. Endpoints that were in `previous` keep their counts and health.
    pub(crate) fn new(
        config: Upstream,
        tls: Option<UpstreamTlsContext>,
        metrics: Arc<UpstreamMetrics>,
        previous: Option<&Self>,
    ) -> Self {
        let state = match previous {
            Some(previous) => UpstreamState::rebuild(&previous.state, &config),
            None => UpstreamState::new(&config),
        };
        let origin = previous.map_or_else(Instant::now, |previous| previous.origin);
        Self { config, state, tls, metrics, origin }
    }

    pub(crate) fn name(&self) -> &Name {
        &self.config.name
    }

    pub(crate) fn timeouts(&self) -> &UpstreamTimeouts {
        &self.config.timeouts
    }

    /// Now, as `state` counts time.
    pub(crate) fn now(&self) -> Duration {
        self.origin.elapsed()
    }

    /// Notes that an endpoint failed, and says so where that ejects it.
    pub(crate) fn record_failure(&self, endpoint: &EndpointState, error: &dyn std::fmt::Display) {
        if self.state.record_failure(endpoint, self.now()) {
            self.metrics.ejection();
            tracing::warn!(
                upstream = %self.config.name,
                endpoint = %endpoint.address(),
                "endpoint left out for {:?}: {error}", self.config.ejection.duration,
            );
        }
    }

    /// Notes that an endpoint answered, and says so where that brings it back.
    pub(crate) fn record_success(&self, endpoint: &EndpointState) {
        if endpoint.record_success() {
            tracing::info!(upstream = %self.config.name, endpoint = %endpoint.address(), "endpoint is back");
        }
    }

    /// Takes from a response what concerns the gateway alone.
    pub(crate) fn clean_response(&self, head: &mut ResponseHead) {
        strip_response_hop_by_hop(&mut head.fields);
        if self.config.hide_server {
            head.fields.remove_known(Known::Server);
        }
    }

    /// Whether connections made for `other` serve this one as well.
    fn connects_like(&self, other: &Self) -> bool {
        let (ours, theirs) = (&self.config, &other.config);
        // A connection that was made under authorities which the machine believes no more serves nobody who asks now.
        let judges_alike = match (&self.tls, &other.tls) {
            (Some(ours), Some(theirs)) => ours.judges_like(theirs),
            _ => true,
        };
        judges_alike
            && ours.protocol == theirs.protocol
            && ours.tls == theirs.tls
            && ours.head_bytes_max == theirs.head_bytes_max
    }
}

/// A worker's connections to an upstream.
#[derive(Debug)]
pub(crate) struct LocalUpstream {
    pub(crate) shared: Arc<SharedUpstream>,
    connector: Rc<Connector>,
    /// By endpoint index. Counted references, so that a reload carries them over while exchanges still use them.
    pools: Vec<Rc<Pool>>,
}

/// A worker's idle connections to one endpoint.
#[derive(Debug)]
pub(crate) struct Pool {
    address: Name,
    idle_max: usize,
    idle_for: Duration,
    h1: RefCell<Vec<(Box<h1::ClientConnection>, Instant)>>,
    h2: RefCell<Vec<(h2::ClientHandle, Instant)>>,
}

impl Pool {
    pub(crate) fn new(address: Name, idle_max: usize, idle_for: Duration) -> Self {
        Self { address, idle_max, idle_for, h1: RefCell::default(), h2: RefCell::default() }
    }

    /// Whether no connection is in it.
    pub(crate) fn is_empty(&self) -> bool {
        self.h1.borrow().is_empty() && self.h2.borrow().is_empty()
    }

    /// Keeps a connection that can be used again; the one that was used last is used first.
    pub(crate) fn keep(&self, connection: Box<h1::ClientConnection>) {
        let mut idle = self.h1.borrow_mut();
        if idle.len() < self.idle_max {
            idle.push((connection, Instant::now()));
        }
    }

    pub(crate) fn reuse_h1(&self) -> Option<Box<h1::ClientConnection>> {
        loop {
            let (mut connection, since) = self.h1.borrow_mut().pop()?;
            if since.elapsed() < self.idle_for && connection.is_alive() {
                return Some(connection);
            }
        }
    }

    fn reuse_h2(&self) -> Option<h2::ClientHandle> {
        let mut handles = self.h2.borrow_mut();
        let (handle, used) = handles.iter_mut().find(|(handle, _)| handle.has_room())?;
        *used = Instant::now();
        Some(handle.clone())
    }

    fn keep_h2(&self, handle: h2::ClientHandle) {
        let mut handles = self.h2.borrow_mut();
        handles.retain(|(handle, _)| !handle.is_closed());
        // One that finds no place serves its one exchange and closes.
        if handles.len() < H2_CONNECTIONS_MAX {
            handles.push((handle, Instant::now()));
        }
    }

    /// Closes what was idle for too long.
    pub(crate) fn sweep(&self) {
        let fresh = |since: &Instant| since.elapsed() < self.idle_for;
        self.h1.borrow_mut().retain(|(_, since)| fresh(since));
        self.h2
            .borrow_mut()
            .retain(|(handle, used)| !handle.is_closed() && (!handle.is_idle() || fresh(used)));
    }
}

/// A connection that a request can be sent on.
pub(crate) enum Acquired {
    /// HTTP/1, and whether it has served before.
    H1(Box<h1::ClientConnection>, bool),
    /// HTTP/2, and whether it has served before.
    H2(h2::ClientHandle, bool),
}

impl LocalUpstream {
    /// A worker's view of `shared`, with the connections of `previous` where they still fit.
    pub(crate) fn new(
        shared: Arc<SharedUpstream>,
        connector: Rc<Connector>,
        previous: Option<&Self>,
    ) -> Self {
        let previous = previous.filter(|previous| shared.connects_like(&previous.shared));
        let config = &shared.config;
        let pools = config.endpoints.iter().map(|endpoint| {
            let old = previous.into_iter().flat_map(|previous| &previous.pools);
            let same = |pool: &&Rc<Pool>| {
                pool.address == endpoint.address
                    && pool.idle_max == config.idle_connections_max
                    && pool.idle_for == config.timeouts.pool_idle
            };
            old.into_iter().find(same).cloned().unwrap_or_else(|| {
                let Upstream { idle_connections_max, timeouts, .. } = config;
                Rc::new(Pool::new(endpoint.address.clone(), *idle_connections_max, timeouts.pool_idle))
            })
        });
        let pools = pools.collect();
        Self { shared, connector, pools }
    }

    /// The address of the endpoint at `at`, as it stands in the config.
    pub(crate) fn address(&self, at: usize) -> &str {
        self.shared.config.endpoints.get(at).map_or("", |endpoint| &endpoint.address)
    }

    /// An idle connection to the endpoint at `at`.
    pub(crate) fn reuse(&self, at: usize) -> Option<Acquired> {
        let pool = self.pools.get(at)?;
        match self.shared.config.protocol {
            UpstreamProtocol::Http1 => pool.reuse_h1().map(|connection| Acquired::H1(connection, true)),
            UpstreamProtocol::Http2 => pool.reuse_h2().map(|handle| Acquired::H2(handle, true)),
        }
    }

    /// A new connection to the endpoint at `at`. Dropping the future gives it up.
    pub(crate) async fn connect(&self, at: usize) -> Result<Acquired, ConnectError> {
        let connected = self.try_connect(at).await;
        self.shared.metrics.connect(connected.is_ok());
        connected
    }

    async fn try_connect(&self, at: usize) -> Result<Acquired, ConnectError> {
        let config = &self.shared.config;
        let address = self.address(at);
        let stream =
            self.connector.connect(address, self.shared.tls.as_ref(), config.timeouts.connect).await?;
        match config.protocol {
            UpstreamProtocol::Http1 => {
                Ok(Acquired::H1(Box::new(h1::ClientConnection::new(stream, config.head_bytes_max)), false))
            }
            UpstreamProtocol::Http2 => {
                let handle = h2::handshake(stream, config.head_bytes_max)
                    .await
                    .map_err(|error| ConnectError::protocol(address, h2::describe(&error)))?;
                if let Some(pool) = self.pools.get(at) {
                    pool.keep_h2(handle.clone());
                }
                Ok(Acquired::H2(handle, false))
            }
        }
    }

    /// Closes what was idle for too long.
    pub(crate) fn sweep(&self) {
        for pool in &self.pools {
            pool.sweep();
        }
    }

    /// What Host says to the endpoint at `at`.
    fn host<'a>(&'a self, exchange: &'a Exchange, at: usize) -> &'a str {
        host(&self.shared.config, &exchange.request, at)
    }
}

/// What Host says in `request` to the endpoint at `at` of `upstream`.
pub(crate) fn host<'a>(upstream: &'a Upstream, request: &'a RequestHead, at: usize) -> &'a str {
    let address = || upstream.endpoints.get(at).map_or("", |endpoint| &*endpoint.address);
    match &upstream.host {
        HostHeader::Preserve if request.authority.is_empty() => address(),
        HostHeader::Preserve => &request.authority,
        HostHeader::Endpoint => address(),
        HostHeader::Fixed(name) => name,
    }
}

impl Acquired {
    /// Whether what the endpoint offers is known.
    pub(crate) fn is_settled(&self) -> bool {
        match self {
            Self::H1(..) => true,
            Self::H2(handle, _) => handle.is_settled(),
        }
    }

    /// Waits until what the endpoint offers is known, or the connection has closed.
    pub(crate) async fn settled(&self) {
        match self {
            Self::H1(..) => {}
            Self::H2(handle, _) => handle.settled().await,
        }
    }

    /// Sends the request of `exchange` with `body`.
    pub(crate) fn start(self, exchange: &Exchange, upstream: &LocalUpstream, at: usize, body: Body) -> Call {
        let host = upstream.host(exchange, at);
        match self {
            Self::H1(connection, reused) => {
                let pool = upstream.pools.get(at).cloned();
                Call::H1(Box::new(connection.start(&exchange.request, host, body, pool, reused)))
            }
            Self::H2(handle, reused) => {
                let scheme = if upstream.shared.tls.is_some() { Scheme::Https } else { Scheme::Http };
                Call::H2(Box::new(handle.start(&exchange.request, host, scheme, body, reused)))
            }
        }
    }
}
