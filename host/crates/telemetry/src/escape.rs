//! Bytes that a peer chose, made safe for a line of a log: nothing in them ends a line, a string or a terminal's state.

use std::borrow::Cow;

const HEX: &[u8; 16] = b"0123456789abcdef";

/// Returns whether a character ends a line, steers a terminal or turns the direction of text: control characters, those of C1 too,
/// which some terminals obey; the separators of lines and paragraphs, at which many readers of lines split; and the marks of
/// direction, which show a text in another order than it has.
#[must_use]
pub fn is_harmful(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
        )
}

/// Returns `text` with `\uHHHH` in the place of what [`is_harmful`], but for those of `kept`: within a JSON text that has such a
/// character in its strings alone, it means the same.
#[must_use]
pub fn harmless<'t>(text: &'t str, kept: &[char]) -> Cow<'t, str> {
    let is_escaped = |character: char| is_harmful(character) && !kept.contains(&character);
    if !text.chars().any(is_escaped) {
        return Cow::Borrowed(text);
    }
    let mut clean = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        match is_escaped(character) {
            true => clean.extend(unicode_escape(character).map(char::from)),
            false => clean.push(character),
        }
    }
    Cow::Owned(clean)
}

/// `\uHHHH`. What is harmful is below U+10000.
fn unicode_escape(character: char) -> [u8; 6] {
    let code = character as u32;
    let digit = |shift: u32| HEX[(code >> shift & 15) as usize];
    [b'\\', b'u', digit(12), digit(8), digit(4), digit(0)]
}

/// Appends `bytes` for a quoted string of a text line, as nginx does: what is not printable ASCII, `"` and `\` become
/// `\xHH`. Past `max` bytes it is cut and marked with three dots.
pub(crate) fn push_text(out: &mut Vec<u8>, bytes: &[u8], max: usize) {
    let (bytes, cut) = cut(bytes, max);
    let mut clean = 0;
    for (at, &byte) in bytes.iter().enumerate() {
        if matches!(byte, 0x20..=0x7e) && byte != b'"' && byte != b'\\' {
            continue;
        }
        out.extend_from_slice(&bytes[clean..at]);
        out.extend_from_slice(&[b'\\', b'x', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
        clean = at + 1;
    }
    out.extend_from_slice(&bytes[clean..]);
    if cut {
        out.extend_from_slice(b"...");
    }
}

/// Appends `bytes` as a JSON string with its quotes (RFC 8259, 7). Bytes that are not UTF-8 become U+FFFD; what [`is_harmful`] is
/// escaped. Past `max` bytes it is cut and marked with three dots.
pub(crate) fn push_json(out: &mut Vec<u8>, bytes: &[u8], max: usize) {
    out.push(b'"');
    let (bytes, cut) = cut(bytes, max);
    for chunk in bytes.utf8_chunks() {
        push_json_text(out, chunk.valid());
        if !chunk.invalid().is_empty() {
            out.extend_from_slice("\u{fffd}".as_bytes());
        }
    }
    out.extend_from_slice(if cut { b"...\"" } else { b"\"" });
}

fn push_json_text(out: &mut Vec<u8>, text: &str) {
    let mut clean = 0;
    for (at, character) in text.char_indices() {
        let hex;
        let escaped: &[u8] = match character {
            '"' => b"\\\"",
            '\\' => b"\\\\",
            _ if is_harmful(character) => {
                hex = unicode_escape(character);
                &hex
            }
            _ => continue,
        };
        out.extend_from_slice(&text.as_bytes()[clean..at]);
        out.extend_from_slice(escaped);
        clean = at + character.len_utf8();
    }
    out.extend_from_slice(&text.as_bytes()[clean..]);
}

fn cut(bytes: &[u8], max: usize) -> (&[u8], bool) {
    bytes.get(..max).map_or((bytes, false), |start| (start, bytes.len() > max))
}

/// Appends `number` in decimal digits. `write!` does the same at several times the cost, and a record has ten numbers.
pub(crate) fn push_number(out: &mut Vec<u8>, mut number: u64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// Appends seconds with six decimals.
pub(crate) fn push_seconds(out: &mut Vec<u8>, micros: u64) {
    push_number(out, micros / 1_000_000);
    out.push(b'.');
    let fraction = micros % 1_000_000;
    let mut unit = 100_000;
    while unit > 0 {
        out.push(b'0' + (fraction / unit % 10) as u8);
        unit /= 10;
    }
}

#[cfg(test)]
mod tests;
