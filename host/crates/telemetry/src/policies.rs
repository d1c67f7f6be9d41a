//! The cost of policies on each route.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use portcullis_model::{Name, PolicyCost};

use crate::exposition::{Exposition, MetricKind};

/// The cost of a policy on a route. Kept once for each worker, as the route's own numbers are.
#[derive(Debug)]
pub struct RoutePolicyMetrics {
    shards: Box<[Shard]>,
}

/// One worker's part, written by that worker alone. Two cache lines apart from the next, because processors fetch them
/// in pairs.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Shard {
    calls: AtomicU64,
    faults: AtomicU64,
    cpu_nanos: AtomicU64,
    memory_bytes_max: AtomicU64,
}

/// The numbers over all workers.
#[derive(Debug, Default)]
struct Sum {
    calls: u64,
    faults: u64,
    cpu: Duration,
    memory_bytes_max: u64,
}

impl RoutePolicyMetrics {
    pub(crate) fn new(workers: usize) -> Self {
        Self { shards: (0..workers).map(|_| Shard::default()).collect() }
    }

    /// Adds the cost of an exchange. `worker` is the worker's number.
    pub fn add(&self, worker: usize, cost: &PolicyCost) {
        let shard = &self.shards[worker % self.shards.len()];
        let nanos = u64::try_from(cost.cpu.as_nanos()).unwrap_or(u64::MAX);
        shard.calls.fetch_add(cost.calls.into(), Ordering::Relaxed);
        shard.faults.fetch_add(cost.faults.into(), Ordering::Relaxed);
        shard.cpu_nanos.fetch_add(nanos, Ordering::Relaxed);
        // It rarely grows, and reading is cheaper than writing.
        if shard.memory_bytes_max.load(Ordering::Relaxed) < cost.memory_bytes {
            shard.memory_bytes_max.fetch_max(cost.memory_bytes, Ordering::Relaxed);
        }
    }

    fn sum(&self) -> Sum {
        let mut sum = Sum::default();
        for shard in &self.shards {
            sum.calls += shard.calls.load(Ordering::Relaxed);
            sum.faults += shard.faults.load(Ordering::Relaxed);
            sum.cpu += Duration::from_nanos(shard.cpu_nanos.load(Ordering::Relaxed));
            sum.memory_bytes_max = sum.memory_bytes_max.max(shard.memory_bytes_max.load(Ordering::Relaxed));
        }
        sum
    }
}

/// Appends the families, with the policies on each route by the names of both.
pub(crate) fn render<'a>(
    out: &mut Exposition<'_>,
    policies: impl Iterator<Item = (&'a (Name, Name), &'a RoutePolicyMetrics)>,
) {
    let sums: Vec<_> = policies
        .map(|((route, policy), metrics)| ([("route", &**route), ("policy", policy)], metrics.sum()))
        .collect();
    let mut family = |name: &str, kind: MetricKind, help: &str, value: fn(&Sum) -> String| {
        out.family(name, kind, help);
        for (labels, sum) in &sums {
            out.sample(name, labels, value(sum));
        }
    };
    family(
        "portcullis_route_policy_calls_total",
        MetricKind::Counter,
        "Hook calls of a policy for exchanges of a route.",
        |sum| sum.calls.to_string(),
    );
    family(
        "portcullis_route_policy_cpu_seconds_total",
        MetricKind::Counter,
        "CPU time of a policy's hooks for exchanges of a route.",
        |sum| sum.cpu.as_secs_f64().to_string(),
    );
    family(
        "portcullis_route_policy_faults_total",
        MetricKind::Counter,
        "Hooks of a policy that failed, or were not called because of its quarantine, for exchanges of a route.",
        |sum| sum.faults.to_string(),
    );
    family(
        "portcullis_route_policy_memory_bytes_max",
        MetricKind::Gauge,
        "The most linear memory that an instance had which served the route.",
        |sum| sum.memory_bytes_max.to_string(),
    );
}
