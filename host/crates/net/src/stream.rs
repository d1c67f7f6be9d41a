//! A connection, with or without TLS, as one type: a read or write of a plain one costs one comparison more than the
//! socket's own.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// A connection to a client or an endpoint.
///
/// Over TLS a peer that closes without `close_notify` makes a read fail with [`io::ErrorKind::UnexpectedEof`]: what
/// came before may have been cut short by an attacker (RFC 8446, 6.1), so it is never taken for an ordinary end.
///
/// Dropping it closes the socket at once; `shutdown` before that sends what is left and says goodbye properly.
#[derive(Debug)]
#[non_exhaustive]
pub enum Stream {
    /// Plain TCP.
    Tcp(TcpStream),
    /// TLS that a client spoke to us. Boxed: a session is over a kilobyte, and plain connections should not carry it.
    TlsServer(Box<tokio_rustls::server::TlsStream<TcpStream>>),
    /// TLS that we speak to an endpoint.
    TlsClient(Box<tokio_rustls::client::TlsStream<TcpStream>>),
    /// A connection in memory, which has no socket: what is set on that has no effect.
    #[cfg(feature = "memory")]
    Memory(crate::MemoryStream),
}

impl Stream {
    /// Returns the socket under it. A connection in memory has none.
    pub(crate) fn tcp(&self) -> Option<&TcpStream> {
        match self {
            Self::Tcp(tcp) => Some(tcp),
            Self::TlsServer(tls) => Some(tls.get_ref().0),
            Self::TlsClient(tls) => Some(tls.get_ref().0),
            #[cfg(feature = "memory")]
            Self::Memory(_) => None,
        }
    }

    /// The other side's address.
    ///
    /// # Errors
    /// If the peer has already reset the connection.
    pub fn peer_address(&self) -> io::Result<SocketAddr> {
        self.tcp().ok_or(io::ErrorKind::Unsupported)?.peer_addr()
    }

    /// Our side's address.
    ///
    /// # Errors
    /// If the operating system cannot say.
    pub fn local_address(&self) -> io::Result<SocketAddr> {
        self.tcp().ok_or(io::ErrorKind::Unsupported)?.local_addr()
    }

    /// Sends small writes at once. Connections from this crate have it set.
    ///
    /// # Errors
    /// If the operating system refuses.
    pub fn set_nodelay(&self) -> io::Result<()> {
        self.tcp().map_or(Ok(()), |tcp| tcp.set_nodelay(true))
    }

    /// Has the operating system watch the other side, so that a machine that is gone is noticed: after half of
    /// `keepalive` without a byte it is asked for a sign of life, and after all of it the connection fails.
    /// `unacknowledged` is how long bytes may be under way without being acknowledged, or the other side may take
    /// none; `None` leaves that to the operating system, which gives up after some 15 minutes, and waits for ever for
    /// one that takes none.
    ///
    /// # Errors
    /// If the operating system refuses.
    pub fn watch_peer(&self, keepalive: Duration, unacknowledged: Option<Duration>) -> io::Result<()> {
        let Some(tcp) = self.tcp() else { return Ok(()) };
        let socket = SockRef::from(tcp);
        socket.set_tcp_keepalive(&self::keepalive(keepalive))?;
        socket.set_tcp_user_timeout(unacknowledged)
    }

    /// Lets the other side take nothing for as long as it likes, as a tunnel may. Its machine is still watched.
    ///
    /// # Errors
    /// If the operating system refuses.
    pub fn allow_standstill(&self) -> io::Result<()> {
        self.tcp().map_or(Ok(()), |tcp| SockRef::from(tcp).set_tcp_user_timeout(None))
    }

    /// Makes the end of the connection a reset, or again an orderly one: whatever ends it, also if that is the end of
    /// the process. For what must not look whole to the peer unless it is.
    ///
    /// # Errors
    /// If the operating system refuses.
    pub fn set_reset_at_end(&self, reset: bool) -> io::Result<()> {
        #[cfg(feature = "memory")]
        if let Self::Memory(memory) = self {
            memory.set_reset_at_end(reset);
        }
        let linger = reset.then_some(Duration::ZERO);
        self.tcp().map_or(Ok(()), |tcp| SockRef::from(tcp).set_linger(linger))
    }

    /// Whether there is TLS.
    #[must_use]
    pub const fn is_tls(&self) -> bool {
        matches!(self, Self::TlsServer(_) | Self::TlsClient(_))
    }

