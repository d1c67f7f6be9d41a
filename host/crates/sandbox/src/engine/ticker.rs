//! Moves the engines' epochs on every millisecond while guests run.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::thread::{self, JoinHandle, Thread};
use std::time::Duration;

use wasmtime::Engine;

/// The length of an epoch.
pub(crate) const TICK: Duration = Duration::from_millis(1);
/// After so many ticks in which no call began and none met a tick, the thread sleeps until one does: an idle gateway
/// wakes no core.
const QUIET_TICKS_MAX: u32 = 100;

/// Nothing has been called since the last tick.
const QUIET: u8 = 0;
/// Something has.
const BUSY: u8 = 1;
/// The thread sleeps.
const ASLEEP: u8 = 2;
/// The sandbox is gone.
const STOPPED: u8 = 3;

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
    /// Says that a guest runs. In the usual case this reads one byte that no other core writes.
    pub(crate) fn touch(&self) {
        if self.state.load(Ordering::Relaxed) != BUSY {
            self.wake();
        }
    }

    /// Ticks so far: a number that changes with each of them, as the engines' epochs do.
    pub(crate) fn ticks(&self) -> u64 {
        self.ticks.load(Ordering::Relaxed)
    }

    #[cold]
    fn wake(&self) {
        let before = self.state.fetch_update(Ordering::AcqRel, Ordering::Acquire, |state| {
            (state == QUIET || state == ASLEEP).then_some(BUSY)
        });
        if before == Ok(ASLEEP)
            && let Some(thread) = self.thread.get()
        {
            thread.unpark();
        }
    }

    fn run(&self, engines: &[Engine]) {
        let mut quiet = 0;
        loop {
            let was_busy = self.state.compare_exchange(BUSY, QUIET, Ordering::AcqRel, Ordering::Acquire);
            quiet = if was_busy.is_ok() { 0 } else { quiet + 1 };
            if was_busy == Err(STOPPED) {
                return;
            }
            let sleeps = quiet > QUIET_TICKS_MAX
                && self.state.compare_exchange(QUIET, ASLEEP, Ordering::AcqRel, Ordering::Acquire).is_ok();
            if sleeps {
                while self.state.load(Ordering::Acquire) == ASLEEP {
                    thread::park();
                }
                quiet = 0;
            }
            // Woken early, by a first call or by the end, it makes one short tick.
            thread::park_timeout(TICK);
            // Before the epochs: guest code that meets a new one finds a new number here.
            self.ticks.fetch_add(1, Ordering::Release);
            engines.iter().for_each(Engine::increment_epoch);
        }
    }
}

impl TickerThread {
    /// Starts the thread.
    pub(crate) fn start(engines: Vec<Engine>) -> std::io::Result<Self> {
        let ticker = Arc::new(Ticker {
            state: AtomicU8::new(QUIET),
            ticks: AtomicU64::new(0),
            thread: std::sync::OnceLock::new(),
        });
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
