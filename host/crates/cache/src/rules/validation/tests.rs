use proptest::prelude::*;

use super::{Freshened, HeadEffect, remove_conditions};
use crate::rules::request::Request;
use crate::rules::settings::{Cookies, Settings};
use crate::rules::stored::StoredHead;
use crate::rules::storing::WhyNot;
use crate::rules::testing::{
    DATE, after, at, at_once, fields, lines, request_head, response, store_as, stored, value,
};

const LATER: u64 = 100;

/// What a 304 that comes 100 seconds later makes of a response.
fn freshen(stored: &StoredHead, not_modified: &[(&str, &str)], asked: bool) -> Option<Freshened> {
    let head = request_head("GET", &[]);
    let settings = Settings::default();
    let request = Request::read(&settings, &head, false);
    stored.freshen(&settings, &request, &response(304, not_modified), asked, at_once(LATER))
}

#[test]
fn section_4_3_1_conditions() {
    let modified = at(DATE - 1000);
    let client = [
        ("if-none-match", "\"x\""),
        ("if-modified-since", "y"),
        ("range", "bytes=0-1"),
        ("if-range", "\"x\""),
        ("foo", "1"),
    ];
    for (stored_lines, expected) in [
        (&[("etag", "\"a\"")][..], vec![("foo", "1"), ("if-none-match", "\"a\"")]),
        (&[("etag", "W/\"a\"")], vec![("foo", "1"), ("if-none-match", "W/\"a\"")]),
        (&[("last-modified", &modified)], vec![("foo", "1"), ("if-modified-since", &modified)]),
        (
            &[("etag", "\"a\""), ("last-modified", &modified)],
            vec![("foo", "1"), ("if-none-match", "\"a\""), ("if-modified-since", &modified)],
        ),
        (&[("last-modified", "yesterday")], vec![("foo", "1")]),
        (&[("etag", "")], vec![("foo", "1")]),
    ] {
        let stored = stored(&[&[("cache-control", "max-age=2")][..], stored_lines].concat());
        let mut asked = fields(&client);
        stored.write_conditions(&mut asked);
        let expected: Vec<_> =
            expected.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        assert_eq!(lines(&asked), expected);
    }
    let mut asked = fields(&client);
    remove_conditions(&mut asked);
    assert_eq!(lines(&asked), [("foo".to_owned(), "1".to_owned())]);
}

#[test]
fn section_4_3_4_which_response_a_304_names() {
    let (one, other) = (at(DATE - 1000), at(DATE - 2000));
    let (strong, weak) = (("etag", "\"a\""), ("etag", "W/\"a\""));
    for (stored_lines, new, as_asked, as_other) in [
        (&[strong][..], &[strong][..], true, true),
        (&[strong], &[("etag", "\"b\"")], false, false),
        (&[strong], &[], true, false),
        (&[weak], &[weak], true, false),
        (&[weak], &[strong], false, false),
        (&[strong], &[weak], true, false),
        (&[("last-modified", &one)], &[("last-modified", &one)], true, false),
        (&[("last-modified", &one)], &[("last-modified", &other)], false, false),
        (&[("last-modified", &one)], &[], true, false),
        (&[("last-modified", &one)], &[strong], false, false),
        (&[("last-modified", &one)], &[strong, ("last-modified", &one)], true, false),
        (&[strong, ("last-modified", &one)], &[strong, ("last-modified", &other)], true, true),
        (&[strong, ("last-modified", &one)], &[("last-modified", &other)], false, false),
    ] {
        let stored = stored(&[&[("cache-control", "max-age=2")][..], stored_lines].concat());
        assert_eq!(freshen(&stored, new, true).is_some(), as_asked, "{stored_lines:?} {new:?}");
        assert_eq!(freshen(&stored, new, false).is_some(), as_other, "{stored_lines:?} {new:?}");
    }
}

