//! The metrics of the gateway.
//!
//! Each route's numbers are kept once for each worker, in cache lines of their own, and added up when they are read: a
//! shared counter that every worker increments for every request would move its cache line from core to core each time,
//! which on a large machine costs more than reading the request. Rare events (connects, faults, reloads) are counted in
//! one plain atomic. All are relaxed: a number may be a moment behind another.
//!
//! Names come from the configuration only, never from requests, and their number is bounded, so clients cannot make
//! this grow. Metrics that a reload removes are kept, so that a counter never goes back.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use portcullis_model::{Lock, Name};

use crate::cache_result::CacheResult;
use crate::caches::{CacheReport, Caches};
use crate::encoding_result::{EncodingReport, EncodingResult};
use crate::endpoints::{EndpointMetrics, Endpoints};
use crate::exposition::{Exposition, MetricKind};
use crate::fault_side::FaultSide;
use crate::policies::{self, RoutePolicyMetrics};

/// Names of each kind. All others are counted together as `other`.
const NAMES_MAX: usize = 10_000;

/// Upper ends of the histogram's buckets, in microseconds, and in seconds as the text has them.
const BUCKETS: [(u64, &str); 14] = [
    (500, "0.0005"),
    (1_000, "0.001"),
    (2_500, "0.0025"),
    (5_000, "0.005"),
    (10_000, "0.01"),
    (25_000, "0.025"),
    (50_000, "0.05"),
    (100_000, "0.1"),
    (250_000, "0.25"),
    (500_000, "0.5"),
    (1_000_000, "1"),
    (2_500_000, "2.5"),
    (10_000_000, "10"),
    (60_000_000, "60"),
];

/// Status classes by the status' first digit; 0 is no status at all.
const CLASSES: [&str; 6] = ["none", "1xx", "2xx", "3xx", "4xx", "5xx"];

/// All metrics of the process. There is one, for its whole life, which all parts share.
#[derive(Debug)]
pub struct Metrics {
    workers: usize,
    routes: Names<RouteMetrics>,
    unrouted: Arc<RouteMetrics>,
    upstreams: Names<UpstreamMetrics>,
    endpoints: Endpoints,
    caches: Caches,
    /// By route and policy.
    route_policies: Names<RoutePolicyMetrics, (Name, Name)>,
    generation: AtomicU64,
    reloads: AtomicU64,
    reloads_refused: AtomicU64,
}

impl Metrics {
    /// Returns metrics for this number of workers.
    #[must_use]
    pub fn new(workers: usize) -> Self {
        let workers = workers.max(1);
        Self {
            workers,
            unrouted: Arc::new(RouteMetrics::new(workers)),
            routes: Names::default(),
            upstreams: Names::default(),
            endpoints: Endpoints::default(),
            caches: Caches::default(),
            route_policies: Names::default(),
            generation: AtomicU64::new(0),
            reloads: AtomicU64::new(0),
            reloads_refused: AtomicU64::new(0),
        }
    }

    /// Returns the metrics of a route. Call it when a snapshot is made and keep the result: it takes a lock.
    #[must_use]
    pub fn route(&self, name: &Name) -> Arc<RouteMetrics> {
        self.routes.get(name, || RouteMetrics::new(self.workers))
    }

    /// Returns the metrics of exchanges without a route: of requests that were refused before the look-up, and of those
    /// that match none. Their series have an empty `route`.
    #[must_use]
    pub fn unrouted(&self) -> Arc<RouteMetrics> {
        Arc::clone(&self.unrouted)
    }

    /// Returns the exchanges without a route, in the form of [`Metrics::exchanges`].
    #[must_use]
    pub fn unrouted_exchanges(&self) -> Vec<(&'static str, u64)> {
        counted(&self.unrouted)
    }

    /// Returns the exchanges of each route that have ended, by status class (`2xx`; `none` if the client got nothing),
    /// without classes that never occurred.
    #[must_use]
    pub fn exchanges(&self) -> BTreeMap<Name, Vec<(&'static str, u64)>> {
        self.routes.all().into_iter().map(|(route, metrics)| (route, counted(&metrics))).collect()
    }

    /// Returns the metrics of an upstream. As [`Metrics::route`].
    #[must_use]
    pub fn upstream(&self, name: &Name) -> Arc<UpstreamMetrics> {
        self.upstreams.get(name, UpstreamMetrics::default)
    }

