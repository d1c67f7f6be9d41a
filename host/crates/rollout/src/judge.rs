//! Decides when a canary is aborted without an operator.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use portcullis_model::{AbortRules, CostRule, Share};

use crate::meter::Spent;
use crate::side::Side;

/// Exchanges of the active version without which a ratio to it says nothing.
const BASELINE_MIN: u64 = 20;
/// A canary that costs less than this is cheap, whatever the active version costs: three times one microsecond is no
/// reason to abort.
const CPU_FLOOR: Duration = Duration::from_micros(100);
/// The same for the time that an exchange waits, to which a busy machine adds.
const LATENCY_FLOOR: Duration = Duration::from_millis(2);

/// Judges a canary by its last window of exchanges.
#[derive(Debug)]
pub(crate) struct Judge {
    rules: AbortRules,
    windows: [Window; 2],
}

/// What one version did in the window. Workers add to it at once, so that at its edges an exchange may count here or
/// there.
#[derive(Debug, Default)]
struct Window {
    exchanges: AtomicU64,
    faulted: AtomicU64,
    cpu_ns: AtomicU64,
    latency_ns: AtomicU64,
}

/// The reason to abort a canary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Faults { faulted: u64, exchanges: u64, limit: u64, window: u32 },
    Cost { what: Cost, mean: Duration, bound: Bound },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cost {
    Cpu,
    Latency,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bound {
    Mean(Duration),
    Ratio { active: Duration, share: Share },
}

impl Judge {
    pub(crate) fn new(rules: AbortRules) -> Self {
        Self { rules, windows: Default::default() }
    }

    /// Counts an exchange that takes this side. The one after the last of a window closes the window.
    pub(crate) fn begin(&self, side: Side) -> Option<Verdict> {
        let count = self.window(side).exchanges.fetch_add(1, Ordering::Relaxed) + 1;
        if side == Side::Active || count != u64::from(self.rules.window) + 1 {
            return None;
        }
        let (active, candidate) = (self.window(Side::Active), self.window(Side::Candidate));
        let baseline = active.exchanges.load(Ordering::Relaxed);
        let costs = [
            (Cost::Cpu, self.rules.cpu, CPU_FLOOR, &active.cpu_ns, &candidate.cpu_ns),
            (Cost::Latency, self.rules.latency, LATENCY_FLOOR, &active.latency_ns, &candidate.latency_ns),
        ];
        let verdict = costs.into_iter().find_map(|(what, rule, floor, of_active, of_candidate)| {
            let mean = candidate.mean(of_candidate, u64::from(self.rules.window));
            let active = active.mean(of_active, baseline);
            let bound = match rule {
                CostRule::Mean(bound) if mean > bound => Bound::Mean(bound),
                CostRule::Ratio(share)
                    if baseline >= BASELINE_MIN && mean > floor && nanos(mean) > share.of(nanos(active)) =>
                {
                    Bound::Ratio { active, share }
                }
                _ => return None,
            };
            Some(Verdict::Cost { what, mean, bound })
        });
        // A baseline that is too small yet goes on growing.
        if baseline >= BASELINE_MIN {
            active.clear(0);
        }
        candidate.clear(1);
        verdict
    }

    /// Adds the cost of a hook of this side.
    pub(crate) fn spent(&self, side: Side, spent: Spent) {
        let window = self.window(side);
        window.cpu_ns.fetch_add(spent.cpu_ns, Ordering::Relaxed);
        window.latency_ns.fetch_add(spent.latency_ns, Ordering::Relaxed);
    }

    /// Counts the first fault of an exchange of this side. Faults are judged at once, without waiting for a full
    /// window.
    pub(crate) fn failed(&self, side: Side) -> Option<Verdict> {
        let window = self.window(side);
        let faulted = window.faulted.fetch_add(1, Ordering::Relaxed) + 1;
        let limit = self.rules.faults.limit(self.rules.window);
        (side == Side::Candidate && faulted >= limit).then(|| Verdict::Faults {
            faulted,
            exchanges: window.exchanges.load(Ordering::Relaxed),
            limit,
            window: self.rules.window,
        })
    }

    /// Starts from zero.
    pub(crate) fn forget(&self) {
        self.windows.iter().for_each(|window| window.clear(0));
    }

    fn window(&self, side: Side) -> &Window {
        &self.windows[side as usize]
    }
}

impl Window {
    fn clear(&self, exchanges: u64) {
        self.exchanges.store(exchanges, Ordering::Relaxed);
        for count in [&self.faulted, &self.cpu_ns, &self.latency_ns] {
            count.store(0, Ordering::Relaxed);
        }
    }

    /// Returns the mean cost of an exchange.
    fn mean(&self, sum: &AtomicU64, exchanges: u64) -> Duration {
        Duration::from_nanos(sum.load(Ordering::Relaxed).checked_div(exchanges).unwrap_or(0))
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Faults { faulted, exchanges, limit, window } => write!(
                f,
                "{faulted} of its last {exchanges} exchanges had a fault (`abort.faults` ends it at {limit} in {window})"
            ),
            Self::Cost { what, mean, bound } => {
                let (time, key) = match what {
                    Cost::Cpu => ("CPU time", "cpu"),
                    Cost::Latency => ("time in the policy", "latency"),
                };
                write!(f, "the mean {time} of an exchange was {mean:?}, ")?;
                match bound {
                    Bound::Mean(bound) => write!(f, "over `abort.{key}` = {bound:?}"),
                    Bound::Ratio { active, share } => {
                        write!(f, "and {active:?} with the active version (`abort.{key}` is {share} of that)")
                    }
                }
            }
        }
    }
}
