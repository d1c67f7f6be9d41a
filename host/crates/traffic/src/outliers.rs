//! Finds endpoints that do worse than the others: of what all workers counted in a window.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use portcullis_model::{Outliers, Share};

use crate::nanos;

/// An average that is above the others' by less than this does not count: between answers that take a fraction of a
/// millisecond, a ratio is noise.
const NOISE: Duration = Duration::from_millis(10);

/// What an endpoint does, counted by all workers until it is looked at.
#[derive(Debug, Default)]
pub(crate) struct Window {
    /// Exchanges in the upper half and those that failed in the lower one, so that both are of the same exchanges.
    exchanges: AtomicU64,
    answered: AtomicU32,
    nanos: AtomicU64,
}

/// What an endpoint did in a window.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Exchanges that ended, or whose response began.
    pub exchanges: u32,
    /// Those that failed by its fault, or that it answered with a status of 500 or more.
    pub failed: u32,
    /// Those that it answered.
    pub answered: u32,
    /// How long it took to answer them, together.
    pub took: Duration,
}

impl Window {
    pub(crate) fn record(&self, failed: bool, took: Option<Duration>) {
        self.exchanges.fetch_add((1 << 32) | u64::from(failed), Ordering::Relaxed);
        if let Some(took) = took {
            self.answered.fetch_add(1, Ordering::Relaxed);
            self.nanos.fetch_add(nanos(took), Ordering::Relaxed);
        }
    }

    /// Returns what was counted since this was called last.
    pub(crate) fn take(&self) -> Tally {
        let exchanges = self.exchanges.swap(0, Ordering::Relaxed);
        let half = |number: u64| u32::try_from(number & u64::from(u32::MAX)).unwrap_or(u32::MAX);
        Tally {
            exchanges: half(exchanges >> 32),
            failed: half(exchanges),
            answered: self.answered.swap(0, Ordering::Relaxed),
            took: Duration::from_nanos(self.nanos.swap(0, Ordering::Relaxed)),
        }
    }
}

impl Tally {
    fn add(&mut self, other: &Self) {
        self.exchanges = self.exchanges.saturating_add(other.exchanges);
        self.failed = self.failed.saturating_add(other.failed);
        self.answered = self.answered.saturating_add(other.answered);
        self.took = self.took.saturating_add(other.took);
    }

    /// Returns the hundredths of a per cent that failed.
    fn failed_hundredths(&self) -> u64 {
        u64::from(self.failed) * u64::from(Share::ALL.hundredths()) / u64::from(self.exchanges.max(1))
    }

    fn average(&self) -> Duration {
        self.took / self.answered.max(1)
    }
}

/// Returns the positions of the endpoints that are outliers, the worst first, each with the reason. Each is compared
/// with all that are not outliers, itself excluded, so that two bad endpoints do not make each other look usual.
#[must_use]
pub fn outliers(rules: &Outliers, tallies: &[Tally]) -> Vec<(usize, String)> {
    let mut left: Vec<(usize, Tally)> = tallies.iter().copied().enumerate().collect();
    let mut found = Vec::new();
    while left.len() > 1 {
        let judged = left.iter().enumerate().filter_map(|(at, (_, tally))| {
            let mut others = Tally::default();
            let rest = left.iter().enumerate().filter(|(other, _)| *other != at);
            rest.for_each(|(_, (_, tally))| others.add(tally));
            let (excess, reason) = judge(rules, tally, &others)?;
            Some((at, excess, reason))
        });
        let Some((at, _, reason)) = judged.max_by_key(|(_, excess, _)| *excess) else { break };
        let (position, _) = left.remove(at);
        found.push((position, reason));
    }
    found
}

/// Returns how far an endpoint is above what is allowed, in thousandths of that, and why, or `None` if it is not.
fn judge(rules: &Outliers, tally: &Tally, others: &Tally) -> Option<(u64, String)> {
    let enough = |number: u32| number >= rules.requests_min;
    if !enough(tally.exchanges) || !enough(others.exchanges) {
        return None;
    }
    let by_failures = rules.failures.and_then(|allowed| {
        let (own, theirs) = (tally.failed_hundredths(), others.failed_hundredths());
        let allowed = theirs + u64::from(allowed.hundredths());
        let reason =
            || format!("{} % of its requests fail, and {} % of the others'", own / 100, theirs / 100);
        (own > allowed).then(|| (own * 1000 / allowed.max(1), reason()))
    });
    by_failures.or_else(|| {
        let allowed = rules.latency.filter(|_| enough(tally.answered) && enough(others.answered))?;
        let (own, theirs) = (tally.average(), others.average());
        let allowed = allowed.of(nanos(theirs)).max(nanos(theirs.saturating_add(NOISE)));
        let reason =
            || format!("it answers in {} on average, and the others in {}", millis(own), millis(theirs));
        (nanos(own) > allowed).then(|| (nanos(own) / (allowed / 1000).max(1), reason()))
    })
}

fn millis(duration: Duration) -> String {
    format!("{:.1} ms", duration.as_secs_f64() * 1000.0)
}

#[cfg(test)]
mod tests;
