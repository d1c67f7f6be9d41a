//! Parameters in the queries of URLs and in forms, and the user in a URL.

use std::ops::Range;

/// Returns the parameters of the query of a URL or a target, with decoded names and values.
pub(super) fn parameters(text: &str) -> impl Iterator<Item = (String, String)> {
    let query = text.split_once('?').map_or("", |(_, query)| query);
    let pairs = query.split(['&', ';']).map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    pairs.map(|(name, value)| (meant(name), meant(value)))
}

/// Returns the text with values replaced by what `hide` returns: for each parameter in a query (or in all of the text,
/// if that is a form) it is called with the decoded name and the raw value, and for user and password without a name.
/// `None` if nothing changes.
pub(super) fn hidden(
    text: &str,
    is_form: bool,
    mut hide: impl FnMut(Option<&str>, &str) -> Option<String>,
) -> Option<String> {
    let mut hidden: Vec<(Range<usize>, String)> = Vec::new();
    for range in user_infos(text) {
        hidden.extend(hide(None, &text[range.clone()]).map(|mark| (range, mark)));
    }
    let mut queries = queries(text);
    if is_form && looks_like_form(text) {
        queries.clear();
        queries.push(0..text.len());
    }
    for query in queries {
        let mut at = query.start;
        for pair in text[query].split(['&', ';']) {
            if let Some((name, value)) = pair.split_once('=')
                && !value.is_empty()
            {
                let start = at + name.len() + 1;
                let mark = hide(Some(&meant(name)), value);
                hidden.extend(mark.map(|mark| (start..start + value.len(), mark)));
            }
            at += pair.len() + 1;
        }
    }
    if hidden.is_empty() {
        return None;
    }
    hidden.sort_by_key(|(range, _)| range.start);
    let (mut clean, mut from) = (String::with_capacity(text.len()), 0);
    for (range, mark) in hidden {
        if range.start >= from {
            clean.push_str(&text[from..range.start]);
            // A bracket is allowed in a query (which is forwarded byte for byte), and the mark is one word.
            clean.push_str(&mark);
            from = range.end;
        }
    }
    clean.push_str(&text[from..]);
    Some(clean)
}

/// Returns the end of an address within other text. A fragment may have its own parameters, as responses of OAuth have.
fn is_end(letter: char) -> bool {
    letter.is_whitespace() || matches!(letter, '"' | '\'' | '<' | '>' | '`')
}

fn queries(text: &str) -> Vec<Range<usize>> {
    let mut queries = Vec::new();
    let mut from = 0;
    while let Some(begin) = text[from..].find(['?', '#']).map(|at| from + at + 1) {
        let end = text[begin..].find(|letter| is_end(letter) || matches!(letter, '?' | '#'));
        let end = end.map_or(text.len(), |at| begin + at);
        queries.push(begin..end);
        from = end;
    }
    queries
}

/// `user:password` of `https://user:password@host/`.
fn user_infos(text: &str) -> Vec<Range<usize>> {
    let begins = text.match_indices("://").map(|(at, _)| at + 3);
    let infos = begins.filter_map(|begin| {
        let rest = &text[begin..];
        let end = rest.find(|letter| is_end(letter) || matches!(letter, '/' | '?' | '#'));
        let authority = &rest[..end.unwrap_or(rest.len())];
        authority.rfind('@').filter(|at| *at > 0).map(|at| begin..begin + at)
    });
    infos.collect()
}

/// Whether a text is a form: pairs and nothing else.
fn looks_like_form(text: &str) -> bool {
    let is_pair = |pair: &str| {
        let is_name = |name: &str| {
            !name.is_empty()
                && name.chars().all(|letter| letter.is_ascii_alphanumeric() || "%+-._~*[]:".contains(letter))
        };
        pair.split_once('=')
            .is_some_and(|(name, value)| is_name(name) && !value.contains(char::is_whitespace))
    };
    !text.is_empty() && text.split('&').all(is_pair)
}

/// Decodes a name or value of a form (WHATWG URL, 5.1).
fn meant(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let digit = |at: usize| char::from(*after.get(at)?).to_digit(16);
        rest = after;
        match (byte, digit(0), digit(1)) {
            (b'%', Some(high), Some(low)) => {
                bytes.push((high << 4 | low) as u8);
                rest = &after[2..];
            }
            (b'+', ..) => bytes.push(b' '),
            _ => bytes.push(byte),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::{hidden, parameters};

    fn clean(text: &str, is_form: bool) -> String {
        let hide = |name: Option<&str>, _: &str| match name {
            None => Some("[user]".to_owned()),
            Some(name) => (name == "key").then(|| "[key]".to_owned()),
        };
        hidden(text, is_form, hide).unwrap_or_else(|| text.to_owned())
    }

    #[test]
    fn values_are_hidden_wherever_a_query_stands() {
        for (text, expected) in [
            ("/a?key=x&b=c", "/a?key=[key]&b=c"),
            ("/a?b=c&k%65y=x%20y", "/a?b=c&k%65y=[key]"),
            ("/a?key=", "/a?key="),
            ("/a?key", "/a?key"),
            ("/a?b;key=x", "/a?b;key=[key]"),
            ("/key=x", "/key=x"),
            (
                "see https://a.test/?key=x, or <https://b.test/#key=y>",
                "see https://a.test/?key=[key] or <https://b.test/#key=[key]>",
            ),
            ("https://u:p@a.test/?key=x", "https://[user]@a.test/?key=[key]"),
            ("https://a.test/@b?c=d@e", "https://a.test/@b?c=d@e"),
            ("key=x&b=c", "key=x&b=c"),
        ] {
            assert_eq!(clean(text, false), expected, "{text}");
        }
        for (text, expected) in [
            ("key=x&b=c", "key=[key]&b=c"),
            ("{\"a\":\"key=x\"}", "{\"a\":\"key=x\"}"),
            ("a line with key=x", "a line with key=x"),
        ] {
            assert_eq!(clean(text, true), expected, "{text}");
        }
    }

    #[test]
    fn names_are_read_as_they_are_meant() {
        let read: Vec<_> = parameters("/a?a%20b+c=d%zz&e").collect();
        assert_eq!(read, [("a b c".to_owned(), "d%zz".to_owned()), ("e".to_owned(), String::new())]);
    }
}
