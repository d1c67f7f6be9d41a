use proptest::prelude::*;

use super::{WhyNot, content_range, storable};
use crate::rules::request::{Request, WhyBypass};
use crate::rules::settings::{Cookies, Settings};
use crate::rules::stored::Span;
use crate::rules::testing::{DATE, at, at_once, lines, request_head, response, store_as, stored, value};

/// What a GET gets of a response with this Cache-Control.
#[track_caller]
fn check(status: u16, response: &[(&str, &str)], expected: Result<u32, WhyNot>) {
    let stored = store_as(&Settings::default(), ("GET", &[]), (status, response));
    assert_eq!(stored.map(|stored| stored.lifetime()), expected, "{status} {response:?}");
}

#[test]
fn section_3_what_may_be_stored() {
    use WhyNot::{NoLifetime, NoStore, Private, Status, Useless};
    for status in [200, 203, 204, 299, 301, 302, 303, 307, 308, 400, 404, 410, 499, 500, 502, 503, 504, 599] {
        check(status, &[("cache-control", "max-age=60")], Ok(60));
        check(status, &[("cache-control", "max-age=60, no-store")], Err(NoStore));
        check(status, &[("cache-control", "No-StOrE")], Err(NoStore));
        check(status, &[("cache-control", "max-age=60"), ("cache-control", "PRIVATE")], Err(Private));
    }
    check(100, &[("cache-control", "max-age=60")], Err(Status));
    check(103, &[("cache-control", "max-age=60")], Err(Status));
    check(304, &[("cache-control", "max-age=60")], Err(Status));
    check(200, &[], Err(Useless));
    check(201, &[], Err(NoLifetime));
    check(503, &[("etag", "\"a\"")], Err(NoLifetime));
    check(200, &[("cache-control", "max-age=0")], Err(Useless));
    check(404, &[("cache-control", "max-age=0"), ("etag", "\"a\"")], Err(Useless));
    check(200, &[("cache-control", "max-age=0"), ("etag", "\"a\"")], Ok(0));
    check(200, &[("cache-control", "no-cache"), ("last-modified", "x")], Err(Useless));
    check(200, &[("cache-control", "no-cache"), ("etag", "\"a\"")], Ok(0));
    check(200, &[("cache-control", "max-age=0, stale-if-error=60")], Ok(0));
}

#[test]
fn section_5_2_2_3_must_understand() {
    check(200, &[("cache-control", "max-age=60, no-store, must-understand")], Ok(60));
    check(599, &[("cache-control", "max-age=60, no-store, must-understand")], Err(WhyNot::Status));
    check(599, &[("cache-control", "max-age=60, must-understand")], Err(WhyNot::Status));
}

#[test]
fn section_3_methods() {
    let settings = Settings::default();
    let fresh = [("cache-control", "max-age=60")];
    let get = |method| store_as(&settings, (method, &[]), (200, &fresh)).map(drop);
    assert_eq!(get("GET"), Ok(()));
    for method in ["HEAD", "PUT", "DELETE", "OPTIONS", "M-SEARCH", "POST", "get"] {
        assert_eq!(get(method), Err(WhyNot::Method), "{method}");
    }
}

/// RFC 9110, 9.3.3.
#[test]
fn section_3_a_post_that_names_its_own_url() {
    let settings = Settings::default();
    for (status, lines, expected) in [
        (200, &[("cache-control", "max-age=60"), ("content-location", "/f/page?q=1")][..], Ok(())),
        (200, &[("expires", &at(DATE + 9)), ("content-location", "http://A.example:80/f/page?q=1")], Ok(())),
        (200, &[("cache-control", "max-age=60"), ("content-location", "")], Ok(())),
        (200, &[("cache-control", "max-age=60"), ("content-location", "/f/page")], Err(WhyNot::Method)),
        (
            200,
            &[("cache-control", "max-age=60"), ("content-location", "//b.example/f/page?q=1")],
            Err(WhyNot::Method),
        ),
        (
            200,
            &[("last-modified", &at(DATE - 86_400)), ("content-location", "/f/page?q=1")],
            Err(WhyNot::Method),
        ),
        (404, &[("cache-control", "max-age=60"), ("content-location", "/f/page?q=1")], Err(WhyNot::Method)),
    ] {
        assert_eq!(store_as(&settings, ("POST", &[]), (status, lines)).map(drop), expected, "{lines:?}");
    }
}

