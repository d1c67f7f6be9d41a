//! Keeps responses of upstreams, and answers from them.
//!
//! It stands behind the request policies and before the choice of an endpoint, so that a hit is as authorised as a
//! miss, and what it keeps is what came from the upstream, before the response policies, which see every answer. What
//! may be stored and used, and for how long, is decided by [`portcullis_cache::rules`]; here is the way of an exchange
//! through it: [`look`] answers what it can at once, [`serve`] waits and asks the upstream.

mod body;
pub(crate) mod control;
mod disk;
mod disk_log;
mod fetch;
mod fill;
mod flight;
pub(crate) mod foresee;
pub(crate) mod inspect;
pub(crate) mod invalidate;
mod key;
pub(crate) mod look;
pub(crate) mod purge;
mod purge_counts;
mod refresh;
pub(crate) mod serve;
mod settings;
pub(crate) mod status;
pub(crate) mod typed_url;
pub(crate) mod view;
mod write;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use portcullis_cache::rules::{Settings, StoredHead, Time, tags};
use portcullis_cache::store::{self, Entry, OpenError, Store, Ticket};
use portcullis_http::RequestHead;
use portcullis_model::{Bypass, Cache, Name, RouteCache};
use portcullis_policy::cache::CacheWishes;
use portcullis_telemetry::{CacheFigures, CacheReport, DiskFigures, Metrics};

use self::flight::Flights;
use self::key::KeyRules;
use self::purge_counts::PurgeCounts;

/// A response that is kept.
pub(crate) type Kept = Arc<Entry<StoredHead>>;

/// A cache that is open, for all workers. It outlives the generation that opened it.
#[derive(Debug)]
pub(crate) struct OpenCache {
    config: Cache,
    pub(crate) store: Store<StoredHead>,
    flights: Arc<Flights<Kept>>,
    purges: Arc<PurgeCounts>,
}

impl OpenCache {
    /// Opens the cache of `config`, or goes on with what one of `previous` has: the one that has its folder, or without
    /// a disk the one that has its name. Its bounds are [put into effect](Self::put_into_effect) later.
    fn open(config: &Cache, previous: Option<&Caches>, metrics: &Metrics) -> Result<Arc<Self>, OpenError> {
        let folder = |cache: &Cache| cache.disk.as_ref().map(|disk| disk.folder.clone());
        let is_its = |other: &&Arc<Self>| match folder(config) {
            None => other.config.name == config.name && other.config.disk.is_none(),
            folder_of => folder(&other.config) == folder_of,
        };
        let previous = previous.and_then(|previous| previous.values().find(is_its));
        if let Some(same) = previous.filter(|previous| previous.config == *config) {
            return Ok(same.clone());
        }
        let (store, flights, purges) = match (previous, &config.disk) {
            (Some(previous), _) => {
                (previous.store.clone(), previous.flights.clone(), previous.purges.clone())
            }
            (None, None) => (Store::new(settings::of_store(config)), Arc::default(), Arc::default()),
            (None, Some(disk)) => {
                let watcher = Arc::new(disk_log::DiskLog::new(&config.name, disk));
                let disk = settings::of_disk(disk);
                let store = Store::open(settings::of_store(config), disk, watcher)?;
                (store, Arc::default(), Arc::default())
            }
        };
        let opened = Arc::new(Self { config: config.clone(), store, flights, purges });
        let shown: Arc<dyn CacheReport> = opened.clone();
        metrics.show_cache(&config.name, Arc::downgrade(&shown));
        Ok(opened)
    }

    /// Has the store heed its bounds, which it may have been opened without.
    fn put_into_effect(&self) {
        let Cache { memory_bytes_max, object_bytes_max, disk, .. } = &self.config;
        self.store.resize(*memory_bytes_max as u64, *object_bytes_max);
        if let Some(disk) = disk
            && let Err(error) = self.store.set_disk(settings::of_disk(disk))
        {
            tracing::warn!(cache = %self.config.name, "no thread for the cache's disk can be started: {error}");
        }
    }

    /// Whether it keeps responses on a disk.
    fn has_disk(&self) -> bool {
        self.config.disk.is_some()
    }

