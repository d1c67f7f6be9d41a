//! The tiers of a store.

/// A tier of a store, in which an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tier {
    /// In memory.
    Memory,
    /// On the disk.
    Disk,
}
