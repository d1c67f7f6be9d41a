use portcullis_http::ResponseHead;
use proptest::prelude::*;

use super::{Answer, Part, decimal};
use crate::rules::request::Request;
use crate::rules::settings::Settings;
use crate::rules::stored::StoredHead;
use crate::rules::testing::{DATE, after, at, lines, request_head, store_as, stored, value};

fn answer(stored: &StoredHead, asked: &[(&str, &str)], body_bytes: Option<u64>) -> Answer {
    let head = request_head("GET", asked);
    stored.answer(&Request::read(&Settings::default(), &head, false), body_bytes)
}

fn written(stored: &StoredHead, answer: &Answer, validated: bool, seconds: u64) -> ResponseHead {
    let mut head = ResponseHead::default();
    head.fields.append(b"left", b"over").unwrap();
    stored.write(answer, validated, after(seconds), &mut head);
    head
}

const FRESH: (&str, &str) = ("cache-control", "max-age=100");

#[test]
fn section_4_3_2_conditions_of_the_client() {
    let modified = at(DATE - 3000);
    let tagged = stored(&[FRESH, ("etag", "\"a\""), ("last-modified", &modified)]);
    for (asked, expected) in [
        (&[("if-none-match", "\"a\"")][..], Answer::NotModified),
        (&[("if-none-match", "W/\"a\"")], Answer::NotModified),
        (&[("if-none-match", "\"b\", \"a\"")], Answer::NotModified),
        (&[("if-none-match", "\"b\"")], Answer::Full),
        (&[("if-none-match", "\"a\""), ("if-modified-since", &at(DATE - 9000))], Answer::NotModified),
        (&[("if-none-match", "\"b\""), ("if-modified-since", &modified)], Answer::Full),
        (&[("if-modified-since", &modified)], Answer::NotModified),
        (&[("if-modified-since", &at(DATE - 2000))], Answer::NotModified),
        (&[("if-modified-since", &at(DATE - 4000))], Answer::Full),
        (&[], Answer::Full),
    ] {
        assert_eq!(answer(&tagged, asked, Some(10)), expected, "{asked:?}");
    }
    // Without Last-Modified, Date is compared.
    let plain = stored(&[FRESH, ("date", &at(DATE))]);
    assert_eq!(answer(&plain, &[("if-modified-since", &at(DATE))], None), Answer::NotModified);
    assert_eq!(answer(&plain, &[("if-modified-since", &at(DATE - 1))], None), Answer::Full);
    // RFC 9110, 13.2.1: not for an error.
    let error = store_as(&Settings::default(), ("GET", &[]), (404, &[FRESH, ("etag", "\"a\"")])).unwrap();
    assert_eq!(answer(&error, &[("if-none-match", "\"a\"")], Some(10)), Answer::Full);
}

#[test]
fn rfc_9110_section_15_4_5_a_304() {
    let stored = stored(&[
        FRESH,
        ("etag", "\"a\""),
        ("vary", "foo"),
        ("content-location", "/x"),
        ("date", &at(DATE)),
        ("expires", "0"),
        ("content-type", "a/b"),
        ("content-encoding", "br"),
        ("content-language", "de"),
        ("access-control-allow-origin", "*"),
        ("content-security-policy", "x"),
    ]);
    let head = written(&stored, &Answer::NotModified, false, 7);
    let names: Vec<_> = lines(&head.fields).into_iter().map(|(name, _)| name).collect();
    let expected = [
        "cache-control",
        "etag",
        "vary",
        "content-location",
        "date",
        "expires",
        "access-control-allow-origin",
        "content-security-policy",
        "age",
    ];
    assert_eq!((head.status, names), (304, expected.map(str::to_owned).to_vec()));
    assert_eq!(value(&head.fields, "age"), Some("7"));
}

#[test]
fn section_5_1_age_and_nothing_else_is_changed() {
    let stored = stored(&[FRESH, ("age", "30"), ("date", &at(DATE)), ("b", "2")]);
    let head = written(&stored, &Answer::Full, false, 3);
    let mut expected = lines(stored.fields());
    expected.push(("age".to_owned(), "33".to_owned()));
    assert_eq!((head.status, lines(&head.fields)), (200, expected));
    for (number, text) in
        [(0, "0"), (7, "7"), (10, "10"), (2_147_483_648, "2147483648"), (u32::MAX, "4294967295")]
    {
        assert_eq!(decimal(number, &mut [0; 10]), text.as_bytes());
    }
}

