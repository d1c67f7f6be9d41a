//! A connection, with or without TLS, as one type: a read or write of a plain one costs one comparison more than the
//! socket's own.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use rustix::io::Errno;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;

/// A connection to a client or an endpoint.
///
/// Over TLS a peer that closes without `close_notify` makes a read fail with [`io::ErrorKind::UnexpectedEof`]: an
/// attacker may have cut off the data (RFC 8446, 6.1), so it is never taken for an orderly end.
///
/// Dropping it closes the socket at once; `shutdown` before that sends buffered data and ends the connection in an
/// orderly way.
#[derive(Debug)]
#[non_exhaustive]
pub enum Stream {
    /// Plain TCP.
    Tcp(TcpStream),
    /// TLS with a client. Boxed: a session is over a kilobyte, and plain connections should not carry it.
    TlsServer(Box<tokio_rustls::server::TlsStream<TcpStream>>),
    /// TLS with an endpoint.
    TlsClient(Box<tokio_rustls::client::TlsStream<TcpStream>>),
    /// A connection in memory. It has no socket, so socket options have no effect.
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

    /// Returns the peer's address.
    ///
    /// # Errors
    /// If the peer has already reset the connection.
    pub fn peer_address(&self) -> io::Result<SocketAddr> {
        self.tcp().ok_or(io::ErrorKind::Unsupported)?.peer_addr()
    }

    /// Returns the local address.
    ///
    /// # Errors
    /// If the operating system does not know it.
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

    /// Makes the operating system watch the other side, so that a machine that has gone is noticed: after half of
    /// `keepalive` without a byte it sends probes, and after all of it the connection fails. `unacknowledged` is how
    /// long sent bytes may not be acknowledged, or the other side may take none; `None` leaves that to the operating
    /// system, which gives up after some 15 minutes, and waits for ever for a side that takes nothing.
    ///
    /// # Errors
    /// If the operating system refuses.
    pub fn watch_peer(&self, keepalive: Duration, unacknowledged: Option<Duration>) -> io::Result<()> {
        let Some(tcp) = self.tcp() else { return Ok(()) };
        let socket = SockRef::from(tcp);
        socket.set_tcp_keepalive(&self::keepalive(keepalive))?;
        socket.set_tcp_user_timeout(unacknowledged)
    }

    /// Allows the other side to take nothing for any time, as a tunnel may. Its machine is still watched.
    ///
    /// # Errors
    /// If the operating system refuses.
    pub fn allow_standstill(&self) -> io::Result<()> {
        self.tcp().map_or(Ok(()), |tcp| SockRef::from(tcp).set_tcp_user_timeout(None))
    }

    /// Makes the connection end with a reset, or again in an orderly way, also if the process ends. For data that must
    /// not look complete to the peer before it is.
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

    /// Returns whether there is TLS.
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

    /// Returns whether [`poll_send_file`](Self::poll_send_file) works: TLS has to encrypt what it sends.
    #[must_use]
    pub const fn sends_files(&self) -> bool {
        matches!(self, Self::Tcp(_))
    }

    /// Sends `bytes` bytes of `file` from `offset` on, without a copy of them in this process. `sent` counts those that
    /// were sent, from an earlier call too. Ready when all are. Waits for the disk if the system has to read them from
    /// there.
    ///
    /// # Errors
    /// [`io::ErrorKind::UnexpectedEof`] if the file ends before the bytes do, [`io::ErrorKind::InvalidData`] if it
    /// cannot be read; others if the connection cannot send files or has failed.
    pub fn poll_send_file(
        &mut self,
        cx: &mut Context<'_>,
        file: impl AsFd,
        offset: u64,
        sent: &mut u64,
        bytes: u64,
    ) -> Poll<io::Result<()>> {
        let Self::Tcp(tcp) = self else { return Poll::Ready(Err(io::ErrorKind::Unsupported.into())) };
        while *sent < bytes {
            ready!(tcp.poll_write_ready(cx))?;
            let left = usize::try_from(bytes - *sent).unwrap_or(usize::MAX);
            let mut at = offset + *sent;
            let send = || match rustix::fs::sendfile(&*tcp, &file, Some(&mut at), left) {
                Ok(0) => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the file has become shorter")),
                Err(error @ Errno::IO) => Err(io::Error::new(io::ErrorKind::InvalidData, error)),
                sent => sent.map_err(io::Error::from),
            };
            match tcp.try_io(Interest::WRITABLE, send) {
                Ok(more) => *sent += more as u64,
                Err(error)
                    if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Returns whether an idle pooled connection can be used again: it is open and has received nothing unasked.
    ///
    /// Does not wait. Events that the kernel has not reported to the runtime yet are not seen, so a connection that is
    /// being closed at this moment still passes; the caller must be ready for a stale one. If it returns `false`, the
    /// caller must drop the connection: bytes may have been consumed.
    pub fn is_idle_alive(&mut self) -> bool {
        let mut byte = [0; 1];
        match self {
            // Reads only if the runtime knows of data, so this is no system call for an idle connection.
            Self::Tcp(tcp) => {
                matches!(tcp.try_read(&mut byte), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
            }
            // Also reads session tickets and key updates, which are not responses.
            _ => {
                let mut cx = Context::from_waker(Waker::noop());
                Pin::new(self).poll_read(&mut cx, &mut ReadBuf::new(&mut byte)).is_pending()
            }
        }
    }
}

/// Probes after half of `time` without a byte. The last one fails when all of it has passed.
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

    /// Sends what TLS has buffered. Plain connections have no buffer.
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

    /// Ends the sending direction: `close_notify` if there is TLS, then FIN.
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

#[cfg(test)]
mod tests;
