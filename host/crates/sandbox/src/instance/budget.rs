//! The CPU time of a hook call: what it may use, and what it has used.
//!
//! Deadlines are of CPU time, so that a machine under load, which takes a worker off its core for a while, does not
//! turn good policies into faults. To read the clock of a thread is a system call that would cost as much as a short
//! hook. So it is read once a tick (1 ms), at the first of two places that a call comes to: the guest's own checks of
//! the epoch, at function entries and loops, and each call of the host (of a guest that is not called directly each way
//! back, also from other helpers of the engine).
//! Between two of these places there is only straight code of the guest or one host function, and both are bounded.
//!
//! A call that is seen to run on makes ticks short, and a hook that may run on a fiber does so from its start. So what
//! a call gets beyond its deadline is at most one long tick (its longest stretch, see below), and one short tick until
//! it is met.
//!
//! CPU time before the first tick counts as well. A thread remembers a moment at which it has read both clocks, and
//! reads them again if that is more than a millisecond ago; from it follows the thread's clock at the start of the
//! call. If the thread was off its core in between, that time is not charged to the call: a call is never charged for
//! what it did not use.
//!
//! A call that ends within a tick never reads the thread's clock. It has used the time that passed, which is as good.
//!
//! On a virtual machine the clock of a thread runs on while the hypervisor gives the core to someone else, because the
//! kernel learns of that late or not at all: with eight threads on two virtual cores, a thread that did nothing but
//! read its clock was charged 35 ms between two readings. So the longest stretch between two looks counts for the cost
//! of a call, but not against its deadline. A hook that needs microseconds survives being stopped for any time, once. A
//! hook that runs on is looked at once a tick, so that it ends one tick later than it otherwise would.

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use portcullis_services::OutOfTime;
use portcullis_services::cpu_time::{thread_cpu_time, thread_cpu_time_at};
use wasmtime::{Result, UpdateDeadline};

use crate::engine::ticker::{TICK, Ticker};

/// The time of a fiber's turn that was shorter counts as CPU time.
const SHORT_TURN: Duration = Duration::from_micros(100);
/// A call that has used so much when a tick meets it will be long, or is.
const LONGISH: Duration = Duration::from_micros(500);
/// From here on a call counts as long: a worker's other exchanges notice it.
const LONG: Duration = Duration::from_millis(1);

/// A call took longer than its limit of elapsed time, and most of that it ran or waited for something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it took longer than the {limit:?} that a call of it may")]
pub(crate) struct TooSlow {
    pub(crate) limit: Duration,
}

/// A call took longer than its limit of elapsed time because it did not get a core: others of its thread or of the
/// machine had it. That is not the call's fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "it got {used:?} of CPU time and waited for {waited:?} in the {limit:?} that a call of it may take (`limits.wall`): \
     the machine is too busy"
)]
pub(crate) struct Starved {
    pub(crate) limit: Duration,
    pub(crate) used: Duration,
    pub(crate) waited: Duration,
}

/// How long the call that has ended kept its thread busy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Length {
    /// Less than a millisecond.
    Short,
    /// A millisecond or more, but less without its longest stretch, in which the thread was perhaps not running.
    Doubtful,
    /// A millisecond or more, even without its longest stretch.
    Long,
}

/// What one call may use and has used.
#[derive(Debug)]
pub(crate) struct Budget {
    limit: Duration,
    begun: Instant,
    used: Duration,
    /// The longest part of `used` that lies between two looks: perhaps the thread was not running then.
    longest: Duration,
    /// The thread's CPU time up to which `used` is counted.
    counted_to: Duration,
    /// The tick in which the clock was read last, or the call began.
    tick: u64,
    /// Whether the clock was read since the call began.
    looked: bool,
    /// Whether the call is on a fiber, and lets other exchanges of the worker go on at each tick.
    yields: bool,
    /// Whether a tick has passed since it last did.
    owes_turn: bool,
    /// Of calls on a fiber; most instances never have one.
    turns: Option<Turns>,
    /// What the last call that ended has used.
    spent: Duration,
    ticker: Arc<Ticker>,
}

/// The turns of a fiber: shared with what polls it.
#[derive(Debug, Clone)]
pub(crate) struct Turns(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// The thread's CPU time up to which this turn is counted, in nanoseconds; 0 between two turns.
    counted_to: AtomicU64,
    /// The tick in which the turn began, or in which the clock was read since.
    tick: AtomicU64,
    /// CPU time of turns that ended by themselves, in nanoseconds.
    unmet: AtomicU64,
    /// The longest of these turns, in nanoseconds.
    longest_unmet: AtomicU64,
    /// CPU time of the other turns, up to the last look, in nanoseconds.
    looked_at: AtomicU64,
    /// Whether a tick has ended this turn.
    met: AtomicBool,
    ticker: Arc<Ticker>,
}

