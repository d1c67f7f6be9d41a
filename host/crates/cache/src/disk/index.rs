//! What is known in memory of the files: their sizes, what they can be purged by, and which goes if room is needed.
//! About 300 bytes for each file.

#[cfg(test)]
mod tests;

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use super::folder::FileName;
use crate::store::eviction::{Eviction, Heat, Seen, Slot};
use crate::store::purges::Names;

/// What a file takes on the disk: file systems give it whole pages.
const PAGE: u64 = 4096;

/// How many records are searched at once, so that lookups do not wait for long.
const AT_ONCE: usize = 4096;

/// What is known of a file.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) name: FileName,
    pub(crate) names: Names,
    pub(crate) url: Box<[u8]>,
    /// Since when it is stale by a soft purge, 0 if it is not.
    pub(crate) stale_since: u64,
    pub(crate) heat: Heat,
    /// Whether the file is finished. Before, nothing finds it, but a purge does.
    pub(crate) ready: bool,
    /// Grows from file to file, as they are added. Set by the index.
    pub(crate) added: u64,
    /// The random number of the file, which tells it from an earlier one of the same name.
    pub(crate) nonce: u64,
    /// How often what stands before its body was changed.
    pub(crate) changes: u32,
    /// The response as it was read, if it was lately.
    pub(crate) open: Option<Open>,
}

/// A response that was read, whose file is open.
pub(crate) type Open = Arc<dyn Any + Send + Sync>;

/// How many responses stay open.
const OPEN_MAX: usize = 128;

/// The index.
#[derive(Debug)]
pub(crate) struct Index {
    eviction: Eviction,
    records: Vec<Option<Record>>,
    by_name: BTreeMap<FileName, Slot>,
    purgeable: BTreeSet<(u64, Slot)>,
    /// What files take that are being written.
    writing: u64,
    bytes_max: u64,
    files_max: usize,
    variants_max: usize,
    added: u64,
    /// The files that stay open, the oldest first. Some may have gone since.
    open: VecDeque<FileName>,
    /// Whether all files are in it that were there at the start.
    pub(crate) complete: bool,
}

/// Returns what a file of so many bytes takes.
pub(crate) const fn taken(bytes: u64) -> u64 {
    bytes.div_ceil(PAGE) * PAGE
}

impl Index {
    /// Returns an empty index.
    pub(crate) fn new(bytes_max: u64, files_max: usize, variants_max: usize) -> Self {
        Self {
            eviction: Eviction::default(),
            records: Vec::new(),
            by_name: BTreeMap::new(),
            purgeable: BTreeSet::new(),
            writing: 0,
            bytes_max,
            files_max,
            variants_max: variants_max.max(1),
            added: 0,
            open: VecDeque::new(),
            complete: false,
        }
    }

    /// Sets what there may be. What is too much by it stays until it is [evicted](Self::evict_surplus).
    pub(crate) fn set_bounds(&mut self, bytes_max: u64, files_max: usize, variants_max: usize) {
        (self.bytes_max, self.files_max, self.variants_max) = (bytes_max, files_max, variants_max.max(1));
    }

    /// Forgets all files that are finished.
    pub(crate) fn clear(&mut self) {
        let ready = self.records.iter().flatten().filter(|record| record.ready).map(|record| record.name);
        for name in ready.collect::<Vec<_>>() {
            self.remove(name);
        }
    }

    /// Returns how many files there are, and what they take with those that are being written.
    pub(crate) const fn size(&self) -> (usize, u64) {
        (self.eviction.len(), self.eviction.bytes() + self.writing)
    }

    /// Returns the finished files of a key, and counts a use of each.
    pub(crate) fn find(&self, key: u128) -> Vec<FileName> {
        let all = FileName { key, variant: 0 }..=FileName { key, variant: u64::MAX };
        let records = self.by_name.range(all).filter_map(|(_, slot)| self.records[*slot as usize].as_ref());
        let ready = records.filter(|record| record.ready);
        ready.inspect(|record| record.heat.touch()).map(|record| record.name).collect()
    }

    /// Returns what is known of a file.
    pub(crate) fn get(&self, name: FileName) -> Option<&Record> {
        self.records[*self.by_name.get(&name)? as usize].as_ref()
    }

    pub(crate) fn get_mut(&mut self, name: FileName) -> Option<&mut Record> {
        self.records[*self.by_name.get(&name)? as usize].as_mut()
    }

    /// Returns a response that has stayed open.
    pub(crate) fn open(&self, name: FileName) -> Option<Open> {
        self.get(name)?.open.clone()
    }

    /// Has a response stay open, if it is of the file with this random number and was read when that had been changed
    /// so often. The one that has stayed open for the longest time is closed for it.
    pub(crate) fn keep_open(&mut self, name: FileName, (nonce, changes): (u64, u32), open: Open) {
        let Some(record) = self.get_mut(name) else { return };
        if record.open.is_some() || record.nonce != nonce || record.changes != changes {
            return;
        }
        record.open = Some(open);
        self.open.push_back(name);
        while self.open.len() > OPEN_MAX {
            if let Some(record) = self.open.pop_front().and_then(|oldest| self.get_mut(oldest)) {
                record.open = None;
            }
        }
    }

