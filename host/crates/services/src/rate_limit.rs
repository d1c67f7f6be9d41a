//! Rate-limit buckets that all workers share exactly.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use portcullis_model::{Lock, RateQuota};
use portcullis_traffic::{Quota, RateLimiter, Verdict};

use crate::random;

/// The buckets of a policy, which all workers share.
#[derive(Debug, Default)]
pub struct Buckets(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// There is one once `rate-limit` was granted.
    table: ArcSwapOption<RateLimiter>,
    /// How many buckets the newest grant has.
    wanted: AtomicUsize,
    /// One thread at a time moves buckets.
    moving: Lock<()>,
}

impl Buckets {
    /// Makes a table if there is none yet.
    pub fn provide(&self, quota: RateQuota) {
        if self.0.table.load().is_none() {
            self.0.table.store(Some(Arc::new(table(quota))));
        }
    }

    /// Makes the table as large as the grant says. One of that size stays as it is; another is replaced by a thread of
    /// its own, because to move millions of buckets takes a second and this is called by a worker.
    pub fn adjust(&self, quota: RateQuota) {
        self.0.wanted.store(quota.buckets_max, Ordering::Release);
        self.provide(quota);
        if self.0.table.load().as_ref().is_none_or(|table| table.fits(quota.buckets_max)) {
            return;
        }
        let inner = Arc::downgrade(&self.0);
        let thread = std::thread::Builder::new().name("buckets".to_owned());
        if let Err(error) = thread.spawn(move || resize(&inner)) {
            tracing::error!("cannot start a thread that resizes rate-limit buckets: {error}");
        }
    }

    /// Returns the table, if `rate-limit` was granted.
    #[must_use]
    pub fn table(&self) -> Option<Arc<RateLimiter>> {
        self.0.table.load_full()
    }
}

/// Replaces the table by one of the wanted size. Ends early if the policy is gone meanwhile.
fn resize(inner: &Weak<Inner>) {
    let Some(strong) = inner.upgrade() else { return };
    let _moving = strong.moving.lock();
    let Some(old) = strong.table.load_full() else { return };
    let wanted = strong.wanted.load(Ordering::Acquire);
    if old.fits(wanted) {
        return;
    }
    let new = Arc::new(old.resized(wanted));
    strong.table.store(Some(new.clone()));
    // This thread has one of the references itself.
    if new.move_buckets(|| inner.strong_count() > 1) {
        strong.table.store(Some(Arc::new(new.settled())));
    }
}

/// A table for a policy that has none.
fn table(quota: RateQuota) -> RateLimiter {
    let mut seed = [0; 16];
    // Without random bytes the table is as exact; only a flood of chosen keys could then crowd a bucket out.
    if let Err(error) = random::fill(&mut seed) {
        tracing::warn!("the rate limiter's seed is not random: {error:#}");
    }
    let seed = u128::from_le_bytes(seed);
    RateLimiter::new(quota.buckets_max, [seed as u64, (seed >> 64) as u64])
}

impl Buckets {
    /// Takes from a bucket. `None` without a table, which a policy that was granted `rate-limit` always has.
    #[must_use]
    pub fn check(&self, bucket: &str, quota: Quota, cost: u32, now: Duration) -> Option<Verdict> {
        Some(self.0.table.load().as_ref()?.check(bucket.as_bytes(), quota, cost, now))
    }

    /// Returns what [`Buckets::check`] would, for an exchange that has taken `taken` so far, and takes nothing but in
    /// `taken`.
    #[must_use]
    pub fn peek(
        &self,
        taken: &mut Taken,
        bucket: &str,
        quota: Quota,
        cost: u32,
        now: Duration,
    ) -> Option<Verdict> {
        let before = taken.of(bucket);
        let table = self.0.table.load();
        let verdict = table.as_ref()?.peek(bucket.as_bytes(), quota, before, cost, now);
        if verdict.allowed {
            taken.add(bucket, cost);
        }
        Some(verdict)
    }
}

/// What an exchange without effects would have taken from which bucket.
#[derive(Debug, Default)]
pub struct Taken(Vec<(String, u32)>);

impl Taken {
    /// Buckets that are counted. A policy that asks for more of them in one exchange sees the later ones untouched.
    const BUCKETS_MAX: usize = 100;

    fn of(&self, bucket: &str) -> u32 {
        self.0.iter().find(|(name, _)| name == bucket).map_or(0, |(_, taken)| *taken)
    }

    fn add(&mut self, bucket: &str, cost: u32) {
        if let Some((_, taken)) = self.0.iter_mut().find(|(name, _)| name == bucket) {
            *taken = taken.saturating_add(cost);
        } else if self.0.len() < Self::BUCKETS_MAX {
            self.0.push((bucket.to_owned(), cost));
        }
    }
}
