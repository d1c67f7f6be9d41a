//! One endpoint of an upstream: what identifies it, how many exchanges it has, and whether it works.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use portcullis_model::Name;

use crate::latency::Latency;
use crate::outliers::{Tally, Window};
use crate::{Health, nanos, rendezvous};

/// All of an endpoint's share, and the part of it that an endpoint in its slow start has at least.
pub(crate) const WHOLE: u32 = 1000;
const SLOWEST: u32 = WHOLE / 10;

/// Identifies an endpoint for as long as the process runs. It is never used again for another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EndpointId(u64);

impl EndpointId {
    fn next() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// An endpoint, shared by all workers and by all sets of its upstream that have its address.
// On cache lines of its own: every exchange writes to it, and not every exchange to the same endpoint.
#[derive(Debug)]
#[repr(align(64))]
pub struct Endpoint {
    id: EndpointId,
    address: Name,
    /// A hash of the address.
    hash: u64,
    in_flight: AtomicU32,
    /// Answers so far; it wraps.
    answers: AtomicU32,
    /// The nanosecond in which it was added beside others, or let back in; 0 if it was there from the start.
    started: AtomicU64,
    latency: Latency,
    health: Health,
    window: Window,
}

// Relaxed throughout: each of these is a value of its own that guards no other memory.
impl Endpoint {
    /// A healthy endpoint without exchanges. `added` says when it was added beside others, if it was.
    pub(crate) fn new(address: Name, added: Option<Duration>) -> Self {
        Self {
            id: EndpointId::next(),
            hash: rendezvous::hash(address.as_bytes()),
            address,
            in_flight: AtomicU32::new(0),
            answers: AtomicU32::new(0),
            started: AtomicU64::new(added.map_or(0, nanos)),
            latency: Latency::default(),
            health: Health::default(),
            window: Window::default(),
        }
    }

    /// Its identity.
    #[must_use]
    pub fn id(&self) -> EndpointId {
        self.id
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

    /// Whether it works.
    #[must_use]
    pub fn health(&self) -> &Health {
        &self.health
    }

    /// The head of a response arrived, to an exchange for which it was chosen at `chosen`. Returns whether this is what
    /// let the endpoint back in.
    pub fn record_answer(&self, chosen: Duration, now: impl FnOnce() -> Duration) -> bool {
        self.answers.fetch_add(1, Ordering::Relaxed);
        let mut at = Duration::ZERO;
        let is_back = self.health.record_success(chosen, || {
            at = now();
            at
        });
        if is_back {
            self.record_return(at);
        }
        is_back
    }

    /// Records that it was let back in because it passes a check again: its slow start begins.
    pub fn record_return(&self, now: Duration) {
        self.started.store(nanos(now), Ordering::Relaxed);
    }

    /// Counts an exchange for the comparison with other endpoints: whether it `failed`, and how long the head of its
    /// response `took`, if it came.
    pub fn count(&self, failed: bool, took: Option<Duration>) {
        self.window.record(failed, took);
    }

    /// Returns what was counted since this was called last.
    pub fn take_counts(&self) -> Tally {
        self.window.take()
    }

    /// Records how long the head of a response took. Only balancing by latency looks at it.
    pub fn record_latency(&self, took: Duration, now: Duration) {
        self.latency.record(took, now);
    }

    /// Returns how long it takes to answer, by a moving average, or `None` if that was never recorded.
    #[must_use]
    pub fn latency(&self, now: Duration) -> Option<Duration> {
        // An average that has faded to less than a nanosecond is none.
        self.latency.now(now).map(|nanos| Duration::from_nanos(nanos as u64))
    }

    /// Returns its average latency in nanoseconds.
    pub(crate) fn latency_nanos(&self, now: Duration) -> Option<f64> {
        self.latency.now(now)
    }

    /// Returns how much of its share it may have, in parts of [`WHOLE`], if shares grow for as long as `slow_start`.
    #[must_use]
    pub(crate) fn part(&self, now: Duration, slow_start: Duration) -> u32 {
        let started = self.started.load(Ordering::Relaxed);
        let (age, whole) = (nanos(now).saturating_sub(started), nanos(slow_start));
        if started == 0 || age >= whole {
            return WHOLE;
        }
        let part = u128::from(age) * u128::from(WHOLE) / u128::from(whole);
        u32::try_from(part).unwrap_or(WHOLE).max(SLOWEST)
    }

    /// A hash of its address.
    pub(crate) fn hash(&self) -> u64 {
        self.hash
    }

    /// How often it has answered, over all workers; the number wraps.
    pub(crate) fn answers(&self) -> u32 {
        self.answers.load(Ordering::Relaxed)
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

/// An exchange that counts as under way at an endpoint until this is dropped.
#[derive(Debug)]
pub struct InFlight(Arc<Endpoint>);

impl InFlight {
    /// The endpoint.
    #[must_use]
    pub fn endpoint(&self) -> &Arc<Endpoint> {
        &self.0
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::Endpoint;

    #[test]
    fn an_exchange_counts_until_it_is_dropped() {
        let endpoint = Arc::new(Endpoint::new("10.0.0.1:80".into(), None));
        let first = endpoint.enter();
        let second = endpoint.claim(1).unwrap();
        assert!(endpoint.claim(1).is_none(), "the count is 2 by now");
        assert_eq!(endpoint.in_flight(), 2);
        drop((first, second));
        assert_eq!(endpoint.in_flight(), 0);
    }

    #[test]
    fn no_two_endpoints_have_the_same_id() {
        let endpoints = [0; 3].map(|_| Endpoint::new("10.0.0.1:80".into(), None).id());
        assert!(endpoints[0] < endpoints[1] && endpoints[1] < endpoints[2], "{endpoints:?}");
    }
}
