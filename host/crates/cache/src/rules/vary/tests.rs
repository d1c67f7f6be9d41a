use portcullis_http::RequestHead;
use proptest::prelude::*;

use super::{NoSelection, is_selection, matches, reselection, selection};
use crate::rules::request::Request;
use crate::rules::settings::{Settings, VaryRules};
use crate::rules::testing::{fields, request_head};

fn head(lines: &[(&str, &str)]) -> RequestHead {
    request_head("GET", lines)
}

#[track_caller]
fn check(rules: VaryRules, vary: &[&str], stored: &[(&str, &str)], asked: &[(&str, &str)], expected: bool) {
    let settings = Settings { vary: rules, ..Settings::default() };
    let response: Vec<_> = vary.iter().map(|line| ("vary", *line)).collect();
    let (stored_head, asked_head) = (head(stored), head(asked));
    let stored_request = Request::read(&settings, &stored_head, false);
    let asked_request = Request::read(&settings, &asked_head, false);
    let selected = selection(&fields(&response), &stored_request).unwrap();
    assert!(is_selection(&selected));
    assert!(matches(&selected, &stored_request, None), "a request matches itself");
    assert_eq!(matches(&selected, &asked_request, None), expected, "{vary:?} {stored:?} {asked:?}");
    assert_eq!(reselection(&selected, &asked_request) == selected, expected, "{vary:?} {stored:?} {asked:?}");
}

#[test]
fn section_4_1_selection() {
    let exact = |vary: &[&str], stored: &[(&str, &str)], asked: &[(&str, &str)], expected| {
        check(VaryRules::Exact, vary, stored, asked, expected);
    };
    exact(&[], &[("foo", "1")], &[("foo", "2")], true);
    exact(&["Foo"], &[("foo", "1")], &[("foo", "1"), ("other", "2")], true);
    exact(&["Foo"], &[("foo", "1")], &[("foo", "2")], false);
    exact(&["Foo"], &[("foo", "1")], &[], false);
    exact(&["Foo"], &[], &[("foo", "1")], false);
    exact(&["Foo"], &[], &[("foo", "")], false);
    exact(&["Foo"], &[], &[], true);
    let three = &[("foo", "1"), ("bar", "abc"), ("baz", "789")];
    exact(&["Foo, Bar, Baz"], three, &[("baz", "789"), ("foo", "1"), ("bar", "abc")], true);
    exact(&["Foo, Bar", "Baz"], three, &[("foo", "1"), ("baz", "789"), ("bar", "abcde")], false);
    exact(&["Foo, , foo, Bar"], three, &[("foo", "1"), ("bar", "abc")], true);
    // The name may not flow into the value.
    exact(&["a, b"], &[("a", "1")], &[("a", "1\tb:2")], false);
}

#[test]
fn section_4_1_lines_and_white_space() {
    for rules in [VaryRules::Exact, VaryRules::Case, VaryRules::Languages] {
        let foo = |stored: &[&str], asked: &[&str], expected| {
            let lines =
                |values: &[&'static str]| values.iter().map(|value| ("foo", *value)).collect::<Vec<_>>();
            let leak = |values: &[&str]| -> Vec<&'static str> {
                values.iter().map(|value| &*Box::leak((*value).to_owned().into_boxed_str())).collect()
            };
            check(rules, &["foo"], &lines(&leak(stored)), &lines(&leak(asked)), expected);
        };
        foo(&["1, 2"], &["1", "2"], true);
        foo(&["1,2"], &["1, 2"], true);
        foo(&["1,2"], &["1 ,\t2"], true);
        foo(&["1,2"], &["2,1"], false);
        foo(&["1,2"], &["1 2"], false);
        foo(&["1,2"], &["1,2,3"], false);
        foo(&["1,2,3"], &["1,2"], false);
        foo(&["a"], &["A"], false);
        foo(&["\"1, 2\""], &["\"1,2\""], false);
        foo(&["12"], &["1", "2"], false);
    }
}

#[test]
fn accept_encoding_and_accept_language() {
    use VaryRules::{Case, Exact, Languages};
    for (name, stored, asked, exact, case, languages) in [
        ("accept-encoding", "gzip, br", "br, gzip", false, true, true),
        ("accept-encoding", "gzip, br", "BR,Gzip", false, true, true),
        ("accept-encoding", "gzip;q=0.5", "gzip ; q=0.5", false, true, true),
        ("accept-encoding", "gzip, br", "gzip", false, false, false),
        ("accept-encoding", "gzip", "gzip, br", false, false, false),
        ("accept-language", "en, de", "en ,   de", true, true, true),
        ("accept-language", "en, de", "eN, De", false, true, true),
        ("accept-language", "en, de", "de, en", false, false, true),
        ("accept-language", "en, de", "en", false, false, false),
        ("accept", "a/b, c/d", "c/d, a/b", false, false, false),
    ] {
        for (rules, expected) in [(Exact, exact), (Case, case), (Languages, languages)] {
            check(rules, &[name], &[(name, stored)], &[(name, asked)], expected);
        }
    }
}

