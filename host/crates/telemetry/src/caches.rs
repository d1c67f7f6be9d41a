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
    /// What it has on its disk, if it has one.
    pub disk: Option<DiskFigures>,
    /// Purges that operators asked for.
    pub purges: PurgeFigures,
}

/// What a cache has on its disk, and did there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DiskFigures {
    /// Responses that are stored there.
    pub entries: u64,
    /// Bytes that their files take.
    pub bytes: u64,
    /// Bytes that they may take.
    pub bytes_max: u64,
    /// Whether all files are known that were there at the start.
    pub ready: bool,
    /// Whether the disk works.
    pub up: bool,
    /// Responses that made room for others.
    pub evictions: u64,
    /// Files that were not what was written, and were removed.
    pub damaged: u64,
    /// Reads that failed.
    pub read_errors: u64,
    /// Writes that failed.
    pub write_errors: u64,
    /// Reads and writes that did not happen because too much was waiting, and requests that have waited too long.
    pub busy: u64,
}

/// Purges of a cache, by what was purged, and what they met.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PurgeFigures {
    /// Of one URL.
    pub urls: u64,
    /// Of the URLs that begin so.
    pub prefixes: u64,
    /// Of a tag.
    pub tags: u64,
    /// Of everything.
    pub all: u64,
    /// Responses that they removed or marked.
    pub entries: u64,
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
        let families: [(&str, MetricKind, &str, Read); 6] = [
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
            (
                "portcullis_cache_purged_entries_total",
                MetricKind::Counter,
                "Responses that purges removed or marked stale.",
                |f| f.purges.entries,
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
        render_purges(&caches, out);
        let disks: Vec<_> =
            caches.iter().filter_map(|(cache, figures)| Some((cache, figures.disk?))).collect();
        if !disks.is_empty() {
            render_disks(&disks, out);
        }
    }
}

fn render_purges(caches: &BTreeMap<Name, CacheFigures>, out: &mut Exposition<'_>) {
    let name = "portcullis_cache_purges_total";
    out.family(name, MetricKind::Counter, "Purges by operators, by what was purged.");
    for (cache, CacheFigures { purges, .. }) in caches {
        let PurgeFigures { urls, prefixes, tags, all, .. } = *purges;
        for (kind, count) in [("url", urls), ("prefix", prefixes), ("tag", tags), ("all", all)] {
            out.sample(name, &[("cache", cache), ("kind", kind)], count);
        }
    }
}

fn render_disks(disks: &[(&Name, DiskFigures)], out: &mut Exposition<'_>) {
    type Read = fn(&DiskFigures) -> u64;
    let families: [(&str, MetricKind, &str, Read); 7] = [
        (
            "portcullis_cache_disk_entries",
            MetricKind::Gauge,
            "Responses that a cache has on its disk.",
            |f| f.entries,
        ),
        ("portcullis_cache_disk_bytes", MetricKind::Gauge, "Bytes that a cache takes of its disk.", |f| {
            f.bytes
        }),
        ("portcullis_cache_disk_bytes_max", MetricKind::Gauge, "Bytes that it may take of it.", |f| {
            f.bytes_max
        }),
        (
            "portcullis_cache_disk_ready",
            MetricKind::Gauge,
            "1 if all that is on the disk of a cache is known. Before, it is found, and nothing is stored there.",
            |f| u64::from(f.ready),
        ),
        (
            "portcullis_cache_disk_up",
            MetricKind::Gauge,
            "1 if the disk of a cache works, 0 if it fails.",
            |f| u64::from(f.up),
        ),
        (
            "portcullis_cache_disk_evictions_total",
            MetricKind::Counter,
            "Responses on the disk that made room for others.",
            |f| f.evictions,
        ),
        (
            "portcullis_cache_disk_busy_total",
            MetricKind::Counter,
            "Reads and writes that did not happen because too much was waiting for the disk, and requests that went on \
             without it.",
            |f| f.busy,
        ),
    ];
    for (name, kind, help, read) in families {
        out.family(name, kind, help);
        for (cache, figures) in disks {
            out.sample(name, &[("cache", cache)], read(figures));
        }
    }
    let name = "portcullis_cache_disk_errors_total";
    out.family(
        name,
        MetricKind::Counter,
        "Files of a cache that could not be read or written, or were damaged.",
    );
    for (cache, figures) in disks {
        let DiskFigures { read_errors, write_errors, damaged, .. } = *figures;
        for (kind, count) in [("read", read_errors), ("write", write_errors), ("damaged", damaged)] {
            out.sample(name, &[("cache", cache), ("kind", kind)], count);
        }
    }
}
