//! What a store and the fills under way have together.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64};

use super::body::{Body, Place};
use super::budget::Reservation;
use super::entry::Entry;
use super::eviction::Heat;
use super::growing::MemoryBody;
use super::head::Head;
use super::key::Key;
use super::purges::{Hashes, Names, Purges};
use super::refused::Refused;
use super::settings::Settings;
use crate::memory::Memory;

#[derive(Debug)]
pub(crate) struct Shared<H> {
    pub(crate) memory: Memory<H>,
    pub(crate) purges: Purges,
    pub(crate) hashes: Hashes,
    pub(crate) settings: Settings,
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
        key: Key,
        variant: &[u8],
        names: Names,
        head: H,
        body: Arc<MemoryBody>,
    ) -> Result<Arc<Entry<H>>, Refused> {
        let beside = key.bytes().len() + variant.len();
        let reserved = self.memory.reserve_entry(names.key, &head, beside, names.tags.len());
        let reserved: Reservation = reserved.ok_or(Refused::NoRoom)?;
        Ok(Arc::new(Entry {
            key,
            variant: variant.into(),
            names,
            head,
            body: Body(Place::Memory(body)),
            stale_since: AtomicU64::new(0),
            heat: Heat::default(),
            slot: AtomicU32::new(0),
            reserved: Some(reserved),
        }))
    }
}
