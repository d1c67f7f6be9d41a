//! The upstreams: what all workers share of them, and each worker's connections to them.

mod connections;
mod edits;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use portcullis_http::proxy_protocol::ProxyHeader;
use portcullis_http::{Known, RequestHead, ResponseHead, Scheme, strip_response_hop_by_hop};
use portcullis_model::{
    Balance, HashKey, HealthCheck, HostHeader, Lock, Name, Panic, Share, Upstream, UpstreamProtocol,
    UpstreamTimeouts,
};
use portcullis_net::{ConnectError, Connector, Stream, UpstreamTlsContext};
use portcullis_policy::Exchange;
use portcullis_telemetry::{EndpointMetrics, Metrics, UpstreamMetrics};
use portcullis_traffic::{
    CheckChange, Edits, Endpoint, EndpointId, EndpointSet, Endpoints, Key, Pick, RetryBudget, outliers,
};
use tokio::time::Instant;

use crate::body::Body;
use crate::call::Call;
use crate::endpoint::LocalEndpoint;
use crate::gate::Gate;
use crate::h2_pool::Opening;
use crate::pool::Reusable as _;
use crate::{h1, h2};

/// An upstream as all workers see it. Kept over reloads that do not change it.
#[derive(Debug)]
pub(crate) struct SharedUpstream {
    /// Its configuration, with the endpoints that it lists.
    pub(crate) config: Upstream,
    /// What an operator has changed about these.
    edits: Arc<Lock<Edits>>,
    pub(crate) endpoints: Endpoints,
    /// Bounds the requests that are tried on a further endpoint.
    pub(crate) retry_budget: Option<Arc<RetryBudget>>,
    /// Bounds its exchanges, if its `limits` do.
    pub(crate) gate: Option<Arc<Gate>>,
    pub(crate) tls: Option<UpstreamTlsContext>,
    pub(crate) metrics: Arc<UpstreamMetrics>,
    all_metrics: Arc<Metrics>,
    /// Keeps the metrics of the current endpoints, which are shown for as long as something holds them.
    shown: Lock<Vec<Arc<EndpointMetrics>>>,
    /// What the times given to `endpoints` count from.
    origin: Instant,
    /// Held while it is decided whether one more endpoint may be left out for what it did.
    ejecting: Lock<()>,
    /// Whether exchanges go to all endpoints because too few are healthy.
    panics: AtomicBool,
}

impl SharedUpstream {
    /// The upstream of `config`. Endpoints that are in `previous` now keep their counts and health.
    pub(crate) fn new(
        config: Upstream,
        tls: Option<UpstreamTlsContext>,
        all_metrics: Arc<Metrics>,
        previous: Option<&Self>,
    ) -> Self {
        let edits = previous.map(|previous| previous.edits.clone()).unwrap_or_default();
        let listed = Upstream { endpoints: edits.lock().apply(&config.endpoints), ..config.clone() };
        let endpoints = match previous {
            Some(previous) => Endpoints::rebuild(&previous.endpoints, &listed, previous.now()),
            None => Endpoints::new(&listed),
        };
        let origin = previous.map_or_else(Instant::now, |previous| previous.origin);
        let retry_budget = config.retry_budget.map(|share| {
            let kept = previous.and_then(|previous| previous.retry_budget.clone());
            kept.filter(|kept| kept.share() == share).unwrap_or_else(|| Arc::new(RetryBudget::new(share)))
        });
        let metrics = all_metrics.upstream(&config.name);
        let gate = (!config.limits.is_unbounded()).then(|| {
            let kept = previous.and_then(|previous| previous.gate.clone());
            kept.unwrap_or_else(|| Arc::new(Gate::new(metrics.clone())))
        });
        let new = Self {
            config,
            edits,
            endpoints,
            retry_budget,
            gate,
            tls,
            metrics,
            all_metrics,
            shown: Lock::default(),
            origin,
            ejecting: Lock::default(),
            panics: AtomicBool::new(previous.is_some_and(|previous| previous.panics.load(Ordering::Relaxed))),
        };
        new.show_endpoints();
        new
    }

