//! The CPU time of a hook call: what it may use, and what it has used.
//!
//! Deadlines are of CPU time, so that a machine under load, which takes a worker off its core for a while, does not turn
//! good policies into faults. Reading the clock of a thread is a system call that would cost as much as a short hook.
//! So a call that ends within a tick of the epoch (1 ms) never reads it: the first tick that meets guest code does, and
//! each later one adds what has passed since. A deadline is thereby kept to within about a tick and a half.
//!
//! What a call has used is told by the same means. Where no tick met it, it is the time that passed, which is cheap to
//! read and as good: the worker is at that time on its core, or a tick would have been due.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use wasmtime::{Result, UpdateDeadline};

use crate::ticker::{TICK, Ticker};

/// From here on a call counts as long: a worker's other exchanges notice it.
const LONG: Duration = Duration::from_millis(1);

/// A guest used up its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it used more than its {limit:?} of CPU time")]
pub(crate) struct OutOfTime {
    limit: Duration,
}

/// A call took longer than it may, waiting and the turns of others included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it took longer than the {limit:?} that a call of it may")]
pub(crate) struct TooSlow {
    pub(crate) limit: Duration,
}

/// What one call may use and has used.
#[derive(Debug)]
pub(crate) struct Budget {
    limit: Duration,
    begun: Instant,
    used: Duration,
    /// What passed before the first tick. It is told and not held against the call: the worker may have been off its core.
    before: Duration,
    /// The thread's CPU time up to which `used` is counted; `None` where no tick has met the call.
    counted_to: Option<Duration>,
    /// Whether the call is on a fiber, and lets other exchanges of the worker go on at each tick.
    yields: bool,
    /// Of calls on a fiber; most instances never have one.
    turns: Option<Turns>,
    ticker: Arc<Ticker>,
}

/// The turns of a fiber: shared with whoever polls it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Turns(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    /// The thread's CPU time at which it was last resumed, in nanoseconds; 0 for never, and once a tick has taken note.
    resumed: AtomicU64,
    /// CPU time of turns that no tick met, in nanoseconds.
    unmet: AtomicU64,
    /// The time of the first turn, if no tick met it.
    first: AtomicU64,
    /// Whether a tick has met this turn.
    met: AtomicBool,
}

impl Turns {
    /// The fiber goes on: not the first time, of which [`Budget::start`] knows.
    pub(crate) fn resume(&self) {
        self.0.met.store(false, Ordering::Relaxed);
        self.0.resumed.store(nanos(thread_cpu_time()), Ordering::Relaxed);
    }

    /// It stops; `first` is how long it ran, where this was its first turn. Says whether it stopped by itself, to wait or
    /// because it is done, rather than at a tick.
    pub(crate) fn pause(&self, first: Option<Duration>) -> bool {
        if self.0.met.load(Ordering::Relaxed) {
            return false;
        }
        match first {
            Some(ran) => self.0.first.store(nanos(ran), Ordering::Relaxed),
            None => {
                let resumed = self.0.resumed.swap(0, Ordering::Relaxed);
                let ran = nanos(thread_cpu_time()).saturating_sub(resumed);
                self.0.unmet.fetch_add(ran, Ordering::Relaxed);
            }
        }
        true
    }

    fn clear(&self) {
        self.0.resumed.store(0, Ordering::Relaxed);
        self.0.unmet.store(0, Ordering::Relaxed);
        self.0.first.store(0, Ordering::Relaxed);
        self.0.met.store(false, Ordering::Relaxed);
    }

    fn first(&self) -> Duration {
        Duration::from_nanos(self.0.first.load(Ordering::Relaxed))
    }

    fn unmet(&self) -> Duration {
        Duration::from_nanos(self.0.unmet.load(Ordering::Relaxed))
    }
}

impl Budget {
    pub(crate) fn new(ticker: Arc<Ticker>) -> Self {
        Self {
            limit: Duration::ZERO,
            begun: Instant::now(),
            used: Duration::ZERO,
            before: Duration::ZERO,
            counted_to: None,
            yields: false,
            turns: None,
            ticker,
        }
    }

    /// Begins a call.
    pub(crate) fn start(&mut self, limit: Duration, yields: bool) {
        self.limit = limit;
        self.begun = Instant::now();
        self.used = Duration::ZERO;
        self.before = Duration::ZERO;
        self.counted_to = None;
        self.yields = yields;
        if yields {
            // Left over where the call before ended between going on and its next tick.
            self.turns.get_or_insert_default().clear();
        }
        self.ticker.touch();
    }

    /// Whether the call that ended has used a millisecond or more.
    pub(crate) fn ran_long(&self) -> bool {
        self.used >= LONG
    }

    /// When the call began.
    pub(crate) fn begun(&self) -> Instant {
        self.begun
    }

    /// Shared with whoever polls a fiber of this store, once its call has begun.
    pub(crate) fn turns(&self) -> Turns {
        self.turns.clone().unwrap_or_default()
    }

    /// A tick has met guest code.
    pub(crate) fn on_tick(&mut self) -> Result<UpdateDeadline> {
        let now = thread_cpu_time();
        let turns = self.turns.as_ref().map(|turns| &*turns.0);
        match (turns.map_or(0, |turns| turns.resumed.swap(0, Ordering::Relaxed)), self.counted_to) {
            // In a first turn: when that began is known by another clock alone.
            (0, None) => self.before = self.begun.elapsed().min(TICK),
            (0, Some(counted_to)) => self.used += now.saturating_sub(counted_to),
            (resumed, _) => self.used += now.saturating_sub(Duration::from_nanos(resumed)),
        }
        self.counted_to = Some(now);
        if let Some(turns) = turns {
            turns.met.store(true, Ordering::Relaxed);
        }
        let unmet = self.turns.as_ref().map_or(Duration::ZERO, Turns::unmet);
        if self.used + unmet >= self.limit {
            return Err(OutOfTime { limit: self.limit }.into());
        }
        // The ticker sleeps when nothing calls it; this guest still needs it.
        self.ticker.touch();
        Ok(if self.yields { UpdateDeadline::Yield(1) } else { UpdateDeadline::Continue(1) })
    }

    /// The CPU time that the call has used, at its end.
    pub(crate) fn spent(&self) -> Duration {
        match (&self.turns, self.counted_to) {
            // On a fiber what comes after the last tick is another turn, and counted there.
            (Some(turns), _) if self.yields => self.before + turns.first() + self.used + turns.unmet(),
            (_, Some(counted_to)) => self.before + self.used + thread_cpu_time().saturating_sub(counted_to),
            (_, None) => self.begun.elapsed(),
        }
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// The CPU time that this thread has used.
#[cfg(unix)]
#[must_use]
pub(crate) fn thread_cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or_default(),
        u32::try_from(time.tv_nsec).unwrap_or_default(),
    )
}

/// Without such a clock, time that passes counts.
#[cfg(not(unix))]
#[must_use]
pub(crate) fn thread_cpu_time() -> Duration {
    static START: std::sync::LazyLock<std::time::Instant> = std::sync::LazyLock::new(std::time::Instant::now);
    START.elapsed()
}
