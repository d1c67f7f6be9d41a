//! The form of an authority: host and port.

#[cfg(test)]
mod tests;

use std::net::Ipv6Addr;

/// No host name is longer (RFC 1035, 2.3.4), and with brackets and port no authority is longer than this.
const AUTHORITY_BYTES_MAX: usize = 255 + 6;

/// Whether `authority` is a host and perhaps a port (RFC 3986, 3.2), by the strict subset that this gateway takes: a name
/// of letters, digits, `-`, `.` and `_` with no empty label but the last, an IPv4 address, or an IPv6 address in
/// brackets; then perhaps `:` and a port from 0 to 65535. No user info, no percent-encoding, no zone.
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

/// Whether the authority names its port, as CONNECT has to (RFC 9110, 9.3.6). It must be valid.
pub(crate) fn has_port(authority: &str) -> bool {
    authority.rfind(':').is_some_and(|at| !authority[at..].contains(']'))
}

fn is_name(name: &[u8]) -> bool {
    // Starts as if behind a dot, so that a first label that is empty is found too.
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
