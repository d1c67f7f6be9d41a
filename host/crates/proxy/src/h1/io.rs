//! A socket, what was read from it and not used yet, and what is to be written.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use portcullis_net::Stream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::io::poll_read_buf;

use super::buffers;

/// Bytes that are read at once. Enough for a whole head with large cookies, and for a long body to cost only one system
/// call for each 32 KiB.
pub(crate) const READ_BYTES: usize = 32 * 1024;

/// Bytes that are read at once if they are only dropped.
const DISCARD_BYTES: usize = 16 * 1024;

/// A body of at most this size is copied behind its head, so that one write sends both.
pub(crate) const COPY_BYTES_MAX: usize = 16 * 1024;

/// One HTTP/1 connection's socket and buffers.
#[derive(Debug)]
pub(crate) struct Io {
    pub(crate) stream: Stream,
    /// Read and not yet used.
    pub(crate) unread: BytesMut,
    /// To be written.
    pub(crate) out: OutBuffer,
}

impl Io {
    /// Returns a connection without buffers.
    pub(crate) fn new(stream: Stream) -> Self {
        Self { stream, unread: BytesMut::new(), out: OutBuffer::default() }
    }

    /// Releases empty buffers. New ones are taken when they are needed.
    pub(crate) fn release_buffers(&mut self) {
        self.release_read_buffer();
        if self.out.is_empty() {
            self.out.release();
        }
    }

    /// Releases the read buffer if it is empty.
    pub(crate) fn release_read_buffer(&mut self) {
        if self.unread.is_empty() && self.unread.capacity() > 0 {
            buffers::release_read(std::mem::take(&mut self.unread));
        }
    }

    /// Reads and drops data. Returns the number of bytes, 0 at the end. Holds no buffer while it waits.
    pub(crate) fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut bytes = [std::mem::MaybeUninit::uninit(); DISCARD_BYTES];
        let mut buffer = ReadBuf::uninit(&mut bytes);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer))?;
        Poll::Ready(Ok(buffer.filled().len()))
    }

    /// Reads and appends to `unread`. Returns the number of bytes, 0 at the end of the stream.
    pub(crate) fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.unread.capacity() == 0 {
            self.unread = buffers::take_read();
        }
        if self.unread.capacity() - self.unread.len() < READ_BYTES / 4 {
            self.unread.reserve(READ_BYTES);
        }
        poll_read_buf(Pin::new(&mut self.stream), cx, &mut self.unread)
    }

    /// Lets the tasks go first that are ready now, once for each message that begins with a small write. The later
    /// pieces of a body do not: a task that wakes itself again and again keeps the worker from its sockets.
    ///
    /// If data has come for many connections, the worker so works through all of it, and then writes. Peers on this
    /// machine wait meanwhile, and are woken for several messages at once instead of for each one; to wake a core that
    /// sleeps takes a virtual machine longer than the rest of an exchange. A worker with one exchange waits for
    /// nothing.
    fn poll_turn(&mut self, cx: &mut Context<'_>, piece_bytes: usize) -> Poll<()> {
        let is_small = self.out.pending().len() + piece_bytes <= COPY_BYTES_MAX;
        if self.out.is_empty() || !std::mem::take(&mut self.out.is_begun) || !is_small {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Writes all of `out`, which is empty when this is ready.
    pub(crate) fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_turn(cx, 0));
        while !self.out.is_empty() {
            let written = ready!(Pin::new(&mut self.stream).poll_write(cx, self.out.pending()))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.out.advance(written);
        }
        // TCP buffers nothing here. TLS buffers what does not fit into the socket; a flush sends it.
        match &self.stream {
            Stream::Tcp(_) => Poll::Ready(Ok(())),
            _ => Pin::new(&mut self.stream).poll_flush(cx),
        }
    }

    /// Writes all of `out`, then all of `piece`, in as few system calls as the socket takes.
    pub(crate) fn poll_write_with(
        &mut self,
        cx: &mut Context<'_>,
        piece: &mut Bytes,
    ) -> Poll<io::Result<()>> {
        ready!(self.poll_turn(cx, piece.len()));
        while piece.has_remaining() {
            let head = self.out.pending().len();
            let slices = [io::IoSlice::new(self.out.pending()), io::IoSlice::new(piece)];
            let written = ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, &slices))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.out.advance(written.min(head));
            piece.advance(written.saturating_sub(head));
        }
        self.poll_write(cx)
    }
}

/// Bytes to be written. The buffer is reused.
#[derive(Debug, Default)]
pub(crate) struct OutBuffer {
    /// Append here.
    pub(crate) bytes: Vec<u8>,
    at: usize,
    /// A message begins, of which nothing was written.
    is_begun: bool,
}

impl OutBuffer {
    /// Returns what was not written yet.
    pub(crate) fn pending(&self) -> &[u8] {
        &self.bytes[self.at..]
    }

    /// Returns whether all has been written.
    pub(crate) fn is_empty(&self) -> bool {
        self.at == self.bytes.len()
    }

    /// Takes a buffer before a message is written to it.
    pub(crate) fn prepare(&mut self) {
        self.is_begun = true;
        if self.bytes.capacity() == 0 {
            self.bytes = buffers::take_write();
        }
    }

    /// Releases the buffer, which is empty.
    fn release(&mut self) {
        self.clear();
        if self.bytes.capacity() > 0 {
            buffers::release_write(std::mem::take(&mut self.bytes));
        }
    }

    /// Drops all bytes.
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.at = 0;
    }

    fn advance(&mut self, written: usize) {
        self.at += written;
        if self.is_empty() {
            self.clear();
        }
    }
}

#[cfg(test)]
mod tests;
