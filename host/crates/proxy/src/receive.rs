//! The first step of an exchange: determines who sent the request, and writes that into the fields for upstreams.

use std::net::IpAddr;
use std::sync::Arc;

use portcullis_http::{FieldError, Known, rewrite_forwarding_fields, strip_request_hop_by_hop};
use portcullis_model::{Name, Server};
use portcullis_policy::{ClientTls, Exchange};

use crate::error::ExchangeError;
use crate::random;
use crate::via::{add_via, count_forward, is_loop};

/// What is known of a connection's peer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PeerInfo<'a> {
    pub(crate) address: IpAddr,
    /// The name that the client asked for in TLS.
    pub(crate) server_name: Option<&'a Arc<str>>,
    /// The verified client certificate, in DER.
    pub(crate) certificate: Option<&'a Arc<[u8]>>,
    /// What TLS agreed on.
    pub(crate) tls: Option<&'a ClientTls>,
    /// The listener that accepted the connection.
    pub(crate) listener: &'a Name,
}

impl PeerInfo<'_> {
    /// Records the peer as the client, until more is known.
    pub(crate) fn set_client(&self, exchange: &mut Exchange) {
        exchange.client.peer = self.address.to_canonical();
        exchange.client.address = exchange.client.peer;
    }
}

/// What is known of a request after this step.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Received {
    /// The gateway is its last recipient: `Max-Forwards` is used up (RFC 9110, 7.6.2).
    pub(crate) ends_here: bool,
}

/// Removes the hop-by-hop fields, determines the client and writes the forwarding fields. Done before routing, so that
/// policies see the request as it will be forwarded.
///
/// # Errors
/// If the fields grow beyond what a section may hold, or the request is in a loop.
pub(crate) fn receive(
    server: &Server,
    exchange: &mut Exchange,
    peer: PeerInfo<'_>,
    scratch: &mut Vec<u8>,
) -> Result<Received, ExchangeError> {
    let received = prepare(server, exchange, peer, scratch).map_err(|_| ExchangeError::HeadTooLarge)?;
    match &server.via {
        Some(name) if is_loop(&exchange.request.fields, name) => Err(ExchangeError::Loop),
        Some(name) => {
            let version = exchange.request.version;
            let added = add_via(&mut exchange.request.fields, version, name, scratch);
            added.map(|()| received).map_err(|_| ExchangeError::HeadTooLarge)
        }
        None => Ok(received),
    }
}

fn prepare(
    server: &Server,
    exchange: &mut Exchange,
    peer: PeerInfo<'_>,
    scratch: &mut Vec<u8>,
) -> Result<Received, FieldError> {
    let request = &mut exchange.request;
    strip_request_hop_by_hop(&mut request.fields);
    let ends_here = count_forward(request)?;
    // The gateway has answered it, or will (RFC 9110, 10.1.1).
    request.fields.remove_known(Known::Expect);
    peer.set_client(exchange);
    exchange.client.address =
        rewrite_forwarding_fields(&mut exchange.request, peer.address, &server.trusted_proxies, scratch)?;
    exchange.client.tls_server_name = peer.server_name.cloned();
    exchange.client.certificate = peer.certificate.cloned();
    exchange.client.tls = peer.tls.cloned();
    if !Arc::ptr_eq(&exchange.client.listener, peer.listener) {
        // An exchange is used again, mostly on the same listener.
        exchange.client.listener.clone_from(peer.listener);
    }
    exchange.trace_id.clear();
    match exchange.request.fields.get(b"traceparent").and_then(trace_id) {
        Some(id) => exchange.trace_id.push_str(id),
        None => random::push_trace_id(&mut exchange.trace_id),
    }
    Ok(Received { ends_here })
}

/// Returns the trace id of a `traceparent` (W3C Trace Context, 3.2): 32 lower-case hexadecimal digits that are not
/// all zero.
fn trace_id(traceparent: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(traceparent).ok()?;
    let (version, rest) = text.split_once('-')?;
    let (id, _) = rest.split_once('-')?;
    let hex = |text: &str| text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let valid = version.len() == 2 && hex(version) && version != "ff" && id.len() == 32 && hex(id);
    (valid && id.bytes().any(|byte| byte != b'0')).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::trace_id;

    #[test]
    fn reads_valid_trace_ids_only() {
        let id = "4bf92f3577b34da6a3ce929d0e0e4736";
        let check =
            |text: String, expected: Option<&str>| assert_eq!(trace_id(text.as_bytes()), expected, "{text}");
        check(format!("00-{id}-00f067aa0ba902b7-01"), Some(id));
        check(format!("ff-{id}-00f067aa0ba902b7-01"), None);
        check(format!("00-{}-00f067aa0ba902b7-01", id.to_uppercase()), None);
        check(format!("00-{}-00f067aa0ba902b7-01", "0".repeat(32)), None);
        check(format!("00-{}-00f067aa0ba902b7-01", &id[1..]), None);
        check("nonsense".to_owned(), None);
    }
}