    /// Returns the metrics of an endpoint, which are exported for as long as they are kept.
    #[must_use]
    pub fn endpoint(&self, upstream: &Name, address: &Name) -> Arc<EndpointMetrics> {
        self.endpoints.get(upstream, address)
    }

    /// Shows what `cache` holds, under the name `name`, for as long as something else holds it.
    pub fn show_cache(&self, name: &Name, cache: Weak<dyn CacheReport>) {
        self.caches.show(name, cache);
    }

    /// Returns the metrics of a policy on a route. As [`Metrics::route`].
    #[must_use]
    pub fn route_policy(&self, route: &Name, policy: &Name) -> Arc<RoutePolicyMetrics> {
        let names = (Name::clone(route), Name::clone(policy));
        self.route_policies.get(&names, || RoutePolicyMetrics::new(self.workers))
    }

    /// Records that a generation runs. The first is not a reload.
    pub fn generation_started(&self, generation: u64) {
        if self.generation.swap(generation, Ordering::Relaxed) > 0 {
            self.reloads.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts a reload that was refused; the old generation keeps running.
    pub fn reload_refused(&self) {
        self.reloads_refused.fetch_add(1, Ordering::Relaxed);
    }

    /// Appends all metrics in the text format of Prometheus, in the order of their names.
    pub fn render(&self, out: &mut String) {
        let mut out = Exposition(out);
        self.render_routes(&mut out);
        self.render_caches(&mut out);
        self.caches.render(&mut out);
        self.render_encoding(&mut out);
        let policies = self.route_policies.all();
        policies::render(&mut out, policies.iter().map(|(names, metrics)| (names, &**metrics)));
        self.render_upstreams(&mut out);
        self.endpoints.render(&mut out);
        let name = "portcullis_generation";
        out.family(name, MetricKind::Gauge, "The generation of the configuration that runs.");
        out.sample(name, &[], read(&self.generation));
        let name = "portcullis_reloads_total";
        out.family(name, MetricKind::Counter, "Reloads, by whether the new configuration was taken.");
        out.sample(name, &[("result", "taken")], read(&self.reloads));
        out.sample(name, &[("result", "refused")], read(&self.reloads_refused));
    }

    fn render_routes(&self, out: &mut Exposition<'_>) {
        let mut routes: Vec<_> =
            self.routes.all().into_iter().map(|(route, metrics)| (route, metrics.sum())).collect();
        routes.push((Name::from(""), self.unrouted.sum()));
        let name = "portcullis_requests_total";
        let help = "Exchanges that ended, by route and status class; the route is empty if none took them.";
        out.family(name, MetricKind::Counter, help);
        for (route, sum) in &routes {
            for (class, count) in CLASSES.iter().zip(sum.classes) {
                // A class that never occurred gets no series.
                if count > 0 {
                    out.sample(name, &[("route", route), ("status", class)], count);
                }
            }
        }
        let name = "portcullis_request_errors_total";
        let help = "Exchanges that went wrong, by route and the side at fault.";
        out.family(name, MetricKind::Counter, help);
        for (route, sum) in &routes {
            for (side, count) in FaultSide::ALL.iter().zip(sum.errors) {
                if count > 0 {
                    out.sample(name, &[("route", route), ("side", side.as_str())], count);
                }
            }
        }
        let name = "portcullis_request_duration_seconds";
        out.family(name, MetricKind::Histogram, "From a request's head to its response's last byte.");
        for (route, sum) in &routes {
            let mut below = 0;
            for ((_, end), count) in BUCKETS.iter().zip(sum.buckets) {
                below += count;
                out.sample(&format!("{name}_bucket"), &[("route", route), ("le", end)], below);
            }
            // Not the number of requests, which may have been read a moment earlier: the buckets must add up.
            let count = below + sum.slower;
            out.sample(&format!("{name}_bucket"), &[("route", route), ("le", "+Inf")], count);
            let seconds = Duration::from_micros(sum.micros).as_secs_f64();
            out.sample(&format!("{name}_sum"), &[("route", route)], seconds);
            out.sample(&format!("{name}_count"), &[("route", route)], count);
        }
        for (name, help, bytes) in [
            ("portcullis_request_body_bytes_total", "Bytes of request bodies.", 0),
            ("portcullis_response_body_bytes_total", "Bytes of response bodies.", 1),
        ] {
            out.family(name, MetricKind::Counter, help);
            for (route, sum) in &routes {
                out.sample(name, &[("route", route)], sum.bytes[bytes]);
            }
        }
    }

    fn render_caches(&self, out: &mut Exposition<'_>) {
        let routes = self.routes.all().into_iter().map(|(route, metrics)| (route, metrics.sum()));
        // Routes without a cache would be series for nothing.
        let routes: Vec<_> = routes.filter(|(_, sum)| sum.cache.iter().any(|count| *count > 0)).collect();
        let name = "portcullis_cache_requests_total";
        out.family(name, MetricKind::Counter, "Exchanges that ended, by route and what its cache did.");
        for (route, sum) in &routes {
            for (result, count) in CacheResult::ALL.iter().zip(sum.cache) {
                out.sample(name, &[("route", route), ("result", result.as_str())], count);
            }
        }
        let name = "portcullis_cache_response_body_bytes_total";
        out.family(name, MetricKind::Counter, "Bytes of response bodies that came from a cache.");
        for (route, sum) in &routes {
            out.sample(name, &[("route", route)], sum.cache_bytes);
        }
    }

    fn render_encoding(&self, out: &mut Exposition<'_>) {
        let routes = self.routes.all().into_iter().map(|(route, metrics)| (route, metrics.sum()));
        let routes: Vec<_> = routes.filter(|(_, sum)| sum.encoding.iter().any(|count| *count > 0)).collect();
        let name = "portcullis_encoding_responses_total";
        let help = "Responses of routes that encode, by the coding, or why they were sent as they were.";
        out.family(name, MetricKind::Counter, help);
        for (route, sum) in &routes {
            for (result, count) in EncodingResult::ALL.iter().zip(sum.encoding) {
                if count > 0 {
                    out.sample(name, &[("route", route), ("result", result.as_str())], count);
                }
            }
        }
        for (name, help, bytes) in [
            ("portcullis_encoding_plain_bytes_total", "Bytes that were encoded.", 0),
            ("portcullis_encoding_encoded_bytes_total", "Bytes that they became and that were sent.", 1),
        ] {
            out.family(name, MetricKind::Counter, help);
            for (route, sum) in &routes {
                out.sample(name, &[("route", route)], sum.encoding_bytes[bytes]);
            }
        }
    }

    fn render_upstreams(&self, out: &mut Exposition<'_>) {
        type Pick = fn(&UpstreamMetrics) -> &AtomicU64;
        let families: [(&str, &str, Pick); 7] = [
            ("portcullis_upstream_connects_total", "Connections made to endpoints.", |m| &m.connects),
            ("portcullis_upstream_connect_failures_total", "Connections that failed.", |m| {
                &m.connect_failures
            }),
            ("portcullis_upstream_retries_total", "Requests tried on a further endpoint.", |m| &m.retries),
            (
                "portcullis_upstream_retries_refused_total",
                "Requests not tried on a further endpoint because the retry budget was used up.",
                |m| &m.retries_refused,
            ),
            ("portcullis_upstream_ejections_total", "Endpoints left out for a while.", |m| &m.ejections),
            ("portcullis_upstream_requests_waited_total", "Requests that had to wait for room.", |m| {
                &m.waited
            }),
            (
                "portcullis_upstream_requests_refused_total",
                "Requests refused because the upstream had as many under way as it may have.",
                |m| &m.refused,
            ),
        ];
        let gauges: [(&str, &str, Pick); 3] = [
            (
                "portcullis_upstream_panic",
                "1 if so few endpoints are healthy that requests go to all of them.",
                |m| &m.panic,
            ),
            (
                "portcullis_upstream_requests_under_way",
                "Requests under way, if the upstream has limits.",
                |m| &m.under_way,
            ),
            ("portcullis_upstream_requests_waiting", "Requests that wait for room.", |m| &m.waiting),
        ];
        let counters = families.map(|(name, help, pick)| (name, MetricKind::Counter, help, pick));
        let gauges = gauges.map(|(name, help, pick)| (name, MetricKind::Gauge, help, pick));
        let upstreams = self.upstreams.all();
        for (name, kind, help, pick) in counters.into_iter().chain(gauges) {
            out.family(name, kind, help);
            for (upstream, metrics) in &upstreams {
                out.sample(name, &[("upstream", upstream)], read(pick(metrics)));
            }
        }
    }
}

/// Returns the exchanges by status class, without classes that never occurred.
fn counted(metrics: &RouteMetrics) -> Vec<(&'static str, u64)> {
    let classes = CLASSES.into_iter().zip(metrics.sum().classes);
    classes.filter(|(_, count)| *count > 0).collect()
}

fn read(number: &AtomicU64) -> u64 {
    number.load(Ordering::Relaxed)
}

fn bump(number: &AtomicU64) {
    number.fetch_add(1, Ordering::Relaxed);
}

/// The numbers of an upstream.
#[derive(Debug, Default)]
pub struct UpstreamMetrics {
    connects: AtomicU64,
    connect_failures: AtomicU64,
    retries: AtomicU64,
    retries_refused: AtomicU64,
    ejections: AtomicU64,
    waited: AtomicU64,
    refused: AtomicU64,
    under_way: AtomicU64,
    waiting: AtomicU64,
    panic: AtomicU64,
}

impl UpstreamMetrics {
    /// Counts a connection that was made, or failed.
    pub fn connect(&self, made: bool) {
        bump(if made { &self.connects } else { &self.connect_failures });
    }

    /// Counts a request that was tried on another endpoint.
    pub fn retry(&self) {
        bump(&self.retries);
    }

    /// Counts a request that was not tried on another endpoint, because the retry budget was used up.
    pub fn retry_refused(&self) {
        bump(&self.retries_refused);
    }

    /// Counts an ejection of an endpoint.
    pub fn ejection(&self) {
        bump(&self.ejections);
    }

    /// Counts a request that got room of an upstream with limits, until [`Self::leave`].
    pub fn enter(&self) {
        bump(&self.under_way);
    }

    /// The room of a request is free again.
    pub fn leave(&self) {
        self.under_way.fetch_sub(1, Ordering::Relaxed);
    }

    /// Counts a request that waits for room, until [`Self::end_waiting`].
    pub fn begin_waiting(&self) {
        bump(&self.waited);
        bump(&self.waiting);
    }

    /// A request waits no more.
    pub fn end_waiting(&self) {
        self.waiting.fetch_sub(1, Ordering::Relaxed);
    }

    /// Sets whether so few endpoints are healthy that requests go to all.
    pub fn set_panic(&self, panics: bool) {
        self.panic.store(u64::from(panics), Ordering::Relaxed);
    }

    /// Counts a request that was refused because there was no room.
    pub fn refused(&self) {
        bump(&self.refused);
    }
}

/// The numbers of a route.
#[derive(Debug)]
pub struct RouteMetrics {
    shards: Box<[Shard]>,
}

/// One worker's part. Two cache lines apart from the next, because processors fetch them in pairs.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Shard {
    classes: [AtomicU64; CLASSES.len()],
    buckets: [AtomicU64; BUCKETS.len()],
    /// Beyond the last bucket.
    slower: AtomicU64,
    micros: AtomicU64,
    bytes: [AtomicU64; 2],
    /// Exchanges that failed, by the side at fault.
    errors: [AtomicU64; FaultSide::ALL.len()],
    /// What the route's cache did.
    cache: [AtomicU64; CacheResult::ALL.len()],
    /// Bytes of response bodies that came from the cache.
    cache_bytes: AtomicU64,
    /// What became of responses, if the route encodes.
    encoding: [AtomicU64; EncodingResult::COUNT],
    /// Bytes of encoded responses before and after.
    encoding_bytes: [AtomicU64; 2],
}

/// A route's numbers over all workers.
#[derive(Debug, Default)]
struct Sum {
    classes: [u64; CLASSES.len()],
    buckets: [u64; BUCKETS.len()],
    slower: u64,
    micros: u64,
    bytes: [u64; 2],
    errors: [u64; FaultSide::ALL.len()],
    cache: [u64; CacheResult::ALL.len()],
    cache_bytes: u64,
    encoding: [u64; EncodingResult::COUNT],
    encoding_bytes: [u64; 2],
}

impl RouteMetrics {
    fn new(workers: usize) -> Self {
        Self { shards: (0..workers).map(|_| Shard::default()).collect() }
    }

