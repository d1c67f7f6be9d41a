//! New connections to endpoints.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;

use crate::resolve::Resolver;
use crate::stream::Stream;
use crate::tls_client::UpstreamTlsContext;

/// When the next address of a name is tried beside one that does not answer (RFC 8305, 5).
const NEXT_ADDRESS_AFTER: Duration = Duration::from_millis(250);

/// Addresses of one name that are tried.
const ADDRESSES_MAX: usize = 8;

/// Why an endpoint could not be connected to.
#[derive(Debug, thiserror::Error)]
#[error("endpoint {address}: {reason}")]
pub struct ConnectError {
    address: Arc<str>,
    kind: ConnectErrorKind,
    reason: String,
}

/// The ways in which connecting fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConnectErrorKind {
    /// Nobody listens there, or a firewall says so.
    Refused,
    /// It took too long: name, connection and TLS together.
    Timeout,
    /// The name has no address, or the resolver did not answer.
    Dns,
    /// TLS failed: not trusted, another name, no common version or protocol, or not TLS at all.
    Tls,
    /// It has no address that may be connected to.
    Forbidden,
    /// We have no socket or port left: the endpoint is not to blame.
    Local,
    /// The network cannot reach it, or anything else.
    Other,
}

impl ConnectError {
    /// The error for `address` (`host:port`) that was not connected within `after`, for callers with a timer of their own.
    pub fn timed_out(address: impl Into<Arc<str>>, after: Duration) -> Self {
        Self::new(address.into(), ConnectErrorKind::Timeout, format!("not connected within {after:?}"))
    }

    /// The error for `address` that was connected but does not speak the protocol it should; for callers that speak it.
    pub fn protocol(address: impl Into<Arc<str>>, reason: String) -> Self {
        Self::new(address.into(), ConnectErrorKind::Other, reason)
    }

    fn new(address: Arc<str>, kind: ConnectErrorKind, reason: String) -> Self {
        Self { address, kind, reason }
    }

    /// The endpoint, as it was given.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The way in which it failed.
    #[must_use]
    pub const fn kind(&self) -> ConnectErrorKind {
        self.kind
    }

    /// Whether it took too long.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        self.kind == ConnectErrorKind::Timeout
    }

    /// Whether it was refused.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        self.kind == ConnectErrorKind::Refused
    }

    /// Whether it speaks against the endpoint, so that it may be left out for a while. A lack of sockets here does not:
    /// it would take out one healthy endpoint after the other.
    #[must_use]
    pub fn is_endpoint_fault(&self) -> bool {
        self.kind != ConnectErrorKind::Local
    }
}

/// Makes connections. One for each worker; clones share the names that were looked up.
#[derive(Debug, Clone, Default)]
pub struct Connector {
    resolver: Resolver,
}

impl Connector {
    /// One that has not looked anything up.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Connects to `address` (`host:port`, IPv6 in brackets) with TCP_NODELAY, and TLS where `tls` is given, all within
    /// `timeout`. A name's addresses are tried in turn, the next beside one that is slow. Needs a tokio runtime.
    ///
    /// Over TLS to an upstream of HTTP/2 the endpoint must have agreed on `h2`.
    ///
    /// Dropping the future closes what was opened.
    ///
    /// # Errors
    /// As [`ConnectErrorKind`] has them.
    pub async fn connect(
        &self,
        address: &str,
        tls: Option<&UpstreamTlsContext>,
        timeout: Duration,
    ) -> Result<Stream, ConnectError> {
        self.connect_where(address, tls, timeout, |_| true).await
    }