    /// Replaces the endpoints. Exchanges that choose one from now on choose among these; those that are under way
    /// finish at the endpoints that they have. An endpoint whose address stays keeps its counts, its health and its
    /// connections.
    pub(crate) fn replace(&self, endpoints: &[portcullis_model::Endpoint]) {
        self.endpoints.replace(endpoints, self.now());
        self.show_endpoints();
        if let Some(gate) = &self.gate {
            gate.wake();
        }
    }

    fn show_endpoints(&self) {
        let mut shown = self.shown.lock();
        let set = self.endpoints.current();
        let metrics = set.members().iter().map(|member| {
            let metrics = self.endpoint_metrics(&member.endpoint);
            metrics.set_left_out(member.endpoint.health().is_left_out());
            metrics
        });
        *shown = metrics.collect();
        drop(shown);
        self.health_changed();
    }

    fn endpoint_metrics(&self, endpoint: &Endpoint) -> Arc<EndpointMetrics> {
        self.all_metrics.endpoint(&self.config.name, endpoint.address())
    }

    pub(crate) fn name(&self) -> &Name {
        &self.config.name
    }

    pub(crate) fn timeouts(&self) -> &UpstreamTimeouts {
        &self.config.timeouts
    }

    /// Now, as the health of `endpoints` counts time.
    pub(crate) fn now(&self) -> Duration {
        self.origin.elapsed()
    }

    /// Records that an endpoint failed, and logs it if that ejects the endpoint, or if it has been left out for long.
    pub(crate) fn record_failure(&self, endpoint: &LocalEndpoint, reason: &str) {
        let LocalEndpoint { shared, metrics, .. } = endpoint;
        metrics.failure();
        let (now, health, ejection) = (self.now(), shared.health(), &self.config.ejection);
        if ejection.outliers.is_some() {
            shared.count(true, None);
        }
        let ejected = {
            // Two workers must not both leave out the last one that may be.
            let _turn = (ejection.share_max < Share::ALL).then(|| self.ejecting.lock());
            health.record_failure(ejection, now, || self.endpoints.current().may_eject())
        };
        if ejected {
            self.report_ejection(shared, metrics, reason, now);
        } else if health.is_ejected()
            && let Some(lasted) = health.record_reason(reason, false, now)
        {
            let set = self.endpoints.current();
            let (left, all) = (set.healthy(), set.members().len());
            let (address, upstream) = (shared.address(), &self.config.name);
            tracing::warn!(
                %upstream, endpoint = %address,
                "endpoint {address} of upstream `{upstream}` has been left out for {} s: {reason}; {left} of {all} left",
                lasted.as_secs(),
            );
        }
    }

    /// Counts and logs that an endpoint is left out from now on for what it did.
    fn report_ejection(&self, endpoint: &Endpoint, metrics: &EndpointMetrics, reason: &str, now: Duration) {
        let health = endpoint.health();
        let _reminder = health.record_reason(reason, true, now);
        self.metrics.ejection();
        metrics.ejection();
        metrics.set_left_out(true);
        let set = self.endpoints.current();
        let (left, all, duration) =
            (set.healthy(), set.members().len(), health.ejected_for(&self.config.ejection));
        let (address, upstream) = (endpoint.address(), &self.config.name);
        tracing::warn!(
            %upstream, endpoint = %address,
            "endpoint {address} of upstream `{upstream}` left out for {duration:?}: {reason}; {left} of {all} left",
        );
        self.health_changed();
    }

