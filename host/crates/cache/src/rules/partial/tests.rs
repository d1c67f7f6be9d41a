use proptest::prelude::*;

use super::{Combined, combine};
use crate::rules::settings::Settings;
use crate::rules::stored::{Span, StoredHead};
use crate::rules::testing::{store_as, value};

fn part(start: u64, end: u64, etag: &str, more: (&str, &str)) -> StoredHead {
    let content_range = format!("bytes {start}-{}/10", end - 1);
    let lines = [("cache-control", "max-age=60"), ("content-range", &content_range), ("etag", etag), more];
    store_as(&Settings::default(), ("GET", &[("range", "bytes=0-")]), (206, &lines)).unwrap()
}

#[test]
fn section_3_4_only_with_the_same_strong_validator() {
    for (one, other, expected) in [
        ("\"a\"", "\"a\"", true),
        ("\"a\"", "\"b\"", false),
        ("W/\"a\"", "W/\"a\"", false),
        ("\"a\"", "W/\"a\"", false),
        ("", "", false),
    ] {
        let combined = combine(&part(0, 5, one, ("x", "1")), &part(5, 10, other, ("x", "2")));
        assert_eq!(combined.is_some(), expected, "{one} {other}");
    }
    assert!(combine(&part(0, 4, "\"a\"", ("x", "1")), &part(5, 10, "\"a\"", ("x", "2"))).is_none(), "a gap");
}

#[test]
fn section_3_4_the_newer_fields_count() {
    let Combined { head, .. } =
        combine(&part(0, 5, "\"a\"", ("old", "1")), &part(5, 10, "\"a\"", ("new", "2"))).unwrap();
    assert_eq!((head.status(), head.span()), (200, None));
    assert_eq!(
        ["old", "new", "content-range"].map(|name| value(head.fields(), name)),
        [Some("1"), Some("2"), None]
    );
    let Combined { head, .. } =
        combine(&part(1, 5, "\"a\"", ("x", "1")), &part(4, 8, "\"a\"", ("x", "2"))).unwrap();
    assert_eq!((head.status(), head.span()), (206, Some(Span { start: 1, end: 8, complete: 10 })));
    assert_eq!(
        ["x", "content-range"].map(|name| value(head.fields(), name)),
        [Some("2"), Some("bytes 1-7/10")]
    );
}

proptest! {
    /// The pieces together are the content of the span, and the newer bytes win.
    #[test]
    fn pieces_are_the_content((a, b) in (0..10_u64, 1..10_u64), (c, d) in (0..10_u64, 1..10_u64)) {
        let ends = (a.saturating_add(b).min(10), c.saturating_add(d).min(10));
        let (old, new) = (part(a, ends.0, "\"a\"", ("x", "1")), part(c, ends.1, "\"a\"", ("x", "2")));
        let combined = combine(&old, &new);
        prop_assert_eq!(combined.is_some(), a <= ends.1 && c <= ends.0);
        if let Some(Combined { head, pieces }) = combined {
            let span = head.span().unwrap_or(Span { start: 0, end: 10, complete: 10 });
            let mut at = span.start;
            for piece in pieces {
                let from = if piece.is_new { c } else { a };
                prop_assert_eq!(from + piece.bytes.start, at);
                let length = if piece.is_new { ends.1 - c } else { ends.0 - a };
                prop_assert!(piece.bytes.start < piece.bytes.end && piece.bytes.end <= length);
                prop_assert!(piece.is_new || !(c..ends.1).contains(&at));
                at = from + piece.bytes.end;
            }
            prop_assert_eq!(at, span.end);
        }
    }
}
