//! A connection to an endpoint over HTTP/2: its state, and the task that drives and monitors it.

use std::cell::Cell;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use h2::PingPong;
use h2::client::SendRequest;
use portcullis_http::h2::{Peer, Trailers};
use portcullis_model::UpstreamHttp2;
use portcullis_net::Stream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;

use crate::h2::first_settings::FirstSettings;
use crate::h2::outbox::{Outbox, Piece};
use crate::h2::wire::{Wire, WireMonitor};
use crate::h2::{SEND_BUFFER, describe};

/// The settings of a connection to an endpoint.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ConnectionRules {
    /// The largest head of a response, in bytes.
    pub(crate) head_bytes_max: usize,
    /// Streams and windows.
    pub(crate) http2: UpstreamHttp2,
    /// How long the endpoint may take to send its settings.
    pub(crate) settle: Duration,
    /// How long it may be silent while a stream is open.
    pub(crate) keepalive: Duration,
    /// The address that was connected to, if the endpoint's name has several.
    pub(crate) peer: Option<SocketAddr>,
}

/// A connection to an endpoint, shared by all exchanges of a worker that use it.
#[derive(Clone)]
pub(crate) struct ClientHandle {
    pub(super) send: SendRequest<Piece>,
    pub(super) shared: Rc<Shared>,
    monitor: WireMonitor,
    outbox: Outbox,
}

/// The state that the exchanges on a connection, the pool and the driver share.
#[derive(Debug)]
pub(super) struct Shared {
    open: Cell<u32>,
    /// Streams whose request waits for the endpoint's window.
    waiting: Cell<u32>,
    /// The endpoint refused a stream when this many were open. It gets no new one until there are fewer.
    refuses_from: Cell<u32>,
    streams_max: u32,
    closed: Cell<bool>,
    /// It takes no new streams, because the endpoint said so or its name no longer has this address.
    draining: Cell<bool>,
    /// It has served an exchange.
    served: Cell<bool>,
    /// The endpoint's settings have arrived, or never will.
    settled: Cell<bool>,
    settling: Notify,
    /// Bytes that were read, which show that the endpoint is alive.
    heard: Cell<u64>,
    /// The value of `heard` when the connection was suspected to be dead. A later byte proves that it is alive.
    suspected: Cell<Option<u64>>,
    check: Notify,
    /// SETTINGS_MAX_HEADER_LIST_SIZE of the endpoint.
    head_list_max: Cell<Option<u32>>,
    peer: Option<SocketAddr>,
}

impl Shared {
    fn new(rules: &ConnectionRules) -> Self {
        Self {
            open: Cell::new(0),
            waiting: Cell::new(0),
            refuses_from: Cell::new(u32::MAX),
            streams_max: rules.http2.streams_max,
            closed: Cell::new(false),
            draining: Cell::new(false),
            served: Cell::new(false),
            settled: Cell::new(false),
            settling: Notify::new(),
            heard: Cell::new(0),
            suspected: Cell::new(None),
            check: Notify::new(),
            head_list_max: Cell::new(None),
            peer: rules.peer,
        }
    }

    fn settle(&self) {
        self.settled.set(true);
        self.settling.notify_waiters();
    }

    async fn settled(&self) {
        // All of this runs on one thread, so nothing happens between the check and the wait.
        while !self.settled.get() {
            self.settling.notified().await;
        }
    }

    fn is_suspect(&self) -> bool {
        self.suspected.get() == Some(self.heard.get())
    }

    /// Opens no new streams until a byte arrives, and sends a ping to get one.
    pub(super) fn suspect(&self) {
        self.suspected.set(Some(self.heard.get()));
        self.check.notify_one();
    }

    /// Records that a stream was refused. The connection takes new streams once it has fewer than now.
    pub(super) fn refused(&self) {
        self.refuses_from.set(self.open.get().saturating_sub(1));
    }

    pub(super) fn head_list_max(&self) -> Option<u32> {
        self.head_list_max.get()
    }
}

/// Counts a stream as open for as long as it lives, and knows what the monitor found in its bytes.
#[derive(Debug)]
pub(crate) struct OpenStream {
    pub(super) shared: Rc<Shared>,
    monitor: WireMonitor,
    outbox: Outbox,
    waits: bool,
    /// Its number; 0 if it could not be opened.
    number: u32,
}

impl OpenStream {
    fn new(handle: &ClientHandle) -> Self {
        let ClientHandle { shared, monitor, outbox, .. } = handle;
        shared.open.set(shared.open.get() + 1);
        Self {
            shared: shared.clone(),
            monitor: monitor.clone(),
            outbox: outbox.clone(),
            waits: false,
            number: 0,
        }
    }

