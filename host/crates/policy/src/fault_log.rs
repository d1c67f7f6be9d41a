//! Limits how many faults of a policy are logged: a flood of faults must not be a flood of lines.

use std::cell::Cell;
use std::time::{Duration, Instant};

/// Lines in a second, of each policy on each route and worker. Metrics count all.
const LINES_MAX: u32 = 5;
const SECOND: Duration = Duration::from_secs(1);

/// The faults of one policy of a chain that were logged lately.
#[derive(Debug, Default)]
pub(crate) struct FaultLog {
    since: Cell<Option<Instant>>,
    logged: Cell<u32>,
    skipped: Cell<u64>,
}

impl FaultLog {
    /// Decides whether a fault at `now` is logged. Returns how many were not since the last one that was, or `None`
    /// if it is not logged.
    pub(crate) fn admit(&self, now: Instant) -> Option<u64> {
        let over = self.since.get().is_none_or(|since| now.saturating_duration_since(since) >= SECOND);
        if over {
            self.since.set(Some(now));
            self.logged.set(0);
        }
        if self.logged.get() >= LINES_MAX {
            self.skipped.set(self.skipped.get() + 1);
            return None;
        }
        self.logged.set(self.logged.get() + 1);
        Some(self.skipped.take())
    }
}

#[cfg(test)]
mod tests {
    use super::{FaultLog, LINES_MAX, SECOND};
    use std::time::{Duration, Instant};

    #[test]
    fn logs_so_many_a_second_and_counts_the_rest() {
        let (log, start) = (FaultLog::default(), Instant::now());
        for _ in 0..LINES_MAX {
            assert_eq!(log.admit(start), Some(0));
        }
        let almost = start + SECOND - Duration::from_nanos(1);
        assert_eq!((log.admit(start), log.admit(almost)), (None, None));
        assert_eq!(log.admit(start + SECOND), Some(2));
        assert_eq!(log.admit(start + SECOND), Some(0));
    }
}
