use proptest::prelude::*;

use super::Selection::{Failed, NotModified, Part, Unsatisfiable, Whole};
use super::{Selection, Validators, is_strong_match, is_weak_match, list_elements, select_representation};
use crate::{Fields, http_date};

/// When the representation was last modified.
const MODIFIED: u64 = 784_111_777;

fn select(method: &str, etag: &str, lines: &[(&str, &str)]) -> Selection {
    let mut fields = Fields::new();
    for (name, value) in lines {
        fields.append(name.as_bytes(), value.as_bytes()).unwrap();
    }
    let etag = Some(etag.as_bytes()).filter(|etag| !etag.is_empty());
    let validators =
        Validators { etag, modified: Some(MODIFIED), modified_is_strong: true, length: Some(10) };
    select_representation(&fields, method, &validators, MODIFIED)
}

const SAME: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
const LATER: &str = "Sunday, 06-Nov-94 08:49:38 GMT";
const EARLIER: &str = "Sun, 06 Nov 1994 08:49:36 GMT";

#[test]
fn section_13_1_2_if_none_match() {
    for (etag, asked, expected) in [
        ("\"a\"", "\"a\"", NotModified),
        ("\"a\"", "W/\"a\"", NotModified),
        ("W/\"a\"", "\"a\"", NotModified),
        ("\"a\"", "\"b\", \"c,d\" ,\"a\"", NotModified),
        ("\"c,d\"", "\"b\", \"c,d\"", NotModified),
        ("\"a\"", "*", NotModified),
        ("", "*", NotModified),
        ("a", "a", NotModified),
        ("\"a\"", "\"A\"", Whole),
        ("\"a\"", "a", Whole),
        ("\"a\"", "\"x\\\"a\\\"\"", Whole),
        ("\"d\"", "\"c,\"d\"\"", Whole),
        ("", "\"a\"", Whole),
        ("\"a\"", "", Whole),
    ] {
        assert_eq!(select("GET", etag, &[("if-none-match", asked)]), expected, "{etag} {asked}");
    }
    assert_eq!(
        select("GET", "\"a\"", &[("if-none-match", "\"b\""), ("if-none-match", "\"a\"")]),
        NotModified
    );
    assert_eq!(select("PUT", "\"a\"", &[("if-none-match", "*")]), Failed);
}

#[test]
fn section_13_1_3_if_modified_since() {
    for (date, expected) in
        [(SAME, NotModified), (LATER, NotModified), (EARLIER, Whole), ("yesterday", Whole), ("", Whole)]
    {
        assert_eq!(select("GET", "", &[("if-modified-since", date)]), expected, "{date}");
    }
    assert_eq!(select("POST", "", &[("if-modified-since", SAME)]), Whole);
}

#[test]
fn section_13_1_1_and_4_preconditions() {
    for (name, value, expected) in [
        ("if-match", "\"a\"", Whole),
        ("if-match", "*", Whole),
        ("if-match", "W/\"a\"", Failed),
        ("if-match", "\"b\"", Failed),
        ("if-unmodified-since", SAME, Whole),
        ("if-unmodified-since", EARLIER, Failed),
        ("if-unmodified-since", "yesterday", Whole),
    ] {
        assert_eq!(select("PUT", "\"a\"", &[(name, value)]), expected, "{name}: {value}");
    }
    assert_eq!(select("GET", "W/\"a\"", &[("if-match", "W/\"a\"")]), Failed, "compared strongly");
}

#[test]
fn section_13_2_2_precedence() {
    for (lines, expected) in [
        (&[("if-match", "\"a\""), ("if-unmodified-since", EARLIER)][..], Whole),
        (&[("if-none-match", "\"a\""), ("if-modified-since", EARLIER)], NotModified),
        (&[("if-none-match", "\"b\""), ("if-modified-since", LATER)], Whole),
        (&[("if-none-match", "\"a\""), ("range", "bytes=0-1")], NotModified),
        (&[("if-none-match", "\"b\""), ("range", "bytes=0-1")], Part(0..2)),
        (&[("if-match", "\"b\""), ("if-none-match", "\"a\"")], Failed),
    ] {
        assert_eq!(select("GET", "\"a\"", lines), expected, "{lines:?}");
    }
}