    /// Returns the protocol that ALPN chose (RFC 7301), or `None` without TLS or if the peer has no ALPN.
    #[must_use]
    pub fn alpn(&self) -> Option<&[u8]> {
        match self {
            Self::Tcp(_) => None,
            Self::TlsServer(tls) => tls.get_ref().1.alpn_protocol(),
            Self::TlsClient(tls) => tls.get_ref().1.alpn_protocol(),
            #[cfg(feature = "memory")]
            Self::Memory(_) => None,
        }
    }

    /// Returns whether an idle pooled connection can be used again: it is open and has received nothing unasked.
    ///
    /// Does not wait. What the runtime has not yet been told by the kernel is not seen, so a connection that is
    /// closed in this very moment still passes; the caller must be ready to find it stale. If it returns `false`, the
    /// connection is to be dropped: bytes may have been consumed.
    pub fn is_idle_alive(&mut self) -> bool {
        let mut byte = [0; 1];
        match self {
            // Reads only when the runtime knows of something to read, so for a quiet connection this is no system call.
            Self::Tcp(tcp) => {
                matches!(tcp.try_read(&mut byte), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
            }
            // Reads session tickets and key updates on the way, which are no answer to anything.
            _ => {
                let mut cx = Context::from_waker(Waker::noop());
                Pin::new(self).poll_read(&mut cx, &mut ReadBuf::new(&mut byte)).is_pending()
            }
        }
    }
}

/// Probes after half of `time` without a byte, of which the last is over when all of it is.
pub(crate) fn keepalive(time: Duration) -> TcpKeepalive {
    const PROBES: u32 = 3;
    let at_least = |time: Duration| time.max(Duration::from_secs(1));
    TcpKeepalive::new()
        .with_time(at_least(time / 2))
        .with_interval(at_least(time / (2 * PROBES)))
        .with_retries(PROBES)
}

impl AsyncRead for Stream {
    #[inline]
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(tcp) => Pin::new(tcp).poll_read(cx, buffer),
            Self::TlsServer(tls) => Pin::new(tls).poll_read(cx, buffer),
            Self::TlsClient(tls) => Pin::new(tls).poll_read(cx, buffer),
            #[cfg(feature = "memory")]
            Self::Memory(memory) => Pin::new(memory).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    #[inline]
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(tcp) => Pin::new(tcp).poll_write(cx, bytes),
            Self::TlsServer(tls) => Pin::new(tls).poll_write(cx, bytes),
            Self::TlsClient(tls) => Pin::new(tls).poll_write(cx, bytes),
            #[cfg(feature = "memory")]
            Self::Memory(memory) => Pin::new(memory).poll_write(cx, bytes),
        }
    }

    #[inline]
    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(tcp) => Pin::new(tcp).poll_write_vectored(cx, slices),
            Self::TlsServer(tls) => Pin::new(tls).poll_write_vectored(cx, slices),
            Self::TlsClient(tls) => Pin::new(tls).poll_write_vectored(cx, slices),
            #[cfg(feature = "memory")]
            Self::Memory(memory) => Pin::new(memory).poll_write_vectored(cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Tcp(tcp) => tcp.is_write_vectored(),
            Self::TlsServer(tls) => tls.is_write_vectored(),
            Self::TlsClient(tls) => tls.is_write_vectored(),
            #[cfg(feature = "memory")]
            Self::Memory(memory) => memory.is_write_vectored(),
        }
    }

    /// Sends what TLS still holds. Plain connections hold nothing back.
    #[inline]
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(tcp) => Pin::new(tcp).poll_flush(cx),
            Self::TlsServer(tls) => Pin::new(tls).poll_flush(cx),
            Self::TlsClient(tls) => Pin::new(tls).poll_flush(cx),
            #[cfg(feature = "memory")]
            Self::Memory(memory) => Pin::new(memory).poll_flush(cx),
        }
    }

    /// Ends our direction: `close_notify` if there is TLS, then FIN.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Self::TlsServer(tls) => Pin::new(tls).poll_shutdown(cx),
            Self::TlsClient(tls) => Pin::new(tls).poll_shutdown(cx),
            #[cfg(feature = "memory")]
            Self::Memory(memory) => Pin::new(memory).poll_shutdown(cx),
        }
    }
}
