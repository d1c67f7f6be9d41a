//! A budget for retries, so that an upstream in trouble is not sent several times what clients ask for.
//!
//! It is a bucket of tokens. Each request adds a share of a token, time adds [`RESERVE`] tokens a second, and each
//! retry takes a whole one. It holds at most [`TOKENS_MAX`]. So in any stretch of time there are at most
//! `TOKENS_MAX` retries, `RESERVE` more for each second, and the share of the requests in it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use portcullis_model::{Lock, Share};

/// Retries a second that are always allowed: without them, an upstream with few requests could have none.
const RESERVE: u64 = 10;

/// Tokens that are saved for a burst: what the reserve adds in ten seconds.
const TOKENS_MAX: u64 = 10 * RESERVE;

/// A token. Time adds to it by the nanosecond.
const TOKEN: u64 = 1_000_000_000;

/// The retry budget of an upstream, shared by all workers.
// On a cache line of its own: every request writes to it.
#[derive(Debug)]
#[repr(align(64))]
pub struct RetryBudget {
    /// Requests since the last retry.
    requests: AtomicU64,
    share: Share,
    bucket: Lock<Bucket>,
}

#[derive(Debug)]
struct Bucket {
    /// In parts of a [`TOKEN`].
    filled: u64,
    /// When time was added last.
    at: Duration,
}

impl RetryBudget {
    /// A full budget that allows retries for `share` of the requests.
    #[must_use]
    pub fn new(share: Share) -> Self {
        let bucket = Lock::new(Bucket { filled: TOKENS_MAX * TOKEN, at: Duration::ZERO });
        Self { requests: AtomicU64::new(0), share, bucket }
    }

    /// The share of requests that it allows retries for.
    #[must_use]
    pub fn share(&self) -> Share {
        self.share
    }

    /// Counts a request, when it is sent first.
    pub fn record_request(&self) {
        // Relaxed: a retry may or may not see a request of the same moment.
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    /// Takes a token for a retry. Returns `false` if there is none.
    pub fn take(&self, now: Duration) -> bool {
        let mut bucket = self.bucket.lock();
        let share =
            u128::from(self.share.hundredths()) * u128::from(TOKEN) / u128::from(Share::ALL.hundredths());
        let by_requests = u128::from(self.requests.swap(0, Ordering::Relaxed)) * share;
        let by_time = now.saturating_sub(bucket.at).as_nanos().saturating_mul(u128::from(RESERVE));
        let filled = u128::from(bucket.filled).saturating_add(by_requests).saturating_add(by_time);
        // At most 100 tokens, so it fits.
        bucket.filled = filled.min(u128::from(TOKENS_MAX * TOKEN)) as u64;
        bucket.at = bucket.at.max(now);
        let left = bucket.filled.checked_sub(TOKEN);
        bucket.filled = left.unwrap_or(bucket.filled);
        left.is_some()
    }
}

#[cfg(test)]
mod tests;
