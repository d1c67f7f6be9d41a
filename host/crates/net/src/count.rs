//! Counts the open connections of a listener, over all workers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::descriptors::ClientPlace;
use crate::log_limit::LogLimit;

/// The connections of one listener. Its accept loops share it, and it is kept over reloads so that the count stays
/// right.
#[derive(Debug)]
pub struct ConnectionCount {
    open: AtomicU32,
    accepted: AtomicU64,
    refused: AtomicU64,
    handshakes_failed: AtomicU64,
    pub(crate) refused_log: LogLimit,
    pub(crate) accept_log: LogLimit,
    pub(crate) proxy_log: LogLimit,
}

impl ConnectionCount {
    /// Returns a count of zero.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            open: AtomicU32::new(0),
            accepted: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            handshakes_failed: AtomicU64::new(0),
            refused_log: LogLimit::new(),
            accept_log: LogLimit::new(),
            proxy_log: LogLimit::new(),
        })
    }

    /// Returns the open connections, including those in a handshake.
    #[must_use]
    pub fn open(&self) -> u32 {
        self.open.load(Ordering::Relaxed)
    }

    /// Returns the connections that were accepted and not refused, since the start.
    #[must_use]
    pub fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }

    /// Returns the connections that were closed at once because too many were open, since the start.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Returns the connections on which HTTP could not begin, since the start: the TLS handshake or the header of a
    /// load balancer was wrong or took too long.
    #[must_use]
    pub fn handshakes_failed(&self) -> u64 {
        self.handshakes_failed.load(Ordering::Relaxed)
    }

    /// Counts one more connection, which has the permit `place`, unless `limit` are open.
    pub(crate) fn try_open(self: &Arc<Self>, limit: u32, place: ClientPlace) -> Option<ConnectionPermit> {
        // Counted first and subtracted again, so that workers that accept at the same moment cannot exceed the limit
        // together.
        if self.open.fetch_add(1, Ordering::Relaxed) >= limit {
            self.open.fetch_sub(1, Ordering::Relaxed);
            self.refused.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        self.accepted.fetch_add(1, Ordering::Relaxed);
        Some(ConnectionPermit { count: Arc::clone(self), _place: place })
    }

    /// Returns a permit for a connection in memory, which no listener accepts.
    #[cfg(feature = "memory")]
    pub fn admit(self: &Arc<Self>) -> ConnectionPermit {
        self.open.fetch_add(1, Ordering::Relaxed);
        ConnectionPermit { count: Arc::clone(self), _place: ClientPlace::beyond() }
    }

    pub(crate) fn handshake_failed(&self) {
        self.handshakes_failed.fetch_add(1, Ordering::Relaxed);
    }
}

/// A connection's permit: one in the count of its listener, and one among the clients of the process. Dropping it
/// releases both, so it lives as long as the connection, tunnels included.
#[derive(Debug)]
pub struct ConnectionPermit {
    count: Arc<ConnectionCount>,
    _place: ClientPlace,
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        self.count.open.fetch_sub(1, Ordering::Relaxed);
    }
}
