//! What the connections of an upstream tell its endpoints of their client, and which of them another one may use.

use std::net::{IpAddr, SocketAddr};

use portcullis_http::proxy_protocol::{ProxyAddresses, ProxyHeader, write_header};
use portcullis_net::Connector;

use super::SharedUpstream;
use crate::connection::Connection;

impl SharedUpstream {
    /// Returns what a connection for an exchange of `client` tells the endpoint, if it tells anything. The port is
    /// known if the client is at the other end of `connection`; without one, the exchange is the gateway's own.
    pub(crate) fn announced(&self, client: IpAddr, connection: Option<&Connection>) -> Option<ProxyHeader> {
        self.config.proxy_protocol?;
        let Some(connection) = connection else { return Some(ProxyHeader::Own) };
        let Connection { peer, local, .. } = *connection;
        let port = if peer.ip().to_canonical() == client { peer.port() } else { 0 };
        let source = SocketAddr::new(client, port);
        Some(ProxyHeader::Proxied(ProxyAddresses { source, destination: local }))
    }

    /// Returns a connector like `connector` that sends `announced` first.
    pub(crate) fn connector(&self, connector: &Connector, announced: Option<ProxyHeader>) -> Connector {
        let mut header = Vec::new();
        match (self.config.proxy_protocol, announced) {
            (Some(version), Some(announced)) => {
                write_header(&mut header, version, announced);
                connector.sending_first(header)
            }
            _ => connector.clone(),
        }
    }

    /// Returns whether connections made for `other` may be used for this upstream as well.
    pub(super) fn connects_like(&self, other: &Self) -> bool {
        let (ours, theirs) = (&self.config, &other.config);
        // A connection that was made under authorities which the machine does not trust any more is not used again.
        let judges_alike = match (&self.tls, &other.tls) {
            (Some(ours), Some(theirs)) => ours.judges_like(theirs),
            _ => true,
        };
        judges_alike
            && ours.protocol == theirs.protocol
            && ours.tls == theirs.tls
            && ours.proxy_protocol == theirs.proxy_protocol
            && ours.head_bytes_max == theirs.head_bytes_max
            && ours.field_case == theirs.field_case
            && ours.http2 == theirs.http2
            && ours.timeouts.keepalive == theirs.timeouts.keepalive
    }
}
