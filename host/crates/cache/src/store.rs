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
pub(crate) mod refused;
pub(crate) mod settings;
mod shared;
#[cfg(test)]
mod tests;
pub(crate) mod tier;

use std::sync::Arc;

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

use crate::memory::Memory;
pub use crate::memory::{MemoryBounds, MemoryStats, Removed, Variants};
use body::Place;
use purges::{Hashes, Purges};
use shared::Shared;

/// A store of responses. Cheap to clone; all clones are one store.
#[derive(Debug, Clone)]
pub struct Store<H: Head>(Arc<Shared<H>>);

impl<H: Head> Store<H> {
    /// Returns an empty store.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self(Arc::new(Shared {
            memory: Memory::new(settings.memory),
            purges: Purges::default(),
            hashes: Hashes::default(),
            settings,
        }))
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

    /// Begins to store a response. [`Store::find`] returns it at once, with a body that grows. The complete entry of the
    /// same variant stays until this one is complete.
    ///
    /// # Errors
    /// If it cannot be stored, as far as that is known already.
    pub fn begin(&self, ticket: Ticket, new: NewEntry<'_, H>) -> Result<Fill<H>, Refused> {
        Fill::begin(&self.0, ticket, new)
    }

    /// Puts an entry with another head and the same body in the place of `old`, after a validation whose `ticket` was
    /// taken before its request was sent.
    ///
    /// # Errors
    /// If `old` is not stored any more or was purged meanwhile.
    pub fn update(&self, ticket: Ticket, old: &Arc<Entry<H>>, head: H) -> Result<Arc<Entry<H>>, Refused> {
        let Place::Memory(body) = &old.body.0;
        let new = self.0.entry(old.key.clone(), &old.variant, old.names.clone(), head, Arc::clone(body))?;
        if self.0.memory.replace(old, &new, ticket, &self.0.purges) { Ok(new) } else { Err(Refused::Purged) }
    }

    /// Removes an entry. Returns whether it was there.
    pub fn forget(&self, entry: &Arc<Entry<H>>) -> bool {
        self.0.memory.remove(entry)
    }

    /// Removes or marks entries. What is purged is not visible any more when it returns, and what was asked for before
    /// is not stored. A prefix is searched among all keys: not for a thread that serves others.
    pub fn purge(&self, what: &Purge<'_>, mode: Mode, now: u64) -> Removed {
        self.0.purges.note(&self.0.hashes, what);
        self.0.memory.purge(&self.0.hashes, what, mode, now)
    }

    /// Sets how many bytes it may have in memory, and evicts what is too much.
    pub fn resize(&self, bytes_max: u64) {
        self.0.memory.resize(bytes_max);
    }

    /// Returns the entries of all keys with this URL.
    #[must_use]
    pub fn inspect(&self, url: &[u8]) -> Vec<Arc<Entry<H>>> {
        self.0.memory.named(self.0.hashes.url(url))
    }

    /// Returns what the store has and did.
    #[must_use]
    pub fn stats(&self) -> MemoryStats {
        self.0.memory.stats()
    }
}
