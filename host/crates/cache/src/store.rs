//! The store: what keeps responses, in memory and on the disk.

pub(crate) mod body;
pub(crate) mod budget;
pub(crate) mod entry;
pub(crate) mod eviction;
pub(crate) mod fill;
pub(crate) mod growing;
pub(crate) mod head;
pub(crate) mod key;
pub(crate) mod purges;
mod readers;
pub(crate) mod refused;
pub(crate) mod settings;
mod shared;
#[cfg(test)]
pub(crate) mod tests;
pub(crate) mod tier;
mod writer;

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

pub use body::{Body, Reader};
pub use entry::Entry;
pub use fill::{Fill, NewEntry};
pub use growing::ReadError;
pub use head::Head;
pub use key::Key;
pub use purges::{Mode, Purge, Ticket};
pub use refused::Refused;
pub use settings::Settings;
pub use tier::Tier;

use crate::disk::Disk;
pub use crate::disk::file_body::FilePart;
pub use crate::disk::health::{Failing, Watcher};
use crate::disk::pool::Answer;
pub use crate::disk::{DiskSettings, DiskStats, Lookup, OpenError, check_folder};
use crate::memory::Memory;
pub use crate::memory::{MemoryBounds, MemoryStats, Variants};
use body::Place;
use shared::{Identity, Shared};

/// A store of responses. Cheap to clone; all clones are one store.
#[derive(Debug, Clone)]
pub struct Store<H: Head>(pub(crate) Arc<Shared<H>>);

/// A purge that was done. Ready, as a future, when it is written down, so that it holds after a kill as well: `false`
/// if the disk failed. It need not be waited for.
#[derive(Debug)]
pub struct Purged {
    /// How many entries it met, as far as they are known. One in both tiers counts twice.
    pub entries: usize,
    /// How many of them were on the disk.
    pub on_disk: usize,
    written: Option<Answer<bool>>,
}

impl Purged {
    /// Whether it is being written down, on a disk that has something of what it met.
    #[must_use]
    pub fn is_pending(&self) -> bool {
        self.written.as_ref().is_some_and(Answer::is_pending)
    }
}

impl Future for Purged {
    type Output = bool;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<bool> {
        match &mut self.written {
            None => Poll::Ready(true),
            Some(written) => Poll::Ready(ready!(Pin::new(written).poll(cx)).unwrap_or(false)),
        }
    }
}

