//! New connections to endpoints.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;

use crate::descriptors;
use crate::resolve::Resolver;
use crate::stream::Stream;
use crate::tls_client::UpstreamTlsContext;
use crate::tls_error;

/// How long one address of a name may not answer before the next is tried beside it (RFC 8305, 5).
const NEXT_ADDRESS_AFTER: Duration = Duration::from_millis(250);

/// The pause before another attempt if there is no file descriptor. Workers close idle connections meanwhile.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(50);

/// Addresses of one name that are tried.
const ADDRESSES_MAX: usize = 8;

/// Why an endpoint could not be connected to.
#[derive(Debug, Clone, thiserror::Error)]
#[error("endpoint {address}: {reason}")]
pub struct ConnectError {
    address: Arc<str>,
    kind: ConnectErrorKind,
    reason: String,
    peer: Option<SocketAddr>,
}

/// The ways in which connecting fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConnectErrorKind {
    /// Nothing listens at the address, or a firewall rejects it.
    Refused,
    /// It took too long: name, connection and TLS together.
    Timeout,
    /// The name has no address, or the resolver did not answer.
    Dns,
    /// TLS failed: not trusted, another name, no common version or protocol, or not TLS at all.
    Tls,
    /// It has no permitted address.
    Forbidden,
    /// The gateway has no socket or port left: the endpoint is not at fault.
    Local,
    /// The network cannot reach it, or any other reason.
    Other,
}

impl ConnectError {
    /// Returns the error for `address` (`host:port`) that was not connected within `after`, for callers with a timer of
    /// their own.
    pub fn timed_out(address: impl Into<Arc<str>>, after: Duration) -> Self {
        Self::new(address.into(), ConnectErrorKind::Timeout, format!("not connected within {after:?}"))
    }

    /// Returns the error for `address` that was connected but does not speak the expected protocol, for callers that
    /// speak it.
    pub fn protocol(address: impl Into<Arc<str>>, reason: String) -> Self {
        Self::new(address.into(), ConnectErrorKind::Other, reason)
    }

    fn new(address: Arc<str>, kind: ConnectErrorKind, reason: String) -> Self {
        Self { address, kind, reason, peer: None }
    }

    /// Returns the error with the address that was connected to before it failed.
    #[must_use]
    pub fn at(self, peer: Option<SocketAddr>) -> Self {
        Self { peer, ..self }
    }

    /// Returns the address that was connected to before it failed, or `None` if none was.
    #[must_use]
    pub const fn peer(&self) -> Option<SocketAddr> {
        self.peer
    }

    /// Returns what went wrong, without the endpoint.
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// Returns the endpoint, as it was given.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Returns the kind of failure.
    #[must_use]
    pub const fn kind(&self) -> ConnectErrorKind {
        self.kind
    }

    /// Returns whether it took too long.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        self.kind == ConnectErrorKind::Timeout
    }

    /// Returns whether it was refused.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        self.kind == ConnectErrorKind::Refused
    }

    /// Returns whether it counts as a failure of the endpoint, which may then be ejected for a while. A lack of sockets
    /// here does not: it would eject one healthy endpoint after the other.
    #[must_use]
    pub fn is_endpoint_fault(&self) -> bool {
        self.kind != ConnectErrorKind::Local
    }
}

/// Makes connections. One for each worker; clones share the names that were looked up.
#[derive(Debug, Clone, Default)]
pub struct Connector {
    resolver: Resolver,
    /// What is sent first on each connection, before TLS.
    preface: Option<Arc<[u8]>>,
    #[cfg(feature = "memory")]
    dial: Option<crate::memory::Dial>,
}

/// A new connection to an endpoint.
#[derive(Debug)]
pub struct Connected {
    /// The connection, with TLS if that was asked for.
    pub stream: Stream,
    /// The address of its peer.
    pub peer: SocketAddr,
    /// Addresses that were tried before and did not answer, or not in time.
    pub failed: Vec<SocketAddr>,
}

impl Connector {
    /// Returns a connector without cached names.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns a connector that calls `look_up` for the addresses of `host:port` instead of the system. It is called on
    /// threads that may block.
    pub fn looking_up(look_up: impl Fn(&str) -> io::Result<Vec<SocketAddr>> + Send + Sync + 'static) -> Self {
        Self {
            resolver: Resolver::asking(look_up),
            preface: None,
            #[cfg(feature = "memory")]
            dial: None,
        }
    }

    /// Returns a connector that connects in memory, through `dial`.
    #[cfg(feature = "memory")]
    pub fn in_memory(dial: impl Fn(SocketAddr) -> crate::Dialled + Send + Sync + 'static) -> Self {
        Self { resolver: Resolver::default(), preface: None, dial: Some(crate::memory::Dial(Arc::new(dial))) }
    }