    /// Compares the endpoints by what they did since this was called last, and leaves outliers out.
    pub(crate) fn judge(&self) {
        let Some(rules) = &self.config.ejection.outliers else { return };
        let set = self.endpoints.current();
        let counted = set.members().iter().map(|member| (&member.endpoint, member.endpoint.take_counts()));
        let (endpoints, tallies): (Vec<_>, Vec<_>) =
            counted.filter(|(endpoint, _)| !endpoint.health().is_left_out()).unzip();
        for (at, reason) in outliers(rules, &tallies) {
            let Some(endpoint) = endpoints.get(at) else { continue };
            let now = self.now();
            let turn = self.ejecting.lock();
            let ejected = set.may_eject() && endpoint.health().eject(&self.config.ejection, now);
            drop(turn);
            if ejected {
                self.report_ejection(endpoint, &self.endpoint_metrics(endpoint), &reason, now);
            }
        }
    }

    /// Says when so few endpoints are healthy that exchanges go to all, and when that is over.
    fn health_changed(&self) {
        let panics = self.endpoints.current().panics();
        self.metrics.set_panic(panics);
        if self.panics.swap(panics, Ordering::Relaxed) == panics || self.config.panic == Panic::NoneLeft {
            return;
        }
        let upstream = &self.config.name;
        match panics {
            true => tracing::warn!(
                %upstream,
                "so few endpoints of upstream `{upstream}` are healthy that requests go to all of them (`panic`)",
            ),
            false => tracing::info!(
                %upstream,
                "enough endpoints of upstream `{upstream}` are healthy: requests go to those alone",
            ),
        }
    }

    /// Records that the chosen endpoint answered, and logs it if that lets the endpoint back in.
    pub(crate) fn record_answer(&self, endpoint: &LocalEndpoint, pick: &Pick, status: u16) {
        if self.config.balance == Balance::PeakEwma {
            pick.record_latency(self.now());
        }
        if self.config.ejection.outliers.is_some() {
            endpoint.shared.count(status >= 500, Some(pick.took(self.now())));
        }
        if endpoint.shared.record_answer(pick.chosen(), || self.now()) {
            endpoint.metrics.set_left_out(endpoint.shared.health().is_left_out());
            let (address, upstream) = (endpoint.address(), &self.config.name);
            tracing::info!(
                %upstream, endpoint = %address,
                "endpoint {address} of upstream `{upstream}` is back",
            );
            self.health_changed();
        }
    }

    /// Records the result of a health check, and logs it if that leaves the endpoint out or lets it back in.
    pub(crate) fn record_check(&self, endpoint: &Endpoint, check: &Arc<HealthCheck>, error: Option<String>) {
        let (now, health, metrics) = (self.now(), endpoint.health(), self.endpoint_metrics(endpoint));
        metrics.check(error.is_none());
        let reason = error.clone().unwrap_or_default();
        let change = health.record_check(check, error, now);
        metrics.set_left_out(health.is_left_out());
        let Some(change) = change else { return };
        if change == CheckChange::Passes {
            endpoint.record_return(now);
        }
        let set = self.endpoints.current();
        let (left, all) = (set.healthy(), set.members().len());
        let (address, upstream) = (endpoint.address(), &self.config.name);
        match change {
            CheckChange::Fails => tracing::warn!(
                %upstream, endpoint = %address,
                "endpoint {address} of upstream `{upstream}` left out: it fails its check `{check}`: {reason}; \
                 {left} of {all} left",
            ),
            CheckChange::Passes => tracing::info!(
                %upstream, endpoint = %address,
                "endpoint {address} of upstream `{upstream}` passes its check `{check}` again; {left} of {all} left",
            ),
        }
        self.health_changed();
    }

    /// Forgets checks of the endpoint that are not made any more.
    pub(crate) fn retain_checks(&self, endpoint: &Endpoint) {
        let health = endpoint.health();
        if health.checks().iter().any(|state| !self.config.health_checks.contains(&state.check)) {
            health.retain_checks(&self.config.health_checks);
            self.endpoint_metrics(endpoint).set_left_out(health.is_left_out());
            self.health_changed();
        }
    }

    /// Takes from a response what concerns the gateway alone.
    pub(crate) fn clean_response(&self, head: &mut ResponseHead) {
        strip_response_hop_by_hop(&mut head.fields);
        if self.config.hide_server {
            head.fields.remove_known(Known::Server);
        }
    }
}

