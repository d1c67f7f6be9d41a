//! The normal form of a request target.
//!
//! A path is normalised once, when the request arrives (or when a policy sets it). The result is what routes match,
//! what policies see and what is forwarded. The rule, in this order:
//!
//! 1. It starts with `/`. It has no `#`, space, control character, backslash or byte outside ASCII, raw or (except the
//!    space and bytes over 0x7f) percent-encoded, and no percent-encoded slash: an upstream may decode these
//!    differently than the gateway matches them. Each `%` starts a valid triplet.
//! 2. Percent-encoded unreserved characters are decoded (RFC 3986, 6.2.2.2), the digits of other triplets become upper
//!    case (6.2.2.1), and raw characters that RFC 3986 does not allow in a path (`"<>[]^{|}` and the back tick) are
//!    encoded. Nothing is decoded twice: `%252e` stays.
//! 3. Empty segments are dropped (`//` is `/`), then dot segments are removed (5.2.4). A path that climbs above the
//!    root is refused, and so is a dot segment with parameters (`..;x`), which some servers read as a dot segment.
//!
//! Parameters (`;`) and everything else are kept, and so is a trailing slash. The query is kept byte for byte, except
//! `"`, `<` and `>`, which are encoded: RFC 3986 does not allow them and HTTP/2 cannot carry them everywhere, but
//! browsers and scanners send them. It may have no control character, space, `#` or byte outside ASCII.
//!
//! A route may have other [`PathRules`]. Then a percent-encoded slash remains `%2F`, a character of its segment like
//! any other, and empty segments are kept. Two things are refused under any rules, because a server that decodes or
//! merges slashes would read another path: a part of a segment between two percent-encoded slashes that is a dot
//! segment (`a%2F..%2Fb`), and a dot segment that would remove a segment with such a slash, or an empty one.
//!
//! The route is not known before the path is, so [`set_client_target`] keeps the percent-encoded slashes of a client's
//! path and records how it was written. [`read_path`] chooses its form once the route is found.

#[cfg(test)]
mod tests;

use portcullis_model::PathRules;

use crate::RequestHead;

/// Why a path or query was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// It does not start with `/`.
    #[error("path does not start with a slash")]
    NotAbsolute,
    /// A `%` without two hexadecimal digits.
    #[error("invalid percent-encoding in path")]
    PercentEncoding,
    /// A slash or backslash as `%2F` or `%5C`.
    #[error("encoded slash or backslash in path")]
    EncodedSeparator,
    /// A character that is not allowed in a path: control, space, backslash, `#`, or outside ASCII.
    #[error("invalid character in path")]
    Character,
    /// A dot segment after an empty one, which it would remove, or would remove another one if slashes are merged
    /// first.
    #[error("dot segment behind an empty segment in path")]
    EmptySegment,
    /// More `..` than segments before them.
    #[error("path leads above the root")]
    AboveRoot,
    /// A dot segment with parameters, such as `..;a=b`.
    #[error("dot segment with parameters in path")]
    DotParameters,
    /// A character that is not allowed in a query: control, space, `#`, or outside ASCII.
    #[error("invalid character in query")]
    Query,
    /// A target that is longer than some servers accept, in its normal form.
    #[error("path and query too long")]
    TooLong,
}

/// A way to read a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PathReading {
    /// What a percent-encoded slash is.
    pub encoded_slash: EncodedSlash,
    /// Whether empty segments are kept.
    pub keeps_empty_segments: bool,
    /// Whether the part of a segment after a `;` is dropped, as servlet containers do.
    pub drops_parameters: bool,
}

/// How a percent-encoded slash in a path is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EncodedSlash {
    /// It is refused.
    Refused,
    /// A character of its segment.
    Kept,
    /// A slash.
    Decoded,
}

impl From<PathRules> for PathReading {
    fn from(rules: PathRules) -> Self {
        Self {
            encoded_slash: if rules.keeps_encoded_slash { EncodedSlash::Kept } else { EncodedSlash::Refused },
            keeps_empty_segments: rules.keeps_empty_segments,
            drops_parameters: false,
        }
    }
}

/// How the path of a client is read before its route is known.
const OF_CLIENT: PathReading =
    PathReading { encoded_slash: EncodedSlash::Kept, keeps_empty_segments: false, drops_parameters: false };

/// Normalises `path` (without query) into `out`, which is replaced, or unchanged on an error.
///
/// # Errors
/// If the path is refused, see the module's rule.
pub fn normalize_path(path: &str, out: &mut String) -> Result<(), PathError> {
    read_path(path, PathRules::default().into(), out)
}

