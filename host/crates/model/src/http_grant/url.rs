//! URLs of HTTP servers, read in one way only: what programs disagree about is refused.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The longest name of the domain name system, as text.
const HOST_BYTES_MAX: usize = 253;
const LABEL_BYTES_MAX: usize = 63;

/// A URL that was taken apart. Its path and query are as they were written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpUrl<'a> {
    /// Whether it begins with `https`.
    pub tls: bool,
    /// A name in lower case, or an IP address in its usual form, IPv6 without brackets.
    pub host: String,
    /// The port; 80 or 443 if none is written.
    pub port: u16,
    /// From the first slash behind the host to the end; empty if there is none.
    pub path_and_query: &'a str,
}

/// Why a text is no URL of an HTTP server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HttpUrlError {
    /// It begins with something else.
    #[error("it does not begin with `http://` or `https://`")]
    Scheme,
    /// There is a name or a password in it.
    #[error("it has a user name")]
    User,
    /// There is a fragment, which is not sent.
    #[error("it has a fragment")]
    Fragment,
    /// The host is neither a name nor an address, or one that is written unusually.
    #[error("its host is neither a name nor an IP address")]
    Host,
    /// The port is not a number from 1 to 65535.
    #[error("its port is not a number from 1 to 65535")]
    Port,
}

impl<'a> HttpUrl<'a> {
    /// Takes a URL apart.
    ///
    /// # Errors
    /// See [`HttpUrlError`].
    pub fn parse(url: &'a str) -> Result<Self, HttpUrlError> {
        let (scheme, rest) = url.split_once("://").ok_or(HttpUrlError::Scheme)?;
        let tls = match scheme {
            "https" => true,
            "http" => false,
            _ => return Err(HttpUrlError::Scheme),
        };
        if rest.contains('#') {
            return Err(HttpUrlError::Fragment);
        }
        let end = rest.find(['/', '?', '\\']).unwrap_or(rest.len());
        let (authority, path_and_query) = rest.split_at(end);
        if authority.contains('@') {
            return Err(HttpUrlError::User);
        }
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => (host, Some(port)),
            _ => (authority, None),
        };
        let port = match port {
            None if tls => 443,
            None => 80,
            Some(text) => port_number(text).ok_or(HttpUrlError::Port)?,
        };
        let host = read_host(host).ok_or(HttpUrlError::Host)?;
        Ok(Self { tls, host, port, path_and_query })
    }

    /// Host and port, an IPv6 address in brackets.
    #[must_use]
    pub fn address(&self) -> String {
        address(&self.host, self.port)
    }

    /// The value of `Host`: without the port if it is the usual one.
    #[must_use]
    pub fn authority(&self) -> String {
        let usual = if self.tls { 443 } else { 80 };
        let mut address = self.address();
        if self.port == usual
            && let Some(at) = address.rfind(':')
        {
            address.truncate(at);
        }
        address
    }
}

fn address(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

fn port_number(text: &str) -> Option<u16> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
    text.parse().ok().filter(|_| plain)
}

fn read_host(host: &str) -> Option<String> {
    if let Some(inner) = host.strip_prefix('[') {
        let address: Ipv6Addr = inner.strip_suffix(']')?.parse().ok()?;
        return Some(IpAddr::from(address).to_canonical().to_string());
    }
    if let Ok(address) = host.parse::<Ipv4Addr>() {
        return Some(address.to_string());
    }
    let valid = |label: &str| {
        (1..=LABEL_BYTES_MAX).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    let last = host.rsplit('.').next()?;
    // The system's resolver takes 127.1, 0x7f.1 and 2130706433 for addresses. No top-level domain begins with a digit.
    let named = !last.starts_with(|char: char| char.is_ascii_digit());
    (host.len() <= HOST_BYTES_MAX && named && host.split('.').all(valid)).then(|| host.to_ascii_lowercase())
}
