//! The header of the PROXY protocol, versions 1 and 2: in front of everything else on a connection, a load balancer
//! names the client that it has accepted.
//!
//! The rules are those of HAProxy's `proxy-protocol.txt`. Which peers may send a header, and how long they may take, is
//! decided by the caller.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use portcullis_model::ProxyVersion;

/// What version 2 begins with: neither HTTP nor TLS does.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";

/// What version 1 begins with.
const NAME: &[u8] = b"PROXY ";

/// Bytes of version 2 before the addresses: the signature, version and command, family, length.
const FIXED_BYTES: usize = 16;

/// The longest line of version 1, its end included.
const LINE_BYTES_MAX: usize = 107;

/// The smallest bound that [`header_length`] may be given: no header without fields of its own (TLVs) is longer.
pub const HEADER_BYTES_MIN: usize = 232;

/// Both ends of a connection as its client sees them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProxyAddresses {
    /// The client.
    pub source: SocketAddr,
    /// The address that the client connected to.
    pub destination: SocketAddr,
}

/// What a header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyHeader {
    /// The connection is relayed for a client.
    Proxied(ProxyAddresses),
    /// It is the sender's own (a health check), or relayed for a client that has no address of IP.
    Own,
}

/// Why there is no valid header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProxyHeaderError {
    /// The bytes begin with something else.
    #[error("it begins with something else")]
    Absent,
    /// Longer than allowed.
    #[error("it is longer than {max} bytes")]
    TooLong {
        /// The bound.
        max: usize,
    },
    /// A part of it is not valid.
    #[error("its {0} is not valid")]
    Invalid(&'static str),
}

/// What the bytes that have arrived say of the length of the header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeaderLength {
    /// Not known yet. All bytes so far belong to the header.
    Unknown,
    /// It has this many bytes. Those that follow belong to the connection.
    Known(usize),
}

/// Returns the length of the header that `seen` begins with, of which no more than `max` bytes are accepted.
///
/// # Errors
/// As soon as `seen` cannot become a valid header, or it is longer than `max`.
pub fn header_length(seen: &[u8], max: usize) -> Result<HeaderLength, ProxyHeaderError> {
    if begins(seen, &SIGNATURE) {
        return length_v2(seen, max);
    }
    if !begins(seen, NAME) {
        return Err(ProxyHeaderError::Absent);
    }
    let line = &seen[..seen.len().min(LINE_BYTES_MAX)];
    match line.iter().position(|byte| *byte == b'\n') {
        Some(end) => Ok(HeaderLength::Known(end + 1)),
        None if line.len() == LINE_BYTES_MAX => Err(ProxyHeaderError::TooLong { max: LINE_BYTES_MAX }),
        None => Ok(HeaderLength::Unknown),
    }
}

/// Whether one of the two is the beginning of the other.
fn begins(seen: &[u8], expected: &[u8]) -> bool {
    seen.iter().zip(expected).all(|(seen, expected)| seen == expected)
}

fn length_v2(seen: &[u8], max: usize) -> Result<HeaderLength, ProxyHeaderError> {
    // Judged before the length, which means nothing in another version.
    match seen.get(SIGNATURE.len()) {
        Some(0x20 | 0x21) => {}
        Some(byte) if byte >> 4 == 2 => return Err(ProxyHeaderError::Invalid("command")),
        Some(_) => return Err(ProxyHeaderError::Invalid("version")),
        None => return Ok(HeaderLength::Unknown),
    }
    let Some([.., high, low]) = seen.get(..FIXED_BYTES) else { return Ok(HeaderLength::Unknown) };
    let length = FIXED_BYTES + usize::from(u16::from_be_bytes([*high, *low]));
    if length > max { Err(ProxyHeaderError::TooLong { max }) } else { Ok(HeaderLength::Known(length)) }
}

/// Reads a whole header, of the length that [`header_length`] says. Fields behind the addresses (TLVs) are skipped.
///
/// # Errors
/// If a part of it is not valid.
pub fn parse_header(header: &[u8]) -> Result<ProxyHeader, ProxyHeaderError> {
    if header.starts_with(NAME) { parse_v1(header) } else { parse_v2(header) }
}

fn parse_v1(header: &[u8]) -> Result<ProxyHeader, ProxyHeaderError> {
    let invalid = ProxyHeaderError::Invalid;
    let line = header.strip_suffix(b"\r\n").ok_or(invalid("line end"))?;
    let line = std::str::from_utf8(line).map_err(|_| invalid("line"))?;
    let mut words = line.split(' ').skip(1);
    let is_v4 = match words.next() {
        Some("TCP4") => true,
        Some("TCP6") => false,
        // Whatever follows is to be ignored.
        Some("UNKNOWN") => return Ok(ProxyHeader::Own),
        _ => return Err(invalid("protocol")),
    };
    let mut address = || -> Option<IpAddr> {
        let word = words.next()?;
        match is_v4 {
            true => word.parse::<Ipv4Addr>().ok().map(IpAddr::from),
            false => word.parse::<Ipv6Addr>().ok().map(IpAddr::from),
        }
    };
    let source = address().ok_or(invalid("source address"))?;
    let destination = address().ok_or(invalid("destination address"))?;
    let mut port = || words.next().and_then(decimal_port);
    let source = SocketAddr::new(source, port().ok_or(invalid("source port"))?);
    let destination = SocketAddr::new(destination, port().ok_or(invalid("destination port"))?);
    match words.next() {
        None => Ok(ProxyHeader::Proxied(ProxyAddresses { source, destination })),
        Some(_) => Err(invalid("line end")),
    }
}

