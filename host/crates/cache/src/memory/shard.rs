//! A part of the memory store: a table for readers, and what its writers keep beside it under a lock.

use std::collections::BTreeSet;
use std::sync::Arc;

use portcullis_model::Lock;

use super::table::{Table, Variants};
use crate::store::entry::Entry;
use crate::store::eviction::{Eviction, Seen, Slot};

/// A part of the store.
#[derive(Debug)]
pub(crate) struct Shard<H> {
    table: Table<H>,
    writer: Lock<Writer<H>>,
}

#[derive(Debug)]
struct Writer<H> {
    eviction: Eviction,
    /// The entries by their slots.
    entries: Vec<Option<Arc<Entry<H>>>>,
    /// The slots of entries by each name that they can be purged by: their URL and their tags.
    names: BTreeSet<(u64, Slot)>,
}

/// How many references an entry has that no response reads: the table's and the one beside its slot. A list of
/// variants that is being replaced may hold another for a moment.
const REFERENCES: usize = 2;

/// Entries that went.
type Removed<H> = Vec<Arc<Entry<H>>>;

impl<H> Shard<H> {
    /// Returns an empty part with so many buckets.
    pub(crate) fn new(buckets: usize) -> Self {
        let writer = Writer { eviction: Eviction::default(), entries: Vec::new(), names: BTreeSet::new() };
        Self { table: Table::new(buckets), writer: Lock::new(writer) }
    }

    /// Returns the variants of a key. Takes no lock.
    pub(crate) fn find(&self, hash: u64, key: &[u8]) -> Option<Arc<Variants<H>>> {
        self.table.find(hash, key)
    }

    /// Waits until a writer that has decided to store has done so. What was noted as purged before is then either in
    /// the table or not stored any more.
    pub(crate) fn settle(&self) {
        drop(self.writer.lock());
    }

    /// Calls `look` with each key, without a lock. Everything is seen that was stored before the call and stays.
    pub(crate) fn each(&self, look: impl FnMut(&Arc<Variants<H>>)) {
        self.table.each(look);
    }

    /// Adds an entry whose body grows as the newest variant of its key, if `allowed` returns `true` under the lock.
    /// The complete entry of the same variant stays until this one is complete; another that grows goes. Returns what
    /// went, to be dropped without the lock, or `None` if the entry was not added.
    pub(crate) fn begin(&self, entry: &Arc<Entry<H>>, allowed: impl FnOnce() -> bool) -> Option<Removed<H>> {
        let mut writer = self.writer.lock();
        if !allowed() {
            return None;
        }
        let hash = entry.names.key;
        let before = self.find(hash, entry.key.bytes());
        let before = before.as_deref().map(Variants::entries).unwrap_or_default();
        let (removed, others): (Removed<H>, Vec<_>) = before
            .iter()
            .cloned()
            .partition(|other| other.variant == entry.variant && !other.body.is_complete());
        removed.iter().for_each(|other| writer.remove(other));
        let slot = writer.eviction.insert(hash ^ variant_hash(&entry.variant), entry.bytes());
        writer.add(slot, entry);
        let entries = std::iter::once(Arc::clone(entry)).chain(others).collect();
        self.table.set(hash, &entry.key, entries);
        Some(removed)
    }

    /// Notes that the body of an entry is complete: it replaces what was complete of the same variant, and of all
    /// variants the newest `variants_max` stay. Returns what went, or `None` if the entry itself is not there any
    /// more.
    pub(crate) fn complete(&self, entry: &Arc<Entry<H>>, variants_max: usize) -> Option<Removed<H>> {
        let mut writer = self.writer.lock();
        let variants = self.holding(entry)?;
        writer.eviction.resize(entry.slot(), entry.bytes());
        let (mut removed, mut others): (Removed<H>, Vec<_>) =
            variants.entries().iter().cloned().partition(|other| {
                other.variant == entry.variant && other.body.is_complete() && !Arc::ptr_eq(other, entry)
            });
        removed.extend(others.split_off(others.len().min(variants_max.max(1))));
        // It may have been among the oldest by now.
        let stays = others.iter().any(|other| Arc::ptr_eq(other, entry));
        removed.iter().for_each(|other| writer.remove(other));
        self.table.set(entry.names.key, &entry.key, others.into());
        stays.then_some(removed)
    }

