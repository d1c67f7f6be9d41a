//! The Range field (RFC 9110, 14.2), for bytes.

#[cfg(test)]
mod tests;

use std::ops::Range;

/// A request with more ranges than this is answered with the whole content: many small ranges are an attack.
const RANGES_MAX: usize = 16;

/// What a Range field asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Requested {
    /// The whole content: the field is malformed, has another unit, or asks for ranges that are not one stretch.
    Whole,
    /// One stretch of the content. Several ranges that touch or overlap are one.
    Part(Range<u64>),
    /// Nothing that the content has.
    Unsatisfiable,
}

/// Returns what a Range field asks of content of this length. A server may ignore the field, so everything that is not
/// one stretch is answered with the whole content.
#[must_use]
pub fn byte_range(value: &[u8], length: u64) -> Requested {
    let Some(ranges) = value
        .split_at_checked(6)
        .and_then(|(unit, ranges)| unit.eq_ignore_ascii_case(b"bytes=").then_some(ranges))
    else {
        return Requested::Whole;
    };
    let mut found: [Range<u64>; RANGES_MAX] = std::array::from_fn(|_| 0..0);
    let (mut count, mut specs) = (0, 0);
    for spec in ranges.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).filter(|spec| !spec.is_empty()) {
        specs += 1;
        if specs > RANGES_MAX {
            return Requested::Whole;
        }
        match resolve(spec, length) {
            None => return Requested::Whole,
            Some(range) if range.is_empty() => {}
            Some(range) => {
                found[count] = range;
                count += 1;
            }
        }
    }
    match (specs, count) {
        (0, _) => Requested::Whole,
        // A suffix of nothing is satisfiable, and no Content-Range can say so.
        (_, 0) if length == 0 && ranges.trim_ascii().starts_with(b"-") => Requested::Whole,
        (_, 0) => Requested::Unsatisfiable,
        _ => one_stretch(&mut found[..count]).map_or(Requested::Whole, Requested::Part),
    }
}

/// Where a range begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FirstByte {
    /// At this byte.
    At(u64),
    /// So many bytes before the end.
    FromEnd(u64),
}

/// Returns where the range of a Range field begins, or `None` if the field is malformed, has another unit, or asks for
/// several ranges.
#[must_use]
pub fn first_byte(value: &[u8]) -> Option<FirstByte> {
    let (unit, range) = value.split_at_checked(6)?;
    let range = range.trim_ascii();
    if !unit.eq_ignore_ascii_case(b"bytes=") || range.contains(&b',') {
        return None;
    }
    resolve(range, u64::MAX)?;
    match range.split(|byte| *byte == b'-').next()? {
        [] => number(range.get(1..)?).map(FirstByte::FromEnd),
        first => number(first).map(FirstByte::At),
    }
}

/// Returns the bytes that a range names, none if they are behind the end, or `None` if it is malformed.
fn resolve(spec: &[u8], length: u64) -> Option<Range<u64>> {
    let dash = spec.iter().position(|byte| *byte == b'-')?;
    let (first, last) = (&spec[..dash], &spec[dash + 1..]);
    if first.is_empty() {
        return Some(length.saturating_sub(number(last)?)..length);
    }
    let first = number(first)?;
    let end = if last.is_empty() { length } else { number(last)?.saturating_add(1) };
    if !last.is_empty() && end <= first {
        return None;
    }
    Some(first.min(length)..end.min(length))
}

/// A number of digits alone; one that is too large is the largest.
fn number(digits: &[u8]) -> Option<u64> {
    let digit = |byte: &u8| byte.is_ascii_digit().then(|| u64::from(byte - b'0'));
    let add = |number: u64, byte: &u8| Some(number.saturating_mul(10).saturating_add(digit(byte)?));
    (!digits.is_empty()).then(|| digits.iter().try_fold(0, add))?
}

/// The one stretch that the ranges are together.
fn one_stretch(ranges: &mut [Range<u64>]) -> Option<Range<u64>> {
    ranges.sort_unstable_by_key(|range| range.start);
    let mut whole = ranges.first()?.clone();
    for range in ranges {
        if range.start > whole.end {
            return None;
        }
        whole.end = whole.end.max(range.end);
    }
    Some(whole)
}
