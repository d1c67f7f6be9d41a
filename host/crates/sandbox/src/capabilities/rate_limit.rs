//! `rate-limit`: buckets that all workers share exactly.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use portcullis_model::{Capability, Lock, RateQuota};
use portcullis_traffic::{Quota, RateLimiter};
use serde_json::{Value, json};
use wasmtime::component::{HasSelf, Linker};
use wasmtime::{Result, format_err};

use super::noted::Answer;
use super::{clock, random};
use crate::bindings::portcullis::policy::rate_limit;
use crate::state::State;

pub(super) fn link(linker: &mut Linker<State>) -> Result<()> {
    rate_limit::add_to_linker::<State, HasSelf<State>>(linker, |state| state)
}

/// The buckets of a policy, which all workers share.
#[derive(Default)]
pub(crate) struct Buckets(Arc<Inner>);

#[derive(Default)]
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
    pub(crate) fn provide(&self, quota: RateQuota) {
        if self.0.table.load().is_none() {
            self.0.table.store(Some(Arc::new(table(quota))));
        }
    }

    /// Makes the table as large as the grant says. One of that size stays as it is; another is replaced by a thread of its
    /// own, because to move millions of buckets takes a second and this is called by a worker.
    pub(crate) fn adjust(&self, quota: RateQuota) {
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

    pub(crate) fn table(&self) -> Option<Arc<RateLimiter>> {
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

impl rate_limit::Host for State {
    fn check(&mut self, bucket: String, quota: rate_limit::Quota, cost: u32) -> Result<rate_limit::Verdict> {
        self.require(Capability::RateLimit)?;
        let describe = |(bucket, quota, cost): &(String, rate_limit::Quota, u32)| {
            let rate_limit::Quota { requests, per_ms, burst } = quota;
            let quota = json!({ "requests": requests, "per-ms": per_ms, "burst": burst });
            json!({ "bucket": bucket, "quota": quota, "cost": cost })
        };
        self.noted("rate-limit.check", (bucket, quota, cost), describe, |state, (bucket, quota, cost)| {
            state.check_bucket(&bucket, quota, cost)
        })
    }
}

impl State {
    fn check_bucket(
        &mut self,
        bucket: &str,
        quota: rate_limit::Quota,
        cost: u32,
    ) -> Result<rate_limit::Verdict> {
        let limiter = self.policy.shared.buckets.table();
        let limiter = limiter.ok_or_else(|| format_err!("the policy has no rate-limit buckets"))?;
        let rate_limit::Quota { requests, per_ms, burst } = quota;
        let quota = Quota { requests, per: Duration::from_millis(per_ms.into()), burst };
        let now = clock::monotonic();
        let verdict = if self.has_effects() {
            limiter.check(bucket.as_bytes(), quota, cost, now)
        } else {
            // What the exchange would have taken from the bucket before.
            let before = self.scratch(Taken::default).map_or(0, |taken| taken.of(bucket));
            let verdict = limiter.peek(bucket.as_bytes(), quota, before, cost, now);
            if let (true, Some(taken)) = (verdict.allowed, self.scratch(Taken::default)) {
                taken.add(bucket, cost);
            }
            verdict
        };
        Ok(rate_limit::Verdict {
            allowed: verdict.allowed,
            remaining: verdict.remaining,
            retry_after_ms: millis_up(verdict.retry_after),
            reset_after_ms: millis_up(verdict.reset_after),
        })
    }
}

/// What an exchange that shall have no effects would have taken from which bucket.
#[derive(Default)]
struct Taken(Vec<(String, u32)>);

impl Taken {
    /// Buckets that are told apart. A policy that asks for more of them in one exchange sees the later ones untouched.
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

impl Answer for rate_limit::Verdict {
    fn to_json(&self) -> Value {
        json!({
            "allowed": self.allowed,
            "remaining": self.remaining,
            "retry-after-ms": self.retry_after_ms,
            "reset-after-ms": self.reset_after_ms,
        })
    }

    fn from_json(value: &Value) -> Option<Self> {
        let number = |name: &str| u32::from_json(value.get(name)?);
        Some(Self {
            allowed: value.get("allowed")?.as_bool()?,
            remaining: number("remaining")?,
            retry_after_ms: number("retry-after-ms")?,
            reset_after_ms: number("reset-after-ms")?,
        })
    }
}

/// Rounded up: whoever waits as long as told must not come too early.
fn millis_up(duration: Duration) -> u32 {
    u32::try_from(duration.as_nanos().div_ceil(1_000_000)).unwrap_or(u32::MAX)
}