    /// Takes out the response that has stayed open for the longest time.
    pub(crate) fn close_oldest(&mut self) -> Option<Open> {
        while let Some(oldest) = self.open.pop_front() {
            if let Some(open) = self.get_mut(oldest).and_then(|record| record.open.take()) {
                return Some(open);
            }
        }
        None
    }

    /// Notes that what stands before the body of a file was changed: it has to be read anew.
    pub(crate) fn changed(&mut self, name: FileName) {
        if let Some(record) = self.get_mut(name) {
            record.changes = record.changes.wrapping_add(1);
            record.open = None;
        }
    }

    /// Returns all files of a key, finished or not.
    pub(crate) fn of_key(&self, key: u128) -> Vec<FileName> {
        let all = FileName { key, variant: 0 }..=FileName { key, variant: u64::MAX };
        self.by_name.range(all).map(|(name, _)| *name).collect()
    }

    /// Returns the files with a URL or a tag.
    pub(crate) fn named(&self, name: u64) -> Vec<FileName> {
        let slots = self.purgeable.range((name, 0)..=(name, Slot::MAX));
        slots.filter_map(|(_, slot)| Some(self.records[*slot as usize].as_ref()?.name)).collect()
    }

    /// Returns the files whose URL begins so, of some thousand records from the number `from` on, and from which
    /// number to go on.
    pub(crate) fn with_prefix(&self, prefix: &[u8], from: usize) -> (Vec<FileName>, Option<usize>) {
        let to = self.records.len().min(from + AT_ONCE);
        let records = self.records[from.min(to)..to].iter().flatten();
        let found =
            records.filter(|record| record.url.starts_with(prefix)).map(|record| record.name).collect();
        (found, (to < self.records.len()).then_some(to))
    }

    /// Makes room for `bytes` more of a file that is being written. Returns the files to remove, or `None` if there
    /// is not enough room even without all others.
    pub(crate) fn write(&mut self, bytes: u64) -> Option<Vec<FileName>> {
        let mut evicted = Vec::new();
        while self.size().1 + bytes > self.bytes_max {
            evicted.push(self.evict()?);
        }
        self.writing += bytes;
        Some(evicted)
    }

    /// Gives back what a file took while it was written.
    pub(crate) fn written(&mut self, bytes: u64) {
        self.writing = self.writing.saturating_sub(bytes);
    }

    /// Adds a file of so many bytes, in the place of one of the same name. Returns `false` if that one is not
    /// finished yet.
    pub(crate) fn insert(&mut self, mut record: Record, bytes: u64) -> bool {
        let name = record.name;
        if self.get(name).is_some_and(|record| !record.ready) {
            return false;
        }
        self.remove(name);
        let slot = self.eviction.insert((name.key >> 64) as u64 ^ name.variant, taken(bytes));
        self.by_name.insert(name, slot);
        self.purgeable.insert((record.names.url, slot));
        self.purgeable.extend(record.names.tags.iter().map(|tag| (*tag, slot)));
        if self.records.len() <= slot as usize {
            self.records.resize_with(slot as usize + 1, || None);
        }
        self.added += 1;
        record.added = self.added;
        self.records[slot as usize] = Some(record);
        true
    }

    /// Returns a file to remove if there are more, or larger ones, than may be.
    pub(crate) fn evict_surplus(&mut self) -> Option<FileName> {
        let (files, bytes) = self.size();
        if files > self.files_max || bytes > self.bytes_max { self.evict() } else { None }
    }

    /// Takes the oldest variant of a key out, if there are more than may be. Returns the file to remove.
    pub(crate) fn surplus_variant(&mut self, key: u128) -> Option<FileName> {
        let variants = self.of_key(key);
        if variants.len() <= self.variants_max {
            return None;
        }
        let ready = variants.into_iter().filter_map(|name| self.get(name)).filter(|record| record.ready);
        let name = ready.min_by_key(|record| record.added)?.name;
        self.remove(name).then_some(name)
    }

    /// Takes a file out. Returns whether it was there.
    pub(crate) fn remove(&mut self, name: FileName) -> bool {
        let Some(slot) = self.by_name.get(&name).copied() else { return false };
        self.eviction.remove(slot);
        self.take_out(slot);
        true
    }

    fn evict(&mut self) -> Option<FileName> {
        let records = &self.records;
        let slot = self.eviction.evict(|slot| {
            let record = records.get(slot as usize)?.as_ref()?;
            Some(Seen { heat: &record.heat, in_use: !record.ready })
        })?;
        self.take_out(slot)
    }

    fn take_out(&mut self, slot: Slot) -> Option<FileName> {
        let record = self.records[slot as usize].take()?;
        self.by_name.remove(&record.name);
        self.purgeable.remove(&(record.names.url, slot));
        for tag in &record.names.tags {
            self.purgeable.remove(&(*tag, slot));
        }
        Some(record.name)
    }
}
