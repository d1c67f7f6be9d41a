//! The store in memory: one for the process, shared by its workers.
//!
//! A hit takes no lock: it loads two atomic pointers (`memory/table.rs`) and counts a use in the entry. Fills, purges
//! and evictions take the lock of one of the shards for some hundred nanoseconds.

pub(crate) mod shard;
pub(crate) mod table;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use shard::Shard;
pub use table::Variants;

use crate::store::budget::{Budget, Reservation};
use crate::store::entry::Entry;
use crate::store::head::Head;
use crate::store::purges::{Hashes, Mode, Purge, Purges};
use crate::store::refused::Refused;

/// What the store may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryBounds {
    /// Heads, keys, bodies and what it takes to find them, also of responses that are being stored or still read.
    pub bytes_max: u64,
    /// How many entries.
    pub entries_max: usize,
    /// The body of an entry.
    pub object_bytes_max: u64,
    /// How many variants of a key. The oldest goes.
    pub variants_max: usize,
}

/// What an entry costs beside its own head, key and body: the entry, its place in the table and in the queues, the
/// names it is purged by, and what is remembered of it after its eviction. Measured with 100,000 small entries
/// (`examples/store.rs`) and rounded up.
const ENTRY_COST: usize = 640;
/// How many parts the store has at most. Fills of different parts do not wait for each other.
const SHARDS_MAX: usize = 32;
/// What a tag costs.
const TAG_COST: usize = 40;

/// Counts of a store.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MemoryStats {
    /// How many entries there are.
    pub entries: usize,
    /// How many bytes are used, as they are bounded.
    pub bytes: u64,
    /// How many entries made room for others.
    pub evictions: u64,
    /// How many responses were not stored because no room could be made.
    pub refused: u64,
}

/// The store.
#[derive(Debug)]
pub(crate) struct Memory<H> {
    shards: Box<[Shard<H>]>,
    budget: Arc<Budget>,
    /// Those of the table.
    _reserved: Option<Reservation>,
    bounds: MemoryBounds,
    entries_max: AtomicUsize,
    object_bytes_max: AtomicU64,
    entries: AtomicUsize,
    evictions: AtomicU64,
    refused: AtomicU64,
}

impl<H: Head> Memory<H> {
    /// Returns an empty store.
    pub(crate) fn new(bounds: MemoryBounds) -> Self {
        // Each part evicts for itself, and chooses well only among many.
        let enough = bounds.bytes_max / bounds.object_bytes_max.saturating_mul(32).max(1);
        let shards = usize::try_from(enough).unwrap_or(SHARDS_MAX).clamp(1, SHARDS_MAX);
        let buckets = bounds.entries_max.div_ceil(shards).max(1).next_power_of_two();
        let budget = Budget::new(bounds.bytes_max);
        let table = (shards * buckets * size_of::<usize>()) as u64;
        Self {
            shards: (0..shards).map(|_| Shard::new(buckets)).collect(),
            // A table that is larger than all bytes leaves room for nothing.
            _reserved: budget.reserve(table.min(bounds.bytes_max)),
            budget,
            bounds,
            entries_max: AtomicUsize::new(bounds.entries_max),
            object_bytes_max: AtomicU64::new(bounds.object_bytes_max),
            entries: AtomicUsize::new(0),
            evictions: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        }
    }

    /// Returns the variants of a key. Takes no lock.
    pub(crate) fn find(&self, hash: u64, key: &[u8]) -> Option<Arc<Variants<H>>> {
        self.shard(hash).find(hash, key)
    }

    /// Reserves bytes, and evicts entries until they fit. `None` if no room can be made.
    pub(crate) fn reserve(&self, near: u64, bytes: u64) -> Option<Reservation> {
        loop {
            if let Some(reserved) = self.budget.reserve(bytes) {
                return Some(reserved);
            }
            if bytes > self.budget.max() || !self.evict(near) {
                self.refused.fetch_add(1, Relaxed);
                return None;
            }
        }
    }

    /// Reserves what an entry costs beside its body.
    pub(crate) fn reserve_entry(
        &self,
        near: u64,
        head: &H,
        beside: usize,
        tags: usize,
    ) -> Option<Reservation> {
        self.reserve(near, (ENTRY_COST + head.cost() + beside + tags * TAG_COST) as u64)
    }

    /// Adds an entry whose body grows and whose bytes are reserved, unless it was purged since it was asked for.
    /// `copy`: also not if there is one of the same variant, which can only be newer.
    pub(crate) fn begin(&self, entry: &Arc<Entry<H>>, copy: bool, purges: &Purges) -> Result<(), Refused> {
        let full = self.entries.fetch_add(1, Relaxed) >= self.entries_max.load(Relaxed);
        if full && !self.evict(entry.names.key) {
            self.entries.fetch_sub(1, Relaxed);
            self.refused.fetch_add(1, Relaxed);
            return Err(Refused::NoRoom);
        }
        let allowed = || {
            let purged = purges.since(entry.ticket, &entry.names, entry.key.url());
            !purged && (!copy || !self.has(entry))
        };
        let Some(replaced) = self.shard(entry.names.key).begin(entry, allowed) else {
            self.entries.fetch_sub(1, Relaxed);
            return Err(Refused::Purged);
        };
        self.entries.fetch_sub(replaced.len(), Relaxed);
        Ok(())
    }