impl<H: Head> Store<H> {
    /// Returns an empty store in memory.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let memory = Memory::new(settings.memory);
        let (purges, hashes) = (Arc::default(), Arc::default());
        Self(Arc::new(Shared { memory, disk: None, purges, hashes, settings }))
    }

    /// Returns a store in memory and on the disk, with what the folder of that has, which is read in the background.
    /// `watcher` hears how the disk is.
    ///
    /// # Errors
    /// If the folder cannot be used.
    pub fn open(
        settings: Settings,
        disk: DiskSettings,
        watcher: Arc<dyn Watcher>,
    ) -> Result<Self, OpenError> {
        let (memory, hashes) = (Memory::new(settings.memory), Arc::default());
        let (disk, purges) = Disk::open(disk, &hashes, watcher)?;
        Ok(Self(Arc::new(Shared { memory, disk: Some(disk), purges, hashes, settings })))
    }

    /// Returns the present moment among the purges. To be taken before a request is sent to an upstream, so that its
    /// response is not stored if it is purged meanwhile.
    #[must_use]
    pub fn ticket(&self) -> Ticket {
        self.0.purges.ticket()
    }

    /// Returns the variants of a key that are in memory. Takes no lock and waits for nothing.
    #[must_use]
    pub fn find(&self, key: &[u8]) -> Option<Arc<Variants<H>>> {
        self.0.memory.find(self.0.hashes.key(key), key)
    }

    /// Looks for the variants of a key on the disk. `None` if there are surely none. What cannot be read is a miss.
    #[must_use]
    pub fn find_on_disk(&self, key: &[u8]) -> Option<Lookup<H>> {
        self.0.disk.as_ref()?.find(key)
    }

    /// Copies an entry from the disk to memory, in the background, if it was used more than once lately and is small
    /// enough. To be called when it is used.
    pub fn promote(&self, entry: &Entry<H>) {
        if let Some(disk) = &self.0.disk
            && entry.tier() == Tier::Disk
            && entry.body.len().is_some_and(|length| length <= self.0.memory.object_bytes_max())
        {
            let shared = Arc::downgrade(&self.0);
            disk.read_hot(entry, move |read, bytes| {
                if let Some(shared) = shared.upgrade() {
                    shared.copy(read, &bytes);
                }
            });
        }
    }

    /// Begins to store a response. [`Store::find`] returns it at once, with a body that grows, unless it is too large
    /// for memory. The complete entry of the same variant stays until this one is complete.
    ///
    /// # Errors
    /// If it cannot be stored, as far as that is known already.
    pub fn begin(&self, ticket: Ticket, new: NewEntry<'_, H>) -> Result<Fill<H>, Refused> {
        Fill::begin(&self.0, ticket, new)
    }

    /// Puts an entry with another head and the same body in the place of `old`, after a validation whose `ticket` was
    /// taken before its request was sent. Of an entry from the disk only the disk's head is replaced.
    ///
    /// # Errors
    /// If `old` is not stored any more, still grows, or was purged meanwhile.
    pub fn update(&self, ticket: Ticket, old: &Arc<Entry<H>>, head: H) -> Result<Arc<Entry<H>>, Refused> {
        let shared = &*self.0;
        if !old.body.is_complete() {
            // Should the rest of the body not come, only its own entry is taken out.
            return Err(Refused::Growing);
        }
        let (key, variant, names) = (old.key.clone(), old.variant.clone(), old.names.clone());
        let new = match &old.body.0 {
            Place::Memory(body) => {
                let identity = Identity { key, variant, names, ticket, nonce: old.nonce };
                let new = shared.entry(identity, head, Arc::clone(body))?;
                if !shared.memory.replace(old, &new, &shared.purges) {
                    return Err(Refused::Purged);
                }
                new
            }
            Place::File(_) => {
                if shared.purges.since(ticket, &names, key.url()) {
                    return Err(Refused::Purged);
                }
                Arc::new(old.with_head(ticket, head))
            }
        };
        if let Some(disk) = &shared.disk {
            disk.update(&new, ticket);
        }
        Ok(new)
    }

    /// Whether an entry that was found, or is being received, was not purged since, as far as is known: it may still
    /// be used by a request that has waited meanwhile. Takes no lock in the usual case.
    #[must_use]
    pub fn is_current(&self, entry: &Arc<Entry<H>>) -> bool {
        let shared = &*self.0;
        let holds = || {
            let found = self.find(entry.key.bytes());
            found.is_some_and(|found| found.entries().iter().any(|other| Arc::ptr_eq(other, entry)))
        };
        // What is not in the table of the store was asked for just now, so that few purges were noted since.
        let not_purged = || !shared.purges.since(entry.ticket, &entry.names, entry.key.url());
        match entry.tier() {
            Tier::Memory if entry.body.is_complete() => holds(),
            Tier::Memory => holds() || not_purged(),
            Tier::Disk => {
                shared.disk.as_ref().and_then(|disk| disk.is_current(entry)).unwrap_or_else(not_purged)
            }
        }
    }

    /// Removes an entry, wherever it is. Returns whether it was in memory.
    pub fn forget(&self, entry: &Arc<Entry<H>>) -> bool {
        if let Some(disk) = &self.0.disk {
            disk.forget(entry.key.bytes(), &entry.variant);
        }
        self.0.memory.remove(entry)
    }

    /// Removes or marks entries. What is purged is not found any more when it returns, and what was asked for before
    /// is not stored. A prefix is searched among all keys: not for a thread that serves others.
    pub fn purge(&self, what: &Purge<'_>, mode: Mode, now: u64) -> Purged {
        let shared = &*self.0;
        let number = shared.purges.note(&shared.hashes, what);
        let on_disk = shared.disk.as_ref().map(|disk| disk.purge(what, mode, number, now));
        let in_memory = shared.memory.purge(&shared.hashes, what, mode, now);
        let (on_disk, written) = on_disk.unzip();
        let on_disk = on_disk.unwrap_or_default();
        Purged { entries: in_memory + on_disk, on_disk, written }
    }

    /// Returns whether both are one store.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Sets how many bytes it may have in memory, and as many more or fewer entries, and evicts what is too much.
    /// Bodies that are stored from now on may have `object_bytes_max`.
    pub fn resize(&self, bytes_max: u64, object_bytes_max: u64) {
        self.0.memory.resize(bytes_max, object_bytes_max);
    }

    /// Goes on with other settings of its disk, whose folder stays the same. Does nothing without a disk.
    ///
    /// # Errors
    /// If no thread can be started.
    pub fn set_disk(&self, settings: DiskSettings) -> io::Result<()> {
        self.0.disk.as_ref().map_or(Ok(()), |disk| disk.set(settings))
    }

    /// Lets another process have the folder of its disk as soon as it waits for it: from then on nothing is found there
    /// and nothing is stored. What is being read from there goes on.
    ///
    /// # Errors
    /// If no thread can be started that looks for another process.
    pub fn hand_over_disk(&self) -> io::Result<()> {
        self.0.disk.as_ref().map_or(Ok(()), Disk::hand_over)
    }

    /// Notes that a lookup on the disk was given up because it took too long.
    pub fn disk_is_slow(&self, waited: Duration) {
        if let Some(disk) = &self.0.disk {
            disk.too_slow(waited);
        }
    }

    /// Returns the entries of all keys with this URL that are in memory.
    #[must_use]
    pub fn inspect(&self, url: &[u8]) -> Vec<Arc<Entry<H>>> {
        self.0.memory.named(self.0.hashes.url(url))
    }

    /// Returns the entries of all keys with this URL that are on the disk, as far as they are known. `None` without a
    /// disk.
    #[must_use]
    pub fn inspect_disk(&self, url: &[u8]) -> Option<Lookup<H>> {
        self.0.disk.as_ref()?.inspect(url)
    }

    /// Calls `look` with the URL of each key in memory. What changes meanwhile may be seen or not. Not for a thread
    /// that serves others.
    pub fn each_url(&self, mut look: impl FnMut(&[u8])) {
        self.0.memory.each(|variants| look(variants.key.url()));
    }

    /// Returns what the store has in memory, and did there.
    #[must_use]
    pub fn stats(&self) -> MemoryStats {
        self.0.memory.stats()
    }

    /// Returns what the store has on the disk, and did there.
    #[must_use]
    pub fn disk_stats(&self) -> Option<DiskStats> {
        self.0.disk.as_ref().map(Disk::stats)
    }
}
