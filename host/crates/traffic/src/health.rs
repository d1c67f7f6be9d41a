//! Whether an endpoint works, judged by the exchanges that it has and by the health checks of its upstream.
//!
//! An endpoint that fails a check gets no exchange until it passes again. Beside that, an endpoint that fails
//! [`Ejection::failures`] times in a row is left out for [`Ejection::duration`]. After that, one exchange at a time is
//! sent to it as a probe: an answer lets the endpoint back in, a failure leaves it out for another duration. A probe
//! that ends without either (the client went away) blocks nothing: the next one may go after another duration.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use portcullis_model::{Ejection, HealthCheck, Lock};

use crate::checks::Checks;
use crate::{CheckChange, CheckState, nanos};

/// The health of an endpoint.
#[derive(Debug, Default)]
pub struct Health {
    /// Failures since the last success.
    failures: AtomicU32,
    /// Why it was left out, and since when. It stays as it was when the endpoint is let back in.
    left_out: Lock<LeftOut>,
    /// 0 while the endpoint is healthy; otherwise the nanosecond from which a probe may be sent. The exchange that
    /// takes the probe moves it on by a duration, so that no other exchange takes it too.
    probe_at: AtomicU64,
    row: Lock<Row>,
    /// How many of the checks it fails.
    failing: AtomicU32,
    checks: Lock<Checks>,
}

// Relaxed throughout: each of these is a value of its own that guards no other memory. `failing` is written under the
// lock of `checks`.
impl Health {
    /// Returns whether the endpoint is left out for what it did: it failed, and has not answered since.
    #[must_use]
    pub fn is_ejected(&self) -> bool {
        self.probe_at.load(Ordering::Relaxed) != 0
    }

    /// Returns whether the endpoint is left out, for what it did or because it fails a check.
    #[must_use]
    pub fn is_left_out(&self) -> bool {
        self.fails_a_check() || self.is_ejected()
    }

    /// Returns since when it is left out and why, or `None` if it is healthy.
    #[must_use]
    pub fn left_out(&self) -> Option<LeftOut> {
        if let Some(failing) = self.checks.lock().first_failing() {
            let error = failing.error.as_deref().unwrap_or("it has not passed often enough since");
            let reason = format!("it fails its check `{}`: {error}", failing.check);
            return Some(LeftOut { since: failing.since, reason, reported: failing.since });
        }
        let left_out = || self.left_out.lock().clone();
        self.is_ejected().then(left_out)
    }

    /// Records the result of a check. Returns what that changed.
    pub fn record_check(
        &self,
        check: &Arc<HealthCheck>,
        error: Option<String>,
        now: Duration,
    ) -> Option<CheckChange> {
        let mut checks = self.checks.lock();
        let change = checks.record(check, error, now);
        self.failing.store(checks.failing(), Ordering::Relaxed);
        change
    }

    /// Forgets all checks that are not among `checks`, so that they leave it out no longer.
    pub fn retain_checks(&self, wanted: &[Arc<HealthCheck>]) {
        let mut checks = self.checks.lock();
        checks.retain(wanted);
        self.failing.store(checks.failing(), Ordering::Relaxed);
    }

    /// Returns what each check has found, in the order of their first results.
    #[must_use]
    pub fn checks(&self) -> Vec<CheckState> {
        self.checks.lock().states().to_vec()
    }

    fn fails_a_check(&self) -> bool {
        self.failing.load(Ordering::Relaxed) != 0
    }

    /// Records the reason of a failure of an endpoint that is left out, since `now` if it is `new`. Returns how
    /// long it has been left out if it is time to log that again.
    pub fn record_reason(&self, reason: &str, new: bool, now: Duration) -> Option<Duration> {
        let mut left_out = self.left_out.lock();
        if new {
            (left_out.since, left_out.reported) = (now, now);
        }
        reason.clone_into(&mut left_out.reason);
        let is_due = now.saturating_sub(left_out.reported) >= REMINDER;
        if is_due {
            left_out.reported = now;
        }
        is_due.then(|| now.saturating_sub(left_out.since))
    }

    /// Returns whether an exchange may be sent there now: the endpoint is healthy, or fails no check and a probe is
    /// due.
    #[must_use]
    pub fn is_available(&self, now: Duration) -> bool {
        if self.fails_a_check() {
            return false;
        }
        let probe_at = self.probe_at.load(Ordering::Relaxed);
        probe_at == 0 || probe_at <= nanos(now)
    }

