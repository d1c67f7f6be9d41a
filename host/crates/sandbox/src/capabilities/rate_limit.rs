//! `rate-limit`: buckets that all workers share exactly.

use std::time::Duration;

use portcullis_model::{Capability, RateQuota};
use portcullis_traffic::{Quota, RateLimiter};
use wasmtime::component::{HasSelf, Linker};
use wasmtime::{Result, format_err};

use super::{clock, random};
use crate::bindings::portcullis::policy::rate_limit;
use crate::state::State;

pub(super) fn link(linker: &mut Linker<State>) -> Result<()> {
    rate_limit::add_to_linker::<State, HasSelf<State>>(linker, |state| state)
}

/// A table for a policy that has none.
pub(crate) fn table(quota: RateQuota) -> RateLimiter {
    let mut seed = [0; 16];
    // Without random bytes the table is as exact; only a flood of chosen keys could then crowd a bucket out.
    if let Err(error) = random::fill(&mut seed) {
        tracing::warn!("the rate limiter's seed is not random: {error:#}");
    }
    let seed = u128::from_le_bytes(seed);
    RateLimiter::new(quota.buckets_max, [seed as u64, (seed >> 64) as u64])
}

/// A table of another size with the buckets of the old one; `None` where the old one is right.
pub(crate) fn resized(old: Option<&RateLimiter>, quota: RateQuota) -> Option<RateLimiter> {
    let Some(old) = old else { return Some(table(quota)) };
    let fits = quota.buckets_max.next_multiple_of(8).max(8) == old.capacity();
    (!fits).then(|| RateLimiter::with_capacity_from(old, quota.buckets_max))
}

impl rate_limit::Host for State {
    fn check(&mut self, bucket: String, quota: rate_limit::Quota, cost: u32) -> Result<rate_limit::Verdict> {
        self.require(Capability::RateLimit)?;
        let limiter = self.policy.shared.limiter.load();
        let limiter = limiter.as_ref().ok_or_else(|| format_err!("the policy has no rate-limit buckets"))?;
        let rate_limit::Quota { requests, per_ms, burst } = quota;
        let quota = Quota { requests, per: Duration::from_millis(per_ms.into()), burst };
        let verdict = limiter.check(bucket.as_bytes(), quota, cost, clock::monotonic());
        Ok(rate_limit::Verdict {
            allowed: verdict.allowed,
            remaining: verdict.remaining,
            retry_after_ms: millis_up(verdict.retry_after),
            reset_after_ms: millis_up(verdict.reset_after),
        })
    }
}

/// Rounded up: whoever waits as long as told must not come too early.
fn millis_up(duration: Duration) -> u32 {
    u32::try_from(duration.as_nanos().div_ceil(1_000_000)).unwrap_or(u32::MAX)
}