#[test]
fn section_3_5_authorization() {
    let settings = Settings::default();
    for (cache_control, expected) in [
        ("max-age=60", Err(WhyNot::Authorization)),
        ("max-age=60, proxy-revalidate", Err(WhyNot::Authorization)),
        ("max-age=60, public", Ok(())),
        ("max-age=60, must-revalidate", Ok(())),
        ("s-maxage=60", Ok(())),
        ("public, private", Err(WhyNot::Private)),
    ] {
        let asked = [("authorization", "FOO")];
        let stored = store_as(&settings, ("GET", &asked), (200, &[("cache-control", cache_control)]));
        assert_eq!(stored.map(drop), expected, "{cache_control}");
    }
    // The operator's lifetimes are no permission.
    let settings = Settings { ttl: vec![(200, 60)], ..settings };
    let stored = store_as(&settings, ("GET", &[("authorization", "FOO")]), (200, &[]));
    assert_eq!(stored.map(drop), Err(WhyNot::Authorization));
}

#[test]
fn section_7_3_cookies() {
    let rfc = Settings { cookies: Cookies::Rfc, ..Settings::default() };
    for name in ["set-cookie", "Set-Cookie2"] {
        let lines = [("cache-control", "max-age=60"), (name, "a=b")];
        check(200, &lines, Err(WhyNot::SetCookie));
        let stored = store_as(&rfc, ("GET", &[]), (200, &lines)).unwrap();
        assert_eq!(value(stored.fields(), name), Some("a=b"));
    }
    check(
        200,
        &[("cache-control", "max-age=60, private=\"set-cookie\""), ("set-cookie", "a=b")],
        Err(WhyNot::SetCookie),
    );
}

/// A page of a signed-in user that says nothing is validated each time.
#[test]
fn section_4_2_2_no_estimate_with_cookies() {
    let modified = at(DATE - 86_400);
    let lines = [("last-modified", &*modified)];
    let rfc = Settings { cookies: Cookies::Rfc, ..Settings::default() };
    let operator = Settings { ttl: vec![(200, 60)], ..Settings::default() };
    for (settings, asked, expected) in [
        (&Settings::default(), &[("cookie", "session=1")][..], 0),
        (&Settings::default(), &[], 8640),
        (&rfc, &[("cookie", "session=1")], 8640),
        (&operator, &[("cookie", "session=1")], 60),
    ] {
        let stored = store_as(settings, ("GET", asked), (200, &lines)).unwrap();
        assert_eq!(stored.lifetime(), expected, "{asked:?}");
    }
}

#[test]
fn section_5_2_1_5_a_request_that_must_not_be_stored() {
    let asked = [("cache-control", "no-store")];
    let fresh = (200, &[("cache-control", "max-age=60")][..]);
    let stored = store_as(&Settings::default(), ("GET", &asked), fresh);
    assert_eq!(stored.map(drop), Err(WhyNot::Bypass(WhyBypass::NoStore)));
    let ignoring = Settings { client_directives: false, ..Settings::default() };
    assert_eq!(store_as(&ignoring, ("GET", &asked), fresh).map(drop), Err(WhyNot::RequestNoStore));
}

