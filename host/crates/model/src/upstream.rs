//! The servers behind the gateway.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::{FieldCase, HealthCheck, HostHeader, Name, Origin, ProxyVersion, Share};

/// A set of interchangeable servers: `[upstreams.NAME]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Upstream {
    /// Its name.
    pub name: Name,
    /// At least one, no two with the same address.
    pub endpoints: Vec<Endpoint>,
    /// How an endpoint is chosen.
    pub balance: Balance,
    /// How many exchanges it may have under way, and how many requests may wait for one of them to end.
    pub limits: UpstreamLimits,
    /// For how long the share of an endpoint grows that was added beside others or let back in; zero gives it all of
    /// its share at once.
    pub slow_start: Duration,
    /// What is spoken to the endpoints.
    pub protocol: UpstreamProtocol,
    /// TLS to the endpoints, if they have it.
    pub tls: Option<UpstreamTls>,
    /// The version of the PROXY protocol in which each connection names its client, if it does.
    pub proxy_protocol: Option<ProxyVersion>,
    /// What `Host` (`:authority`) says.
    pub host: HostHeader,
    /// Whether the upstream's `Server` field is kept from clients.
    pub hide_server: bool,
    /// How names of fields are written to it over HTTP/1.
    pub field_case: FieldCase,
    /// How long an endpoint may take.
    pub timeouts: UpstreamTimeouts,
    /// When a failing endpoint is left out, and for how long.
    pub ejection: Ejection,
    /// What its endpoints are asked again and again. One that fails a check is left out.
    pub health_checks: Vec<Arc<HealthCheck>>,
    /// What is done if too few endpoints are healthy.
    pub panic: Panic,
    /// Idle connections that each worker keeps to each endpoint.
    pub idle_connections_max: usize,
    /// Bytes of a response head that is accepted.
    pub head_bytes_max: usize,
    /// Bytes of a request's body that are kept so that it can be sent again.
    pub replay_bytes_max: usize,
    /// The share of its requests that may be tried on a further endpoint; `None` does not bound it.
    pub retry_budget: Option<Share>,
    /// What connections of HTTP/2 carry.
    pub http2: UpstreamHttp2,
    /// Its place in the config.
    pub origin: Origin,
}

/// One address of an upstream.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// `host:port`; the host is an IP address or a name that is resolved when a connection is made. An IPv6 address
    /// stands in brackets.
    pub address: Name,
    /// Its share beside the others: up to 1000; 0 drains it, so that it takes no more exchanges.
    pub weight: u32,
    /// 0 to 9. Endpoints with a higher number are used while none with a lower one can be.
    pub priority: u8,
}

/// How an endpoint is chosen.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Balance {
    /// Smooth weighted round-robin, as nginx does it.
    #[default]
    RoundRobin,
    /// The endpoint with the fewest exchanges under way in proportion to its weight. Of many endpoints, the better one
    /// of two drawn by chance.
    LeastRequests,
    /// Of two endpoints drawn by chance, the one that is quicker to answer, with what it has under way.
    PeakEwma,
    /// Any, with a chance in proportion to its weight.
    Random,
    /// The endpoint that a hash of the key belongs to, so that requests with the same key go to the same endpoint.
    Hash {
        /// What is hashed.
        key: HashKey,
        /// How much of its share of the exchanges under way an endpoint may have, in proportion to its weight, before
        /// requests go to the key's next one: 100 % or more. `None` does not bound it.
        load_max: Option<Share>,
    },
}

/// How many exchanges an upstream may have under way, over all workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UpstreamLimits {
    /// All of them together; `None` is unbounded.
    pub requests_max: Option<u32>,
    /// Those at one endpoint; `None` is unbounded.
    pub endpoint_requests_max: Option<u32>,
    /// Requests that wait for one of them to end: none. One more is answered 503.
    pub waiting_max: u32,
    /// How long a request waits: 1 s. After that it is answered 503.
    pub wait: Duration,
}

impl UpstreamLimits {
    /// Returns whether nothing is bounded.
    #[must_use]
    pub fn is_unbounded(&self) -> bool {
        self.requests_max.is_none() && self.endpoint_requests_max.is_none()
    }
}

impl Default for UpstreamLimits {
    fn default() -> Self {
        Self { requests_max: None, endpoint_requests_max: None, waiting_max: 0, wait: Duration::from_secs(1) }
    }
}

/// What about a request its endpoint is chosen by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HashKey {
    /// The client's address.
    Client,
    /// The path, without its query.
    Path,
    /// The value of this field, in lower case; the client's address if the request does not have it.
    Field(Name),
    /// The value of this cookie; the client's address if the request does not have it.
    Cookie(Name),
}

