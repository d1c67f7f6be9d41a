//! Which entry goes if room is needed: S3-FIFO (Yang and others, SOSP 2023), by bytes.
//!
//! New entries stand in a small queue of a tenth of the bytes. What is used there more than once moves to the main
//! queue; the rest leaves, and only a fingerprint of it is remembered for a while, so that it gets into the main
//! queue at once if it returns. So many entries that are used once, as a crawler makes them, push each other out and
//! nothing else. A use is one counter of two bits in the entry itself: it moves nothing, and therefore needs no lock.

#[cfg(test)]
mod tests;

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};

/// How often an entry was used lately, up to three times.
#[derive(Debug, Default)]
pub(crate) struct Heat(AtomicU8);

const HEAT_MAX: u8 = 3;

impl Heat {
    /// Counts a use. Writes nothing if the entry is hot already, so that workers do not contend for it.
    pub(crate) fn touch(&self) {
        let heat = self.0.load(Relaxed);
        if heat < HEAT_MAX {
            // Two uses at once may count as one.
            self.0.store(heat + 1, Relaxed);
        }
    }

    /// Returns the count.
    pub(crate) fn get(&self) -> u8 {
        self.0.load(Relaxed)
    }

    pub(crate) fn set(&self, heat: u8) {
        self.0.store(heat.min(HEAT_MAX), Relaxed);
    }
}

/// The place of an entry in the queues, until it is removed or evicted.
pub(crate) type Slot = u32;

/// The end of a list.
const NONE: Slot = Slot::MAX;

/// At least so many fingerprints are remembered.
const GHOSTS_MIN: usize = 64;

/// So many entries in use are passed over before an eviction fails.
const SKIPS_MAX: usize = 32;

/// What a store knows of an entry that might be evicted.
#[derive(Debug)]
pub(crate) struct Seen<'a> {
    /// How often it was used.
    pub(crate) heat: &'a Heat,
    /// Whether a response is reading it. Its eviction would free nothing yet.
    pub(crate) in_use: bool,
}

/// The queues.
#[derive(Debug, Default)]
pub(crate) struct Eviction {
    nodes: Vec<Node>,
    free: Vec<Slot>,
    small: Queue,
    main: Queue,
    ghosts: Ghosts,
}

#[derive(Debug, Clone, Copy)]
struct Node {
    fingerprint: u64,
    bytes: u64,
    queue: Which,
    /// The next older one.
    older: Slot,
    /// The next newer one.
    newer: Slot,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Which {
    Small,
    Main,
    Free,
}

#[derive(Debug)]
struct Queue {
    oldest: Slot,
    newest: Slot,
    bytes: u64,
    entries: usize,
}

impl Default for Queue {
    fn default() -> Self {
        Self { oldest: NONE, newest: NONE, bytes: 0, entries: 0 }
    }
}

impl Eviction {
    /// Returns how many entries there are.
    pub(crate) const fn len(&self) -> usize {
        self.small.entries + self.main.entries
    }

    /// Returns how many bytes they have.
    pub(crate) const fn bytes(&self) -> u64 {
        self.small.bytes + self.main.bytes
    }

    /// Adds an entry. `fingerprint` is what it is recognised by if it returns.
    pub(crate) fn insert(&mut self, fingerprint: u64, bytes: u64) -> Slot {
        let queue = if self.ghosts.take(fingerprint) { Which::Main } else { Which::Small };
        let node = Node { fingerprint, bytes, queue: Which::Free, older: NONE, newer: NONE };
        let slot = match self.free.pop() {
            Some(slot) => {
                self.nodes[slot as usize] = node;
                slot
            }
            None => {
                self.nodes.push(node);
                Slot::try_from(self.nodes.len() - 1)
                    .expect("2^32 entries, of which each takes over 512 bytes")
            }
        };
        self.push(slot, queue);
        slot
    }

    /// Removes an entry that is not wanted any more.
    pub(crate) fn remove(&mut self, slot: Slot) {
        if self.unlink(slot) {
            self.free.push(slot);
        }
    }

