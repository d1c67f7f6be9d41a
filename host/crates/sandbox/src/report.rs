//! What the policies have counted, for whoever exports metrics.

use portcullis_model::Name;
use portcullis_policy::FaultKind;

/// A reading of all counters.
#[derive(Debug, Clone, PartialEq)]
pub struct SandboxReport {
    /// Instances that are alive.
    pub instances: u32,
    /// Instances that may be.
    pub instances_max: u32,
    /// By name; the policies that are alive. A policy's counts go on over reloads.
    pub policies: Vec<PolicyReport>,
}

/// What one policy has counted.
#[derive(Debug, Clone, PartialEq)]
pub struct PolicyReport {
    /// Its name.
    pub policy: Name,
    /// Calls by WIT name of the hook (`configure` and `on-tick` too), those that were made at all.
    pub calls: Vec<(&'static str, u64)>,
    /// Faults by hook and kind.
    pub faults: Vec<(&'static str, FaultKind, u64)>,
    /// The metrics that the policy made itself, in the order in which it did.
    pub guest: Vec<GuestMetric>,
}

/// A metric that a policy made.
#[derive(Debug, Clone, PartialEq)]
pub struct GuestMetric {
    /// Its name, of `[a-zA-Z0-9_]`.
    pub name: String,
    /// Its labels; names as above, values any text.
    pub labels: Vec<(String, String)>,
    /// What it has come to.
    pub value: GuestValue,
}

/// What a metric has come to.
#[derive(Debug, Clone, PartialEq)]
pub enum GuestValue {
    /// Of a counter.
    Counter(u64),
    /// Of a gauge.
    Gauge(f64),
    /// Of a histogram.
    Histogram {
        /// Upper bound (inclusive, a power of two; the last is infinite) and samples in that bucket alone. Only buckets
        /// with samples.
        buckets: Vec<(f64, u64)>,
        /// All samples together.
        sum: f64,
        /// How many samples there were.
        count: u64,
    },
}
