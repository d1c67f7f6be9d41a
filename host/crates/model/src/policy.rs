//! Policies as configuration: which plugin, what it may do, what it may cost.

use std::path::PathBuf;
use std::time::Duration;

use crate::{Candidate, HttpGrant, Name, Origin, PinnedPlugin, Version};

/// A configured use of a plugin: `[policies.NAME]`.
#[derive(Debug, Clone, PartialEq)]
pub struct PolicyConfig {
    /// Its name.
    pub name: Name,
    /// Which of the policy's versions this is.
    pub version: Version,
    /// The source of the component.
    pub plugin: PluginSource,
    /// SHA-256 of the component's bytes, so that a rebuilt plugin is a changed policy.
    pub digest: [u8; 32],
    /// What it may use.
    pub grants: Grants,
    /// What its instances are shared by.
    pub isolation: Isolation,
    /// What it may cost.
    pub limits: ResourceLimits,
    /// What happens to an exchange when it fails.
    pub on_error: FailureMode,
    /// When it is not called any more for its faults; `None` never.
    pub quarantine: Option<QuarantineRule>,
    /// How often `on-tick` is called, for a plugin that has it.
    pub tick: Duration,
    /// Its configuration as JSON that satisfies the plugin's schema. Files that it names are already read in.
    pub config_json: String,
    /// Another version that is tried beside this one. A version that is tried has none itself.
    pub candidate: Option<Box<Candidate>>,
    /// Its place in the config.
    pub origin: Origin,
}

/// The source of a component.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum PluginSource {
    /// Embedded in the binary: `builtin:NAME`.
    Builtin(Name),
    /// A `.wasm` file, absolute.
    File(PathBuf),
    /// An image in a registry: `oci://`. Boxed: it is far larger than the others.
    Oci(Box<PinnedPlugin>),
}

impl std::fmt::Display for PluginSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Builtin(name) => write!(f, "builtin:{name}"),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Oci(plugin) => {
                let PinnedPlugin { reference, manifest } = &**plugin;
                crate::OciReference { digest: Some(*manifest), ..reference.clone() }.fmt(f)
            }
        }
    }
}

/// A family of host functions that a policy may be granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Capability {
    /// Write to the gateway's log.
    Log,
    /// Read the wall clock and a monotonic clock.
    Clock,
    /// Random bytes.
    Random,
    /// Shared rate-limit buckets.
    RateLimit,
    /// Counters, gauges and histograms.
    Metrics,
    /// A small key-value store, shared by the workers.
    Store,
    /// Named secrets.
    Secrets,
    /// Signatures, authentication codes and digests.
    Crypto,
    /// Sets of patterns and networks, and a reader of JSON.
    Matchers,
    /// Requests of its own to HTTP servers.
    HttpClient,
    /// Remove what caches have stored.
    CachePurge,
}

impl Capability {
    /// All of them, in the order of the documentation.
    pub const ALL: [Self; 11] = [
        Self::Log,
        Self::Clock,
        Self::Random,
        Self::RateLimit,
        Self::Metrics,
        Self::Store,
        Self::Secrets,
        Self::Crypto,
        Self::Matchers,
        Self::HttpClient,
        Self::CachePurge,
    ];

