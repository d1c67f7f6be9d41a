use std::time::{Duration, Instant, UNIX_EPOCH};

use portcullis_model::PolicyCost;

use super::{ATTRIBUTES_MAX, AccessRecord, POLICIES_MAX};
use crate::timestamp::Timestamp;
use crate::{CacheResult, FaultSide};

pub(crate) fn record() -> AccessRecord<'static> {
    AccessRecord {
        ended: Instant::now(),
        time: UNIX_EPOCH + Duration::from_millis(1_767_225_599_250),
        client: "203.0.113.7".parse().unwrap(),
        peer: "2001:db8::1".parse().unwrap(),
        proxy: None,
        listener: "web",
        method: "GET",
        scheme: "https",
        authority: "api.example.com",
        path: b"/v1/a",
        version: "HTTP/1.1",
        status: 200,
        route: Some("api"),
        upstream: Some("api"),
        endpoint: Some("10.0.0.11:8080"),
        attempts: 2,
        request_bytes: 12,
        response_bytes: 3456,
        duration: Duration::from_micros(1_234_567),
        upstream_duration: Some(Duration::from_micros(1_000)),
        policy_cpu: None,
        tls: Some("TLSv1.3"),
        trace_id: "0af7651916cd43dd8448eb211c80319c",
        user_agent: Some(b"curl/8.5"),
        error: None,
        error_side: None,
        cache: None,
        encoding: None,
    }
}

fn text(record: &AccessRecord<'_>, attributes: &[(&str, &str)]) -> String {
    let mut out = Vec::new();
    record.push_text(&mut out, &mut Timestamp::default(), attributes.iter().copied());
    String::from_utf8(out).unwrap()
}

fn json(record: &AccessRecord<'_>, attributes: &[(&str, &str)]) -> serde_json::Value {
    let mut out = Vec::new();
    let policies: [(&str, &PolicyCost); 0] = [];
    record.push_json(&mut out, &mut Timestamp::default(), attributes.iter().copied(), policies.into_iter());
    assert_eq!(out.iter().filter(|byte| **byte == b'\n').count(), 1);
    assert_eq!(out.last(), Some(&b'\n'));
    serde_json::from_slice(&out).unwrap()
}

#[test]
fn text_is_the_combined_format_and_more() {
    assert_eq!(
        text(&record(), &[("tenant", "a b")]),
        "203.0.113.7 - - [31/Dec/2025:23:59:59 +0000] \"GET /v1/a HTTP/1.1\" 200 3456 \"-\" \"curl/8.5\" \
         listener=web scheme=https authority=api.example.com route=api upstream=api endpoint=10.0.0.11:8080 \
         tls=TLSv1.3 trace=0af7651916cd43dd8448eb211c80319c peer=2001:db8::1 ended=2025-12-31T23:59:59.250Z attempts=2 received=12 \
         time=1.234567 upstream-time=0.001000 attribute.tenant=\"a b\"\n"
    );
}

#[test]
fn json_has_a_member_for_each_thing() {
    let expected = serde_json::json!({
        "time": "2025-12-31T23:59:59.250Z", "client": "203.0.113.7", "peer": "2001:db8::1", "listener": "web",
        "method": "GET", "scheme": "https", "authority": "api.example.com", "path": "/v1/a", "version": "HTTP/1.1",
        "status": 200, "route": "api", "upstream": "api", "endpoint": "10.0.0.11:8080", "attempts": 2,
        "request_bytes": 12, "response_bytes": 3456, "duration_us": 1_234_567, "upstream_duration_us": 1000,
        "tls": "TLSv1.3", "trace_id": "0af7651916cd43dd8448eb211c80319c", "user_agent": "curl/8.5",
        "attributes": {"tenant": "a", "x\"": "y\n"},
    });
    assert_eq!(json(&record(), &[("tenant", "a"), ("x\"", "y\n")]), expected);
}

