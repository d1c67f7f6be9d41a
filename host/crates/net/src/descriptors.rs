//! How the process's file descriptors are shared: a client that is accepted shall find one left for its upstream.
//!
//! Each client takes a descriptor, and each exchange one more for its endpoint. Without a bound clients take all of
//! them, and none of those that were accepted can be served. They are the process's, so what is known of them is so
//! as well.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, SemaphorePermit};

/// How long after a connection could not be had for want of descriptors no idle one is kept.
const SHORT_FOR: Duration = Duration::from_secs(1);

/// The part of all descriptors for upstreams that one connection of HTTP/2, which is one client, may need at once.
const OF_ONE_CLIENT: u32 = 8;

static PLACES: Places = Places::new();
static STREAMS_MAX: AtomicU32 = AtomicU32::new(u32::MAX);

/// Milliseconds since the first look at the clock, of the last time that there was none left; 0 for never.
static EXHAUSTED_AT: AtomicU64 = AtomicU64::new(0);

/// What the descriptors of a process suffice for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DescriptorShares {
    /// Connections of clients at once, over all listeners.
    pub clients: u32,
    /// Streams of one connection of HTTP/2.
    pub streams: u32,
}

impl DescriptorShares {
    /// Shares `files` descriptors of which the process itself needs `own`: half of the rest for clients, half for
    /// upstreams.
    #[must_use]
    pub fn of(files: u64, own: u64) -> Self {
        let half = files.saturating_sub(own) / 2;
        let clients = u32::try_from(half).unwrap_or(u32::MAX).max(1);
        Self { clients, streams: (clients / OF_ONE_CLIENT).max(1) }
    }

    /// Goes by these shares from now on, in the whole process.
    pub fn heed(self) {
        PLACES.bound(self.clients);
        STREAMS_MAX.store(self.streams, Ordering::Relaxed);
    }
}

/// The streams that one connection of HTTP/2 may have at most, whatever its listener allows.
#[must_use]
pub fn streams_max() -> u32 {
    STREAMS_MAX.load(Ordering::Relaxed)
}

/// Whether a connection could not be had a moment ago for want of descriptors, so that an idle one is better closed
/// than kept. One atomic read unless it is so.
#[must_use]
pub fn descriptors_are_short() -> bool {
    match EXHAUSTED_AT.load(Ordering::Relaxed) {
        0 => false,
        at => now().saturating_sub(at) < u64::try_from(SHORT_FOR.as_millis()).unwrap_or(u64::MAX),
    }
}

/// A connection could not be had for want of descriptors.
pub(crate) fn exhausted() {
    EXHAUSTED_AT.store(now(), Ordering::Relaxed);
}

fn now() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    let start = START.get_or_init(Instant::now);
    u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX).saturating_add(1)
}

/// The places of clients. Accept loops get them in the order in which they began to wait: a worker whose own clients
/// come and go would otherwise take every place before another one looks again.
#[derive(Debug)]
struct Places {
    free: Semaphore,
    max: AtomicU32,
}

impl Places {
    /// As many as there can be.
    const fn new() -> Self {
        Self { free: Semaphore::const_new(Semaphore::MAX_PERMITS), max: AtomicU32::new(u32::MAX) }
    }

    /// Leaves `max` of them. Called once; clients that have a place by then keep it.
    fn bound(&self, max: u32) {
        self.max.store(max, Ordering::Relaxed);
        let max = usize::try_from(max).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
        self.free.forget_permits(Semaphore::MAX_PERMITS - max);
    }

    /// Takes a place if one is free and no accept loop waits for it.
    fn take(&'static self) -> Option<ClientPlace> {
        self.free.try_acquire().ok().map(|place| ClientPlace(Some(place)))
    }

    /// Waits for a place. Dropping the future gives up the turn.
    async fn wait(&'static self) -> ClientPlace {
        // The semaphore is never closed.
        ClientPlace(self.free.acquire().await.ok())
    }
}

/// The client's place among those that the descriptors suffice for. Dropping it gives it back.
#[derive(Debug)]
pub(crate) struct ClientPlace(
    #[expect(dead_code, reason = "held for its drop")] Option<SemaphorePermit<'static>>,
);

impl ClientPlace {
    /// Takes one if one is free.
    pub(crate) fn take() -> Option<Self> {
        PLACES.take()
    }

    /// Waits for one, behind those that wait already. Dropping the future gives up the turn.
    pub(crate) async fn wait() -> Self {
        PLACES.wait().await
    }

    /// One beyond those that there are, for a client that is served although there is none left.
    pub(crate) const fn beyond() -> Self {
        Self(None)
    }

    /// How many clients there may be.
    pub(crate) fn max() -> u32 {
        PLACES.max.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests;
