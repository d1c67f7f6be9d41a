//! The gateway as a whole, and its listeners.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::path::PathBuf;
use std::time::Duration;

use crate::{
    Cache, Compress, ConnectionLimits, DownstreamTimeouts, Name, Origin, PolicyConfig, Protocols,
    ProxyProtocol, Route, Secret, Upstream,
};

/// One validated configuration.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Gateway {
    /// What belongs to the process.
    pub server: Server,
    /// By name order; at least one.
    pub listeners: Vec<Listener>,
    /// By name order.
    pub upstreams: Vec<Upstream>,
    /// By name order; each is used by at least one route.
    pub caches: Vec<Cache>,
    /// By name order; each is used by at least one route.
    pub policies: Vec<PolicyConfig>,
    /// In match order, a route with several hosts by its narrowest one.
    pub routes: Vec<Route>,
    /// The secrets, read.
    pub secrets: BTreeMap<Name, Secret>,
    /// Every file that was read to make this, absolute: a change of one of them is a reason to load again.
    pub files: Vec<PathBuf>,
    /// What is odd about it and no mistake, each with its place, as it is shown.
    pub warnings: Vec<String>,
}

/// Settings of the process: `[server]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Server {
    /// Worker threads; `None` is one for each core.
    pub workers: Option<usize>,
    /// Peers whose forwarding fields (X-Forwarded-For, Forwarded, …) count, as networks.
    pub trusted_proxies: Vec<ipnet::IpNet>,
    /// How long exchanges may go on after SIGTERM.
    pub drain_timeout: Duration,
    /// What `Via` calls the gateway; `None` writes no `Via`.
    pub via: Option<Name>,
    /// The folder for compiled plugins; `None` is the user's cache folder.
    pub cache_dir: Option<PathBuf>,
    /// The access log.
    pub access_log: AccessLog,
    /// The address at which Prometheus reads the metrics, over plain HTTP; `None` serves none. Port 0 takes a free
    /// port.
    pub metrics: Option<SocketAddr>,
    /// Policy instances that may be alive at once, over all policies and workers.
    pub policy_instances_max: u32,
    /// Bytes of linear memory that policy instances may have, all together.
    pub policy_memory_bytes_max: u64,
    /// Requests of policies' own that may be outstanding at once, over all policies and workers.
    pub policy_http_calls_max: u32,
    /// Files that are opened or read at once for `files` of routes, over all workers.
    pub file_reads_max: u32,
    /// Files that may be open for `files` of routes, beside those that are read at once.
    pub open_files_max: u32,
    /// How routes that say nothing of it encode responses.
    pub compress: Option<Compress>,
    /// Responses that may be encoded at once, for each worker.
    pub encoders_max: usize,
    /// Bytes that compiling a plugin may take.
    pub policy_compile_memory_bytes: u64,
    /// CPU time that compiling a plugin may take, in whole seconds.
    pub policy_compile_time: Duration,
    /// The place of the control socket.
    pub control: Control,
    /// Bytes of plugins from registries that are kept on disk: 1 GiB.
    pub plugin_store_max: u64,
    /// Whether changed files are loaded without being asked to.
    pub watch: bool,
    /// Files that change are loaded when nothing has changed for this long.
    pub settle: Duration,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            workers: None,
            trusted_proxies: Vec::new(),
            drain_timeout: Duration::from_secs(30),
            via: Some("portcullis".into()),
            cache_dir: None,
            access_log: AccessLog::default(),
            metrics: None,
            policy_instances_max: 4000,
            policy_memory_bytes_max: 8 << 30,
            policy_http_calls_max: 1000,
            file_reads_max: 8,
            open_files_max: 1000,
            compress: None,
            encoders_max: 128,
            policy_compile_memory_bytes: 4 << 30,
            policy_compile_time: Duration::from_secs(900),
            control: Control::default(),
            plugin_store_max: 1 << 30,
            watch: true,
            settle: Duration::from_secs(2),
        }
    }
}

