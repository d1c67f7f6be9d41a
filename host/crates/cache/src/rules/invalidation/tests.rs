use portcullis_http::Scheme;
use proptest::prelude::*;

use super::{invalidated, invalidates, resolve};
use crate::rules::testing::{fields, request_head};

#[test]
fn section_4_4_unsafe_and_unknown_methods_that_succeed() {
    for method in ["POST", "PUT", "DELETE", "PATCH", "M-SEARCH", "get"] {
        for (status, expected) in
            [(200, true), (204, true), (303, true), (404, false), (500, false), (103, false)]
        {
            assert_eq!(invalidates(method, status), expected, "{method} {status}");
        }
    }
    for method in ["GET", "HEAD", "OPTIONS", "TRACE"] {
        assert!(!invalidates(method, 200), "{method}");
    }
}

#[test]
fn rfc_3986_section_5_references_of_the_same_origin() {
    for (reference, expected) in [
        ("/other", Some("/other")),
        ("/other?x=1#y", Some("/other?x=1")),
        ("other", Some("/f/other")),
        ("./other/", Some("/f/other/")),
        ("../other", Some("/other")),
        ("../../../other", Some("/other")),
        ("a/./b/../c", Some("/f/a/c")),
        ("..", Some("/")),
        (".", Some("/f/")),
        ("?x", Some("/f/page?x")),
        ("", Some("/f/page?q=1")),
        ("#y", Some("/f/page?q=1")),
        ("http://a.example/other", Some("/other")),
        ("HTTP://A.EXAMPLE:80/other", Some("/other")),
        ("//a.example/x/../other", Some("/other")),
        ("http://a.example", Some("/")),
        ("http://a.example?x", Some("/?x")),
        ("a:b/c", None),
        ("x/a:b", Some("/f/x/a:b")),
        ("?a:b", Some("/f/page?a:b")),
        ("https://a.example/other", None),
        ("http://a.example:81/other", None),
        ("http://b.example/other", None),
        ("//b.example/other", None),
        ("http://user@a.example/other", None),
        ("http:///other", None),
        ("http:/other", None),
        ("http:other", None),
        ("///other", None),
        ("/\u{e9}", Some("/\u{e9}")),
    ] {
        let head = request_head("POST", &[]);
        assert_eq!(resolve(&head, reference.as_bytes()).as_deref(), expected, "{reference}");
    }
    let mut secure = request_head("POST", &[]);
    secure.scheme = Scheme::Https;
    secure.authority = "a.example:443".to_owned();
    assert_eq!(resolve(&secure, b"https://a.example/x").as_deref(), Some("/x"));
    assert_eq!(resolve(&secure, b"http://a.example/x"), None);
    assert_eq!(resolve(&secure, b"/\xff"), None);
}

#[test]
fn section_4_4_location_and_content_location() {
    let head = request_head("POST", &[]);
    for (lines, expected) in [
        (&[("location", "one"), ("content-location", "/two")][..], &["/f/one", "/two"][..]),
        (&[("location", "/x"), ("content-location", "../x")], &["/x"]),
        (&[("location", "http://b.example/x"), ("content-location", "")], &[]),
        (&[], &[]),
    ] {
        assert_eq!(invalidated(&head, &fields(lines)), expected, "{lines:?}");
    }
}

proptest! {
    #[test]
    fn resolves_any_bytes(reference in prop::collection::vec(any::<u8>(), 0..30)) {
        let resolved = resolve(&request_head("POST", &[]), &reference);
        prop_assert!(resolved.is_none_or(|target| target.starts_with('/')));
    }

    #[test]
    fn resolves_what_looks_like_a_reference(reference in "(http:)?(//)?[a./?#:]{0,12}") {
        if let Some(target) = resolve(&request_head("POST", &[]), reference.as_bytes()) {
            let path = target.split('?').next().unwrap_or_default();
            prop_assert!(target.starts_with('/'));
            prop_assert!(path.split('/').all(|segment| segment != "." && segment != ".."));
        }
    }
}