impl Turns {
    fn new(ticker: Arc<Ticker>) -> Self {
        let zero = || AtomicU64::new(0);
        Self(Arc::new(Shared {
            counted_to: zero(),
            tick: zero(),
            unmet: zero(),
            longest_unmet: zero(),
            looked_at: zero(),
            met: AtomicBool::new(false),
            ticker,
        }))
    }

    /// Begins the turns of a new call with its first, at that CPU time of the thread.
    fn begin(&self, cpu: Duration, tick: u64) {
        self.0.unmet.store(0, Ordering::Relaxed);
        self.0.longest_unmet.store(0, Ordering::Relaxed);
        self.0.looked_at.store(0, Ordering::Relaxed);
        self.begin_turn(cpu, tick);
    }

    fn begin_turn(&self, cpu: Duration, tick: u64) {
        self.0.met.store(false, Ordering::Relaxed);
        self.0.tick.store(tick, Ordering::Relaxed);
        self.0.counted_to.store(nanos(cpu).max(1), Ordering::Relaxed);
    }

    /// The fiber goes on. Does nothing in the first turn of a call, which its start began.
    pub(crate) fn resume(&self, now: Instant) {
        if self.0.counted_to.load(Ordering::Relaxed) == 0 {
            self.begin_turn(thread_cpu_time_at(now), self.0.ticker.ticks());
        }
        // It may have waited for so long that the ticker sleeps.
        self.0.ticker.hurry();
    }

    /// The fiber stops, `ran` after it went on. Returns whether it stopped by itself, to wait or because it is done,
    /// rather than at a tick.
    pub(crate) fn pause(&self, ran: Duration) -> bool {
        let counted_to = self.0.counted_to.swap(0, Ordering::Relaxed);
        if self.0.met.load(Ordering::Relaxed) {
            return false;
        }
        let used = match ran < SHORT_TURN {
            true => nanos(ran),
            false => nanos(thread_cpu_time()).saturating_sub(counted_to),
        };
        self.0.unmet.fetch_add(used, Ordering::Relaxed);
        self.0.longest_unmet.fetch_max(used, Ordering::Relaxed);
        true
    }

    /// Returns the CPU time of the call so far: all of it, unless its last turn ended at a tick, whose end is not
    /// counted.
    pub(crate) fn used(&self) -> Duration {
        self.unmet() + Duration::from_nanos(self.0.looked_at.load(Ordering::Relaxed))
    }

    fn unmet(&self) -> Duration {
        Duration::from_nanos(self.0.unmet.load(Ordering::Relaxed))
    }

    fn longest_unmet(&self) -> Duration {
        Duration::from_nanos(self.0.longest_unmet.load(Ordering::Relaxed))
    }
}

impl Budget {
    pub(crate) fn new(ticker: Arc<Ticker>) -> Self {
        Self {
            limit: Duration::ZERO,
            begun: Instant::now(),
            used: Duration::ZERO,
            longest: Duration::ZERO,
            counted_to: Duration::ZERO,
            tick: 0,
            looked: false,
            yields: false,
            owes_turn: false,
            turns: None,
            spent: Duration::ZERO,
            ticker,
        }
    }

    /// Begins a call.
    pub(crate) fn start(&mut self, limit: Duration, yields: bool) {
        self.limit = limit;
        self.begun = Instant::now();
        self.used = Duration::ZERO;
        self.longest = Duration::ZERO;
        self.counted_to = thread_cpu_time_at(self.begun);
        self.tick = self.ticker.ticks();
        self.looked = false;
        self.yields = yields;
        self.owes_turn = false;
        self.spent = Duration::ZERO;
        if yields {
            let turns = self.turns.get_or_insert_with(|| Turns::new(self.ticker.clone()));
            turns.begin(self.counted_to, self.tick);
            // Others wait for the ends of its turns.
            self.ticker.hurry();
        } else {
            self.ticker.touch();
        }
    }

    /// From now on what runs in the store is not the guest's, and has no deadline.
    pub(crate) fn suspend(&mut self) {
        self.limit = Duration::MAX;
        self.yields = false;
    }