    /// Its name in WIT.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Log => "log",
            Self::Clock => "clock",
            Self::Random => "random",
            Self::RateLimit => "rate-limit",
            Self::Metrics => "metrics",
            Self::Store => "store",
            Self::Secrets => "secrets",
            Self::Crypto => "crypto",
            Self::Matchers => "matchers",
            Self::HttpClient => "http-client",
            Self::CachePurge => "cache-purge",
        }
    }

    /// Its key in `grants`.
    #[must_use]
    pub const fn grant_key(self) -> &'static str {
        match self {
            Self::HttpClient => "http",
            other => other.name(),
        }
    }

    /// How it is granted, as it is typed.
    #[must_use]
    pub const fn grant_example(self) -> &'static str {
        match self {
            Self::Log => "log = true",
            Self::Clock => "clock = true",
            Self::Random => "random = true",
            Self::RateLimit => "rate-limit = true",
            Self::Metrics => "metrics = true",
            Self::Store => "store = true",
            Self::Secrets => "secrets = [\"NAME\"]",
            Self::Crypto => "crypto = true",
            Self::Matchers => "matchers = true",
            Self::HttpClient => "http = [\"https://HOST/PATH\"]",
            Self::CachePurge => "cache-purge = [\"CACHE\"]",
        }
    }

    /// Whether its functions wait.
    #[must_use]
    pub const fn waits(self) -> bool {
        matches!(self, Self::HttpClient | Self::CachePurge)
    }

    /// The capability of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|capability| capability.name() == name)
    }
}

/// What a policy was granted. The default is nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Grants {
    /// `log = true`.
    pub log: bool,
    /// `clock = true`.
    pub clock: bool,
    /// `random = true`.
    pub random: bool,
    /// `rate-limit = true` (or a table); the bound on buckets.
    pub rate_limit: Option<RateQuota>,
    /// `metrics = true`.
    pub metrics: bool,
    /// `store = true` (or a table); its quota.
    pub store: Option<StoreGrant>,
    /// `secrets = ["name"]`: the secrets that it may read.
    pub secrets: Vec<Name>,
    /// `crypto = true`.
    pub crypto: bool,
    /// `matchers = true`.
    pub matchers: bool,
    /// `http = ["https://host"]`: the servers that it may ask.
    pub http: Vec<HttpGrant>,
    /// `cache-purge = ["assets"]` (or a table): the caches that it may purge, and how often.
    pub cache_purge: Option<PurgeGrant>,
}

impl Grants {
    /// Whether anything of `capability` is granted.
    #[must_use]
    pub fn allows(&self, capability: Capability) -> bool {
        match capability {
            Capability::Log => self.log,
            Capability::Clock => self.clock,
            Capability::Random => self.random,
            Capability::RateLimit => self.rate_limit.is_some(),
            Capability::Metrics => self.metrics,
            Capability::Store => self.store.is_some(),
            Capability::Secrets => !self.secrets.is_empty(),
            Capability::Crypto => self.crypto,
            Capability::Matchers => self.matchers,
            Capability::HttpClient => !self.http.is_empty(),
            Capability::CachePurge => self.cache_purge.is_some(),
        }
    }

    /// Takes back all that is granted of `capability`.
    pub fn revoke(&mut self, capability: Capability) {
        match capability {
            Capability::Log => self.log = false,
            Capability::Clock => self.clock = false,
            Capability::Random => self.random = false,
            Capability::RateLimit => self.rate_limit = None,
            Capability::Metrics => self.metrics = false,
            Capability::Store => self.store = None,
            Capability::Secrets => self.secrets.clear(),
            Capability::Crypto => self.crypto = false,
            Capability::Matchers => self.matchers = false,
            Capability::HttpClient => self.http.clear(),
            Capability::CachePurge => self.cache_purge = None,
        }
    }

    /// What is granted that a component with these imports has no use for.
    #[must_use]
    pub fn useless(&self, imports: &[Capability]) -> Vec<Capability> {
        // Secrets are of use to who imports them as keys, without reading them.
        let is_used = |capability| {
            imports.contains(&capability)
                || (capability == Capability::Secrets && imports.contains(&Capability::Crypto))
        };
        let granted = Capability::ALL.into_iter().filter(|capability| self.allows(*capability));
        granted.filter(|capability| !is_used(*capability)).collect()
    }
}

/// How many rate-limit buckets a policy may keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateQuota {
    /// Buckets kept at once; the one nearest to full again makes place for a new one. 65,536 take 1.6 MiB.
    pub buckets_max: usize,
}

impl Default for RateQuota {
    fn default() -> Self {
        Self { buckets_max: 65_536 }
    }
}