/// The place of the control socket.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Control {
    /// In the user's folder for sockets, named after the config: commands look for it there.
    #[default]
    Default,
    /// At this path.
    At(PathBuf),
    /// Nowhere.
    Off,
}

/// How each finished exchange is recorded.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AccessLog {
    /// The form of a record.
    pub format: AccessLogFormat,
    /// The target of the records.
    pub target: LogTarget,
}

/// The form of an access record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AccessLogFormat {
    /// One readable line.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
    /// No access log.
    Off,
}

/// The target of log lines.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum LogTarget {
    /// Standard output.
    #[default]
    Stdout,
    /// Appended to a file, which is reopened on reload so that logrotate works.
    File(PathBuf),
}

/// An address that clients connect to: `[listeners.NAME]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Listener {
    /// Its name.
    pub name: Name,
    /// The address that it listens on. Port 0 takes a free port.
    pub address: SocketAddr,
    /// The port that clients connect to, if something in front maps it to that of the address.
    pub public_port: Option<NonZeroU16>,
    /// The protocols that it speaks.
    pub protocols: Protocols,
    /// TLS, if the listener has it.
    pub tls: Option<TlsServer>,
    /// Which load balancers name their clients in front of each connection, if any do.
    pub proxy_protocol: Option<ProxyProtocol>,
    /// How long a client may take.
    pub timeouts: DownstreamTimeouts,
    /// How much a client may send.
    pub limits: ConnectionLimits,
    /// What becomes of an HTTP/1 client that closes its sending half behind a request.
    pub half_closed: HalfClosed,
    /// How names of fields are written to HTTP/1 clients.
    pub field_case: FieldCase,
    /// Its place in the config.
    pub origin: Origin,
}

/// What becomes of an HTTP/1 client that closes its sending half behind a whole request, and keeps reading. The
/// gateway cannot distinguish it from one that has gone until it writes to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HalfClosed {
    /// It is answered if it has said that this is its last request: by `Connection: close`, or by HTTP/1.0 without
    /// `keep-alive`. Otherwise it has gone.
    #[default]
    AnswerLast,
    /// It is answered.
    Answer,
    /// It has gone: its exchange is given up.
    Cancel,
}

/// How the names of fields in a head of HTTP/1 are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FieldCase {
    /// In lower case, as HTTP/2 has them.
    #[default]
    Lower,
    /// As most documents spell them: `Content-Length`, `ETag`.
    Title,
}

/// TLS towards clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsServer {
    /// At least one; the first serves clients that name no host or an unknown one.
    pub certificates: Vec<Certificate>,
    /// The oldest version that is accepted.
    pub min_version: TlsVersion,
}

/// A certificate chain and its key, as PEM. The bytes are part of the configuration so that a changed file is a
/// changed configuration.
#[derive(Clone, PartialEq, Eq)]
pub struct Certificate {
    /// The file the chain was read from.
    pub cert_path: PathBuf,
    /// The file the key was read from.
    pub key_path: PathBuf,
    /// PEM of the chain, leaf first.
    pub cert_pem: Vec<u8>,
    /// PEM of the private key. Never printed.
    pub key_pem: Vec<u8>,
    /// Its place in the config.
    pub origin: Origin,
}

impl std::fmt::Debug for Certificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Certificate")
            .field("cert_path", &self.cert_path)
            .field("key_path", &self.key_path)
            .finish_non_exhaustive()
    }
}

/// A version of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum TlsVersion {
    /// TLS 1.2 (RFC 5246).
    #[default]
    V1_2,
    /// TLS 1.3 (RFC 8446).
    V1_3,
}

impl TlsVersion {
    /// Returns its usual name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::V1_2 => "TLSv1.2",
            Self::V1_3 => "TLSv1.3",
        }
    }

    /// Returns the version of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::V1_2, Self::V1_3].into_iter().find(|version| version.name() == name)
    }
}