    /// Counts an exchange that has ended. `worker` is the worker's number, `status` what the client got (0 for
    /// nothing), the bytes are those of the bodies, and `error_side` is the side at fault if it failed.
    pub fn exchange(
        &self,
        worker: usize,
        status: u16,
        duration: Duration,
        request_bytes: u64,
        response_bytes: u64,
        error_side: Option<FaultSide>,
    ) {
        let shard = &self.shards[worker % self.shards.len()];
        bump(&shard.classes[usize::from(status / 100).min(CLASSES.len() - 1)]);
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let bucket = BUCKETS.iter().position(|(end, _)| micros <= *end);
        bump(bucket.map_or(&shard.slower, |at| &shard.buckets[at]));
        shard.micros.fetch_add(micros, Ordering::Relaxed);
        shard.bytes[0].fetch_add(request_bytes, Ordering::Relaxed);
        shard.bytes[1].fetch_add(response_bytes, Ordering::Relaxed);
        if let Some(side) = error_side {
            bump(&shard.errors[side as usize]);
        }
    }

    /// Counts what the route's cache did for an exchange whose response body had so many bytes.
    pub fn cache(&self, worker: usize, result: CacheResult, response_bytes: u64) {
        let shard = &self.shards[worker % self.shards.len()];
        bump(&shard.cache[result as usize]);
        if result.is_from_cache() {
            shard.cache_bytes.fetch_add(response_bytes, Ordering::Relaxed);
        }
    }