    /// The same, to those addresses alone that `may` allows. It is asked of the very address that is connected to, after
    /// the name was looked up, so that a name cannot change its mind in between.
    ///
    /// # Errors
    /// As [`ConnectErrorKind`] has them.
    pub async fn connect_where(
        &self,
        address: &str,
        tls: Option<&UpstreamTlsContext>,
        timeout: Duration,
        may: impl Fn(IpAddr) -> bool,
    ) -> Result<Stream, ConnectError> {
        let result = tokio::time::timeout(timeout, async {
            let tcp = self.connect_tcp(address, may).await?;
            match tls {
                None => Ok(Stream::Tcp(tcp)),
                // Boxed: its state is large, and a plain connection's caller should not carry it.
                Some(tls) => Box::pin(handshake(address, tcp, tls)).await,
            }
        });
        match result.await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err((kind, reason))) => Err(ConnectError::new(address.into(), kind, reason)),
            Err(_) => Err(ConnectError::timed_out(address, timeout)),
        }
    }

    /// TLS over a connection that already leads to `address` (`host:port`), such as one through a proxy. Its peer stays what
    /// the connection itself leads to.
    ///
    /// Dropping the future closes the connection.
    ///
    /// # Errors
    /// Where TLS fails, takes longer than `timeout`, or is there already.
    pub async fn secure(
        stream: Stream,
        address: &str,
        tls: &UpstreamTlsContext,
        timeout: Duration,
    ) -> Result<Stream, ConnectError> {
        let fail = |(kind, reason)| ConnectError::new(address.into(), kind, reason);
        let Stream::Tcp(tcp) = stream else {
            return Err(fail((ConnectErrorKind::Tls, "tls: the connection has it already".to_owned())));
        };
        match tokio::time::timeout(timeout, Box::pin(handshake(address, tcp, tls))).await {
            Ok(secured) => secured.map_err(fail),
            Err(_) => Err(ConnectError::timed_out(address, timeout)),
        }
    }

    async fn connect_tcp(&self, address: &str, may: impl Fn(IpAddr) -> bool) -> Result<TcpStream, Failure> {
        let forbidden = || {
            let reason = "its address is a private one, which it may not have".to_owned();
            (ConnectErrorKind::Forbidden, reason)
        };
        let connected = match address.parse::<SocketAddr>() {
            Ok(address) if !may(address.ip()) => return Err(forbidden()),
            Ok(address) => TcpStream::connect(address).await,
            Err(_) => {
                let addresses = self.resolver.resolve(address).await.map_err(|error| {
                    (ConnectErrorKind::Dns, format!("the name cannot be resolved: {error}"))
                })?;
                if addresses.iter().all(|address| may(address.ip())) {
                    connect_first(&addresses).await
                } else {
                    let allowed: Vec<_> =
                        addresses.iter().copied().filter(|address| may(address.ip())).collect();
                    if allowed.is_empty() {
                        return Err(forbidden());
                    }
                    connect_first(&allowed).await
                }
            }
        };
        let tcp = connected.map_err(io_failure)?;
        tcp.set_nodelay(true).map_err(io_failure)?;
        Ok(tcp)
    }
}

type Failure = (ConnectErrorKind, String);

fn io_failure(error: io::Error) -> Failure {
    let kind = match error.kind() {
        io::ErrorKind::ConnectionRefused => ConnectErrorKind::Refused,
        io::ErrorKind::TimedOut => ConnectErrorKind::Timeout,
        // No port left of the range for outgoing connections.
        io::ErrorKind::AddrNotAvailable => ConnectErrorKind::Local,
        _ if is_exhausted(&error) => ConnectErrorKind::Local,
        _ => ConnectErrorKind::Other,
    };
    (kind, error.to_string())
}

/// Whether the process or the machine has no file descriptor or memory left for a socket.
pub(crate) fn is_exhausted(error: &io::Error) -> bool {
    // EMFILE and ENFILE have no kind of their own in std; the numbers are the same on Linux, macOS and the BSDs.
    const ENFILE: i32 = 23;
    const EMFILE: i32 = 24;
    matches!(error.raw_os_error(), Some(ENFILE | EMFILE)) || error.kind() == io::ErrorKind::OutOfMemory
}

/// Connects to the first address that answers. The others are tried one by one, each when the one before has failed or
/// has been silent for a while; those that lose are closed.
async fn connect_first(addresses: &[SocketAddr]) -> io::Result<TcpStream> {
    if let [address] = addresses {
        return TcpStream::connect(address).await;
    }
    let mut left = addresses.iter().take(ADDRESSES_MAX).copied();
    let mut attempts = JoinSet::new();
    let mut last = io::Error::other("the name has no address");
    loop {
        match left.next() {
            Some(address) => {
                attempts.spawn(TcpStream::connect(address));
            }
            None if attempts.is_empty() => return Err(last),
            None => {}
        }
        let joined = if left.len() > 0 {
            match tokio::time::timeout(NEXT_ADDRESS_AFTER, attempts.join_next()).await {
                Ok(joined) => joined,
                Err(_) => continue,
            }
        } else {
            attempts.join_next().await
        };
        match joined {
            Some(Ok(Ok(tcp))) => return Ok(tcp),
            Some(Ok(Err(error))) => last = error,
            Some(Err(error)) => last = io::Error::other(error),
            None => {}
        }
    }
}

async fn handshake(address: &str, tcp: TcpStream, tls: &UpstreamTlsContext) -> Result<Stream, Failure> {
    let failed = |reason: String| (ConnectErrorKind::Tls, format!("tls: {reason}"));
    let name = tls.server_name(host_of(address)).map_err(|error| failed(error.to_string()))?;
    let connector = TlsConnector::from(Arc::clone(&tls.config));
    let stream = connector.connect(name, tcp).await.map_err(|error| failed(error.to_string()))?;
    let stream = Stream::TlsClient(Box::new(stream));
    // Bytes of HTTP/2 to a server that did not agree to it would be read as a malformed HTTP/1 request. The other way
    // round no harm is done: a server without ALPN speaks HTTP/1.1.
    if tls.protocol == crate::Alpn::Http2 && stream.alpn() != Some(tls.protocol.name()) {
        return Err(failed("it does not speak HTTP/2 (it did not choose `h2`)".to_owned()));
    }
    Ok(stream)
}

/// The host of `host:port`, without the brackets of an IPv6 address.
fn host_of(address: &str) -> &str {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

#[cfg(test)]
mod tests;
