use std::time::Duration;

use portcullis_model::Name;
use portcullis_policy::FaultKind;
use portcullis_sandbox::{PolicyReport, Standing, Standings};

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
