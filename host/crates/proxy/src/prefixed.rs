//! A connection whose first bytes were read already: to find its protocol, or behind the head that made it a tunnel.

use std::cell::Cell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::{Buf, BytesMut};
use portcullis_net::Stream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A stream that returns `unread` first.
#[derive(Debug)]
pub(crate) struct Prefixed {
    unread: BytesMut,
    stream: Stream,
    /// Whether the last attempt to write had to wait for the peer.
    write_blocked: Rc<Cell<bool>>,
}

impl Prefixed {
    pub(crate) fn new(unread: BytesMut, stream: Stream) -> Self {
        Self { unread, stream, write_blocked: Rc::default() }
    }

    /// Returns a flag that says whether the last write still waits for the peer to read, for as long as the connection
    /// lives.
    pub(crate) fn write_blocked(&self) -> Rc<Cell<bool>> {
        self.write_blocked.clone()
    }

    fn note_blocked<T>(&self, written: Poll<T>) -> Poll<T> {
        self.write_blocked.set(written.is_pending());
        written
    }
}

impl AsyncRead for Prefixed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.unread.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, buf);
        }
        let taken = self.unread.len().min(buf.remaining());
        buf.put_slice(&self.unread[..taken]);
        self.unread.advance(taken);
        if self.unread.is_empty() {
            self.unread = BytesMut::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Prefixed {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.note_blocked(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.note_blocked(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.note_blocked(flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
