//! A stored response.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use super::body::Body;
use super::budget::Reservation;
use super::eviction::{Heat, Slot};
use super::key::Key;
use super::purges::{Names, Ticket};
use super::tier::Tier;

/// A stored response, or one that is being stored. It does not change, but for its body while that grows, and for the
/// mark of a soft purge.
#[derive(Debug)]
pub struct Entry<H> {
    pub(crate) key: Key,
    pub(crate) variant: Box<[u8]>,
    pub(crate) names: Names,
    pub(crate) head: H,
    pub(crate) body: Body,
    /// Before it was asked for, or read from the disk.
    pub(crate) ticket: Ticket,
    /// Tells its file on the disk, if it has one, from others of the same key and variant.
    pub(crate) nonce: u64,
    /// In seconds, 0 for never.
    pub(crate) stale_since: AtomicU64,
    pub(crate) heat: Heat,
    /// Its place in the queues of the memory store. Read and written under the lock of its shard.
    pub(crate) slot: AtomicU32,
    /// What it takes in memory beside its body.
    pub(crate) reserved: Option<Reservation>,
}

impl<H> Entry<H> {
    /// Returns the head.
    pub const fn head(&self) -> &H {
        &self.head
    }

    /// Returns the primary key.
    pub const fn key(&self) -> &Key {
        &self.key
    }

    /// Returns what tells it from the other variants of the key.
    pub fn variant(&self) -> &[u8] {
        &self.variant
    }

    /// Returns the body.
    pub const fn body(&self) -> &Body {
        &self.body
    }

    /// Returns since when it has to be validated, in seconds since 1970, if it was softly purged.
    pub fn stale_since(&self) -> Option<u64> {
        Some(self.stale_since.load(Relaxed)).filter(|since| *since != 0)
    }

    /// Returns the tier that it is in.
    pub const fn tier(&self) -> Tier {
        self.body.tier()
    }

    /// Returns how many bytes it takes: what the store chooses by which entry goes.
    pub(crate) fn bytes(&self) -> u64 {
        self.reserved.as_ref().map_or(0, Reservation::bytes) + self.body.len().unwrap_or(0)
    }

    pub(crate) fn mark_stale(&self, now: u64) {
        self.stale_since.store(now.max(1), Relaxed);
    }

    /// Returns an entry with another head and the same body, that is in no list.
    pub(crate) fn with_head(&self, ticket: Ticket, head: H) -> Self {
        Self {
            key: self.key.clone(),
            variant: self.variant.clone(),
            names: self.names.clone(),
            head,
            body: self.body.clone(),
            ticket,
            nonce: self.nonce,
            stale_since: AtomicU64::new(0),
            heat: Heat::default(),
            slot: AtomicU32::new(0),
            reserved: None,
        }
    }

    /// Marks it as another entry of the same response is.
    pub(crate) fn mark_stale_as(&self, other: &AtomicU64) {
        self.stale_since.store(other.load(Relaxed), Relaxed);
    }

    pub(crate) fn slot(&self) -> Slot {
        self.slot.load(Relaxed)
    }

    pub(crate) fn set_slot(&self, slot: Slot) {
        self.slot.store(slot, Relaxed);
    }
}
