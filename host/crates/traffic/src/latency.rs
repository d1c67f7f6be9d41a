//! How long an endpoint takes to answer, as a moving average that peaks at once and fades with time.
//!
//! An answer that took longer than the average replaces it, so that an endpoint that slows down is noticed by one
//! answer. A quicker one moves it by as much as the time since the last answer is worth. Without answers the average
//! fades, so that an endpoint that was slow is asked again. (Finagle's peak EWMA.)

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::nanos;

/// After this long an answer counts by a third.
const FADE: Duration = Duration::from_secs(10);

/// A moving average of times, shared by all workers. If two of them record an answer at the same moment, one of the
/// two may be lost.
#[derive(Debug, Default)]
pub(crate) struct Latency {
    /// In nanoseconds; 0 before the first answer.
    average: AtomicU64,
    /// When it was changed last, in nanoseconds.
    at: AtomicU64,
}

impl Latency {
    /// Records that an answer took this long.
    pub(crate) fn record(&self, took: Duration, now: Duration) {
        let (took, average) = (nanos(took).max(1), self.average.load(Ordering::Relaxed));
        let average = if took >= average {
            took
        } else {
            let kept = self.fade(now);
            (took as f64).mul_add(1.0 - kept, average as f64 * kept).max(1.0) as u64
        };
        self.average.store(average, Ordering::Relaxed);
        self.at.fetch_max(nanos(now), Ordering::Relaxed);
    }

    /// Returns the average as it is now, in nanoseconds, or `None` before the first answer.
    pub(crate) fn now(&self, now: Duration) -> Option<f64> {
        let average = self.average.load(Ordering::Relaxed);
        (average > 0).then(|| average as f64 * self.fade(now))
    }

    /// Returns the part of the average that is left of it.
    fn fade(&self, now: Duration) -> f64 {
        let age = nanos(now).saturating_sub(self.at.load(Ordering::Relaxed));
        (-(age as f64) / nanos(FADE) as f64).exp()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{FADE, Latency};

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_slow_answer_counts_at_once_and_quick_ones_by_and_by() {
        let latency = Latency::default();
        let mut now = Duration::from_secs(1000);
        assert_eq!(latency.now(now), None);
        latency.record(ms(10), now);
        assert_eq!(latency.now(now), Some(1e7));
        latency.record(ms(500), now);
        assert_eq!(latency.now(now), Some(5e8));
        let mut before = 5e8;
        for _ in 0..30 {
            now += Duration::from_secs(1);
            latency.record(ms(10), now);
            let average = latency.now(now).unwrap();
            assert!(average < before && average > 1e7, "{average} after {before}");
            before = average;
        }
        assert!(before < 4e7, "{before}");
    }

    #[test]
    fn an_average_without_answers_fades() {
        let latency = Latency::default();
        let now = Duration::from_secs(1000);
        latency.record(ms(100), now);
        let later = latency.now(now + FADE).unwrap();
        assert!((later - 1e8 / std::f64::consts::E).abs() < 1e6, "{later}");
        assert!(latency.now(now + 100 * FADE).unwrap() < 1.0);
    }
}
