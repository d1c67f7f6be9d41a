//! `rate-limit`: buckets that all workers share exactly.

use std::time::Duration;

use portcullis_model::Capability;
use portcullis_services::rate_limit::Taken;
use portcullis_traffic::Quota;
use serde_json::{Value, json};
use wasmtime::component::{HasSelf, Linker};
use wasmtime::{Result, format_err};

use super::recorded::Answer;
use crate::component::bindings::portcullis::policy::rate_limit;
use crate::instance::state::State;

pub(super) fn link(linker: &mut Linker<State>) -> Result<()> {
    rate_limit::add_to_linker::<State, HasSelf<State>>(linker, |state| state)
}

impl rate_limit::Host for State {
    fn check(&mut self, bucket: String, quota: rate_limit::Quota, cost: u32) -> Result<rate_limit::Verdict> {
        self.require(Capability::RateLimit)?;
        let describe = |(bucket, quota, cost): &(String, rate_limit::Quota, u32)| {
            let rate_limit::Quota { requests, per_ms, burst } = quota;
            let quota = json!({ "requests": requests, "per-ms": per_ms, "burst": burst });
            json!({ "bucket": bucket, "quota": quota, "cost": cost })
        };
        self.recorded("rate-limit.check", (bucket, quota, cost), describe, |state, (bucket, quota, cost)| {
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
        let rate_limit::Quota { requests, per_ms, burst } = quota;
        let quota = Quota { requests, per: Duration::from_millis(per_ms), burst };
        let now = self.monotonic();
        let verdict = if self.has_effects() {
            self.policy.shared.buckets.check(bucket, quota, cost, now)
        } else {
            let shared = self.policy.shared.clone();
            match self.scratch(Taken::default) {
                Some(taken) => shared.buckets.peek(taken, bucket, quota, cost, now),
                None => shared.buckets.peek(&mut Taken::default(), bucket, quota, cost, now),
            }
        };
        let verdict = verdict.ok_or_else(|| format_err!("the policy has no rate-limit buckets"))?;
        Ok(rate_limit::Verdict {
            allowed: verdict.allowed,
            remaining: verdict.remaining,
            retry_after_ms: millis_up(verdict.retry_after),
            reset_after_ms: millis_up(verdict.reset_after),
        })
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
        let millis = |name: &str| u64::from_json(value.get(name)?);
        Some(Self {
            allowed: value.get("allowed")?.as_bool()?,
            remaining: u32::from_json(value.get("remaining")?)?,
            retry_after_ms: millis("retry-after-ms")?,
            reset_after_ms: millis("reset-after-ms")?,
        })
    }
}

/// Rounded up: a client that waits for as long as it was told must not come too early.
fn millis_up(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}
