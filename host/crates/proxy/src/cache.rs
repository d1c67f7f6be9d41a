//! Keeps responses of upstreams, and answers from them.
//!
//! It stands behind the request policies and before the choice of an endpoint, so that a hit is as authorised as a
//! miss, and what it keeps is what came from the upstream, before the response policies, which see every answer. What
//! may be stored and used, and for how long, is decided by [`portcullis_cache::rules`]; here is the way of an exchange
//! through it: [`look`] answers what it can at once, [`serve`] waits and asks the upstream.

mod body;
mod fetch;
mod fill;
mod flight;
pub(crate) mod invalidate;
mod key;
pub(crate) mod look;
mod refresh;
pub(crate) mod serve;
mod settings;
pub(crate) mod status;
pub(crate) mod view;
mod write;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use portcullis_cache::rules::{Settings, StoredHead, Time};
use portcullis_cache::store::{self, Entry, Store};
use portcullis_http::RequestHead;
use portcullis_model::{Bypass, Cache, Name, RouteCache};
use portcullis_telemetry::{CacheFigures, CacheReport, Metrics};

use self::flight::Flights;
use self::key::KeyRules;

/// A response that is kept.
pub(crate) type Kept = Arc<Entry<StoredHead>>;

/// A cache that is open, for all workers. It outlives the generation that opened it.
#[derive(Debug)]
pub(crate) struct OpenCache {
    config: Cache,
    pub(crate) store: Store<StoredHead>,
    flights: Arc<Flights<Kept>>,
}

impl OpenCache {
    /// Opens the cache of `config`, or goes on with what `previous` has under its name.
    fn open(config: &Cache, previous: Option<&Arc<Self>>, metrics: &Metrics) -> Arc<Self> {
        if let Some(same) = previous.filter(|previous| previous.config == *config) {
            return same.clone();
        }
        // One that only has more room or less keeps what it holds.
        let like = |other: &Cache| Cache { memory_bytes_max: config.memory_bytes_max, ..other.clone() };
        let (store, flights) = match previous.filter(|previous| like(&previous.config) == *config) {
            Some(previous) => {
                previous.store.resize(config.memory_bytes_max as u64);
                (previous.store.clone(), previous.flights.clone())
            }
            None => (Store::new(settings::of_store(config)), Arc::default()),
        };
        let opened = Arc::new(Self { config: config.clone(), store, flights });
        let shown: Arc<dyn CacheReport> = opened.clone();
        metrics.show_cache(&config.name, Arc::downgrade(&shown));
        opened
    }

    /// How many bytes a stored body may have.
    fn object_bytes_max(&self) -> u64 {
        self.config.object_bytes_max
    }
}

impl CacheReport for OpenCache {
    fn figures(&self) -> CacheFigures {
        let stats = self.store.stats();
        CacheFigures {
            entries: stats.entries as u64,
            bytes: stats.bytes,
            bytes_max: self.config.memory_bytes_max as u64,
            evictions: stats.evictions,
            refused: stats.refused,
        }
    }
}

/// The caches of a generation.
pub(crate) type Caches = BTreeMap<Name, Arc<OpenCache>>;

/// Opens the caches of a generation; those of the generation before it go on.
pub(crate) fn open(configs: &[Cache], previous: Option<&Caches>, metrics: &Metrics) -> Caches {
    let open = |config: &Cache| {
        let before = previous.and_then(|previous| previous.get(&config.name));
        (config.name.clone(), OpenCache::open(config, before, metrics))
    };
    configs.iter().map(open).collect()
}

/// A route's way through its cache, for all workers.
#[derive(Debug)]
pub(crate) struct CachedRoute {
    pub(crate) config: RouteCache,
    pub(crate) open: Arc<OpenCache>,
    pub(crate) rules: Settings,
    pub(crate) key: KeyRules,
    /// What the gateway calls itself.
    called: Name,
}

impl CachedRoute {
    /// The way of the route `name` through `open`. The gateway calls itself as in `Via`.
    pub(crate) fn new(name: &str, config: &RouteCache, open: Arc<OpenCache>, via: Option<&Name>) -> Self {
        let (rules, key) = (settings::of_route(config), KeyRules::new(name, config));
        let called = via.cloned().unwrap_or_else(|| "portcullis".into());
        Self { config: config.clone(), open, rules, key, called }
    }
}

/// Whether the operator wants a request to pass by the cache.
fn passes_by(config: &RouteCache, request: &RequestHead) -> bool {
    config.bypass.iter().any(|condition| match condition {
        Bypass::Field(field) => request.fields.holds(&field.name, field.value.as_deref()),
        Bypass::Cookie(name) => key::cookies(request).any(|(cookie, _)| cookie == name.as_bytes()),
    })
}

/// The time, as rules count it.
fn now() -> Time {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Time::from_millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// A softly purged entry has to be validated since then.
fn stale_since(entry: &Entry<StoredHead>) -> Option<Time> {
    entry.stale_since().map(Time::from_seconds)
}

/// How many bytes the stored body has, if all of it is there.
fn whole_length(body: &store::Body) -> Option<u64> {
    body.len().filter(|_| body.is_complete())
}
