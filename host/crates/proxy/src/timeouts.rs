//! How long an exchange may take as a whole, and how long it may be idle.

use std::time::Duration;

use tokio::time::Instant;

use crate::error::{Failure, StreamError};

/// What a peer that does not take all of the data that is ready for it must take in one idle timeout: this many bytes,
/// and for a long timeout this many a second. The slowest modem is faster. Otherwise a peer could take one byte now and
/// then, and keep its buffers, and all that they hold up on the other side, for hours.
const TAKEN: u64 = 4096;
const TAKEN_PER_SECOND: u128 = 64;

/// How long a response may take. The default is that of the gateway's own responses.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Timeouts {
    /// When the whole exchange must be over.
    pub(crate) deadline: Option<Instant>,
    /// How long the upstream may send nothing of its response's body.
    pub(crate) upstream_idle: Option<Duration>,
}

impl Timeouts {
    /// Returns `until`, or the end of the whole exchange if that is earlier.
    pub(crate) fn bounded(self, until: Instant) -> Instant {
        self.deadline.map_or(until, |whole| whole.min(until))
    }

    /// Returns whether the whole exchange has taken too long.
    pub(crate) fn is_over(self) -> bool {
        self.deadline.is_some_and(|deadline| Instant::now() >= deadline)
    }

    /// Returns why a wait timed out: `idle`, unless the time of the whole exchange has passed.
    pub(crate) fn overdue(self, idle: StreamError) -> StreamError {
        if self.is_over() { StreamError::Timeout { waited_for: idle.side() } } else { idle }
    }
}

/// Measures how long too little has moved. The time starts with the first call.
#[derive(Debug, Default)]
pub(crate) struct IdleTimer {
    /// What had moved when the idle time last started, and when that was.
    since: Option<(u64, Instant)>,
}

impl IdleTimer {
    /// Returns when a wait for bytes times out if none moves until then. `moved` grows with every byte in either
    /// direction. The time in which a hook is `at_work` does not count, because it is not the peer's.
    pub(crate) fn deadline(&mut self, moved: u64, at_work: bool, idle: Duration) -> Instant {
        self.renewed(moved, if at_work { 0 } else { 1 }, idle, Instant::now())
    }

    /// Returns when a write times out if the peer takes too little until then. `taken` grows with every byte that it
    /// takes. What it sends meanwhile does not count.
    pub(crate) fn write_deadline(&mut self, taken: u64, idle: Duration) -> Instant {
        self.renewed(taken, least_taken(idle), idle, Instant::now())
    }

    fn renewed(&mut self, moved: u64, enough: u64, idle: Duration, now: Instant) -> Instant {
        let (seen, since) = self.since.get_or_insert((moved, now));
        if moved.wrapping_sub(*seen) >= enough {
            (*seen, *since) = (moved, now);
        }
        *since + idle
    }
}

/// Returns how many bytes a peer must take in one idle timeout.
fn least_taken(idle: Duration) -> u64 {
    let bytes = idle.as_millis().saturating_mul(TAKEN_PER_SECOND) / 1000;
    u64::try_from(bytes).unwrap_or(u64::MAX).max(TAKEN)
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDLE: Duration = Duration::from_secs(60);

    #[test]
    fn a_wait_is_renewed_once_enough_has_moved() {
        let begun = Instant::now();
        let half = begun + IDLE / 2;
        for enough in [1, 1000] {
            let mut idle_timer = IdleTimer::default();
            assert_eq!(idle_timer.renewed(7, enough, IDLE, begun), begun + IDLE);
            assert_eq!(idle_timer.renewed(7 + enough - 1, enough, IDLE, half), begun + IDLE, "too little");
            assert_eq!(idle_timer.renewed(7 + enough, enough, IDLE, half), half + IDLE);
            assert_eq!(idle_timer.renewed(7 + 2 * enough - 1, enough, IDLE, half + IDLE / 2), half + IDLE);
        }
        // While a hook is at work nothing has to move.
        let mut idle_timer = IdleTimer::default();
        assert_eq!(idle_timer.renewed(7, 0, IDLE, begun), begun + IDLE);
        assert_eq!(idle_timer.renewed(7, 0, IDLE, half), half + IDLE);
    }

    #[test]
    fn single_bytes_are_not_enough_for_what_is_ready() {
        assert_eq!(least_taken(Duration::from_millis(1)), 4096);
        assert_eq!(least_taken(IDLE), 4096);
        assert_eq!(least_taken(IDLE * 60), 3600 * 64);
    }
}
