//! The bytes that a store may have in memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// How many bytes may be reserved, and how many are. What is reserved counts until its [`Reservation`] is dropped:
/// also after an eviction, for as long as a response still reads it. So the bound holds for the memory itself, and
/// slow clients cannot stretch it.
#[derive(Debug)]
pub(crate) struct Budget {
    used: AtomicU64,
    max: AtomicU64,
}

impl Budget {
    /// Returns a budget of `max` bytes.
    pub(crate) fn new(max: u64) -> Arc<Self> {
        Arc::new(Self { used: AtomicU64::new(0), max: AtomicU64::new(max) })
    }

    /// Returns how many bytes are reserved.
    pub(crate) fn used(&self) -> u64 {
        self.used.load(Relaxed)
    }

    /// Returns how many may be.
    pub(crate) fn max(&self) -> u64 {
        self.max.load(Relaxed)
    }

    /// Sets how many may be. More may be reserved already; nothing is then added.
    pub(crate) fn set_max(&self, max: u64) {
        self.max.store(max, Relaxed);
    }

    /// Reserves `bytes`, or nothing if they do not fit.
    pub(crate) fn reserve(self: &Arc<Self>, bytes: u64) -> Option<Reservation> {
        let max = self.max();
        let fits = |used: u64| used.checked_add(bytes).filter(|after| *after <= max);
        self.used.fetch_update(Relaxed, Relaxed, fits).ok()?;
        Some(Reservation { budget: Arc::clone(self), bytes })
    }
}

/// Bytes that are counted until it is dropped.
#[derive(Debug)]
pub(crate) struct Reservation {
    budget: Arc<Budget>,
    bytes: u64,
}

impl Reservation {
    /// Returns how many bytes it has.
    pub(crate) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Adds those of another of the same budget.
    pub(crate) fn merge(&mut self, mut other: Self) {
        debug_assert!(Arc::ptr_eq(&self.budget, &other.budget));
        self.bytes += std::mem::take(&mut other.bytes);
    }

    /// Gives some back.
    pub(crate) fn release(&mut self, bytes: u64) {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        self.budget.used.fetch_sub(bytes, Relaxed);
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.release(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::Budget;

    #[test]
    fn counts_until_a_reservation_is_dropped() {
        let budget = Budget::new(10);
        let mut first = budget.reserve(6).unwrap();
        assert!(budget.reserve(5).is_none());
        first.merge(budget.reserve(4).unwrap());
        assert_eq!((first.bytes(), budget.used()), (10, 10));
        first.release(3);
        assert_eq!(budget.used(), 7);
        drop(first);
        assert_eq!(budget.used(), 0);
        assert!(budget.reserve(u64::MAX).is_none());
    }
}
