//! Makes bytes that a peer chose safe for a log line: they cannot end a line, a string, or a terminal's state.

use portcullis_model::text::{hex_digits, is_harmful, push_decimal, unicode_escape};

/// Appends `bytes` for a quoted string of a text line, as nginx does: bytes that are not printable ASCII, `"` and `\`
/// become `\xHH`. After `max` bytes it is cut and marked with three dots.
pub(crate) fn push_text(out: &mut Vec<u8>, bytes: &[u8], max: usize) {
    let (bytes, cut) = cut(bytes, max);
    let mut clean = 0;
    for (at, &byte) in bytes.iter().enumerate() {
        if matches!(byte, 0x20..=0x7e) && byte != b'"' && byte != b'\\' {
            continue;
        }
        out.extend_from_slice(&bytes[clean..at]);
        out.extend_from_slice(b"\\x");
        out.extend_from_slice(&hex_digits(byte));
        clean = at + 1;
    }
    out.extend_from_slice(&bytes[clean..]);
    if cut {
        out.extend_from_slice(b"...");
    }
}

/// Appends `bytes` as a JSON string with its quotes (RFC 8259, 7). Bytes that are not UTF-8 become U+FFFD, and
/// characters that are [`is_harmful`] are escaped. After `max` bytes it is cut and marked with three dots.
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

/// Appends seconds with six decimals.
pub(crate) fn push_seconds(out: &mut Vec<u8>, micros: u64) {
    push_decimal(out, micros / 1_000_000);
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
