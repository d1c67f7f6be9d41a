//! What caches hold.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use portcullis_model::{Lock, Name};

use crate::exposition::{Exposition, MetricKind};

/// What a cache holds and did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CacheFigures {
    /// Responses that are stored.
    pub entries: u64,
    /// Bytes that they and what goes with them take.
    pub bytes: u64,
    /// Bytes that they may take.
    pub bytes_max: u64,
    /// Responses that made room for others.
    pub evictions: u64,
    /// Responses that were not stored because no room could be made.
    pub refused: u64,
}

/// Something that can say what a cache holds.
pub trait CacheReport: std::fmt::Debug + Send + Sync {
    /// Returns it, as of now.
    fn figures(&self) -> CacheFigures;
}

/// The caches of the process. They are shown for as long as something else holds them; of several with one name, the
/// newest.
#[derive(Debug, Default)]
pub(crate) struct Caches(Lock<Vec<(Name, Weak<dyn CacheReport>)>>);

impl Caches {
    pub(crate) fn show(&self, name: &Name, cache: Weak<dyn CacheReport>) {
        let mut shown = self.0.lock();
        shown.retain(|(_, cache)| cache.strong_count() > 0);
        shown.push((name.clone(), cache));
    }

    fn figures(&self) -> BTreeMap<Name, CacheFigures> {
        let alive: Vec<(Name, Arc<dyn CacheReport>)> = {
            let shown = self.0.lock();
            shown.iter().filter_map(|(name, cache)| Some((name.clone(), cache.upgrade()?))).collect()
        };
        alive.into_iter().map(|(name, cache)| (name, cache.figures())).collect()
    }

    pub(crate) fn render(&self, out: &mut Exposition<'_>) {
        type Read = fn(&CacheFigures) -> u64;
        let families: [(&str, MetricKind, &str, Read); 5] = [
            ("portcullis_cache_entries", MetricKind::Gauge, "Responses that a cache holds.", |f| f.entries),
            ("portcullis_cache_bytes", MetricKind::Gauge, "Bytes that a cache takes.", |f| f.bytes),
            ("portcullis_cache_bytes_max", MetricKind::Gauge, "Bytes that a cache may take.", |f| {
                f.bytes_max
            }),
            (
                "portcullis_cache_evictions_total",
                MetricKind::Counter,
                "Responses that made room for others.",
                |f| f.evictions,
            ),
            (
                "portcullis_cache_refused_total",
                MetricKind::Counter,
                "Responses that were not stored because no room could be made.",
                |f| f.refused,
            ),
        ];
        let caches = self.figures();
        if caches.is_empty() {
            return;
        }
        for (name, kind, help, read) in families {
            out.family(name, kind, help);
            for (cache, figures) in &caches {
                out.sample(name, &[("cache", cache)], read(figures));
            }
        }
    }
}