/// A worker's connections to an upstream.
#[derive(Debug)]
pub(crate) struct LocalUpstream {
    pub(crate) shared: Arc<SharedUpstream>,
    connector: Rc<Connector>,
    /// Made when an exchange needs them first. Counted references, so that a reload carries them over while exchanges
    /// still use them.
    endpoints: RefCell<BTreeMap<EndpointId, Rc<LocalEndpoint>>>,
    /// The set that `endpoints` was compared with last.
    compared: RefCell<Arc<EndpointSet>>,
    /// A newer generation has taken over what it needs: connections that are made from now on are not kept.
    retired: Cell<bool>,
}

/// A connection that a request can be sent on.
pub(crate) enum Acquired {
    /// HTTP/1, and whether it has served before.
    H1(Box<h1::ClientConnection>, bool),
    /// HTTP/2.
    H2(h2::Lease),
}

impl LocalUpstream {
    /// A worker's view of `shared`, with those endpoints of `previous` whose connections may still be used.
    pub(crate) fn new(
        shared: Arc<SharedUpstream>,
        connector: Rc<Connector>,
        previous: Option<&Self>,
    ) -> Self {
        let set = shared.endpoints.current();
        let mut endpoints = BTreeMap::new();
        if let Some(previous) = previous.filter(|previous| shared.connects_like(&previous.shared)) {
            endpoints.clone_from(&previous.endpoints.borrow());
            endpoints.retain(|id, endpoint| set.contains(*id) && endpoint.keeps_like(&shared.config));
        }
        let endpoints = RefCell::new(endpoints);
        Self { shared, connector, endpoints, compared: RefCell::new(set), retired: Cell::new(false) }
    }

    /// Returns this worker's connections to `endpoint`.
    pub(crate) fn endpoint(&self, endpoint: &Arc<Endpoint>) -> Rc<LocalEndpoint> {
        let mut endpoints = self.endpoints.borrow_mut();
        let local = endpoints.entry(endpoint.id()).or_insert_with(|| {
            let metrics = self.shared.endpoint_metrics(endpoint);
            let local = LocalEndpoint::new(endpoint.clone(), metrics, &self.shared.config);
            if self.retired.get() {
                local.retire();
            }
            Rc::new(local)
        });
        local.clone()
    }

    /// Takes an idle connection to the endpoint, or to `peer`, if that is one of its addresses, that said the same of
    /// its client.
    pub(crate) fn reuse(
        &self,
        endpoint: &LocalEndpoint,
        peer: Option<SocketAddr>,
        announced: Option<ProxyHeader>,
        upload: bool,
    ) -> Option<Acquired> {
        match self.shared.config.protocol {
            UpstreamProtocol::Http1 => {
                endpoint.h1.reuse(peer, announced).map(|connection| Acquired::H1(connection, true))
            }
            UpstreamProtocol::Http2 => endpoint.h2.lease(peer, upload).map(Acquired::H2),
        }
    }

    /// Connects to the endpoint, preferably at `peer`: with a new connection, or with one of HTTP/2 that is being
    /// opened for other exchanges as well, unless it has to be `alone`. Dropping the future gives it up; a
    /// connection of HTTP/2 is then there for others.
    pub(crate) async fn connect(
        &self,
        endpoint: &Rc<LocalEndpoint>,
        peer: Option<SocketAddr>,
        announced: Option<ProxyHeader>,
        upload: bool,
        alone: bool,
    ) -> Result<Acquired, ConnectError> {
        let connecting = Connecting {
            upstream: self.shared.clone(),
            connector: self.connector.clone(),
            endpoint: endpoint.clone(),
        };
        match self.shared.config.protocol {
            UpstreamProtocol::Http1 => {
                let connection = connecting.h1(peer, announced).await?;
                Ok(Acquired::H1(Box::new(connection), false))
            }
            UpstreamProtocol::Http2 => loop {
                if !alone && let Some(opening) = endpoint.h2.join(peer) {
                    opening.usable().await?;
                    if let Some(lease) = endpoint.h2.lease(peer, upload) {
                        return Ok(Acquired::H2(lease));
                    }
                    continue;
                }
                let opening = endpoint.h2.open(peer, alone);
                tokio::task::spawn_local(connecting.h2(opening.clone()));
                return match opening.first().await? {
                    Some(lease) => Ok(Acquired::H2(lease)),
                    None => {
                        let reason = "it closed the connection".to_owned();
                        Err(ConnectError::protocol(endpoint.address().clone(), reason))
                    }
                };
            },
        }
    }

