//! Bytes that a peer chose, made safe for a line of a log: nothing in them ends a line, a string or a terminal's state.

const HEX: &[u8; 16] = b"0123456789abcdef";

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

/// Appends `bytes` as a JSON string with its quotes (RFC 8259, 7). Bytes that are not UTF-8 become U+FFFD; control
/// characters are escaped, the C1 ones too, which some terminals obey. Past `max` bytes it is cut and marked with three
/// dots.
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
        let code = character as u32;
        let hex = [b'\\', b'u', b'0', b'0', HEX[(code >> 4 & 15) as usize], HEX[(code & 15) as usize]];
        let escaped: &[u8] = match character {
            '"' => b"\\\"",
            '\\' => b"\\\\",
            '\u{0}'..='\u{1f}' | '\u{7f}'..='\u{9f}' => &hex,
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
