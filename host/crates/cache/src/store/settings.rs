//! What an operator sets of a store in memory.

use crate::memory::MemoryBounds;

/// What an operator sets of a store, but for its disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// What it may have in memory.
    pub memory: MemoryBounds,
    /// How much of a body that is not stored is kept for readers that are slower than the fastest. One that falls
    /// farther behind fails.
    pub window_bytes: u64,
    /// How many tags an entry may have.
    pub tags_max: usize,
}