/// As [`normalize_path`], in another reading.
///
/// # Errors
/// If the path is refused in that reading.
pub fn read_path(path: &str, reading: PathReading, out: &mut String) -> Result<(), PathError> {
    let old = out.len();
    append_normalized(path, reading, out)?;
    out.drain(..old);
    Ok(())
}

/// Normalises `path_and_query` by the rules of `head` and makes it the target of `head`, which is unchanged on an
/// error. `*` is not accepted here: see [`RequestHead::set_target`].
///
/// # Errors
/// When the path or the query is refused, see the module's rule.
pub fn set_request_target(head: &mut RequestHead, path_and_query: &str) -> Result<(), PathError> {
    set_target(head, path_and_query, head.path_rules.into())
}

/// As [`set_request_target`], for a client's request whose route is not known yet: percent-encoded slashes are kept,
/// and [`RequestHead::written_path`] has the raw path if its form depends on the route.
///
/// # Errors
/// If the path or the query is refused under any rules.
pub fn set_client_target(head: &mut RequestHead, path_and_query: &str) -> Result<(), PathError> {
    set_target(head, path_and_query, OF_CLIENT)?;
    let (path, _) = split_query(path_and_query);
    if has_encoded_slash(head.path()) || memchr::memmem::find(path.as_bytes(), b"//").is_some() {
        head.set_written_path(path);
    }
    Ok(())
}

/// Returns whether a path, in normal form, has a percent-encoded slash.
#[must_use]
pub fn has_encoded_slash(path: &str) -> bool {
    memchr::memmem::find(path.as_bytes(), b"%2F").is_some()
}

fn set_target(head: &mut RequestHead, path_and_query: &str, reading: PathReading) -> Result<(), PathError> {
    let (path, query) = split_query(path_and_query);
    if path_and_query.len() > TARGET_BYTES_MAX {
        return Err(PathError::TooLong);
    }
    let mut encoded = String::new();
    let mut query = query;
    if let Some(written) = query {
        if !is_query(written) {
            return Err(PathError::Query);
        }
        if written.bytes().any(is_encoded_in_query) {
            for byte in written.bytes() {
                if is_encoded_in_query(byte) {
                    push_triplet(&mut encoded, byte);
                } else {
                    encoded.push(char::from(byte));
                }
            }
            query = Some(&encoded);
        }
    }
    let query_bytes = query.map_or(0, |query| query.len() + 1);
    head.edit_target(query, |target| {
        let start = target.len();
        append_normalized(path, reading, target)?;
        if target.len() - start + query_bytes > TARGET_BYTES_MAX {
            target.truncate(start);
            return Err(PathError::TooLong);
        }
        Ok(())
    })
}

fn split_query(path_and_query: &str) -> (&str, Option<&str>) {
    match memchr::memchr(b'?', path_and_query.as_bytes()) {
        Some(at) => (&path_and_query[..at], Some(&path_and_query[at + 1..])),
        None => (path_and_query, None),
    }
}

/// The longest path and query that HTTP/2 peers accept, after encoding.
const TARGET_BYTES_MAX: usize = 65_534;

const fn is_encoded_in_query(byte: u8) -> bool {
    matches!(byte, b'"' | b'<' | b'>')
}

/// Returns whether `query` (without its `?`) may be forwarded, encoded if need be.
fn is_query(query: &str) -> bool {
    query.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#')
}

/// Appends the normal form of `path`. `out` is unchanged on an error.
fn append_normalized(path: &str, reading: PathReading, out: &mut String) -> Result<(), PathError> {
    let bytes = path.as_bytes();
    if bytes.first() != Some(&b'/') {
        return Err(PathError::NotAbsolute);
    }
    // Most paths are in normal form already: then this scan and one copy are enough.
    let mut after_slash = false;
    let normal = bytes.iter().all(|byte| {
        let class = CLASS[*byte as usize];
        let fine = class == PLAIN || (class == SEGMENT && !after_slash);
        after_slash = *byte == b'/';
        fine
    });
    if normal && !reading.drops_parameters {
        out.push_str(path);
        return Ok(());
    }
    let start = out.len();
    let result = append_slowly(bytes, reading, out, start);
    if result.is_err() {
        out.truncate(start);
    }
    result
}