    /// Keeps no connections to endpoints that `current` does not have, or has under other rules.
    pub(crate) fn retire(&self, current: Option<&Self>) {
        if current.is_some_and(|current| std::ptr::eq(current, self)) {
            return;
        }
        self.retired.set(true);
        for (id, endpoint) in &*self.endpoints.borrow() {
            let is_kept = current.is_some_and(|current| {
                current.endpoints.borrow().get(id).is_some_and(|kept| Rc::ptr_eq(kept, endpoint))
            });
            if !is_kept {
                endpoint.retire();
            }
        }
    }

    /// Closes connections that were idle for too long, and drops endpoints that the upstream does not have any more.
    /// Exchanges that are under way there finish.
    pub(crate) fn sweep(&self) {
        let mut compared = self.compared.borrow_mut();
        if !self.shared.endpoints.is_current(&compared) {
            *compared = self.shared.endpoints.current();
            self.endpoints.borrow_mut().retain(|id, endpoint| {
                let stays = compared.contains(*id);
                if !stays {
                    endpoint.retire();
                }
                stays
            });
        }
        for endpoint in self.endpoints.borrow().values() {
            endpoint.sweep(&self.connector);
        }
    }
}

/// Returns what Host says in `request` to the endpoint at `address`, by the `setting` of its route or upstream.
pub(crate) fn host<'a>(setting: &'a HostHeader, request: &'a RequestHead, address: &'a str) -> &'a str {
    match setting {
        HostHeader::Preserve if request.authority.is_empty() => address,
        HostHeader::Preserve => &request.authority,
        HostHeader::Endpoint => address,
        HostHeader::Fixed(name) => name,
    }
}

/// Returns the key that an endpoint of `upstream` is chosen by: that of a policy, or what the upstream balances by.
pub(crate) fn balance_key(upstream: &Upstream, exchange: &Exchange) -> Option<Key> {
    let client = || match exchange.client.address.to_canonical() {
        IpAddr::V4(address) => Key::of(&address.octets()),
        IpAddr::V6(address) => Key::of(&address.octets()),
    };
    if let Some(key) = &exchange.endpoint_key {
        return Some(Key::of(key));
    }
    let Balance::Hash { key, .. } = &upstream.balance else { return None };
    Some(match key {
        HashKey::Client => client(),
        HashKey::Path => Key::of(exchange.request.path().as_bytes()),
        HashKey::Field(name) => exchange.request.fields.get(name.as_bytes()).map_or_else(client, Key::of),
        HashKey::Cookie(name) => exchange.request.cookie(name.as_bytes()).map_or_else(client, Key::of),
    })
}

/// What a new connection is made with. It outlives the exchange that needed it.
struct Connecting {
    upstream: Arc<SharedUpstream>,
    connector: Rc<Connector>,
    endpoint: Rc<LocalEndpoint>,
}

impl Connecting {
    async fn h1(
        self,
        peer: Option<SocketAddr>,
        announced: Option<ProxyHeader>,
    ) -> Result<h1::ClientConnection, ConnectError> {
        let connected = self.connect(peer, announced).await;
        self.upstream.metrics.connect(connected.is_ok());
        let (stream, peer) = connected?;
        let Upstream { head_bytes_max, field_case, .. } = self.upstream.config;
        Ok(h1::ClientConnection::new(stream, head_bytes_max, field_case, peer).announcing(announced))
    }