#[test]
fn section_3_2_a_304_updates_fields() {
    let stored = stored(&[
        ("cache-control", "max-age=2"),
        ("etag", "\"a\""),
        ("test-header", "old"),
        ("kept", "1"),
        ("two", "old"),
        ("two", "older"),
        ("content-type", "image/png"),
        ("content-encoding", "br"),
        ("date", &at(DATE)),
    ]);
    let new = [
        ("etag", "\"a\""),
        ("cache-control", "max-age=50"),
        ("test-header", "new"),
        ("content-foo", "new"),
        ("x-content-foo", "new"),
        ("two", "new"),
        ("content-type", "text/html"),
        ("content-encoding", "gzip"),
        ("content-range", "bytes 0-1/2"),
        ("content-digest", "sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:"),
        ("content-length", "0"),
        ("connection", "hop"),
        ("hop", "1"),
        ("age", "7"),
        ("date", &at(DATE + LATER)),
    ];
    let freshened = freshen(&stored, &new, true).unwrap();
    let head = freshened.head;
    for (name, expected) in [
        ("test-header", Some("new")),
        ("kept", Some("1")),
        ("content-foo", Some("new")),
        ("x-content-foo", Some("new")),
        ("content-type", Some("image/png")),
        ("content-encoding", Some("br")),
        ("content-range", None),
        ("content-digest", None),
        ("content-length", None),
        ("hop", None),
        ("age", None),
        ("date", Some(&*at(DATE + LATER))),
    ] {
        assert_eq!(value(head.fields(), name), expected, "{name}");
    }
    assert_eq!(head.fields().get_all(b"two").collect::<Vec<_>>(), [b"new"]);
    assert_eq!((head.status(), head.lifetime(), head.age(after(LATER + 3))), (200, 50, 10));
    assert_eq!(freshened.keep, Ok(()));
}

#[test]
fn a_304_without_date_was_made_when_it_came() {
    let stored = stored(&[("cache-control", "max-age=2"), ("etag", "\"a\""), ("date", &at(DATE))]);
    let head = freshen(&stored, &[("etag", "\"a\"")], true).unwrap().head;
    assert_eq!(value(head.fields(), "date"), Some(&*at(DATE + LATER)));
    assert_eq!((head.age(after(LATER)), head.ttl(after(LATER + 1))), (0, 1));
}

#[test]
fn an_update_can_end_the_storing() {
    let stored = stored(&[("cache-control", "max-age=2"), ("etag", "\"a\"")]);
    for (new, expected) in [
        (&[("cache-control", "no-store")][..], Err(WhyNot::NoStore)),
        (&[("cache-control", "private")], Err(WhyNot::Private)),
        (&[("vary", "*")], Err(WhyNot::VaryStar)),
        (&[("x", "y")], Ok(())),
    ] {
        let freshened = freshen(&stored, &[&[("etag", "\"a\"")][..], new].concat(), true).unwrap();
        assert_eq!(freshened.keep, expected, "{new:?}");
    }
}

/// A cookie in a 304 is for the one who asked.
#[test]
fn section_7_3_a_304_brings_no_cookie() {
    let new = response(304, &[("etag", "\"a\""), ("set-cookie", "a=b")]);
    let head = request_head("GET", &[]);
    for (cookies, expected) in [(Cookies::Skip, None), (Cookies::Rfc, Some("a=b"))] {
        let settings = Settings { cookies, ..Settings::default() };
        let request = Request::read(&settings, &head, false);
        let stored = stored(&[("cache-control", "max-age=2"), ("etag", "\"a\"")]);
        let freshened = stored.freshen(&settings, &request, &new, true, at_once(LATER)).unwrap();
        assert_eq!((value(freshened.head.fields(), "set-cookie"), freshened.keep), (expected, Ok(())));
    }
}

/// Other variants of the URL keep the request that they were selected by.
#[test]
fn section_4_3_4_variants_keep_their_selection() {
    let fresh = [("cache-control", "max-age=2"), ("etag", "\"a\""), ("vary", "foo")];
    let stored = store_as(&Settings::default(), ("GET", &[("foo", "1")]), (200, &fresh)).unwrap();
    let settings = Settings::default();
    let head = request_head("GET", &[("foo", "2")]);
    let request = Request::read(&settings, &head, false);
    let new = response(304, &[("etag", "\"a\""), ("cache-control", "max-age=9")]);
    let other = stored.freshen(&settings, &request, &new, false, at_once(LATER)).unwrap().head;
    assert_eq!((other.variant(), other.lifetime()), (stored.variant(), 9));
    assert!(!other.matches(&request));
    let named = stored.freshen(&settings, &request, &new, true, at_once(LATER)).unwrap().head;
    assert!(named.matches(&request));
    assert_eq!(named.variant(), stored.variant_of(&request));
}