/// How much a policy may keep in its store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoreGrant {
    /// Entries kept at once: 10,000.
    pub entries_max: usize,
    /// Bytes of keys and values kept at once: 16 MiB.
    pub bytes_max: usize,
}

impl Default for StoreGrant {
    fn default() -> Self {
        Self { entries_max: 10_000, bytes_max: 16 << 20 }
    }
}

/// Which caches a policy may purge, and how often.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PurgeGrant {
    /// The caches.
    pub caches: Vec<Name>,
    /// Purges in a second, over all workers: 100, as a site that purges what each of its writes changes needs them.
    pub per_second: u32,
}

impl PurgeGrant {
    /// Purges in a second, if nothing else is granted.
    pub const PER_SECOND: u32 = 100;
}

/// What a policy may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResourceLimits {
    /// CPU time of one hook call: 10 ms, several hundred times what an ordinary hook takes.
    pub deadline: Duration,
    /// CPU time of `configure`, once for each load: 5 s, for languages that start slowly.
    pub configure_deadline: Duration,
    /// Linear memory of one instance: 16 MiB.
    pub memory_bytes: usize,
    /// Bytes of a body that the policy may hold back or be given at once: 1 MiB.
    pub body_bytes: usize,
    /// From the begin of a hook call to its end, waiting included: 30 s, three times the longest deadline.
    pub wall: Duration,
    /// Instances of the policy that may be alive at once, over all workers; `None` as many as the gateway may have.
    pub instances: Option<u32>,
    /// Hook calls that wait or may run long and are under way at once, over all workers: 250.
    pub hook_calls: u32,
    /// Requests of its own that are outstanding at once, over all workers: 200.
    pub http_calls: u32,
    /// Lines that it may write to the log in a second, over all workers: 100.
    pub log_lines: u32,
    /// Bytes of these: 64 KiB.
    pub log_bytes: u32,
}

impl Default for ResourceLimits {
    fn default() -> Self {
        Self {
            deadline: Duration::from_millis(10),
            configure_deadline: Duration::from_secs(5),
            memory_bytes: 16 << 20,
            body_bytes: 1 << 20,
            wall: Duration::from_secs(30),
            instances: None,
            hook_calls: 250,
            http_calls: 200,
            log_lines: 100,
            log_bytes: 64 << 10,
        }
    }
}

/// When a policy is not called any more for its faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuarantineRule {
    /// So many faults of one hook, if no call of it succeeded or if they are of so many clients: 5.
    pub faults: usize,
    /// Within this time: 10 s.
    pub window: Duration,
    /// From its beginning to the first call that is let through again, and the time that each failure doubles: 1 s.
    pub backoff: Duration,
    /// The most that it is doubled to: 1 min.
    pub backoff_max: Duration,
}

impl QuarantineRule {
    /// The back-off after one that did not suffice.
    #[must_use]
    pub fn longer(&self, backoff: Duration) -> Duration {
        backoff.saturating_mul(2).min(self.backoff_max.max(self.backoff))
    }
}

impl Default for QuarantineRule {
    fn default() -> Self {
        Self {
            faults: 5,
            window: Duration::from_secs(10),
            backoff: Duration::from_secs(1),
            backoff_max: Duration::from_secs(60),
        }
    }
}

/// What the instances of a policy are shared by: how far what one exchange leaves behind can reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Isolation {
    /// Nothing: each exchange has an instance of its own, which starts as `configure` left it and is wiped at the end.
    #[default]
    Exchange,
    /// A worker's exchanges, one after the other: the fastest.
    Worker,
}

impl Isolation {
    /// Its name in the config.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Exchange => "exchange",
            Self::Worker => "worker",
        }
    }
}

/// What happens to an exchange when a policy traps, runs out of time or breaks a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FailureMode {
    /// The client gets 500. The default: a gateway that fails open is no gate.
    #[default]
    Deny,
    /// The chain goes on as if the policy were not there.
    Allow,
}