#[test]
fn section_14_2_range_and_13_1_5_if_range() {
    for (etag, lines, expected) in [
        ("\"a\"", &[("range", "bytes=0-1")][..], Part(0..2)),
        ("\"a\"", &[("range", "bytes=10-")], Unsatisfiable),
        ("\"a\"", &[("range", "bytes=0-1"), ("if-range", "\"a\"")], Part(0..2)),
        ("\"a\"", &[("range", "bytes=0-1"), ("if-range", "\"b\"")], Whole),
        ("\"a\"", &[("range", "bytes=10-"), ("if-range", "\"b\"")], Whole),
        ("W/\"a\"", &[("range", "bytes=0-1"), ("if-range", "W/\"a\"")], Whole),
        ("\"a\"", &[("range", "bytes=0-1"), ("if-range", "W/\"a\"")], Whole),
        ("\"a\"", &[("range", "bytes=0-1"), ("if-range", SAME)], Part(0..2)),
        ("\"a\"", &[("range", "bytes=0-1"), ("if-range", EARLIER)], Whole),
        ("\"a\"", &[("range", "bytes=0-1"), ("if-range", LATER)], Whole),
        ("\"a\"", &[("if-range", "\"a\"")], Whole),
    ] {
        assert_eq!(select("GET", etag, lines), expected, "{etag} {lines:?}");
    }
    assert_eq!(select("HEAD", "\"a\"", &[("range", "bytes=0-1")]), Whole);
    let mut fields = Fields::new();
    fields.append(b"range", b"bytes=0-1").unwrap();
    fields.append(b"if-range", SAME.as_bytes()).unwrap();
    let weak = Validators { modified: Some(MODIFIED), length: Some(10), ..Validators::default() };
    assert_eq!(select_representation(&fields, "GET", &weak, MODIFIED), Whole, "the date is a weak validator");
    fields.remove(b"if-range");
    let endless = Validators { length: None, ..weak };
    assert_eq!(select_representation(&fields, "GET", &endless, MODIFIED), Whole);
    assert_eq!(http_date(MODIFIED), SAME.as_bytes());
}

#[test]
fn section_8_8_3_2_comparison() {
    for (one, other, strong, weak) in [
        ("W/\"1\"", "W/\"1\"", false, true),
        ("W/\"1\"", "W/\"2\"", false, false),
        ("W/\"1\"", "\"1\"", false, true),
        ("\"1\"", "\"1\"", true, true),
    ] {
        let (one, other) = (one.as_bytes(), other.as_bytes());
        assert_eq!((is_strong_match(one, other), is_weak_match(one, other)), (strong, weak));
    }
}

#[test]
fn section_5_6_1_lists() {
    for (line, expected) in [
        ("a, b ,,\tc", &["a", "b", "c"][..]),
        ("", &[]),
        (" , ,", &[]),
        ("\"a, b\", c", &["\"a, b\"", "c"]),
        ("\"a\\\", b\", c", &["\"a\\\", b\"", "c"]),
        ("\"a, b", &["\"a, b"]),
        ("a\\,b", &["a\\", "b"]),
    ] {
        let found: Vec<_> =
            list_elements(line.as_bytes()).map(|element| std::str::from_utf8(element).unwrap()).collect();
        assert_eq!(found, expected, "{line}");
    }
}

proptest! {
    #[test]
    fn lists_any_bytes(line in prop::collection::vec(any::<u8>(), 0..40)) {
        prop_assert!(list_elements(&line).all(|element| !element.is_empty()));
    }
}
