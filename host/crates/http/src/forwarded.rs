//! Determines the client's address, and writes the fields that report it to the upstream: X-Forwarded-For, -Proto and
//! -Host, X-Real-IP and Forwarded (RFC 7239).
//!
//! The gateway writes all of them. The fields of a peer are used only if the peer is a trusted proxy, and then only as
//! far as each hop is trusted in turn: the chain is read from the right, and the first address that is not a trusted
//! proxy is the client. Everything to its left is dropped, so that an upstream that naively reads the first address
//! reads the right one. An item that is not an address ends the chain; empty elements of a list are ignored.
//!
//! X-Forwarded-For is used before Forwarded, which is used only if the other is absent: nearly all proxies write
//! X-Forwarded-For, and one that knows only that field passes its client's Forwarded on unread.

#[cfg(test)]
mod tests;

use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use ipnet::IpNet;

use crate::identity::is_identity;
use crate::{FieldError, Fields, Known, RequestHead, Scheme, validate_authority};

/// The longest chain of proxies that is followed. A longer one is a loop, and ends there.
const HOPS_MAX: usize = 16;

/// Determines the client's address and rewrites the request's forwarding fields.
///
/// `peer` is the other end of the connection; `trusted` are the networks of trusted proxies; `scratch` is a buffer to
/// reuse, whose content is ignored. `head.scheme` is the scheme of the connection, and becomes the scheme that the
/// client used, as a trusted peer reports it. The authority remains that of Host: a trusted peer's X-Forwarded-Host is
/// passed on but is not used for routing. X-Forwarded-Port is passed on from a trusted peer only and never invented:
/// the port that the client used is in Host.
///
/// # Errors
/// If the fields would grow too large.
pub fn rewrite_forwarding_fields(
    head: &mut RequestHead,
    peer: IpAddr,
    trusted: &[IpNet],
    scratch: &mut Vec<u8>,
) -> Result<IpAddr, FieldError> {
    let mut chain = Chain::new(peer.to_canonical());
    let trusted_peer = is_trusted(trusted, chain.client());
    scratch.clear();
    // The host that the trusted peer names is put at the start of the buffer.
    let mut port = None;
    if trusted_peer {
        let said = if head.fields.get_known(Known::XForwardedFor).is_some() {
            chain.follow_x_forwarded_for(&head.fields, trusted);
            Said::from_x_fields(&head.fields)
        } else if head.fields.get_known(Known::Forwarded).is_some() {
            let said = chain.follow_forwarded(&head.fields, trusted);
            said.or(Said::from_x_fields(&head.fields))
        } else {
            Said::from_x_fields(&head.fields)
        };
        head.scheme = said.scheme.unwrap_or(head.scheme);
        scratch.extend_from_slice(said.host.unwrap_or_default().as_bytes());
        port = last_item(&head.fields, Known::XForwardedPort)
            .and_then(|port| std::str::from_utf8(port).ok()?.parse::<u16>().ok());
    }
    if scratch.is_empty() {
        scratch.extend_from_slice(head.authority.as_bytes());
    }
    let host_end = scratch.len();
    head.fields.retain_bytes(|known, name, _| !is_forwarding_field(known, name, trusted_peer));
    chain.write_fields(head.scheme, host_end, port, scratch, &mut head.fields)?;
    Ok(chain.client())
}

/// The addresses from the peer (first) to the client (last).
struct Chain {
    hops: [IpAddr; HOPS_MAX],
    len: usize,
}

impl Chain {
    fn new(peer: IpAddr) -> Self {
        let mut hops = [IpAddr::V4(Ipv4Addr::UNSPECIFIED); HOPS_MAX];
        hops[0] = peer;
        Self { hops, len: 1 }
    }

    fn client(&self) -> IpAddr {
        self.hops[self.len - 1]
    }

    /// Adds the next hop. Returns whether to read the one before it.
    fn push(&mut self, hop: Option<IpAddr>, trusted: &[IpNet]) -> bool {
        let (Some(hop), true) = (hop, self.len < HOPS_MAX) else { return false };
        self.hops[self.len] = hop;
        self.len += 1;
        is_trusted(trusted, hop)
    }

