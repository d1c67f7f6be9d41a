//! The ways in which one and the same bytes can be written into a text.

use std::ops::Range;

/// Ways that are taken one after the other: a URL in a JSON text in a URL.
const DEPTH_MAX: usize = 2;
/// Characters of Base64 that may be a credential.
const BASE64_CHARS_MIN: usize = 6;

/// A text decoded in one of the ways, and the place in the text of each decoded byte.
pub(super) struct View {
    pub(super) bytes: Vec<u8>,
    /// The place at which each byte begins, and at last the end of the text.
    at: Vec<usize>,
}

impl View {
    /// Returns the text unchanged.
    pub(super) fn plain(text: &str) -> Self {
        Self { bytes: text.as_bytes().to_vec(), at: (0..=text.len()).collect() }
    }

    /// Returns the place of these bytes in the text.
    pub(super) fn range(&self, bytes: Range<usize>) -> Range<usize> {
        let at = |byte: usize| self.at.get(byte).copied().unwrap_or_default();
        at(bytes.start)..at(bytes.end)
    }

    /// Decodes it: `step` appends the decoded form of the next bytes and returns how many those are, or 0 if they are
    /// not encoded. `None` if none are.
    fn read(&self, step: impl Fn(&[u8], &mut Vec<u8>) -> usize) -> Option<Self> {
        let mut read =
            Self { bytes: Vec::with_capacity(self.bytes.len()), at: Vec::with_capacity(self.at.len()) };
        let (mut from, mut differs) = (0, false);
        while let Some(&byte) = self.bytes.get(from) {
            let used = step(&self.bytes[from..], &mut read.bytes);
            if used == 0 {
                read.bytes.push(byte);
            }
            differs |= used > 0;
            read.at.resize(read.bytes.len(), self.at.get(from).copied().unwrap_or_default());
            from += used.max(1);
        }
        read.at.push(self.at.last().copied().unwrap_or_default());
        differs.then_some(read)
    }
}

/// Returns `text` with percent signs decoded (RFC 3986, 2.1), in the way of forms too (`+` is a space), and with the
/// escapes of JSON and of many languages (RFC 8259, 7); each also after each other one.
pub(super) fn decoded(text: &str) -> Vec<View> {
    let mut views: Vec<View> = Vec::new();
    let mut last = vec![View::plain(text)];
    for _ in 0..DEPTH_MAX {
        let again = |view: &View| [view.read(percent), view.read(form), view.read(escape)];
        let next: Vec<View> = last.iter().flat_map(again).flatten().collect();
        for view in &next {
            if !views.iter().any(|known| known.bytes == view.bytes) {
                views.push(View { bytes: view.bytes.clone(), at: view.at.clone() });
            }
        }
        last = next;
    }
    views
}

fn percent(bytes: &[u8], read: &mut Vec<u8>) -> usize {
    match bytes {
        [b'%', high, low, ..] => digits(&[*high, *low]).map_or(0, |byte| {
            read.push(byte as u8);
            3
        }),
        _ => 0,
    }
}

fn form(bytes: &[u8], read: &mut Vec<u8>) -> usize {
    if bytes.first() == Some(&b'+') {
        read.push(b' ');
        return 1;
    }
    percent(bytes, read)
}

fn escape(bytes: &[u8], read: &mut Vec<u8>) -> usize {
    let plain = match bytes {
        [b'\\', b'u', ..] => return unicode(bytes, read),
        [b'\\', b'x', high, low, ..] => {
            return digits(&[*high, *low]).map_or(0, |byte| {
                read.push(byte as u8);
                4
            });
        }
        [b'\\', b'n', ..] => b'\n',
        [b'\\', b'r', ..] => b'\r',
        [b'\\', b't', ..] => b'\t',
        [b'\\', b'b', ..] => 8,
        [b'\\', b'f', ..] => 12,
        [b'\\', quoted @ (b'"' | b'\\' | b'/' | b'\''), ..] => *quoted,
        _ => return 0,
    };
    read.push(plain);
    2
}

/// `\uHHHH`, or two of them that are one character.
fn unicode(bytes: &[u8], read: &mut Vec<u8>) -> usize {
    let unit = |at: usize| match bytes.get(at..at + 6) {
        Some([b'\\', b'u', rest @ ..]) => digits(rest),
        _ => None,
    };
    let Some(first) = unit(0) else { return 0 };
    let (code, used) = match (first, unit(6)) {
        (0xd800..=0xdbff, Some(second @ 0xdc00..=0xdfff)) => {
            (0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00), 12)
        }
        _ => (first, 6),
    };
    let Some(letter) = char::from_u32(code) else { return 0 };
    read.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
    used
}

fn digits(bytes: &[u8]) -> Option<u32> {
    bytes.iter().try_fold(0, |number, digit| Some(number << 4 | char::from(*digit).to_digit(16)?))
}

