//! Linear memory and tables: what an instance may have, what all instances may have together, and what was refused.

use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use wasmtime::{ResourceLimiter, Result};

use crate::engine;
use crate::instance::refusal::{InjectedRefusals, Refusal};

/// Bounds what an instance takes, and remembers that it wanted more.
#[derive(Debug)]
pub(crate) struct MemoryLimiter {
    bytes: usize,
    bytes_max: usize,
    /// Of what all instances may have together.
    share: MemoryShare,
    /// What was let through last.
    last_more: u64,
    table_elements: usize,
    refused: Option<Refusal>,
    /// Bytes of a memory that is not the guest's and has yet to be made.
    kept: Option<usize>,
    /// Refuses growths in tests.
    injected: Option<Arc<dyn InjectedRefusals>>,
}

/// Elements of all tables of an instance: each takes 8 bytes.
const TABLE_ELEMENTS_MAX: usize = 4 * engine::TABLE_ELEMENTS_MAX;

impl MemoryLimiter {
    pub(crate) fn new(
        bytes_max: usize,
        share: MemoryShare,
        injected: Option<Arc<dyn InjectedRefusals>>,
    ) -> Self {
        Self {
            bytes: 0,
            bytes_max,
            share,
            last_more: 0,
            table_elements: 0,
            refused: None,
            kept: None,
            injected,
        }
    }

    /// What all instances have together, and may have.
    pub(crate) fn total(&self) -> (u64, u64) {
        (self.share.total().bytes(), self.share.total().max())
    }

    /// Bytes of linear memory that the instance has. They never become fewer.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Bytes that it may have.
    pub(crate) fn bytes_max(&self) -> usize {
        self.bytes_max
    }

    /// Lifts the bound: to read a memory is to grow it by a page.
    pub(crate) fn unbound(&mut self) {
        self.bytes_max = usize::MAX;
    }

    /// The instance will have a second memory that keeps what is in its own at first. It is never written, so that it
    /// is the image's own, and takes nothing.
    pub(crate) fn keep(&mut self, bytes: usize) {
        self.kept = Some(bytes);
    }

    /// Releases its share of the common limit for as long as the instance is not used.
    pub(crate) fn rest(&mut self) {
        self.share.release();
    }

    /// Takes the share again. Whether there was that much left.
    pub(crate) fn wake(&mut self) -> bool {
        let bytes = self.bytes as u64;
        let had = self.share.grow(bytes);
        if !had {
            self.refused = Some(Refusal::Total(bytes));
        }
        had
    }

    /// Whether anything was refused since [`MemoryLimiter::take_refused`].
    pub(crate) fn has_refused(&self) -> bool {
        self.refused.is_some()
    }

    /// What was refused since this was last asked.
    pub(crate) fn take_refused(&mut self) -> Option<Refusal> {
        self.refused.take()
    }
}

impl ResourceLimiter for MemoryLimiter {
    fn memory_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> Result<bool> {
        // The first of two that are equally large: it does not matter which one it is.
        if current == 0 && self.kept == Some(desired) {
            self.kept = None;
            return Ok(true);
        }
        let bytes = self.bytes.saturating_add(desired.saturating_sub(current));
        if bytes > self.bytes_max {
            self.refused = Some(Refusal::Memory(bytes));
            return Ok(false);
        }
        let more = (bytes - self.bytes) as u64;
        if let Some(refusal) = self.injected.as_ref().and_then(|injected| injected.memory(bytes, more)) {
            self.refused = Some(refusal);
            return Ok(false);
        }
        if !self.share.grow(more) {
            self.refused = Some(Refusal::Total(more));
            return Ok(false);
        }
        self.bytes = bytes;
        self.last_more = more;
        Ok(true)
    }

    fn memory_grow_failed(&mut self, error: wasmtime::Error) -> Result<()> {
        // Any other failure is that the memory is as large as it says itself that it gets.
        if is_out_of_memory(&error) {
            let more = std::mem::take(&mut self.last_more);
            self.bytes -= usize::try_from(more).unwrap_or_default();
            self.share.shrink(more);
            self.refused = Some(Refusal::System);
        }
        Ok(())
    }

    fn table_grow_failed(&mut self, error: wasmtime::Error) -> Result<()> {
        if is_out_of_memory(&error) {
            self.refused = Some(Refusal::System);
        }
        Ok(())
    }

    fn table_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> Result<bool> {
        let elements = self.table_elements.saturating_add(desired.saturating_sub(current));
        if let Some(refusal) = self.injected.as_ref().and_then(|injected| injected.table(elements)) {
            self.refused = Some(refusal);
            return Ok(false);
        }
        if elements > TABLE_ELEMENTS_MAX || desired > engine::TABLE_ELEMENTS_MAX {
            self.refused = Some(Refusal::Table(elements));
            return Ok(false);
        }
        self.table_elements = elements;
        Ok(true)
    }

    fn instances(&self) -> usize {
        engine::CORE_INSTANCES_MAX as usize
    }

    fn tables(&self) -> usize {
        engine::TABLES_MAX as usize
    }

    fn memories(&self) -> usize {
        engine::MEMORIES_MAX as usize
    }
}

/// Whether it says that the operating system gave no memory, for an instance, its stack or what it has grown by. That
/// is not the policy's doing.
pub(crate) fn is_out_of_memory(error: &wasmtime::Error) -> bool {
    #[cfg(unix)]
    if error.downcast_ref::<rustix::io::Errno>() == Some(&rustix::io::Errno::NOMEM) {
        return true;
    }
    error.downcast_ref::<wasmtime::OutOfMemory>().is_some()
        || error.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == ErrorKind::OutOfMemory)
}

/// Linear memory of all instances together.
#[derive(Debug)]
pub(crate) struct MemoryTotal {
    bytes: AtomicU64,
    max: u64,
}

/// What one instance has of it; given back when dropped.
#[derive(Debug)]
pub(crate) struct MemoryShare {
    total: Arc<MemoryTotal>,
    bytes: u64,
}

impl MemoryTotal {
    pub(crate) fn new(max: u64) -> Self {
        Self { bytes: AtomicU64::new(0), max }
    }

    /// Nothing yet, for an instance.
    pub(crate) fn share(self: &Arc<Self>) -> MemoryShare {
        MemoryShare { total: self.clone(), bytes: 0 }
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn max(&self) -> u64 {
        self.max
    }
}

impl MemoryShare {
    /// Takes this much more, if it is left.
    pub(crate) fn grow(&mut self, by: u64) -> bool {
        let max = self.total.max;
        let grown = self.total.bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |bytes| {
            bytes.checked_add(by).filter(|bytes| *bytes <= max)
        });
        if grown.is_ok() {
            self.bytes += by;
        }
        grown.is_ok()
    }

    /// Gives some of it back.
    pub(crate) fn shrink(&mut self, by: u64) {
        let by = by.min(self.bytes);
        self.bytes -= by;
        self.total.bytes.fetch_sub(by, Ordering::Relaxed);
    }

    /// Gives back what it has, until [`MemoryShare::grow`] takes it again.
    pub(crate) fn release(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        self.total.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    pub(crate) fn total(&self) -> &MemoryTotal {
        &self.total
    }
}

impl Drop for MemoryShare {
    fn drop(&mut self) {
        self.total.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}