/// Reads a port without sign and leading zeros.
fn decimal_port(word: &str) -> Option<u16> {
    let is_plain = word.bytes().all(|byte| byte.is_ascii_digit()) && (word == "0" || !word.starts_with('0'));
    word.parse().ok().filter(|_| is_plain)
}

fn parse_v2(header: &[u8]) -> Result<ProxyHeader, ProxyHeaderError> {
    let (fixed, rest) = header.split_at_checked(FIXED_BYTES).ok_or(ProxyHeaderError::Invalid("length"))?;
    let (is_relayed, family) = match fixed {
        [signature @ .., 0x20, _, _, _] if *signature == SIGNATURE => (false, 0),
        [signature @ .., 0x21, family, _, _] if *signature == SIGNATURE => (true, *family),
        _ => return Err(ProxyHeaderError::Invalid("version")),
    };
    match family {
        _ if !is_relayed => Ok(ProxyHeader::Own),
        0x11 => {
            let [a, b, c, d, e, f, g, h, ports @ ..] = rest else { return Err(ADDRESSES_SHORT) };
            ends(Ipv4Addr::new(*a, *b, *c, *d).into(), Ipv4Addr::new(*e, *f, *g, *h).into(), ports)
        }
        0x21 => {
            let (source, rest) = rest.split_first_chunk::<16>().ok_or(ADDRESSES_SHORT)?;
            let (destination, ports) = rest.split_first_chunk::<16>().ok_or(ADDRESSES_SHORT)?;
            ends(Ipv6Addr::from(*source).into(), Ipv6Addr::from(*destination).into(), ports)
        }
        // Unspecified, datagrams, and sockets of the file system: the addresses are not to be used.
        0x00 | 0x12 | 0x22 | 0x31 | 0x32 => Ok(ProxyHeader::Own),
        _ => Err(ProxyHeaderError::Invalid("address family")),
    }
}

const ADDRESSES_SHORT: ProxyHeaderError = ProxyHeaderError::Invalid("length");

fn ends(source: IpAddr, destination: IpAddr, ports: &[u8]) -> Result<ProxyHeader, ProxyHeaderError> {
    let [a, b, c, d, ..] = ports else { return Err(ADDRESSES_SHORT) };
    Ok(ProxyHeader::Proxied(ProxyAddresses {
        source: SocketAddr::new(source, u16::from_be_bytes([*a, *b])),
        destination: SocketAddr::new(destination, u16::from_be_bytes([*c, *d])),
    }))
}

/// Writes a header in front of a connection: one relayed for a client, or one of the gateway's own, such as a health
/// check.
pub fn write_header(out: &mut Vec<u8>, version: ProxyVersion, header: ProxyHeader) {
    let addresses = match header {
        ProxyHeader::Proxied(addresses) => Some(of_one_family(addresses)),
        ProxyHeader::Own => None,
    };
    match version {
        ProxyVersion::V1 => write_v1(out, addresses),
        ProxyVersion::V2 => write_v2(out, addresses),
    }
}

fn write_v1(out: &mut Vec<u8>, addresses: Option<ProxyAddresses>) {
    let line = match addresses {
        None => "PROXY UNKNOWN\r\n".to_owned(),
        Some(ProxyAddresses { source, destination }) => {
            let family = if source.is_ipv4() { "TCP4" } else { "TCP6" };
            let (from, to) = (source.ip(), destination.ip());
            format!("PROXY {family} {from} {to} {} {}\r\n", source.port(), destination.port())
        }
    };
    out.extend_from_slice(line.as_bytes());
}

fn write_v2(out: &mut Vec<u8>, addresses: Option<ProxyAddresses>) {
    out.extend_from_slice(&SIGNATURE);
    let Some(ProxyAddresses { source, destination }) = addresses else {
        return out.extend_from_slice(&[0x20, 0, 0, 0]);
    };
    match (source.ip(), destination.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            out.extend_from_slice(&[0x21, 0x11, 0, 12]);
            out.extend_from_slice(&from.octets());
            out.extend_from_slice(&to.octets());
        }
        (from, to) => {
            out.extend_from_slice(&[0x21, 0x21, 0, 36]);
            out.extend_from_slice(&v6(from).octets());
            out.extend_from_slice(&v6(to).octets());
        }
    }
    out.extend_from_slice(&source.port().to_be_bytes());
    out.extend_from_slice(&destination.port().to_be_bytes());
}

/// Returns the addresses in one family, as both versions need them. A listener of IPv6 may have a client of IPv4.
fn of_one_family(addresses: ProxyAddresses) -> ProxyAddresses {
    let ProxyAddresses { source, destination } = addresses;
    let (from, to) = (source.ip().to_canonical(), destination.ip().to_canonical());
    let (from, to) = match from.is_ipv4() == to.is_ipv4() {
        true => (from, to),
        false => (IpAddr::V6(v6(from)), IpAddr::V6(v6(to))),
    };
    ProxyAddresses {
        source: SocketAddr::new(from, source.port()),
        destination: SocketAddr::new(to, destination.port()),
    }
}

fn v6(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    }
}

#[cfg(test)]
mod tests;
