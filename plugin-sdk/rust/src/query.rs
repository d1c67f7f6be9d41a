//! Query strings, read and cut as the form encoding of the URL standard has it.

use std::borrow::Cow;

/// The decoded values of `name`, in order.
pub(crate) fn values(query: &str, name: &str) -> Vec<String> {
    let pairs = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    pairs.filter(|(key, _)| decode(key) == name).map(|(_, value)| decode(value).into_owned()).collect()
}

/// The query without `name`; `None` if it has none of it.
pub(crate) fn without(query: &str, name: &str) -> Option<String> {
    let is_other = |pair: &&str| decode(pair.split_once('=').map_or(*pair, |(key, _)| key)) != name;
    if query.split('&').all(|pair| is_other(&pair)) {
        return None;
    }
    let rest: Vec<&str> = query.split('&').filter(is_other).collect();
    Some(rest.join("&"))
}

fn decode(text: &str) -> Cow<'_, str> {
    if !text.contains(['%', '+']) {
        return Cow::Borrowed(text);
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
    Cow::Owned(String::from_utf8_lossy(&bytes).into_owned())
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
    }

    #[test]
    fn cuts_one_name_and_keeps_the_rest_as_written() {
        assert_eq!(without("a=1&b=%41&a=2&c", "a").as_deref(), Some("b=%41&c"));
        assert_eq!(without("%61=1", "a").as_deref(), Some(""));
        assert_eq!(without("b=1", "a"), None);
    }
}
