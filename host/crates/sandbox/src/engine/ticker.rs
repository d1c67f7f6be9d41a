//! Moves the engines' epochs on while guests run: every millisecond if there are long calls among theirs, else every
//! four, because a thousand ticks a second are a fortieth of what a busy worker does.

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::thread::{self, JoinHandle, Thread};
use std::time::{Duration, Instant};

use wasmtime::Engine;

/// The length of an epoch while there are long calls.
pub(crate) const TICK: Duration = Duration::from_millis(1);
/// The length of one while all calls are short. So much later than otherwise the first long call is noticed.
pub(crate) const LONG_TICK: Duration = Duration::from_millis(4);
/// For so many ticks after the last long call others are expected.
const HURRIED_TICKS: u32 = 100;
/// After so many ticks in which no call began and none met a tick, the thread sleeps until one does: an idle gateway
/// wakes no core.
const QUIET_TICKS_MAX: u32 = 100;

/// Nothing has been called since the last tick.
const QUIET: u8 = 0;
/// Something has.
const BUSY: u8 = 1;
/// A long call was among them.
const HURRIED: u8 = 2;
/// The thread sleeps.
const ASLEEP: u8 = 3;
/// The sandbox is gone.
const STOPPED: u8 = 4;

/// What callers see of the thread.
#[derive(Debug)]
pub(crate) struct Ticker {
    state: AtomicU8,
    /// Ticks so far.
    ticks: AtomicU64,
    thread: std::sync::OnceLock<Thread>,
}

/// The thread; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct TickerThread {
    ticker: Arc<Ticker>,
    thread: Option<JoinHandle<()>>,
}

impl Ticker {
    fn new() -> Self {
        Self { state: AtomicU8::new(QUIET), ticks: AtomicU64::new(0), thread: std::sync::OnceLock::new() }
    }

    /// Says that a guest runs. In the usual case this reads one byte that no other core writes.
    pub(crate) fn touch(&self) {
        if !matches!(self.state.load(Ordering::Relaxed), BUSY | HURRIED) {
            self.become_busy(BUSY);
        }
    }

    /// Says that a guest runs, or has run, for long, or may.
    pub(crate) fn hurry(&self) {
        if self.state.load(Ordering::Relaxed) != HURRIED {
            self.become_busy(HURRIED);
        }
    }

    /// Ticks so far: a number that changes with each of them, as the engines' epochs do.
    pub(crate) fn ticks(&self) -> u64 {
        self.ticks.load(Ordering::Relaxed)
    }

    #[cold]
    fn become_busy(&self, how: u8) {
        let before = self.state.fetch_update(Ordering::AcqRel, Ordering::Acquire, |state| match state {
            QUIET | ASLEEP => Some(how),
            BUSY => (how == HURRIED).then_some(HURRIED),
            _ => None,
        });
        // It sleeps, or may have begun a long tick.
        let wakes = before == Ok(ASLEEP) || (how == HURRIED && before.is_ok());
        if wakes && let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }

    /// Begins a tick: returns what has been called in the last one, or that this is the end.
    fn begin(&self) -> u8 {
        let begun = self.state.fetch_update(Ordering::AcqRel, Ordering::Acquire, |state| {
            matches!(state, BUSY | HURRIED).then_some(QUIET)
        });
        begun.unwrap_or_else(|state| state)
    }

    fn tick(&self, engines: &[Engine]) {
        // Before the epochs: guest code that meets a new one finds a new number here.
        self.ticks.fetch_add(1, Ordering::Release);
        engines.iter().for_each(Engine::increment_epoch);
    }

    fn run(&self, engines: &[Engine]) {
        let mut pace = Pace::default();
        loop {
            let seen = self.begin();
            if seen == STOPPED {
                return;
            }
            let sleeps = pace.begin(seen)
                && self.state.compare_exchange(QUIET, ASLEEP, Ordering::AcqRel, Ordering::Acquire).is_ok();
            if sleeps {
                while self.state.load(Ordering::Acquire) == ASLEEP {
                    thread::park();
                }
                pace = Pace::default();
            }
            self.wait(&pace);
            self.tick(engines);
        }
    }

    /// Waits for the end of a tick, which may come nearer meanwhile.
    fn wait(&self, pace: &Pace) {
        let begun = Instant::now();
        loop {
            let length = match self.state.load(Ordering::Acquire) {
                STOPPED => return,
                HURRIED => TICK,
                _ => pace.length(),
            };
            let left = length.saturating_sub(begun.elapsed());
            if left.is_zero() {
                return;
            }
            thread::park_timeout(left);
        }
    }
}

/// How long ticks are, by what the last ones have seen.
#[derive(Debug, Default)]
struct Pace {
    /// Ticks in which nothing was called, at the end.
    quiet: u32,
    /// Ticks for which long calls are expected.
    hurried: u32,
}

impl Pace {
    /// Begins a tick after one in which there was `seen`. Returns whether there is no need for one.
    fn begin(&mut self, seen: u8) -> bool {
        self.quiet = if seen == QUIET { self.quiet + 1 } else { 0 };
        self.hurried = if seen == HURRIED { HURRIED_TICKS } else { self.hurried.saturating_sub(1) };
        self.quiet > QUIET_TICKS_MAX
    }

    fn length(&self) -> Duration {
        if self.hurried > 0 { TICK } else { LONG_TICK }
    }
}

impl TickerThread {
    /// Starts the thread.
    pub(crate) fn start(engines: Vec<Engine>) -> std::io::Result<Self> {
        let ticker = Arc::new(Ticker::new());
        let shared = ticker.clone();
        let thread = thread::Builder::new().name("policy-ticker".to_owned()).spawn(move || {
            // First of all, so that a caller that finds the thread asleep finds its handle here too.
            shared.thread.get_or_init(thread::current);
            shared.run(&engines);
        })?;
        Ok(Self { ticker, thread: Some(thread) })
    }

    pub(crate) fn ticker(&self) -> &Arc<Ticker> {
        &self.ticker
    }
}

impl Drop for TickerThread {
    fn drop(&mut self) {
        self.ticker.state.store(STOPPED, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // It ends within a tick; that it panicked would have been reported by then.
            drop(thread.join());
        }
    }
}
