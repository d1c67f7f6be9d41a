//! Scans the bytes of an HTTP/2 connection on their way to the `h2` crate and, to clients, from it.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use portcullis_http::h2::{Answered, Peer, Scan, Scanner, SentFrames, Trailers, Violation};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;
use tokio_util::io::poll_read_buf;

use crate::prefixed::Prefixed;

/// Bytes that are read at once if the `h2` crate's buffer has no room for the held bytes.
const READ_BYTES: usize = 4096;

/// What the scan found in a connection's bytes, for the code that serves the connection and its streams.
#[derive(Debug, Clone)]
pub(crate) struct WireMonitor(Rc<RefCell<MonitorState>>);

#[derive(Debug)]
struct MonitorState {
    scanner: Scanner,
    sent: SentFrames,
    /// How the crate has answered streams before it handed them over, if it does so at all.
    answered: Vec<(u32, Answered)>,
    started: Instant,
    /// Since when a part of a frame has waited for its rest: a frame's head, or a header block.
    partial_since: Option<Instant>,
    violation: Option<Violation>,
    /// The task that ends the connection at a violation.
    serving: Option<Waker>,
}

impl WireMonitor {
    fn new(peer: Peer, section_bytes_max: usize, idle_frames: u32) -> Self {
        Self(Rc::new(RefCell::new(MonitorState {
            scanner: Scanner::new(peer, section_bytes_max, idle_frames),
            sent: SentFrames::default(),
            answered: Vec::new(),
            started: Instant::now(),
            partial_since: None,
            violation: None,
            serving: None,
        })))
    }

