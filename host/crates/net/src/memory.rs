//! Connections in memory, for tests in simulated time: its clock stands still while the operating system moves bytes,
//! so such a test cannot use sockets.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf, duplex};

/// One end of a connection in memory. Dropping it is an orderly end of both directions, or a reset if that was chosen.
#[derive(Debug)]
pub struct MemoryStream {
    pipe: DuplexStream,
    reset_at_end: AtomicBool,
    /// Set when this end is dropped with a reset.
    reset: Arc<AtomicBool>,
    /// The same for the other end.
    was_reset: Arc<AtomicBool>,
}

impl MemoryStream {
    /// Returns the two ends of a connection. Each direction has room for `bytes` bytes that were not read.
    #[must_use]
    pub fn pair(bytes: usize) -> (Self, Self) {
        let (one, other) = duplex(bytes);
        let (reset_one, reset_other) = (Arc::<AtomicBool>::default(), Arc::<AtomicBool>::default());
        let end =
            |pipe, reset, was_reset| Self { pipe, reset_at_end: AtomicBool::new(false), reset, was_reset };
        let one = end(one, Arc::clone(&reset_one), Arc::clone(&reset_other));
        (one, end(other, reset_other, reset_one))
    }

    /// Makes the connection end with a reset, or again in an orderly way.
    pub fn set_reset_at_end(&self, reset: bool) {
        self.reset_at_end.store(reset, Ordering::Relaxed);
    }
}

impl Drop for MemoryStream {
    fn drop(&mut self) {
        self.reset.store(self.reset_at_end.load(Ordering::Relaxed), Ordering::Relaxed);
    }
}

impl AsyncRead for MemoryStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.pipe).poll_read(cx, buffer))?;
        let ended = buffer.filled().len() == before && buffer.remaining() > 0;
        if ended && self.was_reset.load(Ordering::Relaxed) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for MemoryStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.pipe).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.pipe).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.pipe).poll_shutdown(cx)
    }
}

/// The outcome of an attempt to connect in memory.
pub type Dialled = Pin<Box<dyn Future<Output = io::Result<MemoryStream>> + Send>>;

/// Connects in memory in place of the operating system.
#[derive(Clone)]
pub(crate) struct Dial(pub(crate) Arc<dyn Fn(SocketAddr) -> Dialled + Send + Sync>);

impl fmt::Debug for Dial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Dial")
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::testing::on_worker;

    #[test]
    fn an_orderly_end_and_a_reset_are_told_apart() {
        on_worker(async {
            for reset in [false, true] {
                let (mut one, mut other) = MemoryStream::pair(64);
                one.write_all(b"last").await.unwrap();
                one.set_reset_at_end(reset);
                drop(one);
                let (mut read, mut all) = (Vec::new(), [0; 16]);
                let end = loop {
                    match other.read(&mut all).await {
                        Ok(0) => break None,
                        Ok(bytes) => read.extend_from_slice(&all[..bytes]),
                        Err(error) => break Some(error.kind()),
                    }
                };
                assert_eq!(read, b"last");
                assert_eq!(end, reset.then_some(io::ErrorKind::ConnectionReset));
            }
        });
    }
}