    /// Returns what waits to be written on the connection.
    pub(super) fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    /// Records that the request was sent on stream `number`.
    pub(super) fn opened(&mut self, number: u32) {
        self.number = number;
        self.monitor.expect(number);
    }

    /// Returns whether the response has ended with its head. The crate no longer knows this if a reset arrived with the
    /// head.
    pub(super) fn is_head_alone(&self) -> bool {
        self.monitor.is_head_alone(self.number)
    }

    /// Returns whether the endpoint has sent END_STREAM.
    pub(super) fn has_ended(&self) -> bool {
        self.monitor.has_ended(self.number)
    }

    pub(super) fn trailers(&self) -> Option<Trailers> {
        self.monitor.trailers(self.number)
    }

    /// Records whether its data waits for the endpoint's window.
    pub(crate) fn set_waits(&mut self, waits: bool) {
        if self.waits != waits {
            self.waits = waits;
            let waiting = self.shared.waiting.get();
            self.shared.waiting.set(if waits { waiting + 1 } else { waiting.saturating_sub(1) });
        }
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.set_waits(false);
        self.monitor.forget(self.number);
        self.shared.open.set(self.shared.open.get().saturating_sub(1));
    }
}

/// A place for one stream on a connection.
pub(crate) struct Lease {
    pub(super) handle: ClientHandle,
    pub(super) open: OpenStream,
    /// Whether the connection has served an exchange before.
    pub(super) reused: bool,
}

impl Lease {
    /// Returns the address of the connection, if the endpoint is a name.
    pub(crate) fn peer(&self) -> Option<SocketAddr> {
        self.handle.peer()
    }

    /// Whether the endpoint's settings are known.
    pub(crate) fn is_settled(&self) -> bool {
        self.handle.is_settled()
    }

    /// Waits for the endpoint's settings, or the end of the connection.
    pub(crate) async fn settled(&self) {
        self.handle.settled().await;
    }
}

/// Opens an HTTP/2 connection on `stream`. A local task drives it until it closes or every handle and stream is
/// dropped.
pub(crate) async fn handshake(stream: Stream, rules: ConnectionRules) -> Result<ClientHandle, h2::Error> {
    let UpstreamHttp2 { streams_max, window, send_buffer_bytes, idle_frames } = rules.http2;
    let mut builder = h2::client::Builder::new();
    builder
        .enable_push(false)
        .max_header_list_size(u32::try_from(rules.head_bytes_max).unwrap_or(u32::MAX))
        .initial_window_size(window)
        // Room for every stream to stall with a full window, so that no slow reader stops the others.
        .initial_connection_window_size(window.saturating_mul(streams_max).min(WINDOW_MAX))
        // One stream may be opened before the endpoint's settings arrive (RFC 9113, 3.4). Others wait for the limit in
        // them.
        .initial_max_send_streams(1)
        .max_send_buffer_size(SEND_BUFFER);
    let shared = Rc::new(Shared::new(&rules));
    let heard = Heard { stream, shared: shared.clone(), first: FirstSettings::default() };
    let (wire, monitor) = Wire::new(heard, Peer::Upstream, rules.head_bytes_max, idle_frames);
    let (send, mut connection) = builder.handshake::<_, Piece>(wire).await?;
    let driver = shared.clone();
    let ping = connection.ping_pong();
    tokio::task::spawn_local(async move {
        tokio::select! {
            ended = connection => {
                if let Err(error) = ended {
                    tracing::debug!("HTTP/2 upstream connection: {}", describe(&error));
                }
            }
            () = look_after(&driver, ping, rules) => {
                tracing::debug!("HTTP/2 upstream connection: nothing is heard of the endpoint");
            }
        }
        driver.closed.set(true);
        driver.settle();
    });
    let outbox = Outbox::new(monitor.clone(), send_buffer_bytes);
    Ok(ClientHandle { send, shared, monitor, outbox })
}

/// The largest window (RFC 9113, 6.9.1).
const WINDOW_MAX: u32 = (1 << 31) - 1;

