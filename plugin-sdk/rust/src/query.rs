//! Query strings, read and cut as the form encoding of the URL standard has it.

use std::borrow::Cow;

/// The decoded values of `name` as text, in order.
pub(crate) fn values(query: &str, name: &str) -> Vec<String> {
    let text = |bytes: Cow<'_, [u8]>| String::from_utf8_lossy(&bytes).into_owned();
    decoded(query, name).map(text).collect()
}

/// The decoded values of `name`, in order.
pub(crate) fn values_bytes(query: &str, name: &str) -> Vec<Vec<u8>> {
    decoded(query, name).map(Cow::into_owned).collect()
}

fn decoded<'a>(query: &'a str, name: &str) -> impl Iterator<Item = Cow<'a, [u8]>> {
    let pairs = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    pairs.filter(move |(key, _)| *decode(key) == *name.as_bytes()).map(|(_, value)| decode(value))
}

/// The query without `name`; `None` if it has none of it.
pub(crate) fn without(query: &str, name: &str) -> Option<String> {
    let is_other =
        |pair: &&str| *decode(pair.split_once('=').map_or(*pair, |(key, _)| key)) != *name.as_bytes();
    if query.split('&').all(|pair| is_other(&pair)) {
        return None;
    }
    let rest: Vec<&str> = query.split('&').filter(is_other).collect();
    Some(rest.join("&"))
}

fn decode(text: &str) -> Cow<'_, [u8]> {
    if !text.contains(['%', '+']) {
        return Cow::Borrowed(text.as_bytes());
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let (byte, after) = match (first, tail) {
            (b'+', _) => (b' ', tail),
            (b'%', [high, low, after @ ..]) => match (digit(*high), digit(*low)) {
                (Some(high), Some(low)) => (high << 4 | low, after),
                _ => (b'%', tail),
            },
            _ => (*first, tail),
        };
        bytes.push(byte);
        rest = after;
    }
    Cow::Owned(bytes)
}

fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decodes_names_and_values() {
        assert_eq!(values("a=1&b=2&a=%33+4", "a"), ["1", "3 4"]);
        assert_eq!(values("k%65y=v", "key"), ["v"]);
        assert_eq!(values("a=%zz%4", "a"), ["%zz%4"]);
        assert_eq!(values("flag", "flag"), [""]);
        assert!(values("", "a").is_empty());
        assert_eq!(values("a=%ff%C3%A9", "a"), ["\u{fffd}\u{e9}"]);
        assert_eq!(values_bytes("a=%ff+%41&a=b", "a"), [&b"\xff A"[..], b"b"]);
        assert!(values("%ff=1", "\u{fffd}").is_empty());
    }

    #[test]
    fn cuts_one_name_and_keeps_the_rest_as_written() {
        assert_eq!(without("a=1&b=%41&a=2&c", "a").as_deref(), Some("b=%41&c"));
        assert_eq!(without("%61=1", "a").as_deref(), Some(""));
        assert_eq!(without("b=1", "a"), None);
    }
}
