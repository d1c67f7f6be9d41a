//! Counters, gauges and histograms that the gateway exports under the policy's name. Grant: `metrics = true`.
//!
//! A metric is a plain number, valid in every instance of the policy: making one with the same name and labels gives
//! the same one. Make them in `configure` and keep them. Names and labels beyond the policy's limit (256 series) give
//! one that counts nothing.
//!
//! ```
//! use portcullis_sdk::{metrics, testing::MockGateway};
//!
//! let gateway = MockGateway::new();
//! gateway.run(|| metrics::counter("denied_total", &[("reason", "no-key")]).add(1));
//! assert_eq!(gateway.metric("denied_total", &[("reason", "no-key")]), Some(1.0));
//! ```

use crate::host;

/// A number that only grows.
///
/// ```
/// # use portcullis_sdk::{metrics, testing::MockGateway};
/// # MockGateway::new().run(|| {
/// let seen = metrics::counter("seen_total", &[]);
/// seen.add(2);
/// # });
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counter(u32);

/// A number that goes up and down.
///
/// ```
/// # use portcullis_sdk::{metrics, testing::MockGateway};
/// # MockGateway::new().run(|| {
/// metrics::gauge("keys", &[]).set(17.0);
/// # });
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gauge(u32);

/// A distribution in buckets of powers of two.
///
/// ```
/// # use portcullis_sdk::{metrics, testing::MockGateway};
/// # MockGateway::new().run(|| {
/// metrics::histogram("body_bytes", &[]).observe(1500.0);
/// # });
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Histogram(u32);

/// Makes or finds a counter. Characters outside `[a-zA-Z0-9_]` of the name become `_`.
///
/// ```
/// # use portcullis_sdk::{metrics, testing::MockGateway};
/// # MockGateway::new().run(|| {
/// assert_eq!(metrics::counter("a", &[]), metrics::counter("a", &[]));
/// # });
/// ```
#[must_use]
pub fn counter(name: &str, labels: &[(&str, &str)]) -> Counter {
    Counter(host::metrics_counter(name, labels))
}

/// Makes or finds a gauge. See [`counter`].
///
/// ```
/// # use portcullis_sdk::{metrics, testing::MockGateway};
/// # MockGateway::new().run(|| {
/// let fill = metrics::gauge("fill", &[("side", "left")]);
/// # fill.set(0.5);
/// # });
/// ```
#[must_use]
pub fn gauge(name: &str, labels: &[(&str, &str)]) -> Gauge {
    Gauge(host::metrics_gauge(name, labels))
}

/// Makes or finds a histogram. See [`counter`].
///
/// ```
/// # use portcullis_sdk::{metrics, testing::MockGateway};
/// # MockGateway::new().run(|| {
/// let wait = metrics::histogram("wait_ms", &[]);
/// # wait.observe(2.0);
/// # });
/// ```
#[must_use]
pub fn histogram(name: &str, labels: &[(&str, &str)]) -> Histogram {
    Histogram(host::metrics_histogram(name, labels))
}

impl Counter {
    /// Adds to it.
    ///
    /// ```
    /// # use portcullis_sdk::{metrics, testing::MockGateway};
    /// # MockGateway::new().run(|| {
    /// metrics::counter("seen_total", &[]).add(1);
    /// # });
    /// ```
    pub fn add(self, value: u64) {
        host::metrics_add(self.0, value);
    }
}

impl Gauge {
    /// Sets it.
    ///
    /// ```
    /// # use portcullis_sdk::{metrics, testing::MockGateway};
    /// # MockGateway::new().run(|| {
    /// metrics::gauge("load", &[]).set(0.25);
    /// # });
    /// ```
    pub fn set(self, value: f64) {
        host::metrics_set(self.0, value);
    }
}

impl Histogram {
    /// Adds a sample.
    ///
    /// ```
    /// # use portcullis_sdk::{metrics, testing::MockGateway};
    /// # MockGateway::new().run(|| {
    /// metrics::histogram("size", &[]).observe(10.0);
    /// # });
    /// ```
    pub fn observe(self, value: f64) {
        host::metrics_observe(self.0, value);
    }
}