#[test]
fn the_preferred_language() {
    let settings = Settings { vary: VaryRules::Languages, ..Settings::default() };
    let stored_head = head(&[("accept-language", "en, de")]);
    let response = fields(&[("vary", "accept-language")]);
    let selected = selection(&response, &Request::read(&settings, &stored_head, false)).unwrap();
    for (asked, expected) in [
        ("fr;q=0.5, de;q=1.0", true),
        ("de", true),
        ("de, fr", false),
        ("de;q=0.9, fr;q=0.9, en;q=0.1", false),
        ("fr, de;q=0.5", false),
        ("de;q=0", false),
        ("de;q=2", false),
        ("de;x=1", false),
        ("", false),
    ] {
        let head = head(&[("accept-language", asked)]);
        let request = Request::read(&settings, &head, false);
        assert_eq!(matches(&selected, &request, Some(b"de")), expected, "{asked}");
    }
    let case = Settings { vary: VaryRules::Case, ..Settings::default() };
    let head = head(&[("accept-language", "de")]);
    assert!(!matches(&selected, &Request::read(&case, &head, false), Some(b"de")));
}

#[test]
fn section_4_1_a_star_matches_nothing() {
    let head = head(&[]);
    let request = Request::read(&Settings::default(), &head, false);
    for lines in [
        &["*"][..],
        &["*, *"],
        &["*", "*"],
        &[", *"],
        &["", "*"],
        &["*, Foo"],
        &["Foo, *"],
        &["a b"],
        &["\"a\""],
    ] {
        let response: Vec<_> = lines.iter().map(|line| ("vary", *line)).collect();
        assert_eq!(selection(&fields(&response), &request), Err(NoSelection::Star), "{lines:?}");
    }
}

#[test]
fn is_bounded() {
    let many = (0..33).map(|number| format!("a{number}")).collect::<Vec<_>>().join(",");
    let long = "x".repeat(17 << 10);
    let head = head(&[("foo", &long)]);
    let request = Request::read(&Settings::default(), &head, false);
    for vary in [&*many, "foo"] {
        assert_eq!(selection(&fields(&[("vary", vary)]), &request), Err(NoSelection::TooLarge));
    }
}

#[test]
fn host_is_the_authority() {
    let (one, mut other) = (head(&[]), head(&[]));
    let settings = Settings::default();
    let selected = selection(&fields(&[("vary", "Host")]), &Request::read(&settings, &one, false)).unwrap();
    assert!(matches(&selected, &Request::read(&settings, &other, false), None));
    other.authority = "b.example".to_owned();
    assert!(!matches(&selected, &Request::read(&settings, &other, false), None));
}

/// A cookie may have a comma; lines of it are joined by `; `.
#[test]
fn cookies_are_no_list() {
    check(VaryRules::Case, &["cookie"], &[("cookie", "a=1, 2")], &[("cookie", "a=1,2")], false);
    check(
        VaryRules::Case,
        &["cookie"],
        &[("cookie", "a=1; b=2")],
        &[("cookie", "a=1"), ("cookie", "b=2")],
        true,
    );
}

proptest! {
    /// The two ways to compare agree: with the stored bytes, and of the bytes that the request would have.
    #[test]
    fn matching_is_equality_of_selections(
        name in "(accept-language|accept-encoding|foo|cookie)",
        stored in prop::collection::vec("[aAbB, ;\"]{0,6}", 0..3),
        asked in prop::collection::vec("[aAbB, ;\"]{0,6}", 0..3),
    ) {
        let lines = |values: &[String]| {
            let mut head = head(&[]);
            for value in values {
                head.fields.append(name.as_bytes(), value.trim().as_bytes()).unwrap();
            }
            head
        };
        for rules in [VaryRules::Exact, VaryRules::Case, VaryRules::Languages] {
            let settings = Settings { vary: rules, ..Settings::default() };
            let (stored, asked) = (lines(&stored), lines(&asked));
            let (stored, asked) = (Request::read(&settings, &stored, false), Request::read(&settings, &asked, false));
            let selected = selection(&fields(&[("vary", &name)]), &stored).unwrap();
            prop_assert!(is_selection(&selected));
            prop_assert!(matches(&selected, &stored, None));
            prop_assert_eq!(matches(&selected, &asked, None), reselection(&selected, &asked) == selected);
        }
    }
}
