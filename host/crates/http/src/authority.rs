//! The form of an authority: host and port.

#[cfg(test)]
mod tests;

use std::net::Ipv6Addr;

/// The longest host name (RFC 1035, 2.3.4), with brackets and port.
const AUTHORITY_BYTES_MAX: usize = 255 + 6;

/// Returns whether `authority` is a host with an optional port (RFC 3986, 3.2), in the strict subset that this gateway
/// accepts: a name of letters, digits, `-`, `.` and `_` with no empty label except the last, an IPv4 address, or an
/// IPv6 address in brackets; then optionally `:` and a port from 0 to 65535. No user info, no percent-encoding, no
/// zone.
#[must_use]
pub fn validate_authority(authority: &str) -> bool {
    let bytes = authority.as_bytes();
    if bytes.len() > AUTHORITY_BYTES_MAX {
        return false;
    }
    let port = if let Some(inner) = authority.strip_prefix('[') {
        let Some((address, rest)) = inner.split_once(']') else { return false };
        if address.parse::<Ipv6Addr>().is_err() {
            return false;
        }
        rest
    } else {
        let end = memchr::memchr(b':', bytes).unwrap_or(bytes.len());
        if !is_name(&bytes[..end]) {
            return false;
        }
        &authority[end..]
    };
    port.is_empty() || port.strip_prefix(':').is_some_and(is_port)
}

/// Returns whether the authority has a port, which CONNECT requires (RFC 9110, 9.3.6). It must be valid.
pub(crate) fn has_port(authority: &str) -> bool {
    authority.rfind(':').is_some_and(|at| !authority[at..].contains(']'))
}

fn is_name(name: &[u8]) -> bool {
    // Starts as if after a dot, so that an empty first label is found too.
    let mut last = b'.';
    let fine = name.iter().all(|&byte| {
        let dots = byte == b'.' && last == b'.';
        last = byte;
        !dots && (byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'))
    });
    fine && !name.is_empty()
}

fn is_port(port: &str) -> bool {
    (1..=5).contains(&port.len())
        && port.bytes().all(|byte| byte.is_ascii_digit())
        && port.parse::<u16>().is_ok()
}
