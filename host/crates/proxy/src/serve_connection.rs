//! Serves a client's connection in the protocol that the client speaks.

use std::rc::Rc;

use bytes::BytesMut;
use portcullis_model::Protocol;
use portcullis_net::Accepted;

use crate::connection::Connection;
use crate::prefixed::Prefixed;
use crate::worker::Worker;
use crate::{h1, h2};

/// Serves an accepted connection to its end. Dropping the future closes it.
pub(crate) async fn serve_connection(worker: Rc<Worker>, accepted: Accepted) {
    let Accepted { stream, peer, local, proxy, tls, state, drain, permit } = accepted;
    let connection = Rc::new(Connection::new((peer, local, proxy), tls, state, drain, permit));
    let speaks = |protocol| connection.listener().protocols.contains(protocol);
    let (http1, http2) = (speaks(Protocol::Http1), speaks(Protocol::Http2));
    // With TLS the protocol was agreed by ALPN; a client without ALPN speaks HTTP/1.
    let agreed = match stream.alpn() {
        Some(protocol) => Some(protocol == b"h2"),
        None if connection.tls.is_some() => Some(!http1),
        None => (!http2).then_some(false).or((!http1).then_some(true)),
    };
    match agreed {
        Some(true) => h2::serve(worker, connection, Prefixed::new(BytesMut::new(), stream)).await,
        // Without TLS, HTTP/2 is recognized by its preface (RFC 9113, 3.3), which no HTTP/1 request looks like.
        sniff => {
            let sniff = sniff.is_none();
            if let Some(preface) = h1::serve(&worker, &connection, stream, sniff).await {
                h2::serve(worker, connection, preface).await;
            }
        }
    }
}
