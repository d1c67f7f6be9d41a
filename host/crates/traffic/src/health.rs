//! What is known of one endpoint: how many exchanges it has, and whether it is left out.
//!
//! Health is passive: what exchanges meet. An endpoint that fails [`Ejection::failures`] times in a row is left out for
//! [`Ejection::duration`]. After that one exchange at a time is sent there as a probe; an answer lets the endpoint back in, a
//! failure leaves it out for another duration. A probe of which nothing is heard (the client went away) blocks nothing:
//! after another duration the next one may go.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use portcullis_model::{Ejection, Lock, Name};

use crate::nanos;

/// An endpoint, shared by all workers and by all snapshots that have its address in the same upstream.
// On cache lines of its own: every exchange writes to it, and not every exchange to the same endpoint.
#[derive(Debug)]
#[repr(align(64))]
pub struct EndpointState {
    address: Name,
    in_flight: AtomicU32,
    /// Failures since the last success.
    failures: AtomicU32,
    /// Answers so far; it wraps.
    answers: AtomicU32,
    /// Why it was left out, and since when. Of one that answers again this is what was.
    left_out: Lock<LeftOut>,
    /// 0 where the endpoint is healthy; otherwise the nanosecond from which a probe may be sent. Who takes the probe
    /// moves it on by a duration, so that nobody else does.
    probe_at: AtomicU64,
}

// Relaxed throughout: each of these is a value of its own that guards no other memory.
impl EndpointState {
    pub(crate) fn new(address: Name) -> Self {
        Self {
            address,
            in_flight: AtomicU32::new(0),
            failures: AtomicU32::new(0),
            answers: AtomicU32::new(0),
            left_out: Lock::default(),
            probe_at: AtomicU64::new(0),
        }
    }

    /// `host:port`, as configured.
    #[must_use]
    pub fn address(&self) -> &Name {
        &self.address
    }

    /// Exchanges under way, over all workers.
    #[must_use]
    pub fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// How often it has answered, over all workers; the number wraps.
    #[must_use]
    pub fn answers(&self) -> u32 {
        self.answers.load(Ordering::Relaxed)
    }

    /// Whether it failed and no answer has come from it since.
    #[must_use]
    pub fn is_ejected(&self) -> bool {
        self.probe_at.load(Ordering::Relaxed) != 0
    }

    /// Since when it is left out, and what it did last; `None` if it is healthy.
    #[must_use]
    pub fn left_out(&self) -> Option<LeftOut> {
        let left_out = || self.left_out.lock().clone();
        self.is_ejected().then(left_out)
    }

    /// Notes what a failure was of an endpoint that is left out, from `now` on if it is `new`. Returns how long it has been
    /// left out, if that is worth a line in the log again.
    pub fn note(&self, reason: &str, new: bool, now: Duration) -> Option<Duration> {
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

    /// Whether an exchange may be sent there now: it is healthy, or a probe is due.
    #[must_use]
    pub fn is_available(&self, now: Duration) -> bool {
        let probe_at = self.probe_at.load(Ordering::Relaxed);
        probe_at == 0 || probe_at <= nanos(now)
    }

    /// An exchange could not connect, was cut off before the response's head, or waited for it in vain. True where this
    /// is what left the endpoint out: worth a line in the log.
    pub fn record_failure(&self, ejection: &Ejection, now: Duration) -> bool {
        let failures = self.failures.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        if ejection.failures == 0 || failures < ejection.failures {
            return false;
        }
        let until = next_probe(ejection, now);
        // A late failure of an exchange that started before never brings a probe forward.
        self.probe_at.fetch_max(until, Ordering::Relaxed) == 0
    }

    /// A response's head arrived. True where this is what let the endpoint back in.
    pub fn record_success(&self) -> bool {
        self.answers.fetch_add(1, Ordering::Relaxed);
        // Nearly always there is nothing to change, and reading does not take the cache line from the other workers.
        if self.failures.load(Ordering::Relaxed) != 0 {
            self.failures.store(0, Ordering::Relaxed);
        }
        self.probe_at.load(Ordering::Relaxed) != 0 && self.probe_at.swap(0, Ordering::Relaxed) != 0
    }

    /// Whether the caller may send there: always where it is healthy, otherwise only where it is the one that takes the
    /// probe that is due.
    pub(crate) fn admit(&self, ejection: &Ejection, now: Duration) -> bool {
        let probe_at = self.probe_at.load(Ordering::Relaxed);
        if probe_at == 0 {
            return true;
        }
        let next = next_probe(ejection, now);
        probe_at <= nanos(now)
            && self.probe_at.compare_exchange(probe_at, next, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// Counts an exchange, if the count is still `seen`.
    pub(crate) fn claim(self: &Arc<Self>, seen: u32) -> Option<InFlight> {
        let more = seen.checked_add(1)?;
        self.in_flight.compare_exchange(seen, more, Ordering::Relaxed, Ordering::Relaxed).ok()?;
        Some(InFlight(Arc::clone(self)))
    }

    /// Counts an exchange.
    pub(crate) fn enter(self: &Arc<Self>) -> InFlight {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        InFlight(Arc::clone(self))
    }
}

/// Why an endpoint is left out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// When that began, as `now` counts.
    pub since: Duration,
    /// What it did last.
    pub reason: String,
    /// When that was reported.
    reported: Duration,
}

/// How often it is reported that an endpoint is still left out.
const REMINDER: Duration = Duration::from_secs(60);

/// The nanosecond of the next probe. Never 0, and always after `now`, so that of two workers at the same moment one
/// takes it.
fn next_probe(ejection: &Ejection, now: Duration) -> u64 {
    nanos(now).saturating_add(nanos(ejection.duration).max(1))
}

/// An exchange that counts as under way at an endpoint until this is dropped.
#[derive(Debug)]
pub struct InFlight(Arc<EndpointState>);

impl InFlight {
    /// The endpoint.
    #[must_use]
    pub fn endpoint(&self) -> &Arc<EndpointState> {
        &self.0
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
