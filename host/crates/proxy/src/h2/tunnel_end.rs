//! A stream of an HTTP/2 connection as one side of a tunnel (RFC 8441).

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use h2::{RecvStream, SendStream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::connection::OpenStream;
use super::outbox::{Outbox, Piece};

/// A stream after a 2xx response to an extended CONNECT.
#[derive(Debug)]
pub(super) struct H2TunnelEnd {
    receive: RecvStream,
    send: SendStream<Piece>,
    /// Received and not yet read.
    unread: Bytes,
    /// Limits what waits to be written on its connection.
    outbox: Outbox,
    /// Set for an upstream's stream, which counts as open on its connection.
    open: Option<OpenStream>,
}

impl H2TunnelEnd {
    pub(super) fn new(
        receive: RecvStream,
        send: SendStream<Piece>,
        outbox: Outbox,
        open: Option<OpenStream>,
    ) -> Self {
        Self { receive, send, unread: Bytes::new(), outbox, open }
    }
}

impl AsyncRead for H2TunnelEnd {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Self { receive, unread, .. } = self.get_mut();
        while unread.is_empty() {
            match ready!(receive.poll_data(cx)) {
                Some(Ok(data)) => *unread = data,
                Some(Err(error)) => return Poll::Ready(Err(io::Error::other(error))),
                None => return Poll::Ready(Ok(())),
            }
        }
        let taken = unread.len().min(buf.remaining());
        buf.put_slice(&unread[..taken]);
        unread.advance(taken);
        // Only bytes that were taken make room for more, which is the backpressure.
        let released = receive.flow_control().release_capacity(taken);
        Poll::Ready(released.map_err(io::Error::other))
    }
}

impl AsyncWrite for H2TunnelEnd {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let Self { send, outbox, open, .. } = self.get_mut();
        if outbox.poll_room(cx).is_pending() {
            return send.poll_reset(cx).map(|_| Err(io::ErrorKind::BrokenPipe.into()));
        }
        send.reserve_capacity(bytes.len());
        let capacity = loop {
            let capacity = send.poll_capacity(cx);
            if let Some(open) = open {
                open.set_waits(capacity.is_pending());
            }
            match ready!(capacity) {
                Some(Ok(0)) => {}
                Some(Ok(capacity)) => break capacity,
                Some(Err(error)) => return Poll::Ready(Err(io::Error::other(error))),
                None => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            }
        };
        let taken = capacity.min(bytes.len());
        let piece = outbox.piece(Bytes::copy_from_slice(&bytes[..taken]), taken < bytes.len());
        let sent = send.send_data(piece, false);
        Poll::Ready(sent.map(|()| taken).map_err(io::Error::other))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let end = self.outbox.piece(Bytes::new(), false);
        Poll::Ready(self.send.send_data(end, true).map_err(io::Error::other))
    }
}
