mod strict;

use std::time::Duration;

use portcullis_model::Name;
use portcullis_policy::FaultKind;
use portcullis_sandbox::{PolicyReport, Standing, Standings};

use proptest::prelude::*;

use super::*;

fn metric(name: &str, labels: &[(&str, &str)], value: GuestValue) -> GuestMetric {
    let labels = labels.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
    GuestMetric { name: name.to_owned(), labels, value }
}

#[test]
fn writes_what_policies_count_under_names_of_their_own() {
    let histogram = GuestValue::Histogram { buckets: vec![(1.0, 2), (f64::INFINITY, 1)], sum: 9.5, count: 3 };
    let report = SandboxReport {
        instances: 2,
        instances_max: 10,
        memory_bytes: 1 << 20,
        memory_bytes_max: 1 << 30,
        policies: vec![PolicyReport {
            policy: Name::from("keys"),
            calls: vec![("on-request-head", 7)],
            faults: vec![("on-request-head", FaultKind::Trap, 1)],
            instances: 2,
            last_fault: None,
            cpu: Duration::from_micros(2500),
            memory_bytes_max: 65_536,
            quarantine: Standings {
                deciding: Some(Standing { lasted: Duration::ZERO, probe_in: Duration::ZERO }),
                completed: None,
            },
            under_way: vec![
                UnderWay {
                    version: Version::Active,
                    hook_calls: 3,
                    hook_calls_max: 250,
                    http_calls: Some(2),
                    http_calls_max: 200,
                },
                UnderWay {
                    version: Version::Canary,
                    hook_calls: 1,
                    hook_calls_max: 20,
                    http_calls: None,
                    http_calls_max: 200,
                },
            ],
            transitions: [("begun", 3), ("probe-failed", 2), ("ended", 1)],
            guest: vec![
                metric(
                    "seen",
                    &[("who", "a\"b"), ("policy", "forged"), ("who", "twice")],
                    GuestValue::Counter(3),
                ),
                metric("seen", &[], GuestValue::Gauge(f64::INFINITY)),
                metric("size", &[("le", "forged")], histogram),
            ],
        }],
    };
    let mut text = String::new();
    render(&report, &mut text);
    for line in [
        "portcullis_policy_instances 2",
        "portcullis_policy_calls_total{policy=\"keys\",hook=\"on-request-head\"} 7",
        "portcullis_policy_faults_total{policy=\"keys\",hook=\"on-request-head\",kind=\"trap\"} 1",
        "portcullis_policy_cpu_seconds_total{policy=\"keys\"} 0.0025",
        "portcullis_policy_instances_alive{policy=\"keys\"} 2",
        "portcullis_policy_memory_bytes_max{policy=\"keys\"} 65536",
        "portcullis_policy_memory_bytes 1048576",
        "portcullis_policy_hook_calls{policy=\"keys\",version=\"active\"} 3",
        "portcullis_policy_hook_calls_max{policy=\"keys\",version=\"active\"} 250",
        "portcullis_policy_hook_calls{policy=\"keys\",version=\"canary\"} 1",
        "portcullis_policy_http_calls{policy=\"keys\",version=\"active\"} 2",
        "portcullis_policy_http_calls_max{policy=\"keys\",version=\"active\"} 200",
        "portcullis_policy_quarantined{policy=\"keys\"} 1",
        "portcullis_policy_quarantine_transitions_total{policy=\"keys\",transition=\"probe-failed\"} 2",
        "portcullis_guest_seen{policy=\"keys\",who=\"a\\\"b\"} 3",
        "portcullis_guest_seen_gauge{policy=\"keys\"} +Inf",
        "portcullis_guest_size_bucket{policy=\"keys\",le=\"1\"} 2",
        "portcullis_guest_size_bucket{policy=\"keys\",le=\"+Inf\"} 3",
        "portcullis_guest_size_sum{policy=\"keys\"} 9.5",
        "portcullis_guest_size_count{policy=\"keys\"} 3",
    ] {
        assert!(text.lines().any(|written| written == line), "no line `{line}` in:\n{text}");
    }
    assert!(!text.contains("forged"), "{text}");
    assert!(!text.contains("http_calls{policy=\"keys\",version=\"canary\"}"), "it asks nobody: {text}");
}

