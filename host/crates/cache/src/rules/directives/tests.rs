use proptest::prelude::*;

use super::{MaxStale, RequestDirectives, ResponseDirectives, SECONDS_MAX, delta_seconds};

fn read(lines: &[&str]) -> ResponseDirectives {
    ResponseDirectives::read(lines.iter().map(|line| line.as_bytes()))
}

fn asked(lines: &[&str]) -> RequestDirectives {
    let mut directives = RequestDirectives::default();
    lines.iter().for_each(|line| directives.add_line(line.as_bytes()));
    directives
}

#[test]
fn section_1_2_2_delta_seconds() {
    for (text, expected) in [
        ("0", Some(0)),
        ("003600", Some(3600)),
        ("2147483647", Some(2_147_483_647)),
        ("2147483648", Some(SECONDS_MAX)),
        ("2147483649", Some(SECONDS_MAX)),
        ("99999999999999999999999999", Some(SECONDS_MAX)),
        ("", None),
        ("-1", None),
        ("+1", None),
        ("1.0", None),
        ("1e3", None),
        ("a1", None),
        ("1a", None),
        ("'1'", None),
        (" 1", None),
    ] {
        assert_eq!(delta_seconds(text.as_bytes()), expected, "{text:?}");
    }
}

#[test]
fn section_5_2_names_without_case_tokens_and_quoted_strings() {
    for (lines, expected) in [
        (&["max-age=60"][..], Some(60)),
        (&["MaX-aGe=60"], Some(60)),
        (&["max-age=\"60\""], Some(60)),
        (&["max-age=\"6\\0\""], Some(60)),
        (&["foobar, max-age=60"], Some(60)),
        (&["a=b ,\t, max-age=60 , c=\"d\""], Some(60)),
        (&["", "max-age=60"], Some(60)),
        (&["extension=\"max-age=3600\", max-age=1"], Some(1)),
        (&["max-age=1, extension=\"max-age=3600\""], Some(1)),
        (&["extension=\"a\\\", max-age=3600\""], None),
        (&["xmax-age=60, max-agex=60, max_age=60"], None),
        (&[], None),
    ] {
        assert_eq!(read(lines).max_age, expected, "{lines:?}");
    }
}

/// RFC 9111, 4.2.1: of several values the first; an invalid one makes the response stale.
#[test]
fn section_4_2_1_conflicting_and_invalid_lifetimes() {
    for (lines, expected) in [
        (&["max-age=1800, max-age=1"][..], 1800),
        (&["max-age=1, max-age=1800"], 1),
        (&["max-age=1800", "max-age=1"], 1800),
        (&["max-age=abc, max-age=1800"], 0),
        (&["max-age"], 0),
        (&["max-age="], 0),
        (&["max-age=\"\""], 0),
        (&["max-age =3600"], 0),
        (&["max-age= 3600"], 0),
        (&["max-age='3600'"], 0),
        (&["max-age=3600.0"], 0),
        (&["max-age=a3600"], 0),
        (&["max-age=3600a"], 0),
        (&["max-age=3600 7200"], 0),
        (&["max-age=-3600"], 0),
    ] {
        assert_eq!(read(lines).max_age, Some(expected), "{lines:?}");
    }
}

#[test]
fn section_5_2_2_flags() {
    let all = read(&[
        "No-Store, NO-CACHE, Private, public",
        "Must-Revalidate, proxy-revalidate, must-understand",
        "IMMUTABLE",
    ]);
    assert!(all.no_store && all.no_cache && all.private && all.public);
    assert!(all.must_revalidate && all.proxy_revalidate && all.must_understand && all.immutable);
    // What restricts counts whatever its argument; what relaxes does not.
    let odd = read(&["no-store=1, must-revalidate=x, public=1, must-understand=\"a\", immutable x"]);
    assert!(odd.no_store && odd.must_revalidate);
    assert!(!odd.public && !odd.must_understand && !odd.immutable);
}

#[test]
fn section_5_2_2_4_and_7_qualified_forms() {
    for (line, whole, fields) in [
        ("private", true, &[][..]),
        ("private=\"a\"", false, &["a"]),
        ("private=\"A, set-cookie ,,b\"", false, &["a", "set-cookie", "b"]),
        ("private=set-cookie", false, &["set-cookie"]),
        ("private=\"\"", true, &[]),
        ("private=\",\"", true, &[]),
        ("private=", true, &[]),
        ("private=\"a b\"", true, &[]),
        ("private=\"a\", private", true, &["a"]),
        ("private =\"a\"", true, &[]),
    ] {
        let private = read(&[line]);
        assert_eq!(
            (private.private, private.private_fields),
            (whole, fields.iter().map(|f| (*f).to_owned()).collect()),
            "{line}"
        );
        let no_cache = read(&[&line.replace("private", "no-cache")]);
        assert_eq!(
            (no_cache.no_cache, no_cache.no_cache_fields),
            (whole, fields.iter().map(|f| (*f).to_owned()).collect()),
            "{line}"
        );
    }
}

#[test]
fn a_quoted_string_without_an_end_forbids_storing() {
    for line in ["max-age=60, a=\"b, public", "a=\"b\\\"", "\"", "a \"b", "private=\"a"] {
        assert!(read(&[line]).no_store, "{line}");
    }
    // Each line stands by itself: the end is not looked for in the next one.
    assert!(read(&["a=\"b", "c\", max-age=60"]).no_store);
}

#[test]
fn section_5_2_1_requests() {
    let all = asked(&[
        "max-age=1, max-stale=2, min-fresh=3, no-cache",
        "No-Store, ONLY-IF-CACHED, stale-if-error=4",
    ]);
    let expected = RequestDirectives {
        max_age: Some(1),
        max_stale: Some(MaxStale::Seconds(2)),
        min_fresh: Some(3),
        no_cache: true,
        no_store: true,
        only_if_cached: true,
        stale_if_error: Some(4),
    };
    assert_eq!(all, expected);
    assert_eq!(asked(&["max-stale"]).max_stale, Some(MaxStale::Any));
    // Malformed: nothing older than now, nothing stale, for ever fresh.
    let odd = asked(&["max-age=a, max-stale=b, min-fresh=c, stale-if-error=d"]);
    assert_eq!(
        (odd.max_age, odd.max_stale, odd.min_fresh, odd.stale_if_error),
        (Some(0), None, Some(SECONDS_MAX), None)
    );
}

proptest! {
    #[test]
    fn reads_any_bytes(lines in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..60), 0..4)) {
        let read = ResponseDirectives::read(lines.iter().map(Vec::as_slice));
        prop_assert!(read.max_age.unwrap_or(0) <= SECONDS_MAX);
    }

    /// What stands around a directive never hides it.
    #[test]
    fn finds_no_store_among_others(before in "([a-z]{1,5}(=([a-z0-9]{1,5}|\"[a-z, =]{0,5}\"))?[ ,]{1,3}, ){0,3}", after in "(,[ a-z=]{0,9}){0,3}") {
        let line = format!("{before}no-store{after}");
        prop_assert!(read(&[&line]).no_store, "{line}");
    }
}
