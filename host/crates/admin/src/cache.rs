//! `caches`, `cache-inspect` and `cache-purge`: what is stored, and removing it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::Request;

/// Asks which caches there are.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct CacheListRequest {}

impl Request for CacheListRequest {
    type Answer = Vec<CacheStatus>;
    const NAME: &'static str = "caches";
    const CHANGES: bool = false;
}

/// A cache.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CacheStatus {
    /// Its name.
    pub cache: String,
    /// The routes that use it.
    pub routes: Vec<String>,
    /// Responses in memory.
    pub entries: u64,
    /// Bytes of memory that they take.
    pub bytes: u64,
    /// Bytes that they may take.
    pub bytes_max: u64,
    /// Responses that made room for others.
    pub evictions: u64,
    /// Files on the disk, if it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk_files: Option<u64>,
    /// Bytes of these.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk_bytes: Option<u64>,
}

/// Asks for responses to be removed, or marked stale.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CachePurgeRequest {
    /// From these caches; from all if it is empty.
    pub caches: Vec<String>,
    /// All variants of these URLs.
    pub urls: Vec<String>,
    /// All URLs that begin so.
    pub prefixes: Vec<String>,
    /// All that have one of these tags.
    pub tags: Vec<String>,
    /// Everything.
    pub all: bool,
    /// Keep them, but for validation and as stale responses.
    pub soft: bool,
}

impl CachePurgeRequest {
    /// URLs, prefixes and tags together.
    pub const TARGETS_MAX: usize = 1000;
    /// Prefixes: for each one all keys are searched.
    pub const PREFIXES_MAX: usize = 20;
}

impl Request for CachePurgeRequest {
    type Answer = Vec<CachePurged>;
    const NAME: &'static str = "cache-purge";
    const CHANGES: bool = true;
    const TIMEOUT: Duration = Duration::from_secs(60);
}

/// What came of purging one thing from one cache. Each request that begins later sees it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CachePurged {
    /// The cache.
    pub cache: String,
    /// `url`, `prefix`, `tag` or `all`.
    pub kind: String,
    /// Which one, as it was asked for.
    pub target: String,
    /// Responses that were met in memory.
    pub in_memory: u64,
    /// Responses that were met on the disk.
    pub on_disk: u64,
    /// The URLs that were purged, as they are stored.
    pub urls: Vec<String>,
    /// Whether it holds after a restart: `false` if it could not be written to the disk.
    pub lasting: bool,
    /// Why nothing may have been met.
    pub notes: Vec<String>,
}

/// Asks what is stored of a URL, and what would become of a request for it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CacheInspectRequest {
    /// The URL.
    pub url: String,
    /// The method of the request; GET if it is empty.
    pub method: String,
    /// Fields of the request, a line each.
    pub headers: Vec<String>,
    /// Of this cache; of all without.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache: Option<String>,
}

impl Request for CacheInspectRequest {
    type Answer = CacheInspectAnswer;
    const NAME: &'static str = "cache-inspect";
    const CHANGES: bool = false;
    /// Policies run, each within its deadline.
    const TIMEOUT: Duration = Duration::from_secs(60);
}

/// What is stored of a URL, and what would become of a request for it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CacheInspectAnswer {
    /// What would become of a request now.
    pub now: CacheNow,
    /// What is stored, in all caches and under all keys of the URL.
    pub responses: Vec<CachedResponse>,
    /// URLs with the same path that are stored, without their queries, if the URL itself is not.
    pub similar: Vec<String>,
}

/// What would become of a request now.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CacheNow {
    /// The route that takes it.
    pub route: Option<String>,
    /// The route's cache.
    pub cache: Option<String>,
    /// `hit`, `stale`, `validate`, `miss` or `bypass`; absent if the cache is not asked.
    pub result: Option<String>,
    /// What `Cache-Status` would say.
    pub status: Option<String>,
    /// Why.
    pub why: String,
    /// The URL of its key.
    pub url: Option<String>,
}

/// A stored response. Values of cookies, of credentials and of what policies have set are replaced by marks, which are
/// the same for equal values for as long as the process runs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CachedResponse {
    /// The cache.
    pub cache: String,
    /// `memory` or `disk`.
    pub tier: String,
    /// The URL of its key.
    pub url: String,
    /// What else its key has.
    pub key: Vec<String>,
    /// The fields of the request that it varies by: name and value, which is absent if the request had no such field.
    pub varies: Vec<(String, Option<String>)>,
    /// The status code.
    pub status: u16,
    /// Bytes of its body; absent if they are not known yet.
    pub bytes: Option<u64>,
    /// Whether it is still being received.
    pub grows: bool,
    /// Its age in seconds.
    pub age_s: u64,
    /// Seconds that it stays fresh; negative if it is stale.
    pub ttl_s: i64,
    /// When it becomes stale, in seconds since 1970.
    pub fresh_until: u64,
    /// Seconds after that in which it may be used while it is renewed.
    pub stale_while_revalidate_s: u64,
    /// Seconds after that in which it may be used if the upstream fails.
    pub stale_if_error_s: u64,
    /// Whether it is validated for each request.
    pub always_validated: bool,
    /// Seconds since a purge marked it stale.
    pub purged_s: Option<u64>,
    /// By what it can be validated.
    pub etag: Option<String>,
    /// By what it can be validated.
    pub last_modified: Option<String>,
    /// The tags that the upstream gave it.
    pub tags: Vec<String>,
}