    /// Returns a connector that sends `preface` first on each connection, before TLS.
    #[must_use]
    pub fn sending_first(&self, preface: impl Into<Arc<[u8]>>) -> Self {
        Self { preface: Some(preface.into()), ..self.clone() }
    }

    /// Connects to `address` (`host:port`, IPv6 in brackets) with TCP_NODELAY, and TLS if `tls` is given, all within
    /// `timeout`. A name's addresses are tried in turn, the next beside one that is slow. Needs a tokio runtime.
    ///
    /// Over TLS to an upstream of HTTP/2 the endpoint must have agreed on `h2`.
    ///
    /// Dropping the future closes what was opened.
    ///
    /// # Errors
    /// See [`ConnectErrorKind`].
    pub async fn connect(
        &self,
        address: &str,
        tls: Option<&UpstreamTlsContext>,
        timeout: Duration,
    ) -> Result<Stream, ConnectError> {
        let connected = self.connect_to(address, tls, timeout, <[SocketAddr]>::to_vec).await;
        connected.map(|connected| connected.stream)
    }

    /// As [`connect`](Self::connect), but only to addresses that `may` allows. It is called with the very address that
    /// is connected to, after the look-up, so that a name cannot lead elsewhere in between.
    ///
    /// # Errors
    /// See [`ConnectErrorKind`].
    pub async fn connect_where(
        &self,
        address: &str,
        tls: Option<&UpstreamTlsContext>,
        timeout: Duration,
        may: impl Fn(IpAddr) -> bool,
    ) -> Result<Stream, ConnectError> {
        let choose = |found: &[SocketAddr]| found.iter().copied().filter(|found| may(found.ip())).collect();
        let connected = self.connect_to(address, tls, timeout, choose).await;
        connected.map(|connected| connected.stream)
    }

    /// As [`connect`](Self::connect), but only to the addresses that `choose` returns, in that order. It gets the
    /// result of the look-up, so that a name cannot lead elsewhere in between. If the host of `host:port` is an
    /// address, it is not looked up.
    ///
    /// # Errors
    /// See [`ConnectErrorKind`]; `Forbidden` if `choose` returns none.
    pub async fn connect_to(
        &self,
        address: &str,
        tls: Option<&UpstreamTlsContext>,
        timeout: Duration,
        choose: impl FnOnce(&[SocketAddr]) -> Vec<SocketAddr>,
    ) -> Result<Connected, ConnectError> {
        let peer = OnceLock::new();
        let result = tokio::time::timeout(timeout, async {
            #[cfg(feature = "memory")]
            if let (Some(dial), Ok(address)) = (&self.dial, address.parse()) {
                let mut stream = Stream::Memory((dial.0)(address).await.map_err(io_failure)?);
                self.send_preface(&mut stream).await?;
                return Ok(Connected { stream, peer: address, failed: Vec::new() });
            }
            let (mut tcp, to, failed) = self.connect_tcp(address, Instant::now() + timeout, choose).await?;
            peer.get_or_init(|| to);
            self.send_preface(&mut tcp).await?;
            let stream = match tls {
                None => Stream::Tcp(tcp),
                // Boxed, because its state is large and the caller for a plain connection should not carry it.
                Some(tls) => Box::pin(handshake(address, tcp, tls)).await?,
            };
            Ok(Connected { stream, peer: to, failed })
        });
        let failed = match result.await {
            Ok(Ok(connected)) => return Ok(connected),
            Ok(Err((kind, reason))) => ConnectError::new(address.into(), kind, reason),
            Err(_) => ConnectError::timed_out(address, timeout),
        };
        Err(failed.at(peer.into_inner()))
    }

    /// Returns the addresses of the name in `address` (`host:port`) at its last look-up, or `None` if it was not looked
    /// up yet. Starts another look-up if the last was some seconds ago, but does not wait for it.
    #[must_use]
    pub fn refresh(&self, address: &str) -> Option<Arc<[SocketAddr]>> {
        self.resolver.refresh(address)
    }

    /// Starts TLS on a connection to `address` (`host:port`) that exists already, for example through a proxy. Its peer
    /// address remains that of the connection.
    ///
    /// Dropping the future closes the connection.
    ///
    /// # Errors
    /// If TLS fails, takes longer than `timeout`, or was started already.
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

    async fn send_preface(&self, stream: &mut (impl AsyncWrite + Unpin)) -> Result<(), Failure> {
        match &self.preface {
            Some(preface) => stream.write_all(preface).await.map_err(io_failure),
            None => Ok(()),
        }
    }

