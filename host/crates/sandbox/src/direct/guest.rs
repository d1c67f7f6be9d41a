//! The memory of a guest that is called directly, and how the host gets a piece of it.

use wasmtime::{Memory, TypedFunc};

/// Gives the host a piece of the guest's memory: old place and size, alignment, size.
pub(super) type Realloc = TypedFunc<(u32, u32, u32, u32), u32>;

/// What host functions need of the instance that calls them.
pub(crate) struct Guest {
    pub(super) memory: Memory,
    /// None if the guest says that nothing is ever given to it.
    pub(super) realloc: Option<Realloc>,
    /// Whether the host calls the guest to get memory from it or to release some. It must not call back then.
    pub(super) closed: bool,
    /// Bytes that may be handed over in a call.
    pub(super) bytes_max: usize,
    /// Reused for what is given to the guest.
    pub(super) scratch: Vec<u8>,
}

impl Guest {
    /// Whether the host has called the guest for memory, or to release some.
    pub(crate) const fn is_called_back(&self) -> bool {
        self.closed
    }
}