    fn follow_x_forwarded_for(&mut self, fields: &Fields, trusted: &[IpNet]) {
        for value in fields.all_known(Known::XForwardedFor).rev() {
            for item in items_from_right(value) {
                if !self.push(parse_node(item), trusted) {
                    return;
                }
            }
        }
    }

    /// Follows Forwarded. Returns what the last hop that was reached says of host and scheme.
    fn follow_forwarded<'a>(&mut self, fields: &'a Fields, trusted: &[IpNet]) -> Said<'a> {
        let mut said = Said::default();
        for value in fields.all_known(Known::Forwarded).rev() {
            // Splitting at every comma is right although a quoted string may contain one: trusted proxies write none,
            // and the chain ends after what they wrote.
            for item in items_from_right(value) {
                let Some(element) = Element::parse(item) else { return said };
                let before = self.len;
                let on = self.push(element.node, trusted);
                if self.len > before {
                    said = Said { scheme: element.scheme, host: element.host };
                }
                if !on {
                    return said;
                }
            }
        }
        said
    }

    /// Appends the gateway's fields. `scratch` holds the host.
    fn write_fields(
        &self,
        scheme: Scheme,
        host_end: usize,
        port: Option<u16>,
        scratch: &mut Vec<u8>,
        fields: &mut Fields,
    ) -> Result<(), FieldError> {
        let hops = || self.hops[..self.len].iter().rev();
        let start = scratch.len();
        let mut client_end = start;
        for (at, hop) in hops().enumerate() {
            if at > 0 {
                scratch.extend_from_slice(b", ");
            }
            push_address(scratch, *hop);
            if at == 0 {
                client_end = scratch.len();
            }
        }
        fields.append_known(Known::XForwardedFor, &scratch[start..])?;
        fields.append_known(Known::XForwardedProto, scheme.as_str().as_bytes())?;
        if host_end > 0 {
            fields.append_known(Known::XForwardedHost, &scratch[..host_end])?;
        }
        fields.append_known(Known::XRealIp, &scratch[start..client_end])?;
        if let Some(port) = port {
            let start = scratch.len();
            // Writing to a vector cannot fail.
            write!(scratch, "{port}").unwrap_or(());
            fields.append_known(Known::XForwardedPort, &scratch[start..])?;
        }
        // RFC 7239, 4: host and proto are in the element of the client that they describe.
        let start = scratch.len();
        for (at, hop) in hops().enumerate() {
            scratch.extend_from_slice(if at > 0 { b", for=" } else { b"for=" });
            if hop.is_ipv6() {
                scratch.extend_from_slice(b"\"[");
                push_address(scratch, *hop);
                scratch.extend_from_slice(b"]\"");
            } else {
                push_address(scratch, *hop);
            }
            if at == 0 {
                if host_end > 0 {
                    // A colon or bracket is not a token character.
                    let quote: &[u8] = if scratch[..host_end].contains(&b':') { b"\"" } else { b"" };
                    scratch.extend_from_slice(b";host=");
                    scratch.extend_from_slice(quote);
                    scratch.extend_from_within(..host_end);
                    scratch.extend_from_slice(quote);
                }
                scratch.extend_from_slice(b";proto=");
                scratch.extend_from_slice(scheme.as_str().as_bytes());
            }
        }
        fields.append_known(Known::Forwarded, &scratch[start..])
    }
}

/// What a trusted proxy reports of the client's request.
#[derive(Default, Clone, Copy)]
struct Said<'a> {
    scheme: Option<Scheme>,
    host: Option<&'a str>,
}

impl<'a> Said<'a> {
    /// Uses the last item of X-Forwarded-Proto and -Host, which the peer itself has written.
    fn from_x_fields(fields: &'a Fields) -> Self {
        Self {
            scheme: last_item(fields, Known::XForwardedProto).and_then(parse_scheme),
            host: last_item(fields, Known::XForwardedHost).and_then(parse_host),
        }
    }

    fn or(self, other: Self) -> Self {
        Self { scheme: self.scheme.or(other.scheme), host: self.host.or(other.host) }
    }
}

/// An element of Forwarded.
#[derive(Default)]
struct Element<'a> {
    node: Option<IpAddr>,
    scheme: Option<Scheme>,
    host: Option<&'a str>,
}

