//! One endpoint of an upstream: what identifies it, how many exchanges it has, and whether it works.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use portcullis_model::Name;

use crate::{Health, rendezvous};

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
    health: Health,
}

// Relaxed throughout: each of these is a value of its own that guards no other memory.
impl Endpoint {
    /// A healthy endpoint without exchanges.
    pub(crate) fn new(address: Name) -> Self {
        Self {
            id: EndpointId::next(),
            hash: rendezvous::hash(address.as_bytes()),
            address,
            in_flight: AtomicU32::new(0),
            answers: AtomicU32::new(0),
            health: Health::default(),
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

    /// The head of a response arrived. Returns whether this is what let the endpoint back in.
    pub fn record_answer(&self) -> bool {
        self.answers.fetch_add(1, Ordering::Relaxed);
        self.health.record_success()
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
        let endpoint = Arc::new(Endpoint::new("10.0.0.1:80".into()));
        let first = endpoint.enter();
        let second = endpoint.claim(1).unwrap();
        assert!(endpoint.claim(1).is_none(), "the count is 2 by now");
        assert_eq!(endpoint.in_flight(), 2);
        drop((first, second));
        assert_eq!(endpoint.in_flight(), 0);
    }

    #[test]
    fn no_two_endpoints_have_the_same_id() {
        let endpoints = [0; 3].map(|_| Endpoint::new("10.0.0.1:80".into()).id());
        assert!(endpoints[0] < endpoints[1] && endpoints[1] < endpoints[2], "{endpoints:?}");
    }
}
