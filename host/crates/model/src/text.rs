//! Text that someone else chose (a client, a plugin, an upstream, a registry), made safe for a log or a terminal.

use std::borrow::Cow;

const HEX: &[u8; 16] = b"0123456789abcdef";

/// Returns whether a character ends a line, steers a terminal or turns the direction of text: control characters,
/// those of C1 too, which some terminals obey; the separators of lines and paragraphs, at which many readers split
/// lines; and the marks of direction, which show a text in another order than it has.
#[must_use]
pub fn is_harmful(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
        )
}

/// Returns `text` with an escape such as `\n` or `\u{1b}` for each character that [`is_harmful`]: it can neither
/// steer a terminal nor forge a line of a log.
#[must_use]
pub fn escape(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_harmful) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        match is_harmful(character) {
            true => escaped.extend(character.escape_default()),
            false => escaped.push(character),
        }
    }
    Cow::Owned(escaped)
}

/// Returns `text` with `\uHHHH` for each character that [`is_harmful`], except those in `kept`. A JSON text with such
/// characters in its strings alone keeps its meaning.
#[must_use]
pub fn escape_json<'t>(text: &'t str, kept: &[char]) -> Cow<'t, str> {
    let is_escaped = |character: char| is_harmful(character) && !kept.contains(&character);
    if !text.chars().any(is_escaped) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        match is_escaped(character) {
            true => escaped.extend(unicode_escape(character).map(char::from)),
            false => escaped.push(character),
        }
    }
    Cow::Owned(escaped)
}

/// Returns `\uHHHH` for a character below U+10000, as all are that [`is_harmful`] names.
#[must_use]
pub fn unicode_escape(character: char) -> [u8; 6] {
    let code = character as u32;
    let digit = |shift: u32| HEX[(code >> shift & 15) as usize];
    [b'\\', b'u', digit(12), digit(8), digit(4), digit(0)]
}

/// Returns the beginning of `text`, at most `bytes_max` bytes, cut between two characters.
#[must_use]
pub fn cut(text: &str, bytes_max: usize) -> &str {
    &text[..text.floor_char_boundary(bytes_max)]
}

/// Returns the beginning of `text`, at most `bytes_max` bytes of it, as [`escape`] writes it.
#[must_use]
pub fn one_line(text: &str, bytes_max: usize) -> String {
    escape(cut(text, bytes_max)).into_owned()
}

/// Returns two lower-case hexadecimal digits for each byte.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().flat_map(|byte| hex_digits(*byte)).map(char::from).collect()
}

/// Returns the two lower-case hexadecimal digits of a byte.
#[must_use]
pub fn hex_digits(byte: u8) -> [u8; 2] {
    [HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]
}

/// Appends `number` in decimal digits. `write!` does the same at several times the cost.
pub fn push_decimal(out: &mut Vec<u8>, mut number: u64) {
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

#[cfg(test)]
mod tests;
