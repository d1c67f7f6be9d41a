//! The CPU time of a hook call.
//!
//! Deadlines are of CPU time, so that a machine under load, which takes a worker off its core for a while, does not turn
//! good policies into faults. Reading the clock of a thread is a system call that would cost as much as a short hook.
//! So a call that ends within a tick of the epoch (1 ms) never reads it: the first tick that meets guest code does, and
//! each later one adds what has passed since. A deadline is thereby kept to within about a tick and a half.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use wasmtime::{Result, UpdateDeadline};

use crate::ticker::Ticker;

/// From here on a call counts as long: a worker's other exchanges notice it.
const LONG: Duration = Duration::from_millis(1);

/// A guest used up its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it used more than its {limit:?} of CPU time")]
pub(crate) struct OutOfTime {
    limit: Duration,
}

/// What one call may use and has used.
#[derive(Debug)]
pub(crate) struct Budget {
    limit: Duration,
    used: Duration,
    /// The thread's CPU time up to which `used` is counted; `None` where counting has not begun.
    counted_to: Option<Duration>,
    /// Whether the call is on a fiber, and lets other exchanges of the worker go on at each tick.
    yields: bool,
    resumed: Resumed,
    ticker: Arc<Ticker>,
}

/// The thread's CPU time at which a fiber was last resumed, in nanoseconds; 0 for never. Set by whoever polls it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Resumed(Arc<AtomicU64>);

impl Resumed {
    /// Notes that the fiber is about to go on.
    pub(crate) fn note(&self) {
        self.0.store(u64::try_from(thread_cpu_time().as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

impl Budget {
    pub(crate) fn new(ticker: Arc<Ticker>) -> Self {
        Self {
            limit: Duration::ZERO,
            used: Duration::ZERO,
            counted_to: None,
            yields: false,
            resumed: Resumed::default(),
            ticker,
        }
    }

    /// Begins a call.
    pub(crate) fn start(&mut self, limit: Duration, yields: bool) {
        self.limit = limit;
        self.used = Duration::ZERO;
        self.counted_to = None;
        self.yields = yields;
        // Left over where the call before ended between going on and its next tick.
        self.resumed.0.store(0, Ordering::Relaxed);
        self.ticker.touch();
    }

    /// Whether the call that ended has used a millisecond or more.
    pub(crate) fn ran_long(&self) -> bool {
        self.used >= LONG
    }

    /// Shared with whoever polls a fiber of this store.
    pub(crate) fn resumed(&self) -> Resumed {
        self.resumed.clone()
    }

    /// A tick has met guest code.
    pub(crate) fn on_tick(&mut self) -> Result<UpdateDeadline> {
        let now = thread_cpu_time();
        let since = match self.resumed.0.swap(0, Ordering::Relaxed) {
            0 => self.counted_to,
            nanos => Some(Duration::from_nanos(nanos)),
        };
        self.used += since.map_or(Duration::ZERO, |since| now.saturating_sub(since));
        self.counted_to = Some(now);
        if self.used >= self.limit {
            return Err(OutOfTime { limit: self.limit }.into());
        }
        // The ticker sleeps when nothing calls it; this guest still needs it.
        self.ticker.touch();
        Ok(if self.yields { UpdateDeadline::Yield(1) } else { UpdateDeadline::Continue(1) })
    }
}

/// The CPU time that this thread has used.
#[cfg(unix)]
#[must_use]
pub fn thread_cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or_default(),
        u32::try_from(time.tv_nsec).unwrap_or_default(),
    )
}

/// Without such a clock, time that passes counts.
#[cfg(not(unix))]
#[must_use]
pub fn thread_cpu_time() -> Duration {
    static START: std::sync::LazyLock<std::time::Instant> = std::sync::LazyLock::new(std::time::Instant::now);
    START.elapsed()
}
