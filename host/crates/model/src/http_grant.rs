//! Which HTTP servers a policy may ask: URLs, grants, and how far an address is away.

mod reach;
mod url;

#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

pub use reach::Reach;
pub use url::{HttpUrl, HttpUrlError};

use crate::ContentDigest;

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
    /// The authorities that are trusted instead of the system's. Shared, for each request has a copy of
    /// its grant.
    pub ca: Option<Arc<Authorities>>,
}

/// Authorities out of a PEM file.
#[derive(Clone, PartialEq, Eq)]
pub struct Authorities {
    /// The file.
    pub path: PathBuf,
    /// What it held.
    pub pem: Vec<u8>,
    /// SHA-256 of `pem`, by which authorities are compared.
    pub digest: ContentDigest,
}

impl std::fmt::Debug for Authorities {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authorities")
            .field("path", &self.path)
            .field("digest", &self.digest)
            .finish_non_exhaustive()
    }
}

impl HttpGrant {
    /// Whether it covers a server.
    #[must_use]
    pub fn is_of(&self, url: &HttpUrl<'_>) -> bool {
        self.tls == url.tls && self.host == url.host && self.port == url.port
    }

    /// Whether it is of the same server as another.
    #[must_use]
    pub fn is_beside(&self, other: &Self) -> bool {
        self.tls == other.tls && self.host == other.host && self.port == other.port
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

    /// Whether a connection to this address of the server may be made. A name that someone else controls must not lead
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
