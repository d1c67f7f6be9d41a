//! Shares the process's file descriptors, so that a descriptor for the upstream is left for each accepted client.
//!
//! Each client takes a descriptor, and each exchange one more for its endpoint. Without a limit clients take all of
//! them, and none of those that were accepted can be served. Descriptors belong to the process, so this state does too.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, SemaphorePermit};

/// How long no idle connection is kept after one failed for lack of descriptors.
const SHORT_FOR: Duration = Duration::from_secs(1);

/// The share of all descriptors for upstreams that one HTTP/2 connection, which is one client, may need at once.
const OF_ONE_CLIENT: u32 = 8;

static PLACES: Places = Places::new();
static STREAMS_MAX: AtomicU32 = AtomicU32::new(u32::MAX);

/// The last time that no descriptor was left, in milliseconds since the clock was first read; 0 for never.
static EXHAUSTED_AT: AtomicU64 = AtomicU64::new(0);

/// The limits that the descriptors of a process allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DescriptorShares {
    /// Connections of clients at once, over all listeners.
    pub clients: u32,
    /// Streams of one HTTP/2 connection.
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

    /// Applies these shares from now on, in the whole process.
    pub fn heed(self) {
        PLACES.bound(self.clients);
        STREAMS_MAX.store(self.streams, Ordering::Relaxed);
    }
}

/// Returns the most streams that one HTTP/2 connection may have, whatever its listener allows.
#[must_use]
pub fn streams_max() -> u32 {
    STREAMS_MAX.load(Ordering::Relaxed)
}

/// Returns whether a connection failed a moment ago for lack of descriptors, so that an idle one should be closed
/// rather than kept. One atomic read in the usual case.
#[must_use]
pub fn descriptors_are_short() -> bool {
    match EXHAUSTED_AT.load(Ordering::Relaxed) {
        0 => false,
        at => now().saturating_sub(at) < u64::try_from(SHORT_FOR.as_millis()).unwrap_or(u64::MAX),
    }
}

/// Records that a connection failed for lack of descriptors.
pub(crate) fn exhausted() {
    EXHAUSTED_AT.store(now(), Ordering::Relaxed);
}

fn now() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    let start = START.get_or_init(Instant::now);
    u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX).saturating_add(1)
}

/// The permits of clients. Accept loops get them in the order in which they began to wait: otherwise a worker whose own
/// clients come and go would take every permit before another one gets a turn.
#[derive(Debug)]
struct Places {
    free: Semaphore,
    max: AtomicU32,
}

impl Places {
    /// Returns the largest number of permits.
    const fn new() -> Self {
        Self { free: Semaphore::const_new(Semaphore::MAX_PERMITS), max: AtomicU32::new(u32::MAX) }
    }

    /// Reduces them to `max`. Called once; clients that have a permit by then keep it.
    fn bound(&self, max: u32) {
        self.max.store(max, Ordering::Relaxed);
        let max = usize::try_from(max).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
        self.free.forget_permits(Semaphore::MAX_PERMITS - max);
    }

    /// Takes a permit if one is free and no accept loop waits for it.
    fn take(&'static self) -> Option<ClientPlace> {
        self.free.try_acquire().ok().map(|place| ClientPlace(Some(place)))
    }

    /// Waits for a permit. Dropping the future gives up the turn.
    async fn wait(&'static self) -> ClientPlace {
        // The semaphore is never closed.
        ClientPlace(self.free.acquire().await.ok())
    }
}

/// A client's permit. Dropping it releases it.
#[derive(Debug)]
pub(crate) struct ClientPlace(
    #[expect(dead_code, reason = "held for its drop")] Option<SemaphorePermit<'static>>,
);

impl ClientPlace {
    /// Takes a permit if one is free.
    pub(crate) fn take() -> Option<Self> {
        PLACES.take()
    }

    /// Waits for a permit, after those that wait already. Dropping the future gives up the turn.
    pub(crate) async fn wait() -> Self {
        PLACES.wait().await
    }

    /// Returns an extra permit, for a client that is served although none is left.
    pub(crate) const fn beyond() -> Self {
        Self(None)
    }

    /// Returns how many clients there may be.
    pub(crate) fn max() -> u32 {
        PLACES.max.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests;