    /// Ready when the connection must end, with the reason.
    pub(crate) fn poll_violation(&self, cx: &mut Context<'_>) -> Poll<Violation> {
        let mut state = self.0.borrow_mut();
        if let Some(violation) = state.violation {
            return Poll::Ready(violation);
        }
        if state.serving.as_ref().is_none_or(|waker| !waker.will_wake(cx.waker())) {
            state.serving = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Returns since when something that the peer began is incomplete: its first SETTINGS, a frame's head, a header
    /// block.
    pub(crate) fn incomplete_since(&self) -> Option<Instant> {
        let state = self.0.borrow();
        if state.scanner.is_settled() { state.partial_since } else { Some(state.started) }
    }

    /// Ends the connection for a violation that its bytes do not show.
    pub(crate) fn violate(&self, violation: Violation) {
        let mut state = self.0.borrow_mut();
        state.violation.get_or_insert(violation);
        if let Some(waker) = state.serving.take() {
            waker.wake();
        }
    }

    /// See [`Scanner::earn`].
    pub(super) fn earn(&self, bytes: usize, cut: bool) {
        self.0.borrow_mut().scanner.earn(bytes, cut);
    }

    /// See [`Scanner::is_settled`].
    pub(super) fn is_settled(&self) -> bool {
        self.0.borrow().scanner.is_settled()
    }

    /// Notes that the crate has handed over a stream.
    pub(super) fn handed_over(&self, stream: u32) {
        self.0.borrow_mut().scanner.settle(stream);
    }

    /// Returns how the crate has answered each stream that it has refused by itself since the last call. To be called
    /// if it has nothing to hand over: it hands over some streams although it has reset them.
    pub(super) fn take_refused(&self) -> Vec<Answered> {
        let MonitorState { scanner, answered, .. } = &mut *self.0.borrow_mut();
        let refused = |(stream, answered)| scanner.settle(stream).then_some(answered);
        answered.drain(..).filter_map(refused).collect()
    }

    /// Returns how many streams the client has opened that the crate has neither handed over nor answered. Forgets
    /// them.
    pub(super) fn take_unanswered(&self) -> usize {
        self.0.borrow_mut().scanner.settle_all()
    }

    /// Reads what was sent to a client.
    fn sent(&self, bytes: &[u8]) {
        let MonitorState { scanner, sent, answered, .. } = &mut *self.0.borrow_mut();
        sent.read(bytes, |stream, answer| {
            if scanner.is_waiting(stream) {
                answered.push((stream, answer));
            }
        });
    }

    /// See [`Scanner::take_target`].
    pub(crate) fn take_target(&self, stream: u32) -> Option<Box<[u8]>> {
        self.0.borrow_mut().scanner.take_target(stream)
    }

    /// See [`Scanner::trailers`].
    pub(crate) fn trailers(&self, stream: u32) -> Option<Trailers> {
        self.0.borrow().scanner.trailers(stream)
    }

    /// See [`Scanner::expect`].
    pub(crate) fn expect(&self, stream: u32) {
        self.0.borrow_mut().scanner.expect(stream);
    }

    /// See [`Scanner::has_ended`].
    pub(crate) fn has_ended(&self, stream: u32) -> bool {
        self.0.borrow().scanner.has_ended(stream)
    }

    /// See [`Scanner::is_head_alone`].
    pub(crate) fn is_head_alone(&self, stream: u32) -> bool {
        self.0.borrow().scanner.is_head_alone(stream)
    }

    /// See [`Scanner::forget`].
    pub(crate) fn forget(&self, stream: u32) {
        self.0.borrow_mut().scanner.forget(stream);
    }

    /// Returns the time since the start of the connection.
    pub(crate) fn elapsed(&self) -> Duration {
        self.0.borrow().started.elapsed()
    }
}

/// A stream whose bytes are scanned. Bytes that pass unchanged go from the socket into the crate's buffer; bytes that
/// are held or replaced, which are few and rare, are copied.
#[derive(Debug)]
pub(crate) struct Wire<S> {
    stream: S,
    monitor: WireMonitor,
    peer: Peer,
    /// Read, and to be scanned again together with what follows.
    held: BytesMut,
    /// Scanned, and to be passed on.
    ready: BytesMut,
}

impl<S> Wire<S> {
    /// Scans what `peer` sends on `stream`. `section_bytes_max` is the limit that the `h2` crate has for a section, and
    /// `idle_frames` how many frames that do no work may arrive at once.
    pub(crate) fn new(
        stream: S,
        peer: Peer,
        section_bytes_max: usize,
        idle_frames: u32,
    ) -> (Self, WireMonitor) {
        let monitor = WireMonitor::new(peer, section_bytes_max, idle_frames);
        let wire =
            Self { stream, monitor: monitor.clone(), peer, held: BytesMut::new(), ready: BytesMut::new() };
        (wire, monitor)
    }

    /// Scans `input`, whose start may have been scanned and held before.
    fn scan(&self, input: &[u8]) -> Result<Scan, Violation> {
        let state = &mut *self.monitor.0.borrow_mut();
        let started = state.started;
        let scan = state.scanner.scan(input, || started.elapsed());
        match scan {
            Ok(scan) if scan.hold && self.peer == Peer::Client => {
                if state.partial_since.is_none() || scan.pass + scan.replaced > 0 {
                    state.partial_since = Some(Instant::now());
                }
            }
            Ok(_) => state.partial_since = None,
            Err(_) => {}
        }
        scan
    }

    /// Ends the connection: a client's in an orderly way by the task that serves it, an upstream's at once.
    fn end(&self, violation: Violation) -> Poll<io::Result<()>> {
        tracing::debug!("HTTP/2 connection: {violation}");
        match self.peer {
            Peer::Client => {
                self.monitor.violate(violation);
                Poll::Pending
            }
            Peer::Upstream => Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, violation))),
        }
    }

    /// Scans the held bytes, and moves those that may pass to `ready`.
    fn release(&mut self) -> Result<(), Violation> {
        while !self.held.is_empty() {
            let scan = self.scan(&self.held)?;
            let passing = self.held.split_to(scan.pass);
            if self.ready.is_empty() {
                self.ready = passing;
            } else {
                self.ready.extend_from_slice(&passing);
            }
            if scan.replaced > 0 {
                self.ready.extend_from_slice(self.monitor.0.borrow().scanner.replacement());
                self.held.advance(scan.replaced);
            }
            if scan.hold {
                break;
            }
        }
        Ok(())
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Wire<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.monitor.0.borrow().violation.is_some() {
            return Poll::Pending;
        }
        loop {
            if !this.ready.is_empty() {
                let taken = this.ready.len().min(buf.remaining());
                buf.put_slice(&this.ready.split_to(taken));
                if this.ready.is_empty() {
                    this.ready = BytesMut::new();
                }
                return Poll::Ready(Ok(()));
            }
            let start = buf.filled().len();
            if this.held.len() < buf.remaining() {
                buf.put_slice(&this.held);
                let before = buf.filled().len();
                let read = Pin::new(&mut this.stream).poll_read(cx, buf);
                if !matches!(read, Poll::Ready(Ok(()))) || buf.filled().len() == before {
                    // Held bytes at the end of the stream are an incomplete frame, which the crate does not need.
                    buf.set_filled(start);
                    return read;
                }
                let scan = match this.scan(&buf.filled()[start..]) {
                    Ok(scan) => scan,
                    Err(violation) => {
                        buf.set_filled(start);
                        return this.end(violation);
                    }
                };
                this.held.clear();
                this.held.extend_from_slice(&buf.filled()[start + scan.pass..]);
                buf.set_filled(start + scan.pass);
                if scan.replaced > 0 {
                    this.ready.extend_from_slice(this.monitor.0.borrow().scanner.replacement());
                    this.held.advance(scan.replaced);
                    if let Err(violation) = this.release() {
                        return this.end(violation);
                    }
                }
            } else {
                this.held.reserve(READ_BYTES);
                if ready!(poll_read_buf(Pin::new(&mut this.stream), cx, &mut this.held))? == 0 {
                    return Poll::Ready(Ok(()));
                }
                if let Err(violation) = this.release() {
                    return this.end(violation);
                }
            }
            if this.held.is_empty() {
                this.held = BytesMut::new();
            }
            if buf.filled().len() > start {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Wire<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, bytes))?;
        if self.peer == Peer::Client {
            self.monitor.sent(&bytes[..written]);
        }
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, slices))?;
        let mut left = if self.peer == Peer::Client { written } else { 0 };
        for slice in slices {
            let sent = left.min(slice.len());
            self.monitor.sent(&slice[..sent]);
            left -= sent;
            if left == 0 {
                break;
            }
        }
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// A client's connection that can still be read after the `h2` crate has dropped it.
#[derive(Debug, Clone)]
pub(crate) struct Socket(Rc<RefCell<Prefixed>>);

impl Socket {
    pub(crate) fn new(stream: Prefixed) -> Self {
        Self(Rc::new(RefCell::new(stream)))
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0.borrow_mut()).poll_read(cx, buf)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.0.borrow_mut()).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.0.borrow_mut()).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.borrow().is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0.borrow_mut()).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0.borrow_mut()).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests;