impl<'a> Element<'a> {
    /// Returns `None` if the element is malformed or has a parameter twice.
    fn parse(element: &'a [u8]) -> Option<Self> {
        let mut parsed = Self::default();
        let mut seen = [false; 3];
        // RFC 7239, 4: a pair may be missing between two semicolons.
        let pairs = element.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
        for pair in pairs.filter(|pair| !pair.is_empty()) {
            let at = memchr::memchr(b'=', pair)?;
            let (name, value) = (&pair[..at], unquote(&pair[at + 1..])?);
            let which =
                [&b"for"[..], b"proto", b"host"].iter().position(|known| name.eq_ignore_ascii_case(known));
            if let Some(which) = which
                && std::mem::replace(&mut seen[which], true)
            {
                return None;
            }
            match which {
                Some(0) => parsed.node = parse_node(value),
                Some(1) => parsed.scheme = parse_scheme(value),
                Some(2) => parsed.host = parse_host(value),
                _ => {}
            }
        }
        Some(parsed)
    }
}

/// Returns the content of a quoted string without escapes, or the value itself.
fn unquote(value: &[u8]) -> Option<&[u8]> {
    match value {
        [b'"', inner @ .., b'"'] if !inner.iter().any(|byte| matches!(byte, b'"' | b'\\')) => Some(inner),
        _ if value.contains(&b'"') => None,
        _ => Some(value),
    }
}

/// Returns whether only the gateway may write a field of a request, so that it is removed first. For an untrusted peer
/// this includes the fields that other products read for the client's address or for the target of the request.
fn is_forwarding_field(known: Known, name: &[u8], trusted_peer: bool) -> bool {
    match known {
        Known::Forwarded
        | Known::XForwardedFor
        | Known::XForwardedHost
        | Known::XForwardedPort
        | Known::XForwardedProto
        | Known::XRealIp => true,
        Known::Other => !trusted_peer && is_identity(name),
        _ => false,
    }
}

fn is_trusted(trusted: &[IpNet], address: IpAddr) -> bool {
    trusted.iter().any(|network| network.contains(&address))
}

/// Returns the items of a list from the last to the first. Empty elements are skipped (RFC 9110, 5.6.1.2).
fn items_from_right(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.rsplit(|byte| *byte == b',').map(<[u8]>::trim_ascii).filter(|item| !item.is_empty())
}

/// Returns the last item of a list-valued field.
fn last_item(fields: &Fields, known: Known) -> Option<&[u8]> {
    fields.all_known(known).rev().find_map(|value| items_from_right(value).next())
}

fn parse_scheme(value: &[u8]) -> Option<Scheme> {
    // Some proxies report the scheme of a WebSocket.
    let is = |schemes: [&[u8]; 2]| schemes.iter().any(|scheme| value.eq_ignore_ascii_case(scheme));
    if is([b"https", b"wss"]) {
        Some(Scheme::Https)
    } else if is([b"http", b"ws"]) {
        Some(Scheme::Http)
    } else {
        None
    }
}

fn parse_host(value: &[u8]) -> Option<&str> {
    std::str::from_utf8(value).ok().filter(|host| validate_authority(host))
}

/// Reads an address as in X-Forwarded-For and Forwarded: plain, in brackets, or with a port, which is ignored.
fn parse_node(node: &[u8]) -> Option<IpAddr> {
    let node = std::str::from_utf8(node).ok()?;
    let address = if let Ok(address) = node.parse::<IpAddr>() {
        address
    } else if let Some(inner) = node.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        IpAddr::V6(inner.parse().ok()?)
    } else {
        node.parse::<SocketAddr>().ok()?.ip()
    };
    Some(address.to_canonical())
}

/// Appends an address. Most are IPv4, and the formatting machinery costs more than writing their digits.
fn push_address(out: &mut Vec<u8>, address: IpAddr) {
    match address {
        IpAddr::V4(address) => {
            for (at, octet) in address.octets().into_iter().enumerate() {
                if at > 0 {
                    out.push(b'.');
                }
                if octet >= 100 {
                    out.push(b'0' + octet / 100);
                }
                if octet >= 10 {
                    out.push(b'0' + octet / 10 % 10);
                }
                out.push(b'0' + octet % 10);
            }
        }
        // Writing to a vector cannot fail.
        IpAddr::V6(address) => write!(out, "{address}").unwrap_or(()),
    }
}
