use super::{CacheStatus, Fwd};

#[track_caller]
fn check(status: CacheStatus<'_>, expected: &str) {
    let mut written = Vec::new();
    status.write(&mut written);
    assert_eq!(String::from_utf8_lossy(&written), expected);
}

#[test]
fn rfc_9211_section_2_members() {
    let cache = CacheStatus { cache: "portcullis", ..CacheStatus::default() };
    check(CacheStatus { hit: true, ttl: Some(30), ..cache }, "portcullis; hit; ttl=30");
    check(
        CacheStatus { hit: true, ttl: Some(-5), detail: Some("stale"), ..cache },
        "portcullis; hit; ttl=-5; detail=stale",
    );
    check(
        CacheStatus {
            fwd: Some(Fwd::Stale),
            fwd_status: Some(304),
            ttl: Some(60),
            stored: true,
            collapsed: true,
            ..cache
        },
        "portcullis; fwd=stale; fwd-status=304; ttl=60; stored; collapsed",
    );
    for (fwd, token) in [
        (Fwd::Bypass, "bypass"),
        (Fwd::Method, "method"),
        (Fwd::UriMiss, "uri-miss"),
        (Fwd::VaryMiss, "vary-miss"),
        (Fwd::Miss, "miss"),
        (Fwd::Request, "request"),
        (Fwd::Partial, "partial"),
    ] {
        check(CacheStatus { fwd: Some(fwd), ..cache }, &format!("portcullis; fwd={token}"));
    }
}

#[test]
fn rfc_9651_section_3_3_tokens_and_strings() {
    for (cache, expected) in [
        ("edge-1.example:80/a", "edge-1.example:80/a"),
        ("my cache", "\"my cache\""),
        ("1cache", "\"1cache\""),
        ("a\"b\\c", "\"a\\\"b\\\\c\""),
        ("caf\u{e9}\r\n", "\"caf???\""),
        ("", "\"\""),
    ] {
        check(CacheStatus { cache, ..CacheStatus::default() }, expected);
    }
}