    /// Counts what became of a response, whose body had so many bytes as it was sent.
    pub fn encoding(&self, worker: usize, report: EncodingReport, response_bytes: u64) {
        let shard = &self.shards[worker % self.shards.len()];
        bump(&shard.encoding[report.result.place()]);
        if let EncodingResult::Encoded(_) = report.result {
            shard.encoding_bytes[0].fetch_add(report.plain_bytes, Ordering::Relaxed);
            shard.encoding_bytes[1].fetch_add(response_bytes, Ordering::Relaxed);
        }
    }

    fn sum(&self) -> Sum {
        let mut sum = Sum::default();
        for shard in &self.shards {
            let add = |to: &mut [u64], from: &[AtomicU64]| {
                for (to, from) in to.iter_mut().zip(from) {
                    *to += read(from);
                }
            };
            add(&mut sum.classes, &shard.classes);
            add(&mut sum.buckets, &shard.buckets);
            add(&mut sum.bytes, &shard.bytes);
            add(&mut sum.errors, &shard.errors);
            add(&mut sum.cache, &shard.cache);
            add(&mut sum.encoding, &shard.encoding);
            add(&mut sum.encoding_bytes, &shard.encoding_bytes);
            sum.cache_bytes += read(&shard.cache_bytes);
            sum.slower += read(&shard.slower);
            sum.micros += read(&shard.micros);
        }
        sum
    }
}

/// Numbers by name, or by several.
#[derive(Debug)]
struct Names<T, K = Name>(Lock<BTreeMap<K, Arc<T>>>);

/// A name, or several.
trait Key: Ord + Clone {
    /// Returns the name under which everything beyond [`NAMES_MAX`] is counted.
    fn other() -> Self;
}

impl Key for Name {
    fn other() -> Self {
        Self::from("other")
    }
}

impl Key for (Name, Name) {
    fn other() -> Self {
        (Name::other(), Name::other())
    }
}

impl<T, K> Default for Names<T, K> {
    fn default() -> Self {
        Self(Lock::default())
    }
}

impl<T, K: Key> Names<T, K> {
    fn get(&self, name: &K, new: impl FnOnce() -> T) -> Arc<T> {
        let mut names = self.0.lock();
        let full = names.len() >= NAMES_MAX && !names.contains_key(name);
        let name = if full { K::other() } else { name.clone() };
        Arc::clone(names.entry(name).or_insert_with(|| Arc::new(new())))
    }

    fn all(&self) -> Vec<(K, Arc<T>)> {
        let names = self.0.lock();
        names.iter().map(|(name, metrics)| (name.clone(), Arc::clone(metrics))).collect()
    }
}

#[cfg(test)]
mod tests;