    async fn connect_tcp(
        &self,
        address: &str,
        deadline: Instant,
        choose: impl FnOnce(&[SocketAddr]) -> Vec<SocketAddr>,
    ) -> Result<(TcpStream, SocketAddr, Vec<SocketAddr>), Failure> {
        let addresses =
            match address.parse::<SocketAddr>() {
                Ok(address) => choose(&[address]),
                Err(_) => choose(&self.resolver.resolve(address).await.map_err(|error| {
                    (ConnectErrorKind::Dns, format!("the name cannot be resolved: {error}"))
                })?),
            };
        if addresses.is_empty() {
            let reason = "its address is a private one, which it may not have".to_owned();
            return Err((ConnectErrorKind::Forbidden, reason));
        }
        let (tcp, peer, failed) = connect_first(&addresses, deadline).await.map_err(io_failure)?;
        tcp.set_nodelay(true).map_err(io_failure)?;
        Ok((tcp, peer, failed))
    }
}

type Failure = (ConnectErrorKind, String);

fn io_failure(error: io::Error) -> Failure {
    let kind = match error.kind() {
        io::ErrorKind::ConnectionRefused => ConnectErrorKind::Refused,
        io::ErrorKind::TimedOut => ConnectErrorKind::Timeout,
        // No port of the range for outgoing connections is left.
        io::ErrorKind::AddrNotAvailable => ConnectErrorKind::Local,
        _ if is_exhausted(&error) => {
            descriptors::exhausted();
            ConnectErrorKind::Local
        }
        _ => ConnectErrorKind::Other,
    };
    let reason = match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        io::ErrorKind::TimedOut => "its machine does not answer".to_owned(),
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => "no route to it".to_owned(),
        _ => error.to_string(),
    };
    (kind, reason)
}

/// Connects. Without a file descriptor it tries again until shortly before `deadline`: idle connections are about to be
/// closed, and a client that was accepted can wait for that.
async fn open(address: SocketAddr, deadline: Instant) -> io::Result<TcpStream> {
    loop {
        match TcpStream::connect(address).await {
            Err(error) if is_exhausted(&error) && Instant::now() + 2 * EXHAUSTED_PAUSE < deadline => {
                descriptors::exhausted();
                tokio::time::sleep(EXHAUSTED_PAUSE).await;
            }
            connected => return connected,
        }
    }
}

/// Returns whether the process or the machine has no file descriptor or memory left for a socket.
pub(crate) fn is_exhausted(error: &io::Error) -> bool {
    // std has no kind for EMFILE and ENFILE; the numbers are the same on Linux, macOS and the BSDs.
    const ENFILE: i32 = 23;
    const EMFILE: i32 = 24;
    matches!(error.raw_os_error(), Some(ENFILE | EMFILE)) || error.kind() == io::ErrorKind::OutOfMemory
}

/// Connects to the first address that answers, and returns it with those that did not. The others are tried one by one,
/// each when the one before has failed or has not answered for a while; the attempts that lose are closed.
async fn connect_first(
    addresses: &[SocketAddr],
    deadline: Instant,
) -> io::Result<(TcpStream, SocketAddr, Vec<SocketAddr>)> {
    if let [address] = addresses {
        return Ok((open(*address, deadline).await?, *address, Vec::new()));
    }
    let mut left = addresses.iter().take(ADDRESSES_MAX).copied();
    let mut tried = Vec::new();
    let mut attempts = JoinSet::new();
    let mut last = io::Error::other("the name has no address");
    loop {
        match left.next() {
            Some(address) => {
                tried.push(address);
                attempts.spawn(async move { (address, open(address, deadline).await) });
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
            Some(Ok((address, Ok(tcp)))) => {
                // Those that were tried after it had less time, and are not at fault.
                let before = tried.iter().take_while(|other| **other != address).copied().collect();
                return Ok((tcp, address, before));
            }
            Some(Ok((_, Err(error)))) => last = error,
            Some(Err(error)) => last = io::Error::other(error),
            None => {}
        }
    }
}

async fn handshake(address: &str, tcp: TcpStream, tls: &UpstreamTlsContext) -> Result<Stream, Failure> {
    let failed = |reason: String| (ConnectErrorKind::Tls, format!("tls: {reason}"));
    let name = tls.server_name(host_of(address)).map_err(|error| failed(error.to_string()))?;
    let connector = TlsConnector::from(Arc::clone(&tls.config));
    let stream = connector.connect(name, tcp).await.map_err(|error| failed(tls_error::describe(&error)))?;
    let stream = Stream::TlsClient(Box::new(stream));
    // A server that did not agree to HTTP/2 would read its bytes as a malformed HTTP/1 request. The reverse does no
    // harm: a server without ALPN speaks HTTP/1.1.
    if tls.protocol == crate::Alpn::Http2 && stream.alpn() != Some(tls.protocol.name()) {
        return Err(failed("it does not speak HTTP/2 (it did not choose `h2`)".to_owned()));
    }
    Ok(stream)
}

/// Returns the host of `host:port`, without the brackets of an IPv6 address.
fn host_of(address: &str) -> &str {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

#[cfg(test)]
mod tests;