/// A page on which each policy has these metrics, as all of its parts write it.
fn page(policies: Vec<(&str, Vec<GuestMetric>)>) -> String {
    let mut report = SandboxReport {
        instances: 2,
        instances_max: 10,
        memory_bytes: 1 << 20,
        memory_bytes_max: 1 << 30,
        policies: Vec::new(),
    };
    report.policies.extend(policies.into_iter().map(|(name, guest)| PolicyReport {
        policy: Name::from(name),
        calls: vec![("on-request-head", 7)],
        faults: vec![("on-request-head", FaultKind::Trap, 1)],
        instances: 2,
        last_fault: None,
        cpu: Duration::from_micros(2500),
        memory_bytes_max: 65_536,
        quarantine: Standings::default(),
        under_way: Vec::new(),
        transitions: [("begun", 3), ("probe-failed", 2), ("ended", 1)],
        guest,
    }));
    let mut text = String::new();
    portcullis_telemetry::Metrics::new(2).render(&mut text);
    render(&report, &mut text);
    text
}

#[test]
fn a_name_that_another_series_has_is_told_apart() {
    let histogram = || GuestValue::Histogram { buckets: vec![(1.0, 2)], sum: 2.0, count: 2 };
    let text = page(vec![
        (
            "one",
            vec![
                metric("size", &[], histogram()),
                metric("size_count", &[], GuestValue::Counter(5)),
                metric("size_bucket", &[], GuestValue::Gauge(6.0)),
                metric("x", &[], GuestValue::Counter(1)),
                metric("x_gauge", &[], GuestValue::Gauge(2.0)),
                metric("x_total", &[], GuestValue::Counter(3)),
            ],
        ),
        ("two", vec![metric("x", &[], GuestValue::Gauge(4.0)), metric("x", &[], GuestValue::Gauge(9.0))]),
    ]);
    let families = strict::read(&text).unwrap_or_else(|wrong| panic!("{wrong} in:\n{text}"));
    for (family, value) in [
        ("portcullis_guest_size_count_counter", 5.0),
        ("portcullis_guest_size_bucket_gauge", 6.0),
        ("portcullis_guest_x", 1.0),
        ("portcullis_guest_x_gauge", 4.0),
        ("portcullis_guest_x_gauge_gauge", 2.0),
        ("portcullis_guest_x_total_counter", 3.0),
    ] {
        let read: Vec<_> = families[family].samples.iter().map(|(_, _, value)| *value).collect();
        assert_eq!(read, [value], "{family}");
    }
}

fn value() -> impl Strategy<Value = GuestValue> {
    let bucket = (-31..32_i32, 1..1000_u64).prop_map(|(power, count)| (2_f64.powi(power), count));
    let sum = || prop_oneof![any::<f64>(), Just(f64::NAN), Just(f64::INFINITY), Just(f64::NEG_INFINITY)];
    prop_oneof![
        any::<u64>().prop_map(GuestValue::Counter),
        sum().prop_map(GuestValue::Gauge),
        (proptest::collection::vec(bucket, 0..4), sum()).prop_map(|(mut buckets, sum)| {
            buckets.sort_by(|one, other| one.0.total_cmp(&other.0));
            buckets.dedup_by(|one, other| one.0 == other.0);
            buckets.push((f64::INFINITY, 1));
            let count = buckets.iter().map(|(_, count)| count).sum();
            GuestValue::Histogram { buckets, sum, count }
        }),
    ]
}

proptest! {
    #[test]
    fn whatever_policies_call_their_series_the_page_can_be_read(
        policies in proptest::collection::vec(
            proptest::collection::vec(
                (
                    "[ab_]{1,2}((_bucket|_sum|_count|_total|_created|_counter|_gauge|_histogram|_2){0,2})",
                    proptest::collection::vec(("[ab]|le|policy|_le", "\\PC{0,3}|\n|\"|\\\\"), 0..3),
                    value(),
                ),
                0..12,
            ),
            1..4,
        ),
    ) {
        let names = ["one", "two", "three", "four"];
        let policies: Vec<_> = names.into_iter().zip(policies).map(|(policy, metrics)| {
            let metrics = metrics.into_iter().map(|(name, labels, value)| GuestMetric { name, labels, value });
            (policy, metrics.collect::<Vec<_>>())
        }).collect();
        let text = page(policies);
        let read = strict::read(&text);
        prop_assert!(read.is_ok(), "{} in:\n{text}", read.err().unwrap_or_default());
    }
}
