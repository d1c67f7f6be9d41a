//! The CPU time of threads, and the check by which long work ends at its deadline.

use std::cell::Cell;
use std::time::{Duration, Instant};

/// How old the reading that a thread remembers of its clocks may be. It is also the most time that
/// [`thread_cpu_time_at`] can be ahead by. As long as a tick of the sandbox, to which deadlines are exact anyway: a
/// thread under load reads its clock a thousand times a second, whatever it serves.
const MOMENT_AGE_MAX: Duration = Duration::from_millis(1);

/// A guest used up its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it used more than its {limit:?} of CPU time")]
pub struct OutOfTime {
    /// What it may use.
    pub limit: Duration,
}

/// Checks the time of the call that is running. Work that may take long calls it between two of its steps, and ends
/// with the error that it returns.
pub type CheckTime<'a> = &'a mut dyn FnMut() -> Result<(), OutOfTime>;

/// Returns the CPU time of this thread at `now`, which has only just been. Never too little, and too much by
/// a millisecond at most.
#[must_use]
pub fn thread_cpu_time_at(now: Instant) -> Duration {
    thread_local! {
        /// A moment by the clock that passes, and the thread's CPU time then.
        static MOMENT: Cell<Option<(Instant, Duration)>> = const { Cell::new(None) };
    }
    if let Some((at, cpu)) = MOMENT.get() {
        let age = now.saturating_duration_since(at);
        if age < MOMENT_AGE_MAX {
            return cpu + age;
        }
    }
    let cpu = thread_cpu_time();
    MOMENT.set(Some((now, cpu)));
    cpu
}

/// Returns the CPU time that this thread has used.
#[cfg(unix)]
#[must_use]
pub fn thread_cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or_default(),
        u32::try_from(time.tv_nsec).unwrap_or_default(),
    )
}

/// Returns the time that has passed: there is no clock of a thread here.
#[cfg(not(unix))]
#[must_use]
pub fn thread_cpu_time() -> Duration {
    static START: std::sync::LazyLock<Instant> = std::sync::LazyLock::new(Instant::now);
    START.elapsed()
}

/// The CPU time of some work without its longest stretch between two looks at the clock. On a virtual machine, the
/// clock of a thread runs on while the hypervisor gives the core to someone else: that looks like one long stretch, and
/// the work is not to blame for it.
#[derive(Debug)]
pub(crate) struct Stretches {
    seen: Duration,
    used: Duration,
    longest: Duration,
}

impl Stretches {
    /// Begins at that CPU time of the thread.
    pub(crate) fn begin(cpu: Duration) -> Self {
        Self { seen: cpu, used: Duration::ZERO, longest: Duration::ZERO }
    }

    /// Returns how much CPU time the work has used by now, without its longest stretch.
    pub(crate) fn look(&mut self, cpu: Duration) -> Duration {
        let stretch = cpu.saturating_sub(self.seen);
        self.seen = cpu;
        self.used += stretch;
        self.longest = self.longest.max(stretch);
        self.used - self.longest
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{Stretches, thread_cpu_time, thread_cpu_time_at};

    #[test]
    fn all_stretches_count_but_the_longest() {
        let ms = Duration::from_millis;
        let mut time = Stretches::begin(ms(100));
        for (at, used) in [(101, 0), (102, 1), (140, 2), (143, 5), (183, 43)] {
            assert_eq!(time.look(ms(at)), ms(used), "at {at}");
        }
    }

    #[test]
    fn what_a_thread_remembers_of_its_clock_is_never_too_little() {
        for _ in 0..1000 {
            let before = thread_cpu_time();
            let now = thread_cpu_time_at(Instant::now());
            assert!(now >= before, "{before:?} {now:?}");
        }
    }
}
