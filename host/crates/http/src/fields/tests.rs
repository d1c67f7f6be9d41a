use super::{FieldError, Fields, is_field_value};
use crate::Known;

fn lines(fields: &Fields) -> Vec<(&str, &str)> {
    fields.iter().map(|(_, name, value)| (name, std::str::from_utf8(value).unwrap())).collect()
}

#[test]
fn keeps_order_and_lowers_names() {
    let mut fields = Fields::new();
    fields.append(b"X-B", b"1").unwrap();
    fields.append(b"DATE", b"2").unwrap();
    fields.append(b"x-b", b"3").unwrap();
    assert_eq!(lines(&fields), [("x-b", "1"), ("date", "2"), ("x-b", "3")]);
    assert_eq!(fields.get(b"X-b"), Some(&b"1"[..]));
    assert_eq!(fields.get_known(Known::Date), Some(&b"2"[..]));
    assert_eq!(fields.get_joined(b"x-b").as_deref(), Some(&b"1, 3"[..]));
    assert_eq!(fields.get_joined(b"x-c"), None);
}

/// RFC 6265, 4.2.1: between two cookies stands `; `. A comma would become part of the first one's value.
#[test]
fn joins_cookies_as_cookies() {
    let mut fields = Fields::new();
    for value in ["a=1", "b=2; c=3", "d=4"] {
        fields.append(b"Cookie", value.as_bytes()).unwrap();
    }
    assert_eq!(fields.get_joined(b"COOKIE").as_deref(), Some(&b"a=1; b=2; c=3; d=4"[..]));
    assert_eq!(fields.get_all(b"cookie").count(), 3, "each line can still be seen by itself");
}

#[test]
fn sets_in_the_place_of_the_first() {
    let mut fields = Fields::new();
    for (name, value) in [("x-a", "1"), ("x-b", "2"), ("x-a", "3"), ("date", "4")] {
        fields.append(name.as_bytes(), value.as_bytes()).unwrap();
    }
    fields.set(b"X-A", b"5").unwrap();
    fields.set(b"Date", b"6").unwrap();
    fields.set(b"x-c", b"7").unwrap();
    assert_eq!(lines(&fields), [("x-a", "5"), ("x-b", "2"), ("date", "6"), ("x-c", "7")]);
    assert_eq!(fields.set(b"x-b", b"\0"), Err(FieldError::InvalidValue));
    assert_eq!(fields.get(b"x-b"), Some(&b"2"[..]));
    assert_eq!((fields.remove(b"X-B"), fields.remove_known(Known::Date), fields.remove(b"x-z")), (1, 1, 0));
    assert_eq!(lines(&fields), [("x-a", "5"), ("x-c", "7")]);
}

#[test]
fn edits_are_what_was_added_since_even_if_it_says_the_same() {
    let mut fields = Fields::new();
    for (name, value) in [("x-a", "1"), ("x-b", "2"), ("x-c", "3")] {
        fields.append(name.as_bytes(), value.as_bytes()).unwrap();
    }
    assert_eq!(fields.edits().count(), 0);
    fields.mark_edits();
    fields.set(b"x-b", b"2").unwrap();
    fields.append(b"x-d", b"4").unwrap();
    fields.append_known(Known::Date, b"5").unwrap();
    fields.remove(b"x-c");
    let edits: Vec<_> = fields.edits().collect();
    assert_eq!(edits, [(&b"x-b"[..], &b"2"[..]), (b"x-d", b"4"), (b"date", b"5")]);
    assert_eq!(fields.clone().edits().count(), 3);
    // Together with what was there, it says something else.
    fields.append(b"X-A", b"7").unwrap();
    let edits: Vec<_> = fields.edits().filter(|(name, _)| *name == b"x-a").collect();
    assert_eq!(edits, [(&b"x-a"[..], &b"1"[..]), (b"x-a", b"7")]);
    fields.clear();
    fields.append(b"x-e", b"6").unwrap();
    assert_eq!(fields.edits().count(), 0);
}

#[test]
fn refuses_what_is_no_field() {
    let mut fields = Fields::new();
    for name in ["", "a b", "a:", ":a", "a\r", "\u{e9}", "a\0"] {
        assert_eq!(fields.append(name.as_bytes(), b""), Err(FieldError::InvalidName), "{name:?}");
    }
    for value in ["\r", "\n", "\0", "a\r\nb: c", " a", "a ", "\ta", "a\t", " ", "\u{7f}"] {
        assert_eq!(fields.append(b"a", value.as_bytes()), Err(FieldError::InvalidValue), "{value:?}");
    }
    assert!(is_field_value(b"") && is_field_value(b"a \t b") && is_field_value(b"\xff"));
    assert_eq!(fields.append_known(Known::Other, b""), Err(FieldError::InvalidName));
    assert!(fields.is_empty());
}

#[test]
fn finds_tokens_in_lists() {
    let mut fields = Fields::new();
    fields.append(b"connection", b"a,\tClose ,b").unwrap();
    fields.append(b"connection", b"upgrade").unwrap();
    for (token, there) in [("close", true), ("UPGRADE", true), ("a", true), ("clos", false), ("", false)] {
        assert_eq!(fields.has_token(Known::Connection, token), there, "{token}");
    }
}

#[test]
fn is_bounded() {
    let mut fields = Fields::new();
    for _ in 0..1024 {
        fields.append(b"a", b"b").unwrap();
    }
    assert_eq!(fields.append(b"a", b"b"), Err(FieldError::TooLarge));
    fields.clear();
    assert_eq!(fields.append(b"a", &vec![b'b'; 1 << 20]), Err(FieldError::TooLarge));
    // Edits leave gaps, which are used again: the section may be edited for ever.
    let value = vec![b'b'; 300_000];
    fields.append(b"x-kept", b"1").unwrap();
    for _ in 0..20 {
        fields.set(b"a", &value).unwrap();
    }
    assert_eq!(
        (fields.len(), fields.get(b"a"), fields.get(b"x-kept")),
        (2, Some(&value[..]), Some(&b"1"[..]))
    );
}

#[test]
fn copies_into_the_buffers_that_are_there() {
    let mut source = Fields::new();
    source.append(b"x-a", b"1").unwrap();
    source.set(b"x-a", b"2").unwrap();
    let mut copy = Fields::new();
    copy.append(b"x-b", &[b'b'; 100]).unwrap();
    let capacity = copy.capacity();
    copy.clone_from(&source);
    assert_eq!((lines(&copy), copy.capacity()), (vec![("x-a", "2")], capacity));
    copy.shrink();
    assert_eq!(lines(&copy), [("x-a", "2")]);
    assert!(copy.capacity() < capacity);
}
