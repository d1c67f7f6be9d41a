//! Text that somebody else chose (a client, a plugin, an upstream), made safe for a terminal.

use std::borrow::Cow;

pub(crate) use portcullis_model::text::escape as shown;
use portcullis_model::text::escape_json;

/// What is printed, with nothing in it that steers a terminal: `\uHHHH` stands in the place of such characters, which in JSON means
/// the same. Lines and tabs are ours by then: text that somebody else chose is [`shown`] where it is put into a line.
pub(crate) fn printable(text: &str) -> Cow<'_, str> {
    escape_json(text, &['\n', '\t'])
}

/// The first `max` characters of `text`, and how much was left out.
pub(crate) fn cut(text: &str, max: usize) -> Cow<'_, str> {
    match text.char_indices().nth(max) {
        None => Cow::Borrowed(text),
        Some((at, _)) => Cow::Owned(format!("{}… ({} bytes in all)", &text[..at], text.len())),
    }
}

/// `1 exchange`, `2 exchanges`.
pub(crate) fn counted(count: u64, noun: &str) -> String {
    match (count, noun.strip_suffix('y')) {
        (1, _) => format!("1 {noun}"),
        (_, Some(stem)) => format!("{count} {stem}ies"),
        _ => format!("{count} {noun}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::{counted, cut, printable};

    #[test]
    fn one_thing_has_no_plural() {
        assert_eq!(
            [0, 1, 2].map(|count| counted(count, "exchange")),
            ["0 exchanges", "1 exchange", "2 exchanges"]
        );
        assert_eq!([1, 2].map(|count| counted(count, "policy")), ["1 policy", "2 policies"]);
    }

    #[test]
    fn what_is_printed_keeps_its_lines_and_no_more() {
        assert_eq!(printable("a\n\tb ü"), "a\n\tb ü");
        assert_eq!(
            printable("\u{1b}]0;owned\u{7}\u{9b}2J\r\u{202e}"),
            "\\u001b]0;owned\\u0007\\u009b2J\\u000d\\u202e"
        );
    }

    #[test]
    fn long_text_is_cut_at_a_character() {
        assert_eq!(cut("üüü", 3), "üüü");
        assert_eq!(cut("üüüü", 3), "üüü… (8 bytes in all)");
    }
}
