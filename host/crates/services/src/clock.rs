//! The two clocks of policies: the wall clock and a monotonic one.

use std::sync::LazyLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The moment that all monotonic times of the process count from, so that what is shared outlives reloads.
static ORIGIN: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Returns the time since some fixed moment of this process.
#[must_use]
pub fn monotonic() -> Duration {
    ORIGIN.elapsed()
}

/// Returns the time since 1970, or zero if the clock is before that.
#[must_use]
pub fn wall() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