/// Pings the endpoint. Returns when the connection can be dropped: it seems dead and has no streams.
async fn look_after(shared: &Shared, ping: Option<PingPong>, rules: ConnectionRules) {
    let Some(mut ping) = ping else { return std::future::pending().await };
    // An endpoint sends its settings first (RFC 9113, 3.4).
    if tokio::time::timeout(rules.settle, shared.settled()).await.is_err() {
        shared.suspect();
        shared.settle();
    }
    let half = rules.keepalive / 2;
    // The value of `heard` at the last ping. There is one ping for each silence: some servers close connections that
    // send many pings without data.
    let (mut before, mut asked) = (shared.heard.get(), false);
    loop {
        let checked = tokio::select! {
            () = shared.check.notified() => true,
            () = tokio::time::sleep(half) => false,
        };
        // Takes the answer to an earlier ping, so that the next one can be sent.
        let mut cx = Context::from_waker(Waker::noop());
        let _answered = ping.poll_pong(&mut cx).is_ready();
        if shared.heard.get() != before {
            (before, asked) = (shared.heard.get(), false);
            if !checked || !shared.is_suspect() {
                continue;
            }
        }
        let idle = shared.open.get() == 0;
        if checked || (!idle && !asked) {
            // Refused if a ping is not answered yet. Its answer serves as well.
            let _sent = ping.send_ping(h2::Ping::opaque()).is_ok();
            asked = true;
        } else if shared.is_suspect() && idle {
            return;
        } else if asked && !idle {
            shared.suspected.set(Some(before));
        }
    }
}

impl ClientHandle {
    /// Takes a place for a stream, if one may be opened now. `upload` says that a body will be sent.
    pub(crate) fn lease(&mut self, upload: bool) -> Option<Lease> {
        if !self.is_usable() {
            return None;
        }
        let shared = &self.shared;
        let open = shared.open.get();
        if shared.settled.get() {
            // An upload that waits for the endpoint's window may have used up the window of the whole connection.
            if upload && shared.waiting.get() > 0 {
                return None;
            }
            if open >= shared.refuses_from.get() {
                return None;
            }
            shared.refuses_from.set(u32::MAX);
            let granted = u32::try_from(self.send.current_max_send_streams()).unwrap_or(u32::MAX);
            if open >= granted.min(shared.streams_max) {
                return None;
            }
        } else if open > 0 || shared.served.get() {
            return None;
        }
        let reused = shared.served.replace(true);
        Some(Lease { handle: self.clone(), open: OpenStream::new(self), reused })
    }

    /// Returns whether it takes new streams, now or when others have ended.
    fn is_usable(&mut self) -> bool {
        let shared = &self.shared;
        if shared.closed.get() || shared.draining.get() || shared.is_suspect() {
            return false;
        }
        // After a GOAWAY the crate refuses new streams.
        let mut cx = Context::from_waker(Waker::noop());
        let refuses = matches!(self.send.poll_ready(&mut cx), Poll::Ready(Err(_)));
        if refuses {
            shared.draining.set(true);
        }
        !refuses
    }

    /// Returns whether the connection is closed.
    pub(crate) fn is_closed(&self) -> bool {
        self.shared.closed.get()
    }

    /// Opens no more streams on it. Those that are open continue.
    pub(crate) fn drain(&self) {
        self.shared.draining.set(true);
    }

    /// Returns whether it opens no more streams.
    pub(crate) fn is_draining(&self) -> bool {
        self.shared.draining.get()
    }

    /// Whether the endpoint's settings are known.
    pub(crate) fn is_settled(&self) -> bool {
        self.shared.settled.get()
    }

    /// Returns how many streams it may have at once.
    pub(crate) fn streams_max(&self) -> u32 {
        let granted = u32::try_from(self.send.current_max_send_streams()).unwrap_or(u32::MAX);
        granted.min(self.shared.streams_max)
    }

    /// Waits for the endpoint's settings, or the end of the connection.
    pub(crate) async fn settled(&self) {
        self.shared.settled().await;
    }

    /// Returns whether it has no open streams.
    pub(crate) fn is_idle(&self) -> bool {
        self.shared.open.get() == 0
    }

    /// Returns its address, if the endpoint's name has several.
    pub(crate) fn peer(&self) -> Option<SocketAddr> {
        self.shared.peer
    }
}

impl std::fmt::Debug for ClientHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientHandle").field("shared", &self.shared).finish_non_exhaustive()
    }
}

/// A stream that counts the bytes that are read from it.
struct Heard {
    stream: Stream,
    shared: Rc<Shared>,
    first: FirstSettings,
}

impl AsyncRead for Heard {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(cx, buf))?;
        let read = buf.filled().get(before..).unwrap_or_default();
        this.shared.heard.set(this.shared.heard.get().wrapping_add(read.len() as u64));
        if !this.first.is_done() {
            if let Some(bytes) = this.first.read(read) {
                this.shared.head_list_max.set(Some(bytes));
            }
            // The crate reads the frame before another task runs.
            if this.first.is_done() {
                this.shared.settle();
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Heard {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}
