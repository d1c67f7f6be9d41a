//! Reads clocks. Grant: `clock = true`.
//!
//! `std::time` works in a policy too, but is not a grant that the operator sees; this is.
//!
//! ```
//! use std::time::Duration;
//! use portcullis_sdk::{clock, testing::MockGateway};
//!
//! let gateway = MockGateway::new();
//! let start = gateway.run(clock::monotonic);
//! gateway.advance(Duration::from_secs(5));
//! assert_eq!(gateway.run(clock::monotonic) - start, Duration::from_secs(5));
//! ```

use std::time::Duration;

use crate::host;

/// The time since 1970-01-01T00:00:00Z, to the millisecond. Can jump.
///
/// ```
/// # use portcullis_sdk::{clock, testing::MockGateway};
/// # MockGateway::new().run(|| {
/// let hour = clock::unix_time().as_secs() / 3600 % 24;
/// # assert!(hour < 24);
/// # });
/// ```
#[must_use]
pub fn unix_time() -> Duration {
    Duration::from_millis(host::clock_now_ms())
}

/// The time since some fixed moment, to the microsecond. Never goes back.
///
/// ```
/// # use portcullis_sdk::{clock, testing::MockGateway};
/// # MockGateway::new().run(|| {
/// let start = clock::monotonic();
/// let took = clock::monotonic() - start;
/// # assert!(took.is_zero());
/// # });
/// ```
#[must_use]
pub fn monotonic() -> Duration {
    Duration::from_micros(host::clock_monotonic_us())
}
