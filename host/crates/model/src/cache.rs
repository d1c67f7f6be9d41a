//! What a cache keeps, and how routes use it.

use std::path::PathBuf;
use std::time::Duration;

use crate::{FieldMatch, Name, Origin};

/// A cache: `[caches.NAME]`. Routes may share one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cache {
    /// Its name.
    pub name: Name,
    /// Bytes that it may hold in memory: bodies, heads and keys.
    pub memory_bytes_max: usize,
    /// Bytes of a body in memory; a response with a longer one is stored on the disk alone, or not at all.
    pub object_bytes_max: u64,
    /// What it keeps on a disk, if it does.
    pub disk: Option<CacheDisk>,
    /// Its place in the config.
    pub origin: Origin,
}

/// What a cache keeps on a disk: its `disk`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheDisk {
    /// The folder, which no other cache has.
    pub folder: PathBuf,
    /// Bytes that its files may take.
    pub bytes_max: u64,
    /// Bytes of a body; a response with a longer one is not stored there.
    pub object_bytes_max: u64,
    /// How many files it may have.
    pub files_max: usize,
    /// How many threads read and write.
    pub threads: usize,
    /// How many reads and writes may wait for them.
    pub queue_max: usize,
    /// How many files may be open to be sent piece by piece.
    pub open_files_max: usize,
    /// How long a request waits for the disk before it goes on without.
    pub timeout: Duration,
}

/// How a route uses a cache: its `cache`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteCache {
    /// The name of the cache.
    pub store: Name,
    /// How long a response is fresh that does not say it itself, by its status.
    pub ttl: Vec<(StatusClass, Duration)>,
    /// Whether a response that says nothing of it is fresh for a part of its age, as RFC 9111, 4.2.2 allows.
    pub heuristic: bool,
    /// Whether a response that sets cookies may be stored.
    pub cookies: CookieRule,
    /// Fields in lower case that count in place of `Cache-Control`, the first that a response has (RFC 9213).
    pub targeted: Vec<String>,
    /// The longest time that a response is fresh, whatever it says.
    pub lifetime_max: Option<Duration>,
    /// The longest body that is stored, if the cache takes longer ones.
    pub object_bytes_max: Option<u64>,
    /// How requests are compared if a response varies.
    pub vary: VaryRule,
    /// Whether what a client's `Cache-Control` asks for is done.
    pub heeds_clients: bool,
    /// How long a response may be used after it has become stale.
    pub stale: StaleRules,
    /// What distinguishes requests besides their URL.
    pub key: CacheKey,
    /// A request that meets one of these is neither answered from the cache nor is its answer stored.
    pub bypass: Vec<Bypass>,
    /// How requests for the same response wait for each other.
    pub collapse: Collapse,
    /// Whether responses say in `Cache-Status` what the cache did.
    pub reports: bool,
}

/// Statuses of responses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StatusClass {
    /// This one.
    Exactly(u16),
    /// Those with this first digit.
    Hundred(u16),
}

/// Whether a response with `Set-Cookie` is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum CookieRule {
    /// It is not: such a response is nearly always meant for one client.
    #[default]
    Skip,
    /// It is stored like any other, as RFC 9111 says.
    Rfc,
}

/// How much two requests may differ in a field that a response varies by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum VaryRule {
    /// In white space and in how a list is divided into lines.
    Exact,
    /// In addition in the order of `Accept-Encoding`, and in case in that and in `Accept-Language`.
    #[default]
    Case,
    /// In addition in the order of `Accept-Language`, of which the language counts that is preferred.
    Languages,
}

/// How long a response may be used after it has become stale, if it does not say it itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct StaleRules {
    /// While it is renewed in the background.
    pub while_revalidate: Duration,
    /// If the upstream fails.
    pub on_error: Duration,
}

/// What distinguishes requests besides their URL, the upstream, and what policies have changed.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct CacheKey {
    /// The parameters of the query that count.
    pub query: QueryRule,
    /// Fields of the request, lower case, in name order.
    pub fields: Vec<String>,
    /// Cookies of the request, in name order.
    pub cookies: Vec<String>,
    /// Attributes that policies have set, in name order.
    pub attributes: Vec<String>,
    /// Fields, lower case, that policies set and that no response depends on, in name order.
    pub irrelevant: Vec<String>,
}

/// The parameters of a query that count.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub enum QueryRule {
    /// The query as it is.
    #[default]
    All,
    /// These, in name order; none if it is empty.
    Only(Vec<String>),
    /// All but these, in name order.
    Except(Vec<String>),
}

/// A condition under which a request passes by the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bypass {
    /// It has this field, with this value if one is given.
    Field(FieldMatch),
    /// It has this cookie.
    Cookie(String),
}

/// How requests for the same response wait for each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Collapse {
    /// How long one may wait before it goes to the upstream itself. Zero: none waits.
    pub wait: Duration,
    /// How many may wait for one response. Further ones go to the upstream.
    pub waiting_max: u32,
    /// For how long requests do not wait for each other after a response was not stored.
    pub pass: Duration,
}

impl StatusClass {
    /// Whether `status` is one of them.
    #[must_use]
    pub fn contains(self, status: u16) -> bool {
        match self {
            Self::Exactly(exactly) => exactly == status,
            Self::Hundred(digit) => status / 100 == digit,
        }
    }
}
