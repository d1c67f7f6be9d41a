//! Limits how often something is logged, so that a flood of connections does not flood the log.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// One line a second; the rest are counted.
#[derive(Debug)]
pub(crate) struct LogLimit {
    start: Instant,
    // The second, since `start` and counted from 1, of the last line.
    last: AtomicU64,
    suppressed: AtomicU64,
}

impl LogLimit {
    pub(crate) fn new() -> Self {
        Self { start: Instant::now(), last: AtomicU64::new(0), suppressed: AtomicU64::new(0) }
    }

    /// Returns how many lines were dropped since the last one, if another may be logged now.
    pub(crate) fn allow(&self) -> Option<u64> {
        let second = self.start.elapsed().as_secs() + 1;
        let last = self.last.load(Ordering::Relaxed);
        let won = last != second
            && self.last.compare_exchange(last, second, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        if won {
            Some(self.suppressed.swap(0, Ordering::Relaxed))
        } else {
            self.suppressed.fetch_add(1, Ordering::Relaxed);
            None
        }
    }
}
