//! Lines of a head as bytes, to be kept from one hook to another: each is its name, a zero, its value and a zero.
//! Neither a name nor a value has a zero in it (RFC 9110, 5.5).

/// The bytes of lines.
pub(crate) fn write<'a>(lines: impl Iterator<Item = (&'a str, &'a [u8])>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, value) in lines {
        for part in [name.as_bytes(), value] {
            bytes.extend_from_slice(part);
            bytes.push(0);
        }
    }
    bytes
}

/// The lines of what [`write()`] made.
pub(crate) fn read(bytes: &[u8]) -> impl Iterator<Item = (&str, &[u8])> {
    let mut parts = bytes.split(|byte| *byte == 0);
    std::iter::from_fn(move || {
        let name = std::str::from_utf8(parts.next()?).ok().filter(|name| !name.is_empty())?;
        Some((name, parts.next()?))
    })
}
