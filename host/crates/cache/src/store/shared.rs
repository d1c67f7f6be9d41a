//! What a store and the fills under way have together.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64};

use bytes::Bytes;

use super::body::{Body, Place};
use super::entry::Entry;
use super::eviction::Heat;
use super::growing::MemoryBody;
use super::head::Head;
use super::key::Key;
use super::purges::{Hashes, Names, Purges, Ticket};
use super::refused::Refused;
use super::settings::Settings;
use super::writer::Writer;
use crate::disk::Disk;
use crate::memory::Memory;

#[derive(Debug)]
pub(crate) struct Shared<H> {
    pub(crate) memory: Memory<H>,
    pub(crate) disk: Option<Disk>,
    pub(crate) purges: Arc<Purges>,
    pub(crate) hashes: Arc<Hashes>,
    pub(crate) settings: Settings,
}

/// What an entry is made of, but for its head and its body.
#[derive(Debug)]
pub(crate) struct Identity {
    pub(crate) key: Key,
    pub(crate) variant: Box<[u8]>,
    pub(crate) names: Names,
    pub(crate) ticket: Ticket,
    pub(crate) nonce: u64,
}

impl<H: Head> Shared<H> {
    /// Returns the names that an entry can be purged by.
    pub(crate) fn names(&self, key: &Key, tags: &[&[u8]]) -> Result<Names, Refused> {
        let names = self.hashes.names(key, tags);
        if names.tags.len() > self.settings.tags_max { Err(Refused::TooManyTags) } else { Ok(names) }
    }

    /// Returns an entry in memory, whose cost is reserved.
    pub(crate) fn entry(
        &self,
        identity: Identity,
        head: H,
        body: Arc<MemoryBody>,
    ) -> Result<Arc<Entry<H>>, Refused> {
        let Identity { key, variant, names, ticket, nonce } = identity;
        let beside = key.bytes().len() + variant.len();
        let reserved = self.memory.reserve_entry(names.key, &head, beside, names.tags.len());
        Ok(Arc::new(Entry {
            key,
            variant,
            names,
            head,
            body: Body(Place::Memory(body)),
            ticket,
            nonce,
            stale_since: AtomicU64::new(0),
            heat: Heat::default(),
            slot: AtomicU32::new(0),
            reserved: Some(reserved.ok_or(Refused::NoRoom)?),
        }))
    }

    /// Puts a copy of an entry from the disk into memory, unless there is one or it was purged since it was read.
    pub(crate) fn copy(&self, read: Entry<H>, bytes: &Bytes) {
        let Entry { key, variant, names, head, ticket, nonce, stale_since, .. } = read;
        let body = MemoryBody::new(Some(bytes.len() as u64));
        let mut writer = Writer::new(Arc::clone(&body), self.memory.object_bytes_max(), 0);
        let near = names.key;
        let Ok(entry) = self.entry(Identity { key, variant, names, ticket, nonce }, head, body) else {
            return;
        };
        entry.mark_stale_as(&stale_since);
        if self.memory.begin(&entry, true, &self.purges).is_ok() {
            writer.append(bytes, |bytes| self.memory.reserve(near, bytes));
            if !(writer.complete(true) && self.memory.complete(&entry)) {
                self.memory.remove(&entry);
            }
        }
    }
}