/// The protocol that is spoken to an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum UpstreamProtocol {
    /// HTTP/1.1.
    #[default]
    Http1,
    /// HTTP/2: by ALPN over TLS, by prior knowledge without.
    Http2,
}

/// What a connection of HTTP/2 to an endpoint carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UpstreamHttp2 {
    /// Exchanges at once: 100. An endpoint may allow fewer.
    pub streams_max: u32,
    /// Bytes of one response that may be on their way before the client takes them: 128 KiB. The connection has room
    /// for that many of each of its exchanges, so that a client that reads nothing stops no other.
    pub window: u32,
    /// Bytes that were handed to one connection and wait to be written: 256 KiB.
    pub send_buffer_bytes: usize,
    /// Frames that do no work which the endpoint may send at once: 1,000; a fiftieth of that comes back in a second.
    pub idle_frames: u32,
}

impl Default for UpstreamHttp2 {
    fn default() -> Self {
        Self { streams_max: 100, window: 128 << 10, send_buffer_bytes: 256 << 10, idle_frames: 1000 }
    }
}

/// TLS to an upstream.
#[derive(Clone, PartialEq, Eq)]
pub struct UpstreamTls {
    /// The name that is sent as SNI and that the certificate must carry; `None` takes the endpoint's host.
    pub server_name: Option<Name>,
    /// PEM of the authorities that are trusted instead of the system's, and the file it came from.
    pub ca: Option<(PathBuf, Vec<u8>)>,
    /// Whether the certificate is verified. Only `insecure-skip-verify = true` makes this false.
    pub verify: bool,
}

impl std::fmt::Debug for UpstreamTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UpstreamTls")
            .field("server_name", &self.server_name)
            .field("ca", &self.ca.as_ref().map(|(path, _)| path))
            .field("verify", &self.verify)
            .finish()
    }
}

/// How long an endpoint may take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamTimeouts {
    /// To connect, TLS included: 5 s.
    pub connect: Duration,
    /// From the end of the request to the end of the response's head: 60 s.
    pub response_head: Duration,
    /// With no byte of a body in either direction: 60 s.
    pub idle: Duration,
    /// A pooled connection that was not used for this long is closed: 4 s over HTTP/1, under the 5 s after which Node,
    /// Apache and uvicorn close one; 60 s over HTTP/2, which says that it closes.
    pub pool_idle: Duration,
    /// How long the machine of an endpoint may give no sign of life before its connection is not used any more: 30 s.
    pub keepalive: Duration,
}

impl UpstreamTimeouts {
    /// The default of `pool_idle` over HTTP/1.
    pub const POOL_IDLE_HTTP1: Duration = Duration::from_secs(4);
    /// The default of `pool_idle` over HTTP/2.
    pub const POOL_IDLE_HTTP2: Duration = Duration::from_secs(60);
}

impl Default for UpstreamTimeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            response_head: Duration::from_secs(60),
            idle: Duration::from_secs(60),
            pool_idle: Self::POOL_IDLE_HTTP1,
            keepalive: Duration::from_secs(30),
        }
    }
}

/// When a failing endpoint is left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ejection {
    /// Failures in a row (refused, reset, timed out) that eject it; 0 never does. 1, as nginx's `max_fails`.
    pub failures: u32,
    /// How long it is left out: 10 s, as nginx's `fail_timeout`.
    pub duration: Duration,
    /// How long at most, if it fails again and again: each time is twice as long as the one before. The same as
    /// `duration` if the time does not grow.
    pub duration_max: Duration,
    /// The share of an upstream's endpoints that may be left out for what they did; rounded down.
    pub share_max: Share,
    /// What leaves an endpoint out that does worse than the others, if anything.
    pub outliers: Option<Outliers>,
}

impl Default for Ejection {
    fn default() -> Self {
        let duration = Duration::from_secs(10);
        Self { failures: 1, duration, duration_max: duration, share_max: Share::ALL, outliers: None }
    }
}

/// When an endpoint does so much worse than the others that it is left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outliers {
    /// By how much more of its exchanges fail than of the others', in parts of all.
    pub failures: Option<Share>,
    /// How many times as long it takes to answer as the others do.
    pub latency: Option<Share>,
    /// How long exchanges are counted before endpoints are compared: 10 s.
    pub window: Duration,
    /// Exchanges that an endpoint, and all others together, must have had in a window: 50.
    pub requests_min: u32,
}

/// What is done if too few endpoints of an upstream are healthy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Panic {
    /// If none is, exchanges go to all as if all were.
    #[default]
    NoneLeft,
    /// If fewer than this share are, exchanges go to all as if all were.
    Below(Share),
    /// Exchanges never go to an endpoint that is left out, except probes.
    Off,
}