#[test]
fn what_is_absent_is_left_out() {
    let bare = AccessRecord {
        peer: record().client,
        route: None,
        upstream: None,
        endpoint: None,
        upstream_duration: None,
        tls: None,
        user_agent: None,
        error: Some("no route takes the request"),
        error_side: Some(FaultSide::Client),
        cache: Some(CacheResult::Hit),
        ..record()
    };
    let line = text(&bare, &[]);
    assert!(line.contains(" error-side=client"), "{line}");
    assert_eq!(json(&bare, &[])["error_side"], "client");
    assert!(line.contains(" cache=hit") && json(&bare, &[])["cache"] == "hit", "{line}");
    assert!(!text(&record(), &[]).contains("error"), "nothing went wrong");
    for absent in ["route=", "upstream", "endpoint=", "tls=", "peer=", "attribute"] {
        assert!(!line.contains(absent), "{absent} in {line}");
    }
    assert!(line.contains("\"-\" \"-\"") && line.contains("error=\"no route takes the request\""), "{line}");
    let object = json(&bare, &[]);
    for absent in ["route", "upstream", "endpoint", "tls", "user_agent", "attributes"] {
        assert!(object.get(absent).is_none(), "{absent} in {object}");
    }
}

#[test]
fn nobody_can_forge_a_line() {
    let evil = "x\" 200 1\n127.0.0.1 - - [\u{1b}[2J";
    let record = AccessRecord {
        method: evil,
        path: evil.as_bytes(),
        authority: evil,
        user_agent: Some(evil.as_bytes()),
        error: Some(evil),
        ..record()
    };
    let line = text(&record, &[(evil, evil)]);
    assert_eq!(line.matches('\n').count(), 1);
    assert!(!line.contains('\u{1b}'));
    assert!(!line.contains("x\" 200"), "{line}");
    let object = json(&record, &[(evil, evil)]);
    assert_eq!(object["path"], evil);
    assert_eq!(object["attributes"][evil], evil);
}

#[test]
fn a_record_is_bounded_whatever_is_in_it() {
    let long = "\u{1}".repeat(100_000);
    let record = AccessRecord {
        method: &long,
        authority: &long,
        path: long.as_bytes(),
        trace_id: &long,
        user_agent: Some(long.as_bytes()),
        error: Some(&long),
        ..record()
    };
    let name = "n".repeat(ATTRIBUTES_MAX / 16);
    let attributes: Vec<_> = (0..100).map(|_| (name.as_str(), name.as_str())).collect();
    assert!(text(&record, &attributes).len() < 32 * 1024);
    let object = json(&record, &[("a", &long), ("b", "c")]);
    assert!(object.to_string().len() < 64 * 1024);
    assert_eq!(object["attributes"]["b"], "c");
}

#[test]
fn tells_what_policies_cost() {
    let record = AccessRecord { policy_cpu: Some(Duration::from_nanos(1_234_567)), ..record() };
    assert!(text(&record, &[]).contains(" policy-time=0.001234"), "{}", text(&record, &[]));
    let cost =
        |calls, faults| PolicyCost { calls, faults, cpu: Duration::from_nanos(700), memory_bytes: 1 << 16 };
    let costs = [("keys", cost(2, 0)), ("idle", PolicyCost::default()), ("bad", cost(0, 1))];
    let with = |costs: &[(&str, PolicyCost)]| -> serde_json::Value {
        let mut out = Vec::new();
        let costs = costs.iter().map(|(name, cost)| (*name, cost));
        record.push_json(&mut out, &mut Timestamp::default(), std::iter::empty(), costs);
        serde_json::from_slice(&out).unwrap()
    };
    let object = with(&costs);
    assert_eq!(object["policy_cpu_ns"], 1_234_567);
    let expected = serde_json::json!([
        { "name": "keys", "calls": 2, "cpu_ns": 700, "memory_bytes": 65536 },
        { "name": "bad", "calls": 0, "cpu_ns": 700, "memory_bytes": 65536, "faults": 1 },
    ]);
    assert_eq!(object["policies"], expected);
    // Those of a route that ran none, or too many.
    assert_eq!(with(&costs[1..2]).get("policies"), None);
    let many = vec![costs[0]; POLICIES_MAX + 1];
    assert_eq!(with(&many)["policies"].as_array().unwrap().len(), POLICIES_MAX);
}
