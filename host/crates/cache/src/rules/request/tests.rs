use super::{Access, Request, WhyBypass};
use crate::rules::settings::Settings;
use crate::rules::testing::request_head as head;

fn access(method: &str, lines: &[(&str, &str)], has_body: bool) -> Access {
    Request::read(&Settings::default(), &head(method, lines), has_body).access()
}

#[test]
fn section_3_only_get_and_head_are_looked_up() {
    for (method, expected) in [
        ("GET", Access::Lookup),
        ("HEAD", Access::Lookup),
        ("POST", Access::Write),
        ("OPTIONS", Access::Write),
        ("M-SEARCH", Access::Write),
        // Methods have case.
        ("get", Access::Write),
    ] {
        assert_eq!(access(method, &[], false), expected, "{method}");
    }
}

#[test]
fn what_the_key_does_not_have_bypasses() {
    use WhyBypass::{Body, NoStore, Override, Precondition};
    for (lines, has_body, why) in [
        (&[][..], true, Body),
        (&[("if-match", "\"a\"")], false, Precondition),
        (&[("if-unmodified-since", "x")], false, Precondition),
        (&[("x-http-method-override", "DELETE")], false, Override),
        (&[("cache-control", "no-store")], false, NoStore),
    ] {
        assert_eq!(access("GET", lines, has_body), Access::Bypass(why), "{lines:?}");
        assert_eq!(access("HEAD", lines, has_body), Access::Bypass(why), "{lines:?}");
        assert!(why.as_str().starts_with("request-"));
    }
    let mut upgrade = head("GET", &[]);
    upgrade.upgrade = Some("websocket".to_owned());
    let read = Request::read(&Settings::default(), &upgrade, false);
    assert_eq!(read.access(), Access::Bypass(WhyBypass::Upgrade));
    assert_eq!(access("GET", &[("if-none-match", "\"a\""), ("range", "bytes=0-")], false), Access::Lookup);
}

#[test]
fn section_5_4_pragma_counts_without_cache_control() {
    for (lines, expected) in [
        (&[("pragma", "no-cache")][..], true),
        (&[("pragma", "foo, No-Cache")], true),
        (&[("pragma", "foo")], false),
        (&[("pragma", "no-cache"), ("cache-control", "max-age=5")], false),
        (&[("pragma", "x"), ("cache-control", "no-cache")], true),
    ] {
        let head = head("GET", lines);
        assert_eq!(
            Request::read(&Settings::default(), &head, false).directives.no_cache,
            expected,
            "{lines:?}"
        );
    }
}

#[test]
fn a_route_can_ignore_what_clients_say() {
    let settings = Settings { client_directives: false, ..Settings::default() };
    let head = head(
        "GET",
        &[("cache-control", "no-cache, no-store, max-age=0, only-if-cached"), ("pragma", "no-cache")],
    );
    let read = Request::read(&settings, &head, false);
    assert_eq!(read.access(), Access::Lookup);
    assert!(!read.directives.no_cache && !read.only_if_cached() && read.directives.max_age.is_none());
    assert!(read.no_store, "5.2.1.5: its own response is not stored");
}