fn append_slowly(path: &[u8], reading: PathReading, out: &mut String, start: usize) -> Result<(), PathError> {
    out.push('/');
    // The start of the current segment in `out`, after a slash.
    let mut segment = out.len();
    let mut at = 1;
    while let Some(&byte) = path.get(at) {
        at += 1;
        match CLASS[byte as usize] {
            _ if byte == b'/' => {
                if end_segment(out, reading, start, segment)? {
                    out.push('/');
                }
                segment = out.len();
            }
            PLAIN | SEGMENT => out.push(char::from(byte)),
            ENCODE => push_triplet(out, byte),
            PERCENT => {
                let digits = path.get(at..at + 2).ok_or(PathError::PercentEncoding)?;
                let (Some(high), Some(low)) = (hex_value(digits[0]), hex_value(digits[1])) else {
                    return Err(PathError::PercentEncoding);
                };
                at += 2;
                let decoded = high << 4 | low;
                match (decoded, reading.encoded_slash) {
                    (b'/', EncodedSlash::Decoded) => {
                        if end_segment(out, reading, start, segment)? {
                            out.push('/');
                        }
                        segment = out.len();
                    }
                    (b'/', EncodedSlash::Kept) => push_triplet(out, decoded),
                    (b'/' | b'\\', _) => return Err(PathError::EncodedSeparator),
                    _ if decoded.is_ascii_control() => return Err(PathError::Character),
                    _ if is_unreserved(decoded) => out.push(char::from(decoded)),
                    _ => push_triplet(out, decoded),
                }
            }
            _ => return Err(PathError::Character),
        }
    }
    end_segment(out, reading, start, segment)?;
    Ok(())
}

/// Ends the segment that starts at `segment`. Returns whether it is kept and needs a slash after it. A segment that is
/// removed leaves the slash before it.
fn end_segment(
    out: &mut String,
    reading: PathReading,
    start: usize,
    segment: usize,
) -> Result<bool, PathError> {
    if let Some(at) = out[segment..].find(';') {
        if is_dot_segment(&out[segment..]) {
            return Err(PathError::DotParameters);
        }
        if reading.drops_parameters {
            out.truncate(segment + at);
        }
    }
    match &out[segment..] {
        "" => Ok(reading.keeps_empty_segments),
        "." => {
            out.truncate(segment);
            Ok(false)
        }
        ".." => {
            // `out` ends in "/..", and a segment precedes that slash unless the slash is the root's.
            let slash = segment - 1;
            if slash == start {
                return Err(PathError::AboveRoot);
            }
            let parent = out[start..slash].rfind('/').map_or(start, |at| start + at) + 1;
            match &out[parent..slash] {
                "" => return Err(PathError::EmptySegment),
                taken_back if has_encoded_slash(taken_back) => return Err(PathError::EncodedSeparator),
                _ => {}
            }
            out.truncate(parent);
            Ok(false)
        }
        // To a server that decodes the slashes, these are segments.
        other if has_encoded_slash(other) && other.split("%2F").any(is_dot_segment) => {
            Err(PathError::EncodedSeparator)
        }
        _ => Ok(true),
    }
}

/// Returns whether a segment is a dot segment, perhaps with parameters.
fn is_dot_segment(segment: &str) -> bool {
    segment.split(';').next().is_some_and(|name| name == "." || name == "..")
}

fn push_triplet(out: &mut String, byte: u8) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    out.push('%');
    out.push(char::from(DIGITS[usize::from(byte >> 4)]));
    out.push(char::from(DIGITS[usize::from(byte & 15)]));
}

/// Returns the value of a hexadecimal digit.
pub(crate) const fn hex_value(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

/// RFC 3986, 2.3.
const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// Copied unchanged in any position.
const PLAIN: u8 = 0;
/// `/` and `.`, which are copied unchanged except after a slash.
const SEGMENT: u8 = 1;
/// `%`.
const PERCENT: u8 = 2;
/// Is encoded.
const ENCODE: u8 = 3;
/// Is refused.
const REFUSE: u8 = 4;

const CLASS: [u8; 256] = {
    let mut table = [REFUSE; 256];
    let mut at = 0;
    while at < 128 {
        let byte = at as u8;
        table[at] = match byte {
            b'/' | b'.' => SEGMENT,
            b'%' => PERCENT,
            b'"' | b'<' | b'>' | b'[' | b']' | b'^' | b'`' | b'{' | b'|' | b'}' => ENCODE,
            b'\\' | b'#' | b'?' => REFUSE,
            _ if byte.is_ascii_graphic() => PLAIN,
            _ => REFUSE,
        };
        at += 1;
    }
    table
};