    /// When the call began.
    pub(crate) fn begun(&self) -> Instant {
        self.begun
    }

    /// Returns the turns, for what polls a fiber of this store once its call has begun.
    pub(crate) fn turns(&mut self) -> Turns {
        self.turns.get_or_insert_with(|| Turns::new(self.ticker.clone())).clone()
    }

    /// Guest code has met a new epoch. Unless it `may_pause`, the turn of a fiber ends later.
    pub(crate) fn on_epoch(&mut self, may_pause: bool) -> Result<UpdateDeadline> {
        if !may_pause {
            self.check()?;
            return Ok(UpdateDeadline::Continue(1));
        }
        Ok(if self.is_due()? { UpdateDeadline::Yield(1) } else { UpdateDeadline::Continue(1) })
    }

    /// Looks at the time, and says whether the turn of a fiber is over. Called on each way back from the host to guest
    /// code.
    ///
    /// # Errors
    /// [`OutOfTime`], which ends the call.
    pub(crate) fn is_due(&mut self) -> Result<bool, OutOfTime> {
        self.check()?;
        let is_due = std::mem::take(&mut self.owes_turn);
        if let Some(turns) = self.turns.as_ref().filter(|_| is_due) {
            turns.0.met.store(true, Ordering::Relaxed);
        }
        Ok(is_due)
    }

    /// Looks at the time if a tick has passed since that was done, or since the turn began. In the usual case it reads
    /// one number, which changes once a millisecond. Host functions that may take long call it between two of their
    /// steps.
    ///
    /// # Errors
    /// [`OutOfTime`], which ends the call.
    pub(crate) fn check(&mut self) -> Result<(), OutOfTime> {
        let tick = self.ticker.ticks();
        let seen = match &self.turns {
            Some(turns) if self.yields => turns.0.tick.load(Ordering::Relaxed),
            _ => self.tick,
        };
        if tick == seen { Ok(()) } else { self.look(tick) }
    }

    #[cold]
    fn look(&mut self, tick: u64) -> Result<(), OutOfTime> {
        let now = thread_cpu_time();
        (self.tick, self.looked, self.owes_turn) = (tick, true, self.yields);
        let (mut unmet, mut longest_unmet) = (Duration::ZERO, Duration::ZERO);
        if let Some(turns) = self.turns.as_ref().filter(|_| self.yields) {
            let counted_to = turns.0.counted_to.swap(nanos(now).max(1), Ordering::Relaxed);
            self.counted_to = Duration::from_nanos(counted_to);
            turns.0.tick.store(tick, Ordering::Relaxed);
            (unmet, longest_unmet) = (turns.unmet(), turns.longest_unmet());
        }
        let stretch = now.saturating_sub(self.counted_to);
        self.used += stretch;
        self.longest = self.longest.max(stretch);
        self.counted_to = now;
        if let Some(turns) = self.turns.as_ref().filter(|_| self.yields) {
            turns.0.looked_at.store(nanos(self.used), Ordering::Relaxed);
        }
        // The ticker sleeps when nothing calls it; this guest still needs it.
        if self.used + unmet >= LONGISH {
            self.ticker.hurry()
        } else {
            self.ticker.touch()
        }
        if self.used + unmet - self.longest.max(longest_unmet) >= self.limit {
            return Err(OutOfTime { limit: self.limit });
        }
        Ok(())
    }

    /// Ends a call. Returns the CPU time that it has used.
    pub(crate) fn finish(&mut self) -> Duration {
        self.spent = match &self.turns {
            Some(turns) if self.yields => {
                self.longest = self.longest.max(turns.longest_unmet());
                self.used + turns.unmet()
            }
            _ => {
                let passed = self.begun.elapsed();
                match passed < TICK && !self.looked {
                    true => passed,
                    false => {
                        let stretch = thread_cpu_time().saturating_sub(self.counted_to);
                        if self.used + stretch >= LONG {
                            self.ticker.hurry();
                        }
                        self.longest = self.longest.max(stretch);
                        self.used + stretch
                    }
                }
            }
        };
        self.spent
    }

    /// The CPU time of the call that has ended.
    pub(crate) fn spent(&self) -> Duration {
        self.spent
    }

    /// Returns how long the call that has ended kept its thread busy.
    pub(crate) fn length(&self) -> Length {
        match self.spent {
            spent if spent < LONG => Length::Short,
            spent if spent.saturating_sub(self.longest) < LONG => Length::Doubtful,
            _ => Length::Long,
        }
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
