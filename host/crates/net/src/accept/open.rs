//! What comes before HTTP on a connection: the header of a load balancer, then the TLS handshake.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use portcullis_http::proxy_protocol::{
    HeaderLength, ProxyAddresses, ProxyHeader, header_length, parse_header,
};
use portcullis_model::ProxyProtocol;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::count::ConnectionCount;
use crate::state::ListenerState;
use crate::stream::Stream;
use crate::tls_server::{ServerTls, TlsInfo};

/// A connection on which HTTP can begin.
pub(super) struct Opened {
    pub(super) stream: Stream,
    /// The ends that a load balancer named.
    pub(super) proxied: Option<ProxyAddresses>,
    pub(super) tls: Option<TlsInfo>,
}

/// Opens a connection, or returns `None` if that failed, which it logs. Dropping the future closes the connection.
pub(super) async fn open(
    mut tcp: TcpStream,
    peer: SocketAddr,
    state: &ListenerState,
    connections: &ConnectionCount,
) -> Option<Opened> {
    let mut proxied = None;
    if let Some(rules) = &state.listener().proxy_protocol {
        let header = if rules.expects_header(peer.ip()) {
            let limit = rules.timeout;
            match tokio::time::timeout(limit, read_header(&mut tcp, rules)).await {
                Ok(header) => header,
                Err(_) => Err(io::Error::other(format!("it was not complete within {limit:?}"))),
            }
        } else if rules.serves_others {
            Ok(ProxyHeader::Own)
        } else {
            Err(io::Error::other("the peer is not one of `proxy-protocol.from`"))
        };
        match header {
            Ok(ProxyHeader::Proxied(ends)) => proxied = Some(ends),
            Ok(ProxyHeader::Own) => {}
            Err(error) => {
                if let Some(suppressed) = connections.proxy_log.allow() {
                    let listener = &state.listener().name;
                    tracing::warn!(
                        %listener, %peer, suppressed,
                        "closed a connection without a valid header of the PROXY protocol: {error}"
                    );
                }
                return None;
            }
        }
    }
    let Some(tls) = state.tls() else { return Some(Opened { stream: Stream::Tcp(tcp), proxied, tls: None }) };
    let (stream, tls) = handshake(tcp, peer, tls, state).await?;
    Some(Opened { stream, proxied, tls: Some(tls) })
}

/// Reads the header and nothing of what follows it.
async fn read_header(tcp: &mut TcpStream, rules: &ProxyProtocol) -> io::Result<ProxyHeader> {
    let (mut seen, mut next) = (Vec::new(), [0; 256]);
    loop {
        // Looked at first, because the bytes behind the header belong to TLS or HTTP. All that is found to belong to
        // the header is taken, so that the next look waits for more.
        let found = tcp.peek(&mut next).await?;
        if found == 0 {
            return Err(io::Error::other("the connection ended before its end"));
        }
        let before = seen.len();
        seen.extend_from_slice(&next[..found]);
        let length = header_length(&seen, rules.bytes_max).map_err(io::Error::other)?;
        if let HeaderLength::Known(length) = length {
            seen.truncate(length);
        }
        let taken = seen.len().saturating_sub(before);
        tcp.read_exact(&mut next[..taken]).await?;
        if length == HeaderLength::Known(seen.len()) {
            return parse_header(&seen).map_err(io::Error::other);
        }
    }
}

async fn handshake(
    tcp: TcpStream,
    peer: SocketAddr,
    tls: &ServerTls,
    state: &ListenerState,
) -> Option<(Stream, TlsInfo)> {
    let listener = &state.listener().name;
    let limit = state.listener().timeouts.handshake;
    let acceptor = TlsAcceptor::from(Arc::clone(&tls.config));
    // Scanners and broken clients do this all day, so it is not a warning; the count shows if there are more than that.
    match tokio::time::timeout(limit, shake_hands(&acceptor, tcp)).await {
        Ok(Ok(stream)) => {
            let info = TlsInfo::of(stream.get_ref().1);
            Some((Stream::TlsServer(Box::new(stream)), info))
        }
        Ok(Err(error)) => {
            tracing::debug!(%listener, %peer, %error, "tls handshake failed");
            None
        }
        Err(_) => {
            tracing::debug!(%listener, %peer, ?limit, "tls handshake took too long");
            None
        }
    }
}

/// The answer to a client that speaks HTTP without TLS.
const NEEDS_TLS: &[u8] =
    b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: 32\r\n\
    connection: close\r\n\r\nthis port speaks TLS: use https\n";

/// Bytes that are read from such a client after its answer, so that no reset overtakes that.
const PLAIN_BYTES_MAX: usize = 64 * 1024;

async fn shake_hands(acceptor: &TlsAcceptor, mut tcp: TcpStream) -> io::Result<TlsStream<TcpStream>> {
    let mut first = [0];
    // A handshake begins with 22 (RFC 8446, 5.1), a request with the letters of its method.
    if tcp.peek(&mut first).await? == 1 && first[0].is_ascii_uppercase() {
        tcp.write_all(NEEDS_TLS).await?;
        tcp.shutdown().await?;
        let (mut buffer, mut left) = ([0; 4096], PLAIN_BYTES_MAX);
        while left > 0 {
            match tcp.read(&mut buffer).await? {
                0 => break,
                read => left = left.saturating_sub(read),
            }
        }
        return Err(io::Error::other("plain http where tls is spoken"));
    }
    acceptor.accept(tcp).await
}
