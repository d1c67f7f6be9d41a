use portcullis_model::Name;
use portcullis_policy::FaultKind;
use portcullis_sandbox::PolicyReport;

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
        policies: vec![PolicyReport {
            policy: Name::from("keys"),
            calls: vec![("on-request-head", 7)],
            faults: vec![("on-request-head", FaultKind::Trap, 1)],
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
}
