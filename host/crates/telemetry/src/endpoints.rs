//! The metrics of each endpoint of an upstream.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use portcullis_model::{Lock, Name};

use crate::exposition::{Exposition, MetricKind};

/// The metrics of an endpoint. They are exported for as long as something holds them: an endpoint that a reload removed
/// is neither healthy nor unhealthy.
#[derive(Debug, Default)]
pub struct EndpointMetrics {
    left_out: AtomicBool,
    failures: AtomicU64,
    ejections: AtomicU64,
    checks: AtomicU64,
    checks_failed: AtomicU64,
}

impl EndpointMetrics {
    /// Counts an exchange that failed by the endpoint's fault.
    pub fn failure(&self) {
        self.failures.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts an ejection of the endpoint.
    pub fn ejection(&self) {
        self.ejections.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a health check of the endpoint.
    pub fn check(&self, passed: bool) {
        self.checks.fetch_add(1, Ordering::Relaxed);
        if !passed {
            self.checks_failed.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Sets whether the endpoint is left out now.
    pub fn set_left_out(&self, left_out: bool) {
        self.left_out.store(left_out, Ordering::Relaxed);
    }
}

/// The metrics of all endpoints, by upstream and address.
#[derive(Debug, Default)]
pub(crate) struct Endpoints(Lock<BTreeMap<(Name, Name), Weak<EndpointMetrics>>>);

impl Endpoints {
    pub(crate) fn get(&self, upstream: &Name, address: &Name) -> Arc<EndpointMetrics> {
        let mut endpoints = self.0.lock();
        let names = (Name::clone(upstream), Name::clone(address));
        if let Some(metrics) = endpoints.get(&names).and_then(Weak::upgrade) {
            return metrics;
        }
        endpoints.retain(|_, metrics| metrics.strong_count() > 0);
        let metrics = Arc::new(EndpointMetrics::default());
        endpoints.insert(names, Arc::downgrade(&metrics));
        metrics
    }

    pub(crate) fn render(&self, out: &mut Exposition<'_>) {
        let endpoints: Vec<_> = {
            let endpoints = self.0.lock();
            endpoints
                .iter()
                .filter_map(|(names, metrics)| Some((names.clone(), metrics.upgrade()?)))
                .collect()
        };
        type Read = fn(&EndpointMetrics) -> u64;
        let families: [(&str, MetricKind, &str, Read); 5] = [
            (
                "portcullis_upstream_endpoint_checks_failed_total",
                MetricKind::Counter,
                "Health checks that the endpoint did not pass.",
                |metrics| metrics.checks_failed.load(Ordering::Relaxed),
            ),
            (
                "portcullis_upstream_endpoint_checks_total",
                MetricKind::Counter,
                "Health checks of the endpoint.",
                |metrics| metrics.checks.load(Ordering::Relaxed),
            ),
            (
                "portcullis_upstream_endpoint_ejections_total",
                MetricKind::Counter,
                "How often the endpoint was left out for a while.",
                |metrics| metrics.ejections.load(Ordering::Relaxed),
            ),
            (
                "portcullis_upstream_endpoint_failures_total",
                MetricKind::Counter,
                "Exchanges that failed at the endpoint, which speaks against it.",
                |metrics| metrics.failures.load(Ordering::Relaxed),
            ),
            (
                "portcullis_upstream_endpoint_healthy",
                MetricKind::Gauge,
                "1 if the endpoint is used, 0 if it is left out for its failures or by a health check.",
                |metrics| u64::from(!metrics.left_out.load(Ordering::Relaxed)),
            ),
        ];
        for (name, kind, help, read) in families {
            out.family(name, kind, help);
            for ((upstream, endpoint), metrics) in &endpoints {
                out.sample(name, &[("upstream", upstream), ("endpoint", endpoint)], read(metrics));
            }
        }
    }
}
