//! How many faults of a policy are told: a flood of faults must not be a flood of lines.

use std::cell::Cell;
use std::time::{Duration, Instant};

/// Lines in a second, of each policy on each route and worker. Metrics count all.
const LINES_MAX: u32 = 5;
const SECOND: Duration = Duration::from_secs(1);

/// The faults of one policy of a chain that were told lately.
#[derive(Debug, Default)]
pub(crate) struct FaultLog {
    since: Cell<Option<Instant>>,
    told: Cell<u32>,
    untold: Cell<u64>,
}

impl FaultLog {
    /// Whether a fault at `now` is told: then how many were not since the last one that was.
    pub(crate) fn admit(&self, now: Instant) -> Option<u64> {
        let over = self.since.get().is_none_or(|since| now.saturating_duration_since(since) >= SECOND);
        if over {
            self.since.set(Some(now));
            self.told.set(0);
        }
        if self.told.get() >= LINES_MAX {
            self.untold.set(self.untold.get() + 1);
            return None;
        }
        self.told.set(self.told.get() + 1);
        Some(self.untold.take())
    }
}

#[cfg(test)]
mod tests {
    use super::{FaultLog, LINES_MAX, SECOND};
    use std::time::{Duration, Instant};

    #[test]
    fn tells_so_many_a_second_and_counts_the_rest() {
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
