//! The state that the streams of one client's connection share: the outbox, the monitor of its bytes, and how many
//! streams may be reset.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use h2::RecvStream;
use portcullis_http::h2::{Allowance, Trailers, Violation};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::outbox::{Outbox, Piece};
use super::wire::WireMonitor;
use crate::downstream::Downstream;
use crate::timer::Timer;

/// A stream that is reset within this time, before its response was complete, counts as opened only to be reset: it may
/// have cost a hook and a connection to an upstream.
const YOUNG: Duration = Duration::from_secs(1);
/// Streams with a complete response that allow for one more reset.
const ANSWERED_FOR_ONE: u32 = 8;
/// How long a stream waits for its reset on a connection that has used up half of its allowance of resets.
const HASTE_DELAY: Duration = Duration::from_millis(20);

/// The rest of a request's body after the response is read for at most this long, and as long as the gap between two
/// pieces is shorter than the second value.
const READ_ON: Duration = Duration::from_secs(30);
const READ_ON_IDLE: Duration = Duration::from_secs(2);

/// The state that the streams of one connection share.
#[derive(Debug)]
pub(super) struct Streams {
    pub(super) open: Cell<u32>,
    pub(super) last_end: Cell<Instant>,
    pub(super) ended: Notify,
    pub(super) monitor: WireMonitor,
    outbox: Outbox,
    /// Young streams that may be reset: twice the limit of streams at once, and the limit again each second.
    resets: RefCell<Allowance>,
    answered: Cell<u32>,
    is_closing: Cell<bool>,
    closing: Notify,
}

impl Streams {
    /// Returns the state of a connection that may have `limit` streams open at once.
    pub(super) fn new(monitor: WireMonitor, limit: u32, send_buffer_bytes: usize) -> Self {
        Self {
            open: Cell::new(0),
            last_end: Cell::new(Instant::now()),
            ended: Notify::new(),
            outbox: Outbox::new(monitor.clone(), send_buffer_bytes),
            monitor,
            resets: RefCell::new(Allowance::new(limit.saturating_mul(2), limit)),
            answered: Cell::new(0),
            is_closing: Cell::new(false),
            closing: Notify::new(),
        }
    }

    /// Marks the connection as closing: the rest of requests is no longer read.
    pub(super) fn close(&self) {
        self.is_closing.set(true);
        self.closing.notify_waiters();
    }

    /// Counts a stream that the crate has refused by itself, for being one too many or malformed, as one that was
    /// reset.
    pub(super) fn count_refused(&self) {
        if !self.is_closing.get() && !self.resets.borrow_mut().spend(1, || self.monitor.elapsed()) {
            self.monitor.violate(Violation::Resets);
        }
    }

    fn has_ended(&self, opened: Instant, reset: bool) {
        if !reset {
            let answered = self.answered.get() + 1;
            self.answered.set(answered % ANSWERED_FOR_ONE);
            if answered == ANSWERED_FOR_ONE {
                self.resets.borrow_mut().earn(1);
            }
        } else if opened.elapsed() < YOUNG && !self.resets.borrow_mut().spend(1, || self.monitor.elapsed()) {
            self.monitor.violate(Violation::Resets);
        }
    }
}

/// One stream, which counts as open.
#[derive(Debug)]
pub(super) struct StreamGuard {
    streams: Rc<Streams>,
    number: u32,
    opened: Instant,
    was_reset: Cell<bool>,
}

impl StreamGuard {
    pub(super) fn new(streams: &Rc<Streams>, number: u32) -> Self {
        streams.open.set(streams.open.get() + 1);
        streams.monitor.handed_over(number);
        let streams = streams.clone();
        Self { streams, number, opened: Instant::now(), was_reset: Cell::new(false) }
    }

    /// Records that the stream was reset, by the client or because of what it did, before its response was complete.
    pub(super) fn reset(&self) {
        self.was_reset.set(true);
    }

    /// Returns the request's `:path` as the client wrote it, if the crate got another one.
    pub(super) fn take_target(&self) -> Option<Box<[u8]>> {
        self.streams.monitor.take_target(self.number)
    }

    /// Returns what the monitor knows of the request's body.
    pub(super) fn incoming(&self) -> Incoming {
        Incoming { monitor: self.streams.monitor.clone(), number: self.number }
    }

    pub(super) fn outbox(&self) -> &Outbox {
        &self.streams.outbox
    }

    pub(super) fn piece(&self, bytes: Bytes, cut: bool) -> Piece {
        self.streams.outbox.piece(bytes, cut)
    }

    /// Returns whether the stream was reset before anything was done for it.
    pub(super) async fn wait_for_reset(&self, downstream: &mut dyn Downstream, timer: &mut Timer) -> bool {
        let hasty = self.streams.resets.borrow_mut().is_low(|| self.streams.monitor.elapsed());
        let mut gone = std::pin::pin!(std::future::poll_fn(|cx| downstream.poll_gone(cx)));
        if hasty {
            return timer.run(Instant::now() + HASTE_DELAY, gone).await.is_ok();
        }
        std::future::poll_fn(|cx| Poll::Ready(gone.as_mut().poll(cx).is_ready())).await
    }

    /// Reads and drops the rest of the body of a request that was answered, for a while. Otherwise the stream would be
    /// reset after its response, and some clients that are still sending treat that as a failure.
    pub(super) async fn read_on(&self, inlet: &RefCell<RecvStream>, timer: &mut Timer) {
        let end = Instant::now() + READ_ON;
        loop {
            if self.was_reset.get() || self.streams.is_closing.get() || inlet.borrow().is_end_stream() {
                return;
            }
            let until = end.min(Instant::now() + READ_ON_IDLE);
            let next = timer.run(until, std::future::poll_fn(|cx| inlet.borrow_mut().poll_data(cx)));
            let data = tokio::select! {
                next = next => next,
                () = self.streams.closing.notified() => return,
            };
            let Ok(Some(Ok(data))) = data else { return };
            if inlet.borrow_mut().flow_control().release_capacity(data.len()).is_err() {
                return;
            }
        }
    }
}

impl Drop for StreamGuard {
    fn drop(&mut self) {
        let streams = &self.streams;
        streams.has_ended(self.opened, self.was_reset.get());
        streams.monitor.forget(self.number);
        streams.open.set(streams.open.get().saturating_sub(1));
        streams.last_end.set(Instant::now());
        streams.ended.notify_one();
    }
}

/// What the monitor knows of the data of a stream.
#[derive(Debug)]
pub(super) struct Incoming {
    monitor: WireMonitor,
    number: u32,
}

impl Incoming {
    /// Returns what is wrong with the trailers that arrived.
    pub(super) fn trailers(&self) -> Option<Trailers> {
        self.monitor.trailers(self.number)
    }
}
