//! What policies cost, for the record of an exchange and for metrics.

use std::time::Duration;

/// What one policy has cost one exchange.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PolicyCost {
    /// Hook calls that were made.
    pub calls: u32,
    /// Hooks that failed, those that were not even called among them.
    pub faults: u32,
    /// CPU time of the calls.
    pub cpu: Duration,
    /// Linear memory of its instance, the most that any of the calls left behind.
    pub memory_bytes: u64,
}

impl PolicyCost {
    /// Whether there is nothing to tell.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        self.calls == 0 && self.faults == 0
    }
}
