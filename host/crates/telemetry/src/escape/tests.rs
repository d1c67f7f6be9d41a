use portcullis_model::text::{escape_json, is_harmful};

use super::{push_json, push_seconds, push_text};

fn text(bytes: &[u8], max: usize) -> String {
    let mut out = Vec::new();
    push_text(&mut out, bytes, max);
    String::from_utf8(out).unwrap()
}

fn json(bytes: &[u8], max: usize) -> String {
    let mut out = Vec::new();
    push_json(&mut out, bytes, max);
    String::from_utf8(out).unwrap()
}

#[test]
fn text_has_neither_ends_of_lines_nor_quotes_nor_escapes() {
    assert_eq!(text(b"plain ~", 99), "plain ~");
    assert_eq!(text(b"a\"b\\c\r\nd\x1b[2J\x7f\xff", 99), r"a\x22b\x5cc\x0d\x0ad\x1b[2J\x7f\xff");
    assert_eq!(text("ü".as_bytes(), 99), r"\xc3\xbc");
    assert_eq!(text(b"", 99), "");
}

#[test]
fn json_reads_back_as_what_it_was() {
    for input in ["plain", "a\"b\\c\r\nd\u{1b}[2J\u{7f}\u{9b}0", "üñ\u{1f980}\u{2028}", "", "\0"] {
        let written = json(input.as_bytes(), 99);
        assert_eq!(serde_json::from_str::<String>(&written).unwrap(), input);
        assert!(!written.chars().any(is_harmful), "{written:?}");
    }
    assert_eq!(serde_json::from_str::<String>(&json(b"a\xff\xc3(b", 99)).unwrap(), "a\u{fffd}\u{fffd}(b");
}

#[test]
fn what_is_too_long_is_cut_and_marked() {
    assert_eq!(text(b"abcd", 4), "abcd");
    assert_eq!(text(b"abcde", 4), "abcd...");
    assert_eq!(json(b"abcd", 4), "\"abcd\"");
    assert_eq!(json(b"abcde", 4), "\"abcd...\"");
    // In the middle of a character.
    assert_eq!(json("aü".as_bytes(), 2), "\"a\u{fffd}...\"");
}

#[test]
fn seconds_have_six_decimals() {
    for (micros, expected) in [(0, "0.000000"), (1, "0.000001"), (12_345_678, "12.345678")] {
        let mut out = Vec::new();
        push_seconds(&mut out, micros);
        assert_eq!(out, expected.as_bytes());
    }
}

/// Python and others end lines at some of these, and others change the direction of text.
#[test]
fn no_reader_of_lines_splits_what_was_escaped() {
    let harmful = "\n\r\u{b}\u{c}\u{1c}\u{1d}\u{1e}\u{85}\u{2028}\u{2029}\u{1b}\u{7f}\u{9b}\u{202a}\u{202e}\u{2066}\u{2069}\u{200e}\u{200f}\u{61c}";
    for character in harmful.chars() {
        let text = format!("a{character}b");
        let written = json(text.as_bytes(), 99);
        assert_eq!(serde_json::from_str::<String>(&written).unwrap(), text);
        assert!(!written.chars().any(is_harmful), "{written:?}");
    }
    // The meaning of a JSON text is unchanged.
    let value = serde_json::json!({ "k\u{2028}": harmful, "n": [1] });
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(&escape_json(&value.to_string(), &[])).unwrap(),
        value
    );
}