    /// Opens an HTTP/2 connection: for the exchange that needs it, and for others once the endpoint's settings say
    /// how many streams it may have.
    async fn h2(self, opening: Rc<Opening>) {
        let connected = self.handshake(opening.peer()).await;
        self.upstream.metrics.connect(connected.is_ok());
        opening.connected(connected.clone());
        if let Ok(handle) = connected {
            handle.settled().await;
            self.endpoint.h2.share(handle);
        }
        self.endpoint.h2.opened(&opening);
    }

    async fn handshake(&self, peer: Option<SocketAddr>) -> Result<h2::ClientHandle, ConnectError> {
        // The config refuses to name the client of a connection that many clients share.
        let (stream, peer) = self.connect(peer, None).await?;
        let Upstream { head_bytes_max, http2, timeouts, .. } = &self.upstream.config;
        let rules = h2::ConnectionRules {
            head_bytes_max: *head_bytes_max,
            http2: *http2,
            settle: timeouts.connect,
            keepalive: timeouts.keepalive,
            peer,
        };
        h2::handshake(stream, rules).await.map_err(|error| {
            ConnectError::protocol(self.endpoint.address().clone(), h2::describe(&error)).at(peer)
        })
    }

    /// Connects, and returns the address if the endpoint is a name.
    async fn connect(
        &self,
        first: Option<SocketAddr>,
        announced: Option<ProxyHeader>,
    ) -> Result<(Stream, Option<SocketAddr>), ConnectError> {
        let UpstreamTimeouts { connect, idle, keepalive, .. } = self.upstream.config.timeouts;
        let tls = self.upstream.tls.as_ref();
        let addresses = &self.endpoint.addresses;
        let own = announced.map(|announced| self.upstream.connector(&self.connector, Some(announced)));
        let connector = own.as_ref().unwrap_or(&self.connector);
        let (stream, peer) = addresses.connect(connector, tls, connect, first, |_| true).await?;
        // An endpoint that takes nothing is judged by `idle`, however much data the operating system holds for it.
        let unacknowledged = (idle <= UNACKNOWLEDGED_MAX).then(|| idle.max(keepalive));
        stream.watch_peer(keepalive, unacknowledged).map_err(|error| {
            ConnectError::protocol(
                self.endpoint.address().clone(),
                format!("its socket cannot be set up: {error}"),
            )
        })?;
        Ok((stream, peer))
    }
}

/// The longest `timeouts.idle` that is set in the operating system as well. Above that it counts probes alone.
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(300);

impl Acquired {
    /// The address that it leads to, if the endpoint is a name.
    pub(crate) fn peer(&self) -> Option<SocketAddr> {
        match self {
            Self::H1(connection, _) => connection.peer(),
            Self::H2(lease) => lease.peer(),
        }
    }

    /// Returns whether the endpoint's settings are known.
    pub(crate) fn is_settled(&self) -> bool {
        match self {
            Self::H1(..) => true,
            Self::H2(lease) => lease.is_settled(),
        }
    }

    /// Waits until the endpoint's settings are known, or the connection has closed.
    pub(crate) async fn settled(&self) {
        match self {
            Self::H1(..) => {}
            Self::H2(lease) => lease.settled().await,
        }
    }

    /// Sends the request of `exchange` with `body` to the endpoint, which is called `host`.
    pub(crate) fn start(
        self,
        exchange: &Exchange,
        upstream: &SharedUpstream,
        endpoint: &LocalEndpoint,
        host: &str,
        body: Body,
    ) -> Box<dyn Call> {
        match self {
            Self::H1(connection, reused) => {
                let pool = Some(endpoint.h1.clone());
                Box::new(connection.start(&exchange.request, host, body, pool, reused))
            }
            Self::H2(lease) => {
                let scheme = if upstream.tls.is_some() { Scheme::Https } else { Scheme::Http };
                Box::new(lease.start(&exchange.request, host, scheme, body))
            }
        }
    }
}

#[cfg(test)]
mod tests;
