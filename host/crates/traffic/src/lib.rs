//! Traffic rules: which endpoint takes a request, which endpoint is left out, when a request is sent again, and how
//! many requests a client may make.
//!
//! Nothing here does I/O, waits or reads a clock. Time is a [`Duration`](std::time::Duration) since an origin that
//! the caller chooses once for the life of the process (a monotonic clock), so that states outlive reloads.
//! Everything that workers share is exact across them: counts are atomics, a rate-limit bucket is changed under the
//! lock of its set, and no function holds a lock while it calls anything that could wait.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test may panic"))]

mod budget;
mod checks;
mod choice;
mod edits;
mod endpoint;
mod endpoints;
mod health;
mod latency;
mod level;
mod limiter;
mod member;
mod outliers;
mod permit;
mod quarantine;
mod rate;
mod rendezvous;
mod retry;
mod round_robin;
mod siphash;
mod tried;

pub use budget::RetryBudget;
pub use checks::{CheckChange, CheckState};
pub use choice::{Choice, NoPick, Pick};
pub use edits::{Edit, EditError, Edits};
pub use endpoint::{Endpoint, EndpointId, InFlight};
pub use endpoints::{EndpointSet, Endpoints};
pub use health::{Health, LeftOut};
pub use limiter::{Counts, Limiter};
pub use member::Member;
pub use outliers::{Tally, outliers};
pub use permit::{Permit, Permits};
pub use quarantine::{Probe, Quarantine, Standing, Transition};
pub use rate::{Quota, RateLimiter, Verdict};
pub use rendezvous::Key;
pub use retry::{Begin, Failure, Next, Retries, backoff};
pub use tried::Tried;

/// Returns the nanoseconds of a duration. 2^64 of them are 584 years: a longer duration counts as that.
fn nanos(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