    /// An exchange could not connect, was cut off before the response's head, or waited for it in vain. Returns whether
    /// this is what left the endpoint out, which `may` can refuse.
    pub fn record_failure(&self, ejection: &Ejection, now: Duration, may: impl FnOnce() -> bool) -> bool {
        let failures = self.failures.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        if self.is_ejected() {
            let mut row = self.row.lock();
            if row.probes {
                row.probes = false;
                row.count = row.count.saturating_add(1);
            }
            // A late failure of an exchange that started before never brings a probe forward.
            self.probe_at.fetch_max(until(now, row.duration(ejection)), Ordering::Relaxed);
            return false;
        }
        ejection.failures != 0
            && failures >= ejection.failures
            && may()
            && self.leave_out(ejection, now, None)
    }

    /// Leaves the endpoint out because it does worse than the others: answers to what was asked of it before say
    /// nothing new. Returns `false` if it was left out for what it did already.
    pub fn eject(&self, ejection: &Ejection, now: Duration) -> bool {
        self.leave_out(ejection, now, Some(now))
    }

    fn leave_out(&self, ejection: &Ejection, now: Duration, judged_at: Option<Duration>) -> bool {
        let mut row = self.row.lock();
        let again = row.back_at.is_some_and(|at| now.saturating_sub(at) < row.duration(ejection));
        let count = if again { row.count.saturating_add(1) } else { 1 };
        let next = Row { count, judged_at, ..Row::default() };
        let until = until(now, next.duration(ejection));
        if self.probe_at.compare_exchange(0, until, Ordering::Relaxed, Ordering::Relaxed).is_err() {
            return false;
        }
        *row = next;
        true
    }

    /// Returns for how long it is left out by now, if it is for what it did.
    #[must_use]
    pub fn ejected_for(&self, ejection: &Ejection) -> Duration {
        self.row.lock().duration(ejection)
    }

    /// The endpoint answered an exchange for which it was chosen at `chosen`. Returns whether this is what let it back
    /// in.
    pub fn record_success(&self, chosen: Duration, now: impl FnOnce() -> Duration) -> bool {
        // Nearly always there is nothing to change, and reading does not take the cache line from the other workers.
        if self.failures.load(Ordering::Relaxed) != 0 {
            self.failures.store(0, Ordering::Relaxed);
        }
        if self.probe_at.load(Ordering::Relaxed) == 0 {
            return false;
        }
        let mut row = self.row.lock();
        if row.judged_at.is_some_and(|judged| chosen < judged) {
            return false;
        }
        let is_back = self.probe_at.swap(0, Ordering::Relaxed) != 0;
        if is_back {
            (row.back_at, row.probes) = (Some(now()), false);
        }
        is_back
    }

    /// Returns whether the caller may send there: always if the endpoint is healthy, otherwise only if a probe is
    /// due and no other caller has taken it.
    pub(crate) fn admit(&self, ejection: &Ejection, now: Duration) -> bool {
        let probe_at = self.probe_at.load(Ordering::Relaxed);
        if probe_at == 0 {
            return true;
        }
        if probe_at > nanos(now) {
            return false;
        }
        let mut row = self.row.lock();
        let next = until(now, row.duration(ejection));
        let taken =
            self.probe_at.compare_exchange(probe_at, next, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        row.probes |= taken;
        taken
    }
}

/// How often it was left out in a row.
#[derive(Debug, Default)]
struct Row {
    /// Times. One that begins within as long as the last one lasted counts on, and so does a probe that fails.
    count: u32,
    /// When it was let back in last.
    back_at: Option<Duration>,
    /// A probe was sent of which nothing is known yet.
    probes: bool,
    /// When it was found to do worse than the others, if it is left out for that.
    judged_at: Option<Duration>,
}

impl Row {
    /// Returns how long it is left out.
    fn duration(&self, ejection: &Ejection) -> Duration {
        let times = 1_u32.checked_shl(self.count.saturating_sub(1)).unwrap_or(u32::MAX);
        ejection.duration.saturating_mul(times).min(ejection.duration_max).max(ejection.duration)
    }
}

/// Why an endpoint is left out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// When that began, in the caller's time.
    pub since: Duration,
    /// Its last failure.
    pub reason: String,
    /// When the log said so last.
    reported: Duration,
}

/// How often the log says again that an endpoint is left out.
const REMINDER: Duration = Duration::from_secs(60);

/// The nanosecond of a probe after `duration`. Never 0, and always after `now`, so that of two workers at the same
/// moment one takes it.
fn until(now: Duration, duration: Duration) -> u64 {
    nanos(now).saturating_add(nanos(duration).max(1))
}

#[cfg(test)]
mod tests;
