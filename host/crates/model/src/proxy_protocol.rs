//! The PROXY protocol: how load balancers name the clients whose connections they pass on.

use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;

/// A version of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ProxyVersion {
    /// One line of text.
    V1,
    /// Binary.
    V2,
}

/// What a listener does with connections of load balancers: `proxy-protocol`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProxyProtocol {
    /// The peers whose connections begin with a header, as networks.
    pub from: Vec<IpNet>,
    /// Whether other peers are served, without a header. Otherwise their connections are closed.
    pub serves_others: bool,
    /// How long a header may take.
    pub timeout: Duration,
    /// Bytes that a header may have.
    pub bytes_max: usize,
}

impl ProxyProtocol {
    /// 5 s, beside what the handshake or the first request may take: a load balancer sends it at once.
    pub const TIMEOUT: Duration = Duration::from_secs(5);

    /// 2 KiB: addresses take up to 232 bytes, and the rest is for what load balancers add, such as the client's
    /// certificate's name.
    pub const BYTES_MAX: usize = 2 << 10;

    /// Returns whether connections of this peer begin with a header.
    #[must_use]
    pub fn expects_header(&self, peer: IpAddr) -> bool {
        let peer = peer.to_canonical();
        self.from.iter().any(|network| network.contains(&peer))
    }
}