/// Decodes runs of Base64 in a view (RFC 4648, both alphabets), with the range of the text for each. The text before a
/// run may look like a part of it, so each is decoded from each of its first four characters.
pub(super) fn base64(view: &View) -> Vec<(Range<usize>, Vec<u8>)> {
    let mut found = Vec::new();
    let mut from = 0;
    while from < view.bytes.len() {
        let run = view.bytes[from..].iter().take_while(|byte| sextet(**byte).is_some()).count();
        let padding = view.bytes[from + run..].iter().take(2).take_while(|byte| **byte == b'=').count();
        if run >= BASE64_CHARS_MIN {
            let range = view.range(from..from + run + padding);
            let letters = &view.bytes[from..from + run];
            found.extend((0..4).filter_map(|skip| Some((range.clone(), from_base64(letters.get(skip..)?)))));
        }
        from += (run + padding).max(1);
    }
    found
}

/// User and password of a field of basic authentication (RFC 7617).
pub(super) fn basic(value: &[u8]) -> Option<Vec<u8>> {
    let (scheme, rest) = value.split_at_checked(6)?;
    if !scheme.eq_ignore_ascii_case(b"basic ") {
        return None;
    }
    let letters = rest.trim_ascii();
    let end = letters.iter().position(|byte| sextet(*byte).is_none()).unwrap_or(letters.len());
    Some(from_base64(&letters[..end])).filter(|bytes| !bytes.is_empty())
}

fn sextet(letter: u8) -> Option<u8> {
    Some(match letter {
        b'A'..=b'Z' => letter - b'A',
        b'a'..=b'z' => letter - b'a' + 26,
        b'0'..=b'9' => letter - b'0' + 52,
        b'+' | b'-' => 62,
        b'/' | b'_' => 63,
        _ => return None,
    })
}

/// Decodes letters of Base64, as far as they go.
fn from_base64(letters: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(letters.len() / 4 * 3 + 2);
    for four in letters.chunks(4) {
        let sextets = four.iter().map(|letter| u32::from(sextet(*letter).unwrap_or_default()));
        let bits = sextets.fold(0, |bits, sextet| bits << 6 | sextet) << (6 * (4 - four.len()));
        let [_, three @ ..] = bits.to_be_bytes();
        // Two letters are one byte, three are two, and a single one is invalid.
        bytes.extend_from_slice(&three[..four.len() - 1]);
    }
    bytes
}

/// Returns the places of `needle` in `bytes`, without overlaps.
pub(super) fn find<'a>(bytes: &'a [u8], needle: &'a [u8]) -> impl Iterator<Item = usize> + 'a {
    let mut from = 0;
    std::iter::from_fn(move || {
        let first = needle.first()?;
        loop {
            let rest = bytes.get(from..)?;
            let at = from + rest.iter().position(|byte| byte == first)?;
            if bytes[at..].starts_with(needle) {
                from = at + needle.len();
                return Some(at);
            }
            from = at + 1;
        }
    })
}

#[cfg(test)]
mod tests {
    use super::{View, base64, basic, decoded, find, from_base64};

    #[test]
    fn reads_each_way_and_knows_where_it_stands() {
        for (text, expected) in [
            ("a%62c", "abc"),
            ("a+b%2f", "a b/"),
            (r"x\u0041\\u", r"xA\u"),
            (r"\ud83e\udd80", "\u{1f980}"),
            ("%2561", "a"),
            (r"%5Cu0061", "a"),
        ] {
            let views = decoded(text);
            let view = views.iter().find(|view| view.bytes == expected.as_bytes());
            let view = view.unwrap_or_else(|| panic!("{text} is never {expected}"));
            assert_eq!(view.range(0..view.bytes.len()), 0..text.len(), "{text}");
        }
        let views = decoded("ab%63d");
        assert_eq!(views[0].range(2..3), 2..5);
        assert!(decoded("plain").is_empty());
    }

    #[test]
    fn reads_base64_wherever_it_begins() {
        assert_eq!(from_base64(b"aGVsbG8"), b"hello");
        assert_eq!(from_base64(b"aGVsbA"), b"hell");
        assert_eq!(from_base64(b"aGVs"), b"hel");
        assert_eq!(basic(b"Basic dXNlcjpwYXNz").unwrap(), b"user:pass");
        assert!(basic(b"Bearer x").is_none() && basic(b"Basic ").is_none());
        let text = "x/aGVsbG8td29ybGQ= y";
        let found = base64(&View::plain(text));
        let (range, _) = found.iter().find(|(_, bytes)| bytes == b"hello-world").unwrap();
        assert_eq!(&text[range.clone()], "x/aGVsbG8td29ybGQ=");
    }

    #[test]
    fn finds_each_place() {
        assert_eq!(find(b"abcabcab", b"abc").collect::<Vec<_>>(), [0, 3]);
        assert_eq!(find(b"aab", b"ab").collect::<Vec<_>>(), [1]);
        assert!(find(b"", b"a").next().is_none() && find(b"a", b"").next().is_none());
    }
}
