//! How the process's file descriptors are shared: a client that is accepted shall find one left for its upstream.
//!
//! Each client takes a descriptor, and each exchange one more for its endpoint. Without a bound clients take all of them, and
//! none of those that were accepted can be served. They are the process's, so what is known of them is so as well.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How long after a connection could not be had for want of descriptors no idle one is kept.
const SHORT_FOR: Duration = Duration::from_secs(1);

/// The part of all descriptors for upstreams that one connection of HTTP/2, which is one client, may need at once.
const OF_ONE_CLIENT: u32 = 8;

static CLIENTS: AtomicU32 = AtomicU32::new(0);
static CLIENTS_MAX: AtomicU32 = AtomicU32::new(u32::MAX);
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
    /// Shares `files` descriptors of which the process itself needs `own`: half of the rest for clients, half for upstreams.
    #[must_use]
    pub fn of(files: u64, own: u64) -> Self {
        let half = files.saturating_sub(own) / 2;
        let clients = u32::try_from(half).unwrap_or(u32::MAX).max(1);
        Self { clients, streams: (clients / OF_ONE_CLIENT).max(1) }
    }

    /// Goes by these shares from now on, in the whole process.
    pub fn heed(self) {
        CLIENTS_MAX.store(self.clients, Ordering::Relaxed);
        STREAMS_MAX.store(self.streams, Ordering::Relaxed);
    }
}

/// The streams that one connection of HTTP/2 may have at most, whatever its listener allows.
#[must_use]
pub fn streams_max() -> u32 {
    STREAMS_MAX.load(Ordering::Relaxed)
}

/// Whether a connection could not be had a moment ago for want of descriptors, so that an idle one is better closed than
/// kept. One atomic read unless it is so.
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

/// The client's place among those that the descriptors suffice for. Dropping it gives it back.
#[derive(Debug)]
pub(crate) struct ClientPlace(());

impl ClientPlace {
    /// Takes one. That there is one was looked at before: a worker that accepts at the same moment may take one too many.
    pub(crate) fn take() -> Self {
        CLIENTS.fetch_add(1, Ordering::Relaxed);
        Self(())
    }

    /// How many clients there may be, if that many are there.
    pub(crate) fn none_left() -> Option<u32> {
        let max = CLIENTS_MAX.load(Ordering::Relaxed);
        (CLIENTS.load(Ordering::Relaxed) >= max).then_some(max)
    }
}

impl Drop for ClientPlace {
    fn drop(&mut self) {
        CLIENTS.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
