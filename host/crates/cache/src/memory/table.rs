//! The table in which a hit is found without a lock.
//!
//! Each bucket is an atomic pointer to an immutable list. A reader loads the pointer and searches the list; a writer,
//! which holds the lock of the shard, makes a new list and swaps the pointer. So a reader never waits, and sees
//! either the list before a change or the one after. The alternatives: a reader-writer lock makes hits wait for fills
//! and purges, and its counter is written by every hit of every worker; a cache of each worker in front of the shards
//! keeps copies that purges have to find.

use std::sync::Arc;

use arc_swap::ArcSwapOption;

use crate::store::entry::Entry;
use crate::store::eviction::Heat;
use crate::store::key::Key;

/// The variants of a primary key that are in memory, the newest first.
#[derive(Debug)]
pub struct Variants<H> {
    pub(crate) hash: u64,
    pub(crate) key: Key,
    pub(crate) entries: Box<[Arc<Entry<H>>]>,
}

impl<H> Variants<H> {
    /// Returns the entries, the newest first.
    #[must_use]
    pub fn entries(&self) -> &[Arc<Entry<H>>] {
        &self.entries
    }

    /// Returns an entry for a response, and counts that it is used.
    #[must_use]
    pub fn hit(&self, index: usize) -> Option<Arc<Entry<H>>> {
        let entry = self.entries.get(index)?;
        Heat::touch(&entry.heat);
        Some(Arc::clone(entry))
    }
}

/// A bucket: the keys that fell into it. Mostly one.
type Bucket<H> = Box<[Arc<Variants<H>>]>;

/// Buckets, as many as there may be entries. Their number never changes: a table that grew would move all its content
/// while fills wait, and a pointer for each entry that there may be is little beside the entry.
#[derive(Debug)]
pub(crate) struct Table<H> {
    buckets: Box<[ArcSwapOption<Bucket<H>>]>,
    /// One less than the number of buckets, a power of two.
    mask: usize,
}

impl<H> Table<H> {
    /// Returns an empty table of `size` buckets, rounded up to a power of two.
    pub(crate) fn new(size: usize) -> Self {
        let size = size.max(1).next_power_of_two();
        Self { buckets: (0..size).map(|_| ArcSwapOption::empty()).collect(), mask: size - 1 }
    }

    /// Returns the variants of a key.
    pub(crate) fn find(&self, hash: u64, key: &[u8]) -> Option<Arc<Variants<H>>> {
        let bucket = self.bucket(hash).load();
        let found =
            bucket.as_ref()?.iter().find(|variants| variants.hash == hash && variants.key.bytes() == key);
        found.map(Arc::clone)
    }

    /// Sets the variants of a key; none of them removes the key. Only for the holder of the shard's lock.
    pub(crate) fn set(&self, hash: u64, key: &Key, entries: Box<[Arc<Entry<H>>]>) {
        let bucket = self.bucket(hash);
        let before = bucket.load();
        let others = before.iter().flat_map(|bucket| bucket.iter());
        let others = others.filter(|variants| variants.hash != hash || variants.key != *key).map(Arc::clone);
        let changed = (!entries.is_empty()).then(|| Arc::new(Variants { hash, key: key.clone(), entries }));
        let after: Bucket<H> = changed.into_iter().chain(others).collect();
        bucket.store((!after.is_empty()).then(|| Arc::new(after)));
    }

    /// Calls `look` with each key. What changes meanwhile may be seen or not.
    pub(crate) fn each(&self, mut look: impl FnMut(&Arc<Variants<H>>)) {
        for bucket in &self.buckets {
            if let Some(bucket) = &*bucket.load() {
                bucket.iter().for_each(&mut look);
            }
        }
    }

    fn bucket(&self, hash: u64) -> &ArcSwapOption<Bucket<H>> {
        // The upper half of the hash chooses the shard.
        &self.buckets[hash as usize & self.mask]
    }
}
