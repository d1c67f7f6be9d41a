//! Limits how often a peer may do something: a number at once, a number each second, and more that useful work earns.

use std::time::Duration;

/// A bucket that fills over time. It reads the clock only when it is empty.
#[derive(Debug, Clone)]
pub struct Allowance {
    left: u32,
    most: u32,
    per_second: u32,
    filled_at: Duration,
}

impl Allowance {
    /// Returns a full bucket.
    #[must_use]
    pub const fn new(most: u32, per_second: u32) -> Self {
        Self { left: most, most, per_second, filled_at: Duration::ZERO }
    }

    /// Takes `cost`. Returns `false` if less is left, even after the time since the last fill is counted. `now` counts
    /// from the start of the connection.
    pub fn spend(&mut self, cost: u32, now: impl FnOnce() -> Duration) -> bool {
        if self.left < cost {
            self.fill(now());
        }
        let enough = self.left >= cost;
        self.left = self.left.saturating_sub(cost);
        enough
    }

    /// Adds what useful work has earned.
    pub fn earn(&mut self, gain: u32) {
        self.left = self.left.saturating_add(gain).min(self.most);
    }

    /// Returns whether less than half of it is left, after the time that has passed.
    pub fn is_low(&mut self, now: impl FnOnce() -> Duration) -> bool {
        if self.left < self.most / 2 {
            self.fill(now());
        }
        self.left < self.most / 2
    }

    fn fill(&mut self, now: Duration) {
        let passed = now.saturating_sub(self.filled_at).as_millis();
        let gain = u32::try_from(passed * u128::from(self.per_second) / 1000).unwrap_or(u32::MAX);
        if gain > 0 {
            self.filled_at = now;
            self.earn(gain);
        }
    }
}
