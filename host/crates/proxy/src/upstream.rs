//! The upstreams: what all workers share of them, and each worker's connections to them.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use portcullis_http::{Known, RequestHead, ResponseHead, Scheme, strip_response_hop_by_hop};
use portcullis_model::{HostHeader, Name, Upstream, UpstreamProtocol, UpstreamTimeouts};
use portcullis_net::{ConnectError, Connector, Stream, UpstreamTlsContext};
use portcullis_policy::Exchange;
use portcullis_telemetry::{EndpointMetrics, Metrics, UpstreamMetrics};
use portcullis_traffic::{EndpointState, UpstreamState};
use tokio::time::Instant;

use crate::body::Body;
use crate::call::Call;
use crate::pool::{Opening, Pool};
use crate::{h1, h2};

/// An upstream as all workers see it. Kept over reloads that do not change it.
#[derive(Debug)]
pub(crate) struct SharedUpstream {
    pub(crate) config: Upstream,
    pub(crate) state: UpstreamState,
    pub(crate) tls: Option<UpstreamTlsContext>,
    pub(crate) metrics: Arc<UpstreamMetrics>,
    /// By endpoint index.
    endpoints: Box<[Arc<EndpointMetrics>]>,
    /// What times given to `state` count from.
    origin: Instant,
}

