//! Copies both ways after an upgrade that both sides agreed on, such as WebSocket.

use std::cell::{Cell, RefCell};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use crate::error::{FaultSide, StreamError};
use crate::timeouts::IdleTimer;
use crate::timer::Timer;
use crate::tunnel_end::TunnelEnd;
use crate::worker::Worker;

/// Bytes of each direction that the gateway holds at once.
const BUFFER_BYTES: usize = 16 * 1024;

/// How a tunnel went.
#[derive(Debug, Default)]
pub(crate) struct TunnelReport {
    /// Bytes from the client.
    pub(crate) from_client: u64,
    /// Bytes to the client.
    pub(crate) to_client: u64,
    /// Why it ended, unless both sides closed.
    pub(crate) error: Option<StreamError>,
}

/// When a tunnel ends, if neither side closes it.
pub(crate) struct TunnelLimits<'a> {
    /// Ends it if neither side sends anything for this long.
    pub(crate) idle: Duration,
    /// When it ends in any case: the time that the route allows the exchange.
    pub(crate) deadline: Option<Instant>,
    /// Ends it when a drain has lasted as long as it may.
    pub(crate) worker: &'a Worker,
}

/// Copies both ways until both sides have closed, one fails, or a limit is reached. The tunnel also ends if one side
/// takes nothing of what the other has sent for the idle timeout, even if it sends data itself.
pub(crate) async fn run(
    mut client: Box<dyn TunnelEnd>,
    mut upstream: Box<dyn TunnelEnd>,
    limits: TunnelLimits<'_>,
    timer: &mut Timer,
) -> TunnelReport {
    let TunnelLimits { idle, deadline, worker } = limits;
    let (from_client, to_client, last) = (Cell::new(0), Cell::new(0), Cell::new(Instant::now()));
    let (client_writes, upstream_writes) = (WriteProgress::default(), WriteProgress::default());
    let failed = Cell::new(FaultSide::Upstream);
    let mut client = TrackedEnd {
        end: &mut *client,
        side: FaultSide::Client,
        read: &from_client,
        last: &last,
        writes: &client_writes,
        failed: &failed,
    };
    let mut upstream = TrackedEnd {
        end: &mut *upstream,
        side: FaultSide::Upstream,
        read: &to_client,
        last: &last,
        writes: &upstream_writes,
        failed: &failed,
    };
    let copying =
        tokio::io::copy_bidirectional_with_sizes(&mut client, &mut upstream, BUFFER_BYTES, BUFFER_BYTES);
    let mut copying = std::pin::pin!(copying);
    let error = std::future::poll_fn(|cx| {
        if let Poll::Ready(result) = Future::poll(copying.as_mut(), cx) {
            return Poll::Ready(
                result.err().map(|source| StreamError::TunnelBroke { side: failed.get(), source }),
            );
        }
        if worker.is_drain_over() {
            return Poll::Ready(Some(StreamError::DrainOver));
        }
        let until = last.get() + idle;
        if timer.poll(cx, deadline.map_or(until, |deadline| deadline.min(until))).is_ready() {
            return Poll::Ready(Some(match deadline {
                Some(deadline) if deadline < until => StreamError::Timeout { waited_for: FaultSide::Gateway },
                _ => StreamError::TunnelIdle(idle),
            }));
        }
        for (side, writes) in [(FaultSide::Client, &client_writes), (FaultSide::Upstream, &upstream_writes)] {
            if writes.deadline(idle).is_some_and(|until| timer.poll(cx, until).is_ready()) {
                return Poll::Ready(Some(StreamError::TunnelStalled { side, idle }));
            }
        }
        Poll::Pending
    })
    .await;
    TunnelReport { from_client: from_client.get(), to_client: to_client.get(), error }
}

/// One end of a tunnel, which records what was read from it, when, and whether it takes what is written.
struct TrackedEnd<'a> {
    end: &'a mut dyn TunnelEnd,
    side: FaultSide,
    read: &'a Cell<u64>,
    last: &'a Cell<Instant>,
    writes: &'a WriteProgress,
    /// The side that failed last.
    failed: &'a Cell<FaultSide>,
}

impl TrackedEnd<'_> {
    fn note_failure<T>(&self, result: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if let Poll::Ready(Err(_)) = &result {
            self.failed.set(self.side);
        }
        result
    }
}

/// What an end takes of what is written to it.
#[derive(Debug, Default)]
struct WriteProgress {
    taken: Cell<u64>,
    /// It did not take all of the last write.
    lacking: Cell<bool>,
    idle_timer: RefCell<IdleTimer>,
}

impl WriteProgress {
    /// Returns when the end will have taken too little for too long, or `None` if it took all of the last write.
    fn deadline(&self, idle: Duration) -> Option<Instant> {
        let mut idle_timer = self.idle_timer.borrow_mut();
        if !self.lacking.get() {
            *idle_timer = IdleTimer::default();
            return None;
        }
        Some(idle_timer.write_deadline(self.taken.get(), idle))
    }

    fn note(&self, written: &Poll<io::Result<usize>>) {
        self.lacking.set(written.is_pending());
        if let Poll::Ready(Ok(bytes)) = written {
            self.taken.set(self.taken.get() + *bytes as u64);
        }
    }
}

impl AsyncRead for TrackedEnd<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut *self.end).poll_read(cx, buf);
        ready!(self.note_failure(read))?;
        self.read.set(self.read.get() + (buf.filled().len() - before) as u64);
        self.last.set(Instant::now());
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for TrackedEnd<'_> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut *self.end).poll_write(cx, bytes);
        self.writes.note(&written);
        self.note_failure(written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut *self.end).poll_flush(cx);
        self.note_failure(flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let ended = Pin::new(&mut *self.end).poll_shutdown(cx);
        self.note_failure(ended)
    }
}