    /// How many bytes a stored body may have, wherever it is.
    fn object_bytes_max(&self) -> u64 {
        let on_disk = self.config.disk.as_ref().map_or(0, |disk| disk.object_bytes_max);
        self.config.object_bytes_max.max(on_disk)
    }
}

impl CacheReport for OpenCache {
    fn figures(&self) -> CacheFigures {
        let stats = self.store.stats();
        let disk = self.store.disk_stats().map(|stats| DiskFigures {
            entries: stats.files as u64,
            bytes: stats.bytes,
            bytes_max: self.config.disk.as_ref().map_or(0, |disk| disk.bytes_max),
            ready: stats.ready,
            up: stats.good,
            evictions: stats.evictions,
            damaged: stats.damaged,
            read_errors: stats.read_errors,
            write_errors: stats.write_errors,
            busy: stats.busy,
        });
        CacheFigures {
            entries: stats.entries as u64,
            bytes: stats.bytes,
            bytes_max: self.config.memory_bytes_max as u64,
            evictions: stats.evictions,
            refused: stats.refused,
            disk,
            purges: self.purges.figures(),
        }
    }
}

/// The caches of a generation.
pub(crate) type Caches = BTreeMap<Name, Arc<OpenCache>>;

/// Opens the caches of a generation; those of the generation before it go on. Those that cannot be opened are missing
/// in the result, and `failed` hears why.
pub(crate) fn open(
    configs: &[Cache],
    previous: Option<&Caches>,
    metrics: &Metrics,
    mut failed: impl FnMut(&Name, OpenError),
) -> Caches {
    let open = |config: &Cache| match OpenCache::open(config, previous, metrics) {
        Ok(opened) => Some((config.name.clone(), opened)),
        Err(error) => {
            failed(&config.name, error);
            None
        }
    };
    configs.iter().filter_map(open).collect()
}

/// Has all caches heed their bounds. Called when their generation begins to run.
pub(crate) fn put_into_effect(caches: &Caches) {
    caches.values().for_each(|cache| cache.put_into_effect());
}

/// Lets a successor of this process have the folders of all caches as soon as it waits for them.
pub(crate) fn hand_over(caches: &Caches) {
    for cache in caches.values() {
        if let Err(error) = cache.store.hand_over_disk() {
            tracing::warn!(cache = %cache.config.name, "a successor gets the cache's disk only at the end: {error}");
        }
    }
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
    /// How many bytes a stored body may have.
    fn object_bytes_max(&self) -> u64 {
        self.config.object_bytes_max.unwrap_or(u64::MAX).min(self.open.object_bytes_max())
    }

    /// The way of the route `name` through `open`. The gateway calls itself as in `Via`.
    pub(crate) fn new(name: &str, config: &RouteCache, open: Arc<OpenCache>, via: Option<&Name>) -> Self {
        let (rules, key) = (settings::of_route(config), KeyRules::new(name, config));
        let called = via.cloned().unwrap_or_else(|| "portcullis".into());
        Self { config: config.clone(), open, rules, key, called }
    }

    /// Puts an entry with another head in the place of `old`, after a validation. One that has other tags now is
    /// forgotten instead, and fetched anew when it is wanted: a purge of a tag finds entries by those that they were
    /// stored with. The same holds if policies have added another one to `request`, which the validation was for.
    pub(crate) fn update(
        &self,
        ticket: Ticket,
        old: &Kept,
        head: StoredHead,
        request: Option<&CacheWishes>,
    ) -> Option<Kept> {
        let store = &self.open.store;
        let is_known = |tag: &str| old.head().tags().any(|known| known == tag.as_bytes());
        let are_known = request.is_none_or(|wishes| wishes.tags().all(is_known));
        if !are_known || !tags(old.head().fields()).eq(tags(head.fields())) {
            store.forget(old);
            return None;
        }
        store.update(ticket, old, head).ok()
    }
}

/// Whether the operator wants a request to pass by the cache.
fn passes_by(config: &RouteCache, request: &RequestHead) -> bool {
    config.bypass.iter().any(|condition| match condition {
        Bypass::Field(field) => request.fields.holds(&field.name, field.value.as_deref()),
        Bypass::Cookie(name) => request.cookies().any(|(cookie, _)| cookie == name.as_bytes()),
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