impl SharedUpstream {
    /// The upstream of `config`. Endpoints that were in `previous` keep their counts and health.
    pub(crate) fn new(
        config: Upstream,
        tls: Option<UpstreamTlsContext>,
        metrics: &Metrics,
        previous: Option<&Self>,
    ) -> Self {
        let state = match previous {
            Some(previous) => UpstreamState::rebuild(&previous.state, &config),
            None => UpstreamState::new(&config),
        };
        let origin = previous.map_or_else(Instant::now, |previous| previous.origin);
        let endpoints = state.endpoints().iter().map(|endpoint| {
            let metrics = metrics.endpoint(&config.name, endpoint.address());
            metrics.set_left_out(endpoint.is_ejected());
            metrics
        });
        let (endpoints, metrics) = (endpoints.collect(), metrics.upstream(&config.name));
        Self { config, state, tls, metrics, endpoints, origin }
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

    /// Notes that an endpoint failed, and says so if that ejects it, or if it has been left out for long.
    pub(crate) fn record_failure(&self, endpoint: &EndpointState, reason: &str) {
        let metrics = self.endpoint_metrics(endpoint);
        metrics.inspect(|metrics| metrics.failure());
        let (now, duration) = (self.now(), self.config.ejection.duration);
        let ejected = self.state.record_failure(endpoint, now);
        if !ejected && !endpoint.is_ejected() {
            return;
        }
        let lasted = endpoint.note(reason, ejected, now);
        let endpoints = self.state.endpoints();
        let left = endpoints.iter().filter(|endpoint| !endpoint.is_ejected()).count();
        let (address, upstream, all) = (endpoint.address(), &self.config.name, endpoints.len());
        if ejected {
            self.metrics.ejection();
            metrics.inspect(|metrics| {
                metrics.ejection();
                metrics.set_left_out(true);
            });
            tracing::warn!(
                %upstream, endpoint = %address,
                "endpoint {address} of upstream `{upstream}` left out for {duration:?}: {reason}; {left} of {all} left",
            );
        } else if let Some(lasted) = lasted {
            tracing::warn!(
                %upstream, endpoint = %address,
                "endpoint {address} of upstream `{upstream}` has been left out for {} s: {reason}; {left} of {all} left",
                lasted.as_secs(),
            );
        }
    }

    /// Notes that an endpoint answered, and says so if that brings it back.
    pub(crate) fn record_success(&self, endpoint: &EndpointState) {
        if endpoint.record_success() {
            self.endpoint_metrics(endpoint).inspect(|metrics| metrics.set_left_out(false));
            let (address, upstream) = (endpoint.address(), &self.config.name);
            tracing::info!(
                %upstream, endpoint = %address,
                "endpoint {address} of upstream `{upstream}` is back",
            );
        }
    }

    fn endpoint_metrics(&self, endpoint: &EndpointState) -> Option<&EndpointMetrics> {
        let at = self.config.endpoints.iter().position(|known| known.address == *endpoint.address())?;
        self.endpoints.get(at).map(Arc::as_ref)
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
            && ours.http2 == theirs.http2
            && ours.timeouts.keepalive == theirs.timeouts.keepalive
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

/// A connection that a request can be sent on.
pub(crate) enum Acquired {
    /// HTTP/1, and whether it has served before.
    H1(Box<h1::ClientConnection>, bool),
    /// HTTP/2.
    H2(h2::Lease),
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

    /// The connections to the endpoint at `at`.
    pub(crate) fn pool(&self, at: usize) -> Option<&Rc<Pool>> {
        self.pools.get(at)
    }

    /// An idle connection to the endpoint at `at`, or to `peer`, if that is one of its addresses.
    pub(crate) fn reuse(&self, at: usize, peer: Option<SocketAddr>, upload: bool) -> Option<Acquired> {
        let pool = self.pools.get(at)?;
        match self.shared.config.protocol {
            UpstreamProtocol::Http1 => pool.reuse_h1(peer).map(|connection| Acquired::H1(connection, true)),
            UpstreamProtocol::Http2 => pool.lease(peer, upload).map(Acquired::H2),
        }
    }

    /// A connection to the endpoint at `at`, preferably at `peer`: a new one, or one of HTTP/2 that is being made for others
    /// as well, unless it has to be `alone`. Dropping the future gives it up; one of HTTP/2 is then there for others.
    pub(crate) async fn connect(
        &self,
        at: usize,
        peer: Option<SocketAddr>,
        upload: bool,
        alone: bool,
    ) -> Result<Acquired, ConnectError> {
        let pool = self.pools.get(at).ok_or_else(|| {
            ConnectError::protocol(self.address(at), "it is not an endpoint of the upstream".to_owned())
        })?;
        let connecting = Connecting {
            upstream: self.shared.clone(),
            connector: self.connector.clone(),
            pool: pool.clone(),
        };
        match self.shared.config.protocol {
            UpstreamProtocol::Http1 => {
                let connection = connecting.h1(peer).await?;
                Ok(Acquired::H1(Box::new(connection), false))
            }
            UpstreamProtocol::Http2 => loop {
                if !alone && let Some(opening) = pool.join(peer) {
                    opening.usable().await?;
                    if let Some(lease) = pool.lease(peer, upload) {
                        return Ok(Acquired::H2(lease));
                    }
                    continue;
                }
                let opening = pool.open(peer, alone);
                tokio::task::spawn_local(connecting.h2(opening.clone()));
                return match opening.first().await? {
                    Some(lease) => Ok(Acquired::H2(lease)),
                    None => {
                        Err(ConnectError::protocol(self.address(at), "it closed the connection".to_owned()))
                    }
                };
            },
        }
    }

    /// Keeps no connections to endpoints that `current` does not have, or has under other rules.
    pub(crate) fn retire(&self, current: Option<&Self>) {
        for pool in &self.pools {
            let is_kept =
                current.is_some_and(|current| current.pools.iter().any(|other| Rc::ptr_eq(pool, other)));
            if !is_kept {
                pool.retire();
            }
        }
    }

    /// Closes what was idle for too long.
    pub(crate) fn sweep(&self) {
        for pool in &self.pools {
            pool.follow(&self.connector);
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

/// What a new connection is made with. It outlives the exchange that asked for it.
struct Connecting {
    upstream: Arc<SharedUpstream>,
    connector: Rc<Connector>,
    pool: Rc<Pool>,
}

impl Connecting {
    async fn h1(self, peer: Option<SocketAddr>) -> Result<h1::ClientConnection, ConnectError> {
        let connected = self.connect(peer).await;
        self.upstream.metrics.connect(connected.is_ok());
        let (stream, peer) = connected?;
        Ok(h1::ClientConnection::new(stream, self.upstream.config.head_bytes_max, peer))
    }

    /// Opens an HTTP/2 connection, for the exchange that asked, and for others once the endpoint's settings say how many.
    async fn h2(self, opening: Rc<Opening>) {
        let connected = self.handshake(opening.peer()).await;
        self.upstream.metrics.connect(connected.is_ok());
        opening.connected(connected.clone());
        if let Ok(handle) = connected {
            handle.settled().await;
            self.pool.share(handle);
        }
        self.pool.opened(&opening);
    }

    async fn handshake(&self, peer: Option<SocketAddr>) -> Result<h2::ClientHandle, ConnectError> {
        let (stream, peer) = self.connect(peer).await?;
        let Upstream { head_bytes_max, http2, timeouts, .. } = &self.upstream.config;
        let rules = h2::ConnectionRules {
            head_bytes_max: *head_bytes_max,
            http2: *http2,
            settle: timeouts.connect,
            keepalive: timeouts.keepalive,
            peer,
        };
        h2::handshake(stream, rules)
            .await
            .map_err(|error| ConnectError::protocol(&*self.pool.address, h2::describe(&error)).at(peer))
    }

    /// Connects, and returns the address if the endpoint is a name.
    async fn connect(&self, first: Option<SocketAddr>) -> Result<(Stream, Option<SocketAddr>), ConnectError> {
        let UpstreamTimeouts { connect, idle, keepalive, .. } = self.upstream.config.timeouts;
        let (stream, peer) =
            self.pool.connect(&self.connector, self.upstream.tls.as_ref(), connect, first, |_| true).await?;
        // One that takes nothing is judged by `idle`, however much of it the operating system has to keep.
        let unacknowledged = (idle <= UNACKNOWLEDGED_MAX).then(|| idle.max(keepalive));
        stream.watch_peer(keepalive, unacknowledged).map_err(|error| {
            ConnectError::protocol(&*self.pool.address, format!("its socket cannot be set up: {error}"))
        })?;
        Ok((stream, peer))
    }
}

/// The longest `timeouts.idle` that the operating system heeds as well. Above that it counts probes alone.
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(300);

impl Acquired {
    /// The address that it leads to, if the endpoint is a name.
    pub(crate) fn peer(&self) -> Option<SocketAddr> {
        match self {
            Self::H1(connection, _) => connection.peer(),
            Self::H2(lease) => lease.peer(),
        }
    }

    /// Whether what the endpoint offers is known.
    pub(crate) fn is_settled(&self) -> bool {
        match self {
            Self::H1(..) => true,
            Self::H2(lease) => lease.is_settled(),
        }
    }

    /// Waits until what the endpoint offers is known, or the connection has closed.
    pub(crate) async fn settled(&self) {
        match self {
            Self::H1(..) => {}
            Self::H2(lease) => lease.settled().await,
        }
    }

    /// Sends the request of `exchange` with `body`.
    pub(crate) fn start(
        self,
        exchange: &Exchange,
        upstream: &LocalUpstream,
        at: usize,
        body: Body,
    ) -> Box<dyn Call> {
        let host = upstream.host(exchange, at);
        match self {
            Self::H1(connection, reused) => {
                let pool = upstream.pools.get(at).cloned();
                Box::new(connection.start(&exchange.request, host, body, pool, reused))
            }
            Self::H2(lease) => {
                let scheme = if upstream.shared.tls.is_some() { Scheme::Https } else { Scheme::Http };
                Box::new(lease.start(&exchange.request, host, scheme, body))
            }
        }
    }
}
