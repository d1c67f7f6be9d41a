//! Traffic rules: which endpoint takes a request, which endpoint is left out, and how many requests a client may make.
//!
//! Nothing here does I/O, waits or reads a clock. Time is a [`Duration`](std::time::Duration) since an origin that the
//! caller fixes once for the life of the process and never moves (a monotonic clock), so that states outlive reloads.
//! Everything is shared by all workers and exact across them: counts are atomics, a rate-limit bucket is changed under
//! the lock of its set, and no function holds a lock while it calls anything that could wait.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test may panic"))]

mod health;
mod quarantine;
mod rate;
mod round_robin;
mod siphash;
mod tried;
mod upstream;

pub use health::{EndpointState, InFlight, LeftOut};
pub use quarantine::{Probe, Quarantine, Standing, Transition};
pub use rate::{Quota, RateLimiter, Verdict};
pub use tried::Tried;
pub use upstream::{Pick, UpstreamState};

/// Nanoseconds of a duration. 2^64 of them are 584 years: a longer duration counts as that.
fn nanos(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