    /// Whether there is an entry of the same key and variant. Takes no lock.
    fn has(&self, like: &Entry<H>) -> bool {
        let found = self.find(like.names.key, like.key.bytes());
        found.is_some_and(|variants| variants.entries().iter().any(|entry| entry.variant == like.variant))
    }

    /// Removes the entries of the same key and variant: a newer response is stored elsewhere.
    pub(crate) fn remove_like(&self, like: &Entry<H>) {
        let found = self.find(like.names.key, like.key.bytes());
        for entry in found.iter().flat_map(|variants| variants.entries()) {
            if entry.variant == like.variant {
                self.remove(entry);
            }
        }
    }

    /// Notes that the body of an entry is complete. Returns whether the entry is still there, and stays.
    pub(crate) fn complete(&self, entry: &Arc<Entry<H>>) -> bool {
        let replaced = self.shard(entry.names.key).complete(entry, self.bounds.variants_max);
        self.entries.fetch_sub(replaced.as_ref().map_or(0, Vec::len), Relaxed);
        replaced.is_some()
    }

    /// Puts an entry in the place of another, unless that is gone or was purged since the new one was asked for.
    pub(crate) fn replace(&self, old: &Arc<Entry<H>>, new: &Arc<Entry<H>>, purges: &Purges) -> bool {
        let allowed = || !purges.since(new.ticket, &new.names, new.key.url());
        self.shard(old.names.key).replace(old, new, new.bytes(), allowed)
    }

    /// Removes an entry. Returns whether it was there.
    pub(crate) fn remove(&self, entry: &Arc<Entry<H>>) -> bool {
        let removed = self.shard(entry.names.key).remove(entry);
        if removed {
            self.entries.fetch_sub(1, Relaxed);
        }
        removed
    }

    /// Removes or marks what is purged, and returns how many entries that were. The purge was noted before.
    pub(crate) fn purge(&self, hashes: &Hashes, what: &Purge<'_>, mode: Mode, now: u64) -> usize {
        let mut found = Vec::new();
        match what {
            Purge::Key(key) => {
                let hash = hashes.key(key);
                self.shard(hash).settle();
                found.extend(self.find(hash, key).iter().flat_map(|variants| variants.entries()).cloned());
            }
            Purge::Url(url) => found = self.named(hashes.url(url)),
            Purge::Tag(tag) => found = self.named(hashes.tag(tag)),
            Purge::Prefix(prefix) => {
                for shard in &self.shards {
                    shard.settle();
                    shard.each(|variants| {
                        if variants.key.url().starts_with(prefix) {
                            found.extend(variants.entries().iter().cloned());
                        }
                    });
                }
            }
        }
        let purged = found.iter().filter(|entry| match mode {
            Mode::Hard => self.remove(entry),
            Mode::Soft => {
                entry.mark_stale(now);
                true
            }
        });
        purged.count()
    }

    /// Calls `look` with each key.
    pub(crate) fn each(&self, mut look: impl FnMut(&Arc<Variants<H>>)) {
        self.shards.iter().for_each(|shard| shard.each(&mut look));
    }

    /// Returns the entries with a name: a URL or a tag.
    pub(crate) fn named(&self, name: u64) -> Vec<Arc<Entry<H>>> {
        self.shards.iter().flat_map(|shard| shard.named(name)).collect()
    }

    /// Returns what the store has and did.
    pub(crate) fn stats(&self) -> MemoryStats {
        MemoryStats {
            entries: self.entries.load(Relaxed),
            bytes: self.budget.used(),
            evictions: self.evictions.load(Relaxed),
            refused: self.refused.load(Relaxed),
        }
    }

    /// Evicts an entry, first from the shard near which room is needed. Keys are spread evenly, so that each makes as
    /// much room as it takes. Returns whether there was one.
    fn evict(&self, near: u64) -> bool {
        let first = self.shard_index(near);
        let mut shards = self.shards[first..].iter().chain(&self.shards[..first]);
        let evicted = shards.find_map(Shard::evict).is_some();
        if evicted {
            self.entries.fetch_sub(1, Relaxed);
            self.evictions.fetch_add(1, Relaxed);
        }
        evicted
    }

    /// Returns how many bytes the body of an entry may have.
    pub(crate) fn object_bytes_max(&self) -> u64 {
        self.object_bytes_max.load(Relaxed)
    }

    /// Sets how many bytes the store may have, and as many more or fewer entries, and evicts what is too much. What
    /// is still read stays counted until then. Larger bodies than may be from now on stay until they are evicted.
    pub(crate) fn resize(&self, bytes_max: u64, object_bytes_max: u64) {
        self.object_bytes_max.store(object_bytes_max, Relaxed);
        let MemoryBounds { bytes_max: before, entries_max, .. } = self.bounds;
        let entries_max = u128::from(bytes_max) * entries_max as u128 / u128::from(before.max(1));
        let entries_max = usize::try_from(entries_max).unwrap_or(usize::MAX);
        self.entries_max.store(entries_max, Relaxed);
        self.budget.set_max(bytes_max);
        let too_much = || self.budget.used() > bytes_max || self.entries.load(Relaxed) > entries_max;
        while too_much() && self.evict(0) {}
    }

    fn shard(&self, hash: u64) -> &Shard<H> {
        &self.shards[self.shard_index(hash)]
    }

    /// The upper half chooses the shard, the lower one the bucket in it.
    const fn shard_index(&self, hash: u64) -> usize {
        (hash >> 32) as usize % self.shards.len()
    }
}