#[test]
fn section_5_2_2_4_withheld_fields() {
    let stored =
        stored(&[("cache-control", "max-age=100, no-cache=\"a, b\""), ("a", "1"), ("b", "2"), ("c", "3")]);
    for (validated, expected) in [(false, [None, None, Some("3")]), (true, [Some("1"), Some("2"), Some("3")])]
    {
        let head = written(&stored, &Answer::Full, validated, 0);
        assert_eq!(["a", "b", "c"].map(|name| value(&head.fields, name)), expected);
    }
}

#[test]
fn rfc_9110_section_14_ranges_of_a_whole_response() {
    let stored = stored(&[FRESH, ("etag", "\"a\""), ("content-type", "a/b")]);
    for (asked, body_bytes, expected) in [
        (&[("range", "bytes=0-1")][..], Some(10), Some((0..2, "bytes 0-1/10"))),
        (&[("range", "bytes=-3")], Some(10), Some((7..10, "bytes 7-9/10"))),
        (&[("range", "bytes=0-1")], None, None),
        (&[("range", "bytes=0-1"), ("if-range", "\"a\"")], Some(10), Some((0..2, "bytes 0-1/10"))),
        (&[("range", "bytes=0-1"), ("if-range", "\"b\"")], Some(10), None),
        (&[("range", "bytes=0-0,9-9")], Some(10), None),
    ] {
        let answer = answer(&stored, asked, body_bytes);
        let Some((range, text)) = expected else {
            assert_eq!(answer, Answer::Full, "{asked:?}");
            continue;
        };
        assert_eq!(answer, Answer::Part(Part { content: range.clone(), stored: range, complete: 10 }));
        let head = written(&stored, &answer, false, 0);
        assert_eq!((head.status, value(&head.fields, "content-range")), (206, Some(text)));
        assert_eq!(
            (value(&head.fields, "content-type"), value(&head.fields, "etag")),
            (Some("a/b"), Some("\"a\""))
        );
    }
    let none = answer(&stored, &[("range", "bytes=10-")], Some(10));
    assert_eq!(none, Answer::Unsatisfiable { complete: 10 });
    let head = written(&stored, &none, false, 0);
    assert_eq!((head.status, value(&head.fields, "content-range")), (416, Some("bytes */10")));
    assert_eq!(["content-type", "etag", "cache-control"].map(|name| value(&head.fields, name)), [None; 3]);
    // Only a 200 has ranges.
    let other = store_as(&Settings::default(), ("GET", &[]), (203, &[FRESH])).unwrap();
    assert_eq!(answer_of(&other), Answer::Full);
}

fn answer_of(stored: &StoredHead) -> Answer {
    answer(stored, &[("range", "bytes=0-1")], Some(10))
}

#[test]
fn section_3_3_ranges_of_a_part() {
    let lines = [FRESH, ("content-range", "bytes 4-8/10")];
    let stored = store_as(&Settings::default(), ("GET", &[("range", "bytes=4-8")]), (206, &lines)).unwrap();
    let part = answer(&stored, &[("range", "bytes=6-7")], Some(5));
    assert_eq!(part, Answer::Part(Part { content: 6..8, stored: 2..4, complete: 10 }));
    let head = written(&stored, &part, false, 0);
    assert_eq!((head.status, value(&head.fields, "content-range")), (206, Some("bytes 6-7/10")));
}

proptest! {
    /// What a range gets is that slice of the whole, from a whole response and from a part alike.
    #[test]
    fn a_range_is_a_slice(
        length in 1..30_usize, cut in (0..30_usize, 1..30_usize), spec in "[0-9]{0,2}-[0-9]{0,2}",
    ) {
        let content: Vec<u8> = (0..length as u8).collect();
        let range = format!("bytes={spec}");
        let asked = [("range", range.as_str())];
        let whole = stored(&[FRESH]);
        let from_whole = match answer(&whole, &asked, Some(length as u64)) {
            Answer::Part(part) => Some((part.content.clone(), &content[part.stored.start as usize..part.stored.end as usize])),
            _ => None,
        };
        if let Some((range, bytes)) = &from_whole {
            prop_assert_eq!(*bytes, &content[range.start as usize..range.end as usize]);
        }
        let start = cut.0.min(length - 1);
        let end = (start + cut.1).min(length);
        let content_range = format!("bytes {start}-{}/{length}", end - 1);
        let part = store_as(&Settings::default(), ("GET", &asked), (206, &[FRESH, ("content-range", &content_range)])).unwrap();
        let head = request_head("GET", &asked);
        let request = Request::read(&Settings::default(), &head, false);
        if part.suits(&request) {
            let body = &content[start..end];
            let Answer::Part(found) = part.answer(&request, Some(body.len() as u64)) else {
                return Err(TestCaseError::fail("a part that suits answers with a part"));
            };
            let bytes = &body[found.stored.start as usize..found.stored.end as usize];
            prop_assert_eq!(Some((found.content, bytes)), from_whole);
        }
    }
}