    /// Sets the size of an entry whose head has changed.
    pub(crate) fn resize(&mut self, slot: Slot, bytes: u64) {
        let node = &mut self.nodes[slot as usize];
        let before = std::mem::replace(&mut node.bytes, bytes);
        let queue = match node.queue {
            Which::Small => &mut self.small,
            Which::Main => &mut self.main,
            Which::Free => return,
        };
        queue.bytes = queue.bytes - before + bytes;
    }

    /// Takes the entry out that goes next, or returns `None` if no entry would free something. `look` returns
    /// what the store knows of an entry.
    pub(crate) fn evict<'a>(&mut self, look: impl Fn(Slot) -> Option<Seen<'a>>) -> Option<Slot> {
        let mut skips = SKIPS_MAX.min(self.len());
        loop {
            let small = self.small.entries > 0
                && (self.small.bytes.saturating_mul(10) > self.bytes() || self.main.entries == 0);
            let slot = if small { self.small.oldest } else { self.main.oldest };
            if slot == NONE {
                return None;
            }
            let Some(seen) = look(slot) else {
                // The store has nothing there: the queue forgets it as well.
                self.remove(slot);
                continue;
            };
            let heat = seen.heat.get();
            if small && heat > 1 {
                seen.heat.set(0);
                self.relink(slot, Which::Main);
            } else if !small && heat > 0 {
                seen.heat.set(heat - 1);
                self.relink(slot, Which::Main);
            } else if seen.in_use {
                skips = skips.checked_sub(1)?;
                self.relink(slot, Which::Main);
            } else {
                if small {
                    let ghosts = self.main.entries.max(GHOSTS_MIN);
                    self.ghosts.add(self.nodes[slot as usize].fingerprint, ghosts);
                }
                self.remove(slot);
                return Some(slot);
            }
        }
    }

    fn relink(&mut self, slot: Slot, queue: Which) {
        self.unlink(slot);
        self.push(slot, queue);
    }

    /// Adds an entry that stands in no queue as the newest.
    fn push(&mut self, slot: Slot, which: Which) {
        let queue = match which {
            Which::Small => &mut self.small,
            Which::Main => &mut self.main,
            Which::Free => return,
        };
        let before = std::mem::replace(&mut queue.newest, slot);
        queue.entries += 1;
        queue.bytes += self.nodes[slot as usize].bytes;
        if before == NONE {
            queue.oldest = slot;
        } else {
            self.nodes[before as usize].newer = slot;
        }
        let node = &mut self.nodes[slot as usize];
        (node.queue, node.older, node.newer) = (which, before, NONE);
    }

    /// Takes an entry out of its queue. Returns whether it was in one.
    fn unlink(&mut self, slot: Slot) -> bool {
        let node = self.nodes[slot as usize];
        let queue = match node.queue {
            Which::Small => &mut self.small,
            Which::Main => &mut self.main,
            Which::Free => return false,
        };
        queue.entries -= 1;
        queue.bytes -= node.bytes;
        if node.older == NONE {
            queue.oldest = node.newer;
        } else {
            self.nodes[node.older as usize].newer = node.newer;
        }
        if node.newer == NONE {
            queue.newest = node.older;
        } else {
            self.nodes[node.newer as usize].older = node.older;
        }
        self.nodes[slot as usize].queue = Which::Free;
        true
    }
}

/// Fingerprints of entries that left the small queue, the oldest first.
#[derive(Debug, Default)]
struct Ghosts {
    /// With the number of its turn, because one that was taken stays here until its turn comes.
    queue: VecDeque<(u64, u64)>,
    turns: HashMap<u64, u64>,
    turn: u64,
}

impl Ghosts {
    fn add(&mut self, fingerprint: u64, max: usize) {
        self.turn += 1;
        self.queue.push_back((fingerprint, self.turn));
        self.turns.insert(fingerprint, self.turn);
        while self.queue.len() > max {
            if let Some((oldest, turn)) = self.queue.pop_front()
                && self.turns.get(&oldest) == Some(&turn)
            {
                self.turns.remove(&oldest);
            }
        }
    }

    /// Forgets a fingerprint. Returns whether it was there.
    fn take(&mut self, fingerprint: u64) -> bool {
        self.turns.remove(&fingerprint).is_some()
    }
}