#[test]
fn section_4_3_5_head() {
    let settings = Settings::default();
    let head = request_head("HEAD", &[]);
    let request = Request::read(&settings, &head, false);
    let modified = at(DATE - 1000);
    let stored = stored(&[
        ("cache-control", "max-age=2"),
        ("etag", "\"a\""),
        ("last-modified", &modified),
        ("a", "1"),
        ("b", "1"),
    ]);
    for (status, lines, length, expected) in [
        (200, &[("etag", "\"a\""), ("b", "2")][..], Some(10), "update"),
        (200, &[("b", "2")], None, "update"),
        (200, &[("etag", "\"x\"")], Some(10), "stale"),
        (200, &[("last-modified", "x")], Some(10), "stale"),
        (200, &[("etag", "\"a\"")], Some(11), "stale"),
        (410, &[("etag", "\"a\"")], Some(10), "none"),
        (304, &[("etag", "\"a\"")], None, "none"),
    ] {
        let effect =
            stored.head_effect(&settings, &request, &response(status, lines), length, 10, at_once(LATER));
        let found = match effect {
            HeadEffect::None => "none",
            HeadEffect::Stale => "stale",
            HeadEffect::Update(freshened) => {
                let head = freshened.head;
                assert_eq!((value(head.fields(), "a"), head.age(after(LATER))), (Some("1"), 0));
                "update"
            }
        };
        assert_eq!(found, expected, "{status} {lines:?} {length:?}");
    }
}

#[test]
fn section_3_2_a_304_keeps_the_media_type() {
    for (stored_type, new, expected) in [
        (Some("text/plain"), "text/plain;charset=utf-8", "text/plain;charset=utf-8"),
        (Some("text/plain; charset=a"), "Text/Plain", "Text/Plain"),
        (Some("image/png"), "text/html; charset=utf-8", "image/png"),
        (Some("text/plain"), "text/plainer", "text/plain"),
        (Some("text/plain"), "", "text/plain"),
        (None, "text/plain", "text/plain"),
    ] {
        let mut lines = vec![("cache-control", "max-age=2"), ("etag", "\"a\"")];
        lines.extend(stored_type.map(|stored| ("content-type", stored)));
        let head = freshen(&stored(&lines), &[("etag", "\"a\""), ("content-type", new)], true).unwrap().head;
        assert_eq!(value(head.fields(), "content-type"), Some(expected), "{stored_type:?} {new}");
    }
}

proptest! {
    /// A 304 changes neither what says how to read the content, nor what it does not mention.
    #[test]
    fn a_304_keeps_content_fields(
        new in prop::collection::vec(("(content-(type|encoding|range|length|md5|digest|foo)|x-[ab]|cache-control|vary|date|age)", "[a-z0-9=/]{0,12}"), 0..8),
    ) {
        let stored = stored(&[
            ("cache-control", "max-age=2"), ("etag", "\"a\""), ("content-type", "t"), ("content-encoding", "e"), ("x-a", "a"), ("x-c", "c"),
        ]);
        let mut lines = vec![("etag", "\"a\"")];
        lines.extend(new.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        let head = freshen(&stored, &lines, true).unwrap().head;
        let kept = ["type", "encoding", "range", "length", "md5", "digest"].map(|name| format!("content-{name}"));
        for name in kept.iter().map(String::as_str).chain(["x-c", "etag"]) {
            prop_assert_eq!(value(head.fields(), name), value(stored.fields(), name), "{}", name);
        }
        let updated: Vec<_> = new.iter().filter(|(name, _)| name == "x-a").map(|(_, value)| value.as_bytes()).collect();
        let expected = if updated.is_empty() { vec![&b"a"[..]] } else { updated };
        prop_assert_eq!(head.fields().get_all(b"x-a").collect::<Vec<_>>(), expected);
        prop_assert!(head.fields().get(b"age").is_none());
    }
}
