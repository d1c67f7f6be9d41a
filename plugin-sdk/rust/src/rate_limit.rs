//! Rate limits that all workers share exactly. Grant: `rate-limit = true`.
//!
//! ```
//! use std::time::Duration;
//! use portcullis_sdk::rate_limit::{Quota, check};
//! use portcullis_sdk::testing::MockGateway;
//!
//! let gateway = MockGateway::new();
//! let quota = Quota { requests: 1, per: Duration::from_secs(1), burst: 0 };
//! assert!(gateway.run(|| check("alice", quota, 1)).allowed);
//! assert!(!gateway.run(|| check("alice", quota, 1)).allowed);
//! gateway.advance(Duration::from_secs(1));
//! assert!(gateway.run(|| check("alice", quota, 1)).allowed);
//! ```

use std::time::Duration;

use crate::host;

/// How much is allowed.
///
/// ```
/// use portcullis_sdk::rate_limit::Quota;
///
/// let quota = Quota { requests: 100, per: std::time::Duration::from_secs(60), burst: 20 };
/// assert_eq!(quota.per.as_secs(), 60);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// So many in every `per`. Zero allows nothing.
    pub requests: u32,
    /// The interval, counted in milliseconds. Zero allows nothing.
    pub per: Duration,
    /// So many beyond that at once.
    pub burst: u32,
}

/// The answer for one request.
///
/// ```
/// # use portcullis_sdk::{rate_limit::{check, Quota}, testing::MockGateway};
/// # let quota = Quota { requests: 2, per: std::time::Duration::from_secs(1), burst: 1 };
/// # MockGateway::new().run(|| {
/// let verdict = check("bucket", quota, 1);
/// assert!(verdict.allowed && verdict.retry_after.is_zero());
/// # });
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// Whether it is allowed.
    pub allowed: bool,
    /// How many more would be allowed now.
    pub remaining: u32,
    /// When the next one will be allowed; zero if it is now.
    pub retry_after: Duration,
    /// When the bucket will be full again.
    pub reset_after: Duration,
}

/// Takes `cost` from a named bucket by the generic cell rate algorithm (ITU-T I.371). The policy's buckets are its own
/// and survive reloads. Their number is bounded: beyond it a new bucket takes the place of the one that is closest to
/// full.
///
/// ```
/// # use portcullis_sdk::{rate_limit::{check, Quota}, testing::MockGateway};
/// # let quota = Quota { requests: 2, per: std::time::Duration::from_secs(1), burst: 0 };
/// # MockGateway::new().run(|| {
/// let heavy = check("search", quota, 5);
/// assert!(!heavy.allowed);
/// # });
/// ```
#[must_use]
pub fn check(bucket: &str, quota: Quota, cost: u32) -> Verdict {
    host::rate_limit_check(bucket, quota, cost)
}
