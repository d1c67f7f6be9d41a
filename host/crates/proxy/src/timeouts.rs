//! How long an exchange may take as a whole, and how long it may stand still meanwhile.

use std::time::Duration;

use tokio::time::Instant;

use crate::error::{Failure, StreamError};

/// What a peer has to take of what is ready for it in an idle time, if it does not take all of it: so much, and of a long
/// idle time so much a second. The slowest modem is faster. A peer could else keep what is buffered for it, and all that it
/// costs on the other side, by taking a byte now and then.
const TAKEN: u64 = 4096;
const TAKEN_PER_SECOND: u128 = 64;

/// How long an answer may take. The default is that of the gateway's own answers.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Timeouts {
    /// When the whole exchange must be over.
    pub(crate) deadline: Option<Instant>,
    /// How long nothing may move while the upstream's body is waited for.
    pub(crate) upstream_idle: Option<Duration>,
}

impl Timeouts {
    /// The earlier one of `until` and the end of the whole exchange.
    pub(crate) fn bounded(self, until: Instant) -> Instant {
        self.deadline.map_or(until, |whole| whole.min(until))
    }

    /// Whether the whole exchange has taken too long.
    pub(crate) fn is_over(self) -> bool {
        self.deadline.is_some_and(|deadline| Instant::now() >= deadline)
    }

    /// Returns why a wait was given up: `idle`, unless it was the whole exchange's time that ran out.
    pub(crate) fn overdue(self, idle: StreamError) -> StreamError {
        if self.is_over() { StreamError::Timeout { waited_for: idle.side() } } else { idle }
    }
}

/// A wait that is given up once too little has moved for an idle time. It begins when it first has to be bounded.
#[derive(Debug, Default)]
pub(crate) struct IdleTimer {
    /// What had moved when the idle time last began, and when that was.
    since: Option<(u64, Instant)>,
}

impl IdleTimer {
    /// When the wait for bytes ends if none moves until then. `moved` grows with every byte that moves, whichever way. While
    /// a hook is `at_work` the time is not the peer's.
    pub(crate) fn deadline(&mut self, moved: u64, at_work: bool, idle: Duration) -> Instant {
        self.renewed(moved, if at_work { 0 } else { 1 }, idle, Instant::now())
    }

    /// When the wait for room ends if the peer takes too little until then of what is ready for it. `taken` grows with
    /// every byte that it takes. What it sends meanwhile does not count.
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

/// Bytes that a peer has to take within an idle time.
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
