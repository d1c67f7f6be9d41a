use proptest::prelude::*;

use super::{Combined, Piece};
use crate::rules::request::Request;
use crate::rules::settings::Settings;
use crate::rules::stored::{Span, StoredHead};
use crate::rules::testing::{request_head, store_as, value};

fn combine(old: &StoredHead, new: &StoredHead) -> Option<Combined> {
    super::combine(std::iter::once(old), new, 10)
}

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

#[test]
fn a_part_between_two_others_makes_one_of_them() {
    let olds =
        [part(6, 9, "\"a\"", ("x", "1")), part(0, 3, "\"a\"", ("x", "1")), part(4, 5, "\"b\"", ("x", "1"))];
    let new = part(2, 7, "\"a\"", ("x", "2"));
    let Combined { head, before, behind } = super::combine(olds.iter(), &new, 9).unwrap();
    assert_eq!(head.span(), Some(Span { start: 0, end: 9, complete: 10 }));
    assert_eq!(before, Some(Piece { of: 1, bytes: 0..2 }));
    assert_eq!(behind, Some(Piece { of: 0, bytes: 1..3 }));
    assert!(olds.iter().all(|old| head.replaces(old)));
    assert!(super::combine(olds.iter(), &new, 8).is_none(), "more than the largest object");
    let inside = part(1, 2, "\"a\"", ("x", "2"));
    let Combined { before, behind, .. } = super::combine(olds.iter(), &inside, 10).unwrap();
    assert_eq!((before, behind), (Some(Piece { of: 1, bytes: 0..1 }), Some(Piece { of: 1, bytes: 2..3 })));
}

#[test]
fn what_a_stored_response_takes_the_place_of() {
    let whole = |etag| {
        store_as(
            &Settings::default(),
            ("GET", &[]),
            (200, &[("cache-control", "max-age=60"), ("etag", etag)]),
        )
        .unwrap()
    };
    let (x, y) = (("x", "1"), ("y", "1"));
    for (new, old, expected) in [
        (part(0, 5, "\"a\"", x), part(1, 4, "\"a\"", y), true),
        (part(0, 5, "\"a\"", x), part(4, 6, "\"a\"", y), false),
        (part(0, 5, "\"a\"", x), part(6, 7, "\"b\"", y), true),
        (part(0, 5, "", x), part(6, 7, "", y), true),
        (whole("\"a\""), part(6, 7, "\"a\"", y), true),
        (whole("\"b\""), part(6, 7, "\"a\"", y), true),
        (part(0, 5, "\"a\"", x), whole("\"a\""), false),
        (part(0, 5, "\"b\"", x), whole("\"a\""), true),
        (part(0, 5, "\"b\"", x), whole(""), false),
        (whole("\"a\""), whole("\"b\""), false),
        (part(0, 5, "\"a\"", x), part(1, 4, "\"a\"", ("vary", "a")), false),
    ] {
        assert_eq!(new.replaces(&old), expected, "{new:?} {old:?}");
    }
}

const CONTENT: &[u8] = b"0123456789";

/// What a cache has of `CONTENT`: heads, each with its bytes.
type Kept = Vec<(StoredHead, Vec<u8>)>;

/// Stores what an origin sends for a range, as a cache does.
fn store(kept: &mut Kept, start: u64, end: u64, etag: &str, content: &[u8], bytes_max: u64) {
    if end - start > bytes_max {
        return;
    }
    let new = part(start, end, etag, ("x", "1"));
    let bytes = content[start as usize..end as usize].to_vec();
    let (head, bytes) = match super::combine(kept.iter().map(|(head, _)| head), &new, bytes_max) {
        None => (new, bytes),
        Some(Combined { head, before, behind }) => {
            let of = |piece: Option<Piece>| {
                piece.map_or(&[][..], |piece| {
                    &kept[piece.of].1[piece.bytes.start as usize..piece.bytes.end as usize]
                })
            };
            let bytes = [of(before), &bytes, of(behind)].concat();
            (head, bytes)
        }
    };
    kept.retain(|(old, _)| !head.replaces(old) && old.variant() != head.variant());
    kept.push((head, bytes));
}

proptest! {
    /// Whatever ranges come in whatever order, and though the content changes meanwhile: each stored part has the bytes
    /// that its Content-Range says, of one content, and a request gets nothing else.
    #[test]
    fn parts_have_the_bytes_that_they_say(
        ranges in proptest::collection::vec((0..10_u64, 1..=10_u64, 0..8_u8), 1..20),
        asked in (0..10_u64, 1..=10_u64),
        bytes_max in 1..=10_u64,
    ) {
        let (mut kept, mut letter) = (Kept::new(), b'a');
        let content_of = |letter: u8| CONTENT.iter().map(|byte| byte + 10 * (letter - b'a')).collect::<Vec<u8>>();
        for (start, length, change) in ranges {
            letter += u8::from(change == 0);
            let end = (start + length).min(10);
            store(&mut kept, start, end, &format!("\"{}\"", letter as char), &content_of(letter), bytes_max);
            let tags: Vec<_> = kept.iter().map(|(head, _)| value(head.fields(), "etag").unwrap()).collect();
            prop_assert!(tags.iter().all(|tag| *tag == tags[0]), "{:?}", tags);
            for (head, bytes) in &kept {
                let content = content_of(value(head.fields(), "etag").unwrap().as_bytes()[1]);
                let span = head.span().unwrap_or(Span { start: 0, end: 10, complete: 10 });
                prop_assert_eq!(bytes.as_slice(), &content[span.start as usize..span.end as usize]);
                prop_assert!(bytes.len() as u64 <= bytes_max);
                prop_assert_eq!(head.span().is_none(), span.start == 0 && span.end == 10);
                prop_assert_eq!(head.status(), if head.span().is_none() { 200 } else { 206 });
                let range = format!("bytes={}-{}", asked.0, (asked.0 + asked.1).min(10) - 1);
                let request = request_head("GET", &[("range", &range)]);
                let request = Request::read(&Settings::default(), &request, false);
                if head.suits(&request)
                    && let crate::rules::Answer::Part(part) = head.answer(&request, Some(bytes.len() as u64))
                {
                    let sent = &bytes[part.stored.start as usize..part.stored.end as usize];
                    prop_assert_eq!(sent, &content[asked.0 as usize..(asked.0 + asked.1).min(10) as usize]);
                }
            }
        }
    }
}
