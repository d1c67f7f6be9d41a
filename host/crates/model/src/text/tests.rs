use super::{cut, escape, escape_json, hex, is_harmful, one_line, push_decimal};

/// At these the readers of lines of Python and others split, and these turn the direction of text.
const HARMFUL: &str = "\n\r\u{b}\u{c}\u{1c}\u{1d}\u{1e}\u{85}\u{2028}\u{2029}\u{1b}\u{7f}\u{9b}\u{202a}\u{202e}\u{2066}\u{2069}\u{200e}\u{200f}\u{61c}";

#[test]
fn escapes_what_steers_a_terminal() {
    assert_eq!(escape("plain ü"), "plain ü");
    assert_eq!(escape("a\u{1b}[2Jb\n\u{202e}c"), "a\\u{1b}[2Jb\\n\\u{202e}c");
    assert!(!escape(HARMFUL).chars().any(is_harmful));
}

#[test]
fn escapes_for_json_what_would_split_a_line() {
    for character in HARMFUL.chars() {
        assert!(is_harmful(character), "{character:?}");
        let text = format!("a{character}b");
        assert_eq!(escape_json(&text, &[]), format!("a\\u{:04x}b", character as u32));
        assert_eq!(escape_json(&text, &[character]), text);
    }
    assert_eq!(escape_json("plain ü\u{1f980}", &[]), "plain ü\u{1f980}");
}

#[test]
fn cuts_between_characters() {
    assert_eq!(cut("üüü", 6), "üüü");
    assert_eq!(cut("üüü", 5), "üü");
    assert_eq!(one_line("a\n\u{1b}b", 2), "a\\n");
}

#[test]
fn writes_two_digits_for_a_byte() {
    assert_eq!(hex(&[0x00, 0x0f, 0xa5, 0xff]), "000fa5ff");
    assert_eq!(hex(&[]), "");
}

#[test]
fn numbers_are_decimal() {
    for number in [0, 7, 10, 1_234_567, u64::MAX] {
        let mut out = Vec::new();
        push_decimal(&mut out, number);
        assert_eq!(out, number.to_string().into_bytes());
    }
}
