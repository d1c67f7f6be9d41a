use std::sync::Arc;
use std::time::Duration;

use portcullis_model::PolicyCost;

use super::{Metrics, NAMES_MAX};
use crate::{CacheFigures, CacheReport, CacheResult, DiskFigures, FaultSide, PurgeFigures};

fn rendered(metrics: &Metrics) -> String {
    let mut out = String::new();
    metrics.render(&mut out);
    out
}

fn has(text: &str, line: &str) {
    assert!(text.lines().any(|found| found == line), "no `{line}` in:\n{text}");
}

#[test]
fn workers_are_added_up() {
    let metrics = Metrics::new(2);
    let route = metrics.route(&"api".into());
    route.exchange(0, 200, Duration::from_micros(500), 1, 10, None);
    route.exchange(1, 204, Duration::from_micros(501), 2, 20, Some(FaultSide::Client));
    route.exchange(7, 503, Duration::from_secs(61), 3, 30, Some(FaultSide::Upstream));
    route.exchange(0, 0, Duration::ZERO, 0, 0, Some(FaultSide::Client));
    let text = rendered(&metrics);
    has(&text, r#"portcullis_requests_total{route="api",status="2xx"} 2"#);
    has(&text, r#"portcullis_requests_total{route="api",status="5xx"} 1"#);
    has(&text, r#"portcullis_requests_total{route="api",status="none"} 1"#);
    assert!(!text.contains("3xx"), "a class that never occurred");
    has(&text, r#"portcullis_request_errors_total{route="api",side="client"} 2"#);
    has(&text, r#"portcullis_request_errors_total{route="api",side="upstream"} 1"#);
    assert!(!text.contains("side=\"policy\""), "a side that never was at fault");
    has(&text, r#"portcullis_request_duration_seconds_bucket{route="api",le="0.0005"} 2"#);
    has(&text, r#"portcullis_request_duration_seconds_bucket{route="api",le="0.001"} 3"#);
    has(&text, r#"portcullis_request_duration_seconds_bucket{route="api",le="60"} 3"#);
    has(&text, r#"portcullis_request_duration_seconds_bucket{route="api",le="+Inf"} 4"#);
    has(&text, r#"portcullis_request_duration_seconds_count{route="api"} 4"#);
    has(&text, r#"portcullis_request_duration_seconds_sum{route="api"} 61.001001"#);
    has(&text, r#"portcullis_request_body_bytes_total{route="api"} 6"#);
    has(&text, r#"portcullis_response_body_bytes_total{route="api"} 60"#);
}

#[test]
fn what_caches_did_is_counted_for_routes_that_have_one() {
    let metrics = Metrics::new(2);
    let route = metrics.route(&"assets".into());
    metrics.route(&"api".into()).exchange(0, 200, Duration::ZERO, 0, 5, None);
    route.cache(0, CacheResult::Hit, 10);
    route.cache(1, CacheResult::Hit, 20);
    route.cache(1, CacheResult::Miss, 40);
    let text = rendered(&metrics);
    has(&text, r#"portcullis_cache_requests_total{route="assets",result="hit"} 2"#);
    has(&text, r#"portcullis_cache_requests_total{route="assets",result="miss"} 1"#);
    has(&text, r#"portcullis_cache_requests_total{route="assets",result="stale"} 0"#);
    has(&text, r#"portcullis_cache_response_body_bytes_total{route="assets"} 30"#);
    assert!(!text.contains(r#"portcullis_cache_requests_total{route="api""#));
}

#[derive(Debug)]
struct FixedCache(u64);

impl CacheReport for FixedCache {
    fn figures(&self) -> CacheFigures {
        let disk = DiskFigures { entries: 7, damaged: 4, up: true, ..DiskFigures::default() };
        let disk = Some(disk).filter(|_| self.0 == 20);
        CacheFigures {
            entries: 1,
            bytes: self.0,
            bytes_max: 100,
            evictions: 2,
            refused: 3,
            disk,
            purges: PurgeFigures::default(),
        }
    }
}

#[test]
fn a_cache_is_shown_while_it_is_held() {
    let metrics = Metrics::new(1);
    let show = |bytes: u64| {
        let cache = Arc::new(FixedCache(bytes));
        let shown: Arc<dyn CacheReport> = cache.clone();
        metrics.show_cache(&"assets".into(), Arc::downgrade(&shown));
        cache
    };
    let old = show(10);
    has(&rendered(&metrics), r#"portcullis_cache_bytes{cache="assets"} 10"#);
    let new = show(20);
    has(&rendered(&metrics), r#"portcullis_cache_bytes{cache="assets"} 20"#);
    has(&rendered(&metrics), r#"portcullis_cache_evictions_total{cache="assets"} 2"#);
    has(&rendered(&metrics), r#"portcullis_cache_disk_entries{cache="assets"} 7"#);
    has(&rendered(&metrics), r#"portcullis_cache_disk_up{cache="assets"} 1"#);
    has(&rendered(&metrics), r#"portcullis_cache_disk_errors_total{cache="assets",kind="damaged"} 4"#);
    drop(new);
    has(&rendered(&metrics), r#"portcullis_cache_bytes{cache="assets"} 10"#);
    assert!(!rendered(&metrics).contains("_disk_"));
    drop(old);
    assert!(!rendered(&metrics).contains("assets"));
}

#[test]
fn a_name_keeps_its_numbers_over_reloads_and_is_escaped() {
    let metrics = Metrics::new(1);
    let name = "a\"b\\c\n".into();
    metrics.upstream(&name).retry();
    metrics.upstream(&name).retry();
    has(&rendered(&metrics), r#"portcullis_upstream_retries_total{upstream="a\"b\\c\n"} 2"#);
}

#[test]
fn the_rest_is_counted() {
    let metrics = Metrics::new(1);
    let upstream = metrics.upstream(&"u".into());
    upstream.connect(true);
    upstream.connect(true);
    upstream.connect(false);
    upstream.retry();
    upstream.ejection();
    upstream.enter();
    upstream.enter();
    upstream.leave();
    upstream.begin_waiting();
    upstream.end_waiting();
    upstream.refused();
    for generation in 1..=3 {
        metrics.generation_started(generation);
    }
    metrics.reload_refused();
    let text = rendered(&metrics);
    has(&text, r#"portcullis_upstream_connects_total{upstream="u"} 2"#);
    has(&text, r#"portcullis_upstream_connect_failures_total{upstream="u"} 1"#);
    has(&text, r#"portcullis_upstream_retries_total{upstream="u"} 1"#);
    has(&text, r#"portcullis_upstream_ejections_total{upstream="u"} 1"#);
    has(&text, r#"portcullis_upstream_requests_under_way{upstream="u"} 1"#);
    has(&text, r#"portcullis_upstream_requests_waiting{upstream="u"} 0"#);
    has(&text, r#"portcullis_upstream_requests_waited_total{upstream="u"} 1"#);
    has(&text, r#"portcullis_upstream_requests_refused_total{upstream="u"} 1"#);
    has(&text, "portcullis_generation 3");
    has(&text, r#"portcullis_reloads_total{result="taken"} 2"#);
    has(&text, r#"portcullis_reloads_total{result="refused"} 1"#);
}

#[test]
fn an_endpoint_is_shown_for_as_long_as_it_is_there() {
    let metrics = Metrics::new(1);
    let (a, b) = (metrics.endpoint(&"u".into(), &"a:1".into()), metrics.endpoint(&"u".into(), &"b:1".into()));
    a.failure();
    a.ejection();
    a.set_left_out(true);
    let text = rendered(&metrics);
    has(&text, r#"portcullis_upstream_endpoint_healthy{upstream="u",endpoint="a:1"} 0"#);
    has(&text, r#"portcullis_upstream_endpoint_healthy{upstream="u",endpoint="b:1"} 1"#);
    has(&text, r#"portcullis_upstream_endpoint_failures_total{upstream="u",endpoint="a:1"} 1"#);
    has(&text, r#"portcullis_upstream_endpoint_ejections_total{upstream="u",endpoint="a:1"} 1"#);
    // A reload keeps what is still used, and what it removes goes.
    let again = metrics.endpoint(&"u".into(), &"a:1".into());
    drop((a, b));
    let text = rendered(&metrics);
    has(&text, r#"portcullis_upstream_endpoint_ejections_total{upstream="u",endpoint="a:1"} 1"#);
    assert!(!text.contains("b:1"), "{text}");
    drop(again);
}

#[test]
fn names_are_bounded() {
    let metrics = Metrics::new(1);
    for number in 0..NAMES_MAX + 10 {
        metrics.upstream(&number.to_string().into()).retry();
    }
    assert_eq!(metrics.upstreams.all().len(), NAMES_MAX + 1);
    has(&rendered(&metrics), r#"portcullis_upstream_retries_total{upstream="other"} 10"#);
}

#[test]
fn what_a_policy_costs_is_told_by_route() {
    let metrics = Metrics::new(2);
    let [api, site] = ["api", "site"].map(|route| metrics.route_policy(&route.into(), &"keys".into()));
    let cost =
        |calls, memory_bytes| PolicyCost { calls, faults: 1, cpu: Duration::from_micros(1500), memory_bytes };
    api.add(0, &cost(2, 10));
    api.add(1, &cost(3, 30));
    api.add(1, &cost(1, 20));
    site.add(0, &cost(1, 5));
    let text = rendered(&metrics);
    has(&text, r#"portcullis_route_policy_calls_total{route="api",policy="keys"} 6"#);
    has(&text, r#"portcullis_route_policy_calls_total{route="site",policy="keys"} 1"#);
    has(&text, r#"portcullis_route_policy_cpu_seconds_total{route="api",policy="keys"} 0.0045"#);
    has(&text, r#"portcullis_route_policy_faults_total{route="api",policy="keys"} 3"#);
    has(&text, r#"portcullis_route_policy_memory_bytes_max{route="api",policy="keys"} 30"#);
}