#[test]
fn section_3_1_fields_that_are_not_stored() {
    let stored = stored(&[
        ("cache-control", "max-age=60, private=\"x-user, x-none\", no-cache=\"x-once\""),
        ("connection", "a, B, close"),
        ("a", "1"),
        ("b", "2"),
        ("c", "3"),
        ("x-user", "4"),
        ("x-once", "5"),
        ("age", "6"),
        ("keep-alive", "7"),
        ("proxy-authenticate", "8"),
        ("proxy-authentication-info", "9"),
        ("proxy-authorization", "10"),
        ("proxy-connection", "11"),
        ("te", "trailers"),
        ("trailer", "x"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "x"),
        ("content-length", "5"),
        ("content-foo", "12"),
        ("date", &at(DATE)),
    ]);
    let names: Vec<_> = lines(stored.fields()).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["cache-control", "c", "x-once", "content-foo", "date"]);
    assert_eq!(stored.withheld, ["x-once"]);
}

#[test]
fn rfc_9110_section_6_6_1_date() {
    let fresh = ("cache-control", "max-age=60");
    for (date, expected) in [(at(DATE - 5), DATE - 5), ("foo".to_owned(), DATE), (at(DATE + 5), DATE + 5)] {
        let stored = stored(&[fresh, ("date", &date)]);
        assert_eq!(value(stored.fields(), "date"), Some(&*at(expected)), "{date}");
    }
    assert_eq!(value(stored(&[fresh]).fields(), "date"), Some(&*at(DATE)));
}

#[test]
fn section_4_1_vary() {
    let fresh = ("cache-control", "max-age=60");
    check(200, &[fresh, ("vary", "*")], Err(WhyNot::VaryStar));
    check(200, &[fresh, ("vary", "a"), ("vary", "b, *")], Err(WhyNot::VaryStar));
    check(200, &[fresh, ("vary", &"a,".repeat(40))], Ok(60));
    let many: String = (0..40).map(|number| format!("a{number},")).collect();
    check(200, &[fresh, ("vary", &many)], Err(WhyNot::VaryTooLarge));
    let names = vec![("x", "y"); 1000];
    check(200, &[&[fresh][..], &names].concat(), Err(WhyNot::TooManyFields));
}

#[test]
fn section_3_3_parts() {
    let settings = Settings::default();
    let ranged = [("range", "bytes=0-4")];
    for (status, range, length, expected) in [
        (206, Some("bytes 0-4/10"), Some(5), Ok(Some(Span { start: 0, end: 5, complete: 10 }))),
        (206, Some("BYTES 0-4/10"), None, Ok(Some(Span { start: 0, end: 5, complete: 10 }))),
        (200, None, Some(10), Ok(None)),
        (206, Some("bytes 4-9/10"), Some(5), Err(WhyNot::Range)),
        (206, Some("bytes 0-4/*"), Some(5), Err(WhyNot::Range)),
        (206, None, Some(5), Err(WhyNot::Range)),
        // An error that only this range caused must not answer other requests.
        (416, Some("bytes */10"), Some(0), Err(WhyNot::Range)),
        (404, None, None, Err(WhyNot::Range)),
    ] {
        let mut lines = vec![("cache-control", "max-age=60")];
        lines.extend(range.map(|range| ("content-range", range)));
        let head = request_head("GET", &ranged);
        let request = Request::read(&settings, &head, false);
        let stored = storable(&settings, &request, &response(status, &lines), length, at_once(0));
        assert_eq!(stored.map(|stored| stored.span()), expected, "{status} {range:?}");
    }
    check(206, &[("cache-control", "max-age=60"), ("content-range", "bytes 0-4/10")], Err(WhyNot::Range));
}

#[test]
fn rfc_9110_section_14_4_content_range() {
    for text in [
        "",
        "bytes",
        "bytes 0-4",
        "bytes 0-4/5x",
        "bytes 5-4/10",
        "bytes 0-10/10",
        "bytes */10",
        "items 0-4/10",
        "bytes  0-4/10",
        "bytes +0-4/10",
        "bytes 0-99999999999999999999/99999999999999999999",
        "bytes 0-4/10,",
        "bytes 0-18446744073709551615/18446744073709551615",
    ] {
        assert_eq!(content_range(text.as_bytes()), None, "{text}");
    }
}

