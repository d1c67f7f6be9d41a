//! Counts of the purges that were asked for.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use portcullis_telemetry::PurgeFigures;

use super::typed_url::{Extent, PurgeTarget, TypedUrl};

/// Counts of a cache, which go on over reloads.
#[derive(Debug, Default)]
pub(super) struct PurgeCounts {
    urls: AtomicU64,
    prefixes: AtomicU64,
    tags: AtomicU64,
    all: AtomicU64,
    entries: AtomicU64,
}

impl PurgeCounts {
    /// Counts a purge that met so many entries.
    pub(super) fn count(&self, target: &PurgeTarget, entries: usize) {
        let kind = match target {
            PurgeTarget::Url(TypedUrl { extent: Extent::Exactly, .. }) => &self.urls,
            PurgeTarget::Url(_) => &self.prefixes,
            PurgeTarget::Tag(_) => &self.tags,
            PurgeTarget::All => &self.all,
        };
        kind.fetch_add(1, Relaxed);
        self.entries.fetch_add(entries as u64, Relaxed);
    }

    pub(super) fn figures(&self) -> PurgeFigures {
        PurgeFigures {
            urls: self.urls.load(Relaxed),
            prefixes: self.prefixes.load(Relaxed),
            tags: self.tags.load(Relaxed),
            all: self.all.load(Relaxed),
            entries: self.entries.load(Relaxed),
        }
    }
}
