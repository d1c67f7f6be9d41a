//! Which HTTP servers a policy may ask: URLs, grants, and how far an address is away.

mod reach;
mod url;

#[cfg(test)]
mod tests;

use std::net::IpAddr;

pub use reach::Reach;
pub use url::{HttpUrl, HttpUrlError};

/// `grants.http`: a server, and perhaps a part of its paths, that a policy may ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpGrant {
    /// Whether TLS is spoken, by `https`.
    pub tls: bool,
    /// A name in lower case, or an IP address, IPv6 without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// What paths begin with, up to the end of a segment; empty for all. In normal form.
    pub path: String,
    /// Whether the name may have private addresses. Of an IP address itself it must be said as well.
    pub private: bool,
}

impl HttpGrant {
    /// Whether it covers a server.
    #[must_use]
    pub fn is_of(&self, url: &HttpUrl<'_>) -> bool {
        self.tls == url.tls && self.host == url.host && self.port == url.port
    }

    /// Whether it covers a path of its server. The path is in normal form, without query.
    #[must_use]
    pub fn has_path(&self, path: &str) -> bool {
        match path.strip_prefix(self.path.as_str()) {
            Some(rest) => {
                rest.is_empty() || rest.starts_with('/') || self.path.is_empty() || self.path.ends_with('/')
            }
            None => false,
        }
    }

    /// Whether a connection to this address of the server may be made. A name in the hands of somebody else must not lead
    /// into the network around the gateway; what is only for machines on the same link, such as the metadata service of
    /// a cloud, no name leads to.
    #[must_use]
    pub fn may_reach(&self, address: IpAddr) -> bool {
        match Reach::of(address) {
            Reach::Public => true,
            Reach::Private => self.private,
            Reach::Link => self.private && self.host.parse() == Ok(address),
            Reach::Never => false,
        }
    }
}