#[test]
fn rfc_5861_windows_and_what_forbids_them() {
    let settings = Settings { stale_while_revalidate: 7, stale_if_error: 9, ..Settings::default() };
    for (cache_control, expected) in [
        ("max-age=60", (7, 9, false)),
        ("max-age=60, stale-while-revalidate=1, stale-if-error=2", (1, 2, false)),
        ("max-age=60, stale-while-revalidate=0", (0, 9, false)),
        ("max-age=60, must-revalidate, stale-while-revalidate=1, stale-if-error=2", (0, 0, true)),
        ("max-age=60, proxy-revalidate", (0, 0, true)),
        ("max-age=60, no-cache", (0, 0, true)),
        ("max-age=60, no-cache=\"a\"", (7, 9, false)),
        ("s-maxage=60", (0, 0, true)),
        ("s-maxage=60, stale-while-revalidate=1, stale-if-error=2", (1, 2, true)),
    ] {
        let stored = store_as(&settings, ("GET", &[]), (200, &[("cache-control", cache_control)])).unwrap();
        let windows = (stored.stale_while_revalidate, stored.stale_if_error, stored.rules.never_stale);
        assert_eq!(windows, expected, "{cache_control}");
    }
}

#[test]
fn reasons_are_tokens() {
    for why in [WhyNot::Method, WhyNot::VaryStar, WhyNot::Bypass(WhyBypass::Body), WhyNot::TooManyFields] {
        assert!(why.as_str().bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'));
    }
}

proptest! {
    /// Whatever a response says, a private or unstorable one is not stored, and its hop-by-hop fields never are.
    #[test]
    fn never_stores_what_is_forbidden(
        status in 100..600_u16,
        directives in "[a-z0-9=\", -]{0,40}",
        forbidden in "(no-store|private|No-Store|PRIVATE)",
        connection in "[a-c, ]{0,8}",
    ) {
        let cache_control = format!("{forbidden}, {directives}");
        let lines = [("cache-control", cache_control.trim_end()), ("a", "1"), ("connection", connection.trim())];
        let settings = Settings { ttl: (200..600).map(|status| (status, 60)).collect(), ..Settings::default() };
        let refused = store_as(&settings, ("GET", &[]), (status, &lines)).is_err();
        prop_assert!(refused || directives.contains("must-understand"));
        if let Ok(stored) = store_as(&settings, ("GET", &[]), (status, &lines[1..])) {
            let named = connection.split(',').any(|option| option.trim() == "a");
            prop_assert_eq!(stored.fields().get(b"a").is_none(), named);
            prop_assert!(stored.fields().get(b"connection").is_none());
        }
    }
}

/// What may be a page of a client that is signed in is not used for others without the origin, not even while stale
/// responses may be.
#[test]
fn section_4_2_4_no_stale_use_of_what_may_be_of_one_client() {
    let settings = Settings {
        stale_while_revalidate: 60,
        stale_if_error: 60,
        ttl: vec![(404, 5)],
        ..Settings::default()
    };
    let settled = |cookies: Cookies| Settings { cookies, ..settings.clone() };
    let asked = [("cookie", "id=1")];
    for (cookies, asked, status, lines, expected) in [
        (Cookies::Skip, &asked[..], 200, &[("etag", "\"a\"")][..], (0, true)),
        (Cookies::Skip, &[], 200, &[("etag", "\"a\"")], (60, false)),
        (Cookies::Rfc, &asked, 200, &[("etag", "\"a\"")], (60, false)),
        (Cookies::Skip, &asked, 200, &[("cache-control", "max-age=1")], (60, false)),
        (Cookies::Skip, &asked, 404, &[("etag", "\"a\"")], (60, false)),
        (
            Cookies::Skip,
            &asked,
            200,
            &[("etag", "\"a\""), ("cache-control", "stale-while-revalidate=9")],
            (9, true),
        ),
    ] {
        let stored = store_as(&settled(cookies), ("GET", asked), (status, lines)).unwrap();
        assert_eq!(
            (stored.stale_while_revalidate, stored.rules.never_stale),
            expected,
            "{asked:?} {lines:?}"
        );
    }
}