    /// Puts `new` in the place of `old`, if `old` is still there and `allowed` returns `true` under the lock.
    pub(crate) fn replace(
        &self,
        old: &Arc<Entry<H>>,
        new: &Arc<Entry<H>>,
        bytes: u64,
        allowed: impl FnOnce() -> bool,
    ) -> bool {
        let mut writer = self.writer.lock();
        let Some(variants) = self.holding(old).filter(|_| allowed()) else { return false };
        let slot = old.slot();
        writer.forget_names(slot, old);
        new.heat.set(old.heat.get());
        writer.add(slot, new);
        writer.eviction.resize(slot, bytes);
        let entries = variants.entries.iter();
        let entries =
            entries.map(|entry| Arc::clone(if Arc::ptr_eq(entry, old) { new } else { entry })).collect();
        self.table.set(old.names.key, &old.key, entries);
        true
    }

    /// Removes an entry. Returns whether it was there.
    pub(crate) fn remove(&self, entry: &Arc<Entry<H>>) -> bool {
        let mut writer = self.writer.lock();
        let Some(variants) = self.holding(entry) else { return false };
        writer.remove(entry);
        self.cut(&variants, entry);
        true
    }

    /// Removes the entry that goes next if room is needed. `None` if no entry would make room.
    pub(crate) fn evict(&self) -> Option<Arc<Entry<H>>> {
        let mut writer = self.writer.lock();
        let Writer { eviction, entries, .. } = &mut *writer;
        let slot = eviction.evict(|slot| {
            let entry = entries.get(slot as usize)?.as_ref()?;
            Some(Seen { heat: &entry.heat, in_use: Arc::strong_count(entry) > REFERENCES })
        })?;
        let entry = writer.entries[slot as usize].take()?;
        writer.forget_names(slot, &entry);
        if let Some(variants) = self.holding(&entry) {
            self.cut(&variants, &entry);
        }
        Some(entry)
    }

    /// Returns the entries that have a name: a URL or a tag.
    pub(crate) fn named(&self, name: u64) -> Vec<Arc<Entry<H>>> {
        let writer = self.writer.lock();
        let slots = writer.names.range((name, 0)..=(name, Slot::MAX));
        slots.filter_map(|(_, slot)| writer.entries[*slot as usize].clone()).collect()
    }

    /// Returns the variants of an entry's key, if the entry is among them.
    fn holding(&self, entry: &Arc<Entry<H>>) -> Option<Arc<Variants<H>>> {
        let variants = self.find(entry.names.key, entry.key.bytes())?;
        variants.entries.iter().any(|other| Arc::ptr_eq(other, entry)).then_some(variants)
    }

    /// Takes an entry out of the table.
    fn cut(&self, variants: &Variants<H>, entry: &Arc<Entry<H>>) {
        let others = variants.entries.iter().filter(|other| !Arc::ptr_eq(other, entry)).cloned().collect();
        self.table.set(variants.hash, &variants.key, others);
    }
}

impl<H> Writer<H> {
    fn add(&mut self, slot: Slot, entry: &Arc<Entry<H>>) {
        entry.set_slot(slot);
        let index = slot as usize;
        if index >= self.entries.len() {
            self.entries.resize_with(index + 1, || None);
        }
        self.entries[index] = Some(Arc::clone(entry));
        self.names.insert((entry.names.url, slot));
        self.names.extend(entry.names.tags.iter().map(|tag| (*tag, slot)));
    }

    fn remove(&mut self, entry: &Arc<Entry<H>>) {
        let slot = entry.slot();
        self.forget_names(slot, entry);
        self.entries[slot as usize] = None;
        self.eviction.remove(slot);
    }

    fn forget_names(&mut self, slot: Slot, entry: &Entry<H>) {
        self.names.remove(&(entry.names.url, slot));
        for tag in &entry.names.tags {
            self.names.remove(&(*tag, slot));
        }
    }
}

/// Mixes the bytes of a variant (FNV-1a). It only tells variants of one key apart in the memory of evicted entries.
fn variant_hash(variant: &[u8]) -> u64 {
    variant
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}
