//! Limits what waits to be written on an HTTP/2 connection, over all its streams.
//!
//! The `h2` crate has a limit for each stream only. So data counts here for as long as the crate has it, and a stream
//! waits before it hands over more than the connection may have.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::{Buf, Bytes};

use super::wire::WireMonitor;

/// The count of one connection.
#[derive(Debug, Clone)]
pub(crate) struct Outbox(Rc<Account>);

#[derive(Debug)]
struct Account {
    bytes: Cell<usize>,
    /// The limit of bytes that were handed over and not written. The kernel's socket buffer comes on top, so a fast
    /// reader is not slowed down.
    bytes_max: usize,
    waiting: RefCell<Vec<Waker>>,
    monitor: WireMonitor,
}

impl Outbox {
    pub(crate) fn new(monitor: WireMonitor, bytes_max: usize) -> Self {
        Self(Rc::new(Account { bytes: Cell::new(0), bytes_max, waiting: RefCell::default(), monitor }))
    }

    /// Ready when a stream may hand over a piece; otherwise wakes `cx` when there is room again.
    pub(crate) fn poll_room(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.0.bytes.get() < self.0.bytes_max {
            return Poll::Ready(());
        }
        let mut waiting = self.0.waiting.borrow_mut();
        if !waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
            waiting.push(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Returns a piece to hand over. `cut` says that the peer's window had no room for the rest. Data that is sent
    /// earns the peer frames with which to acknowledge it.
    pub(crate) fn piece(&self, bytes: Bytes, cut: bool) -> Piece {
        if !bytes.is_empty() {
            self.0.monitor.earn(bytes.len(), cut);
            self.0.bytes.set(self.0.bytes.get() + bytes.len());
        }
        Piece { bytes, account: self.0.clone() }
    }
}

impl Account {
    /// Subtracts what was written or dropped.
    fn release(&self, bytes: usize) {
        let before = self.bytes.get();
        let after = before.saturating_sub(bytes);
        self.bytes.set(after);
        // All that wait are woken at once, so this happens at half the limit and not for each byte.
        let half = self.bytes_max / 2;
        if before > half && after <= half {
            for waker in self.waiting.take() {
                waker.wake();
            }
        }
    }
}

/// Bytes that count until they are written or dropped.
#[derive(Debug)]
pub(crate) struct Piece {
    bytes: Bytes,
    account: Rc<Account>,
}

impl Buf for Piece {
    fn remaining(&self) -> usize {
        self.bytes.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.bytes.chunk()
    }

    fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
        self.account.release(count);
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        self.account.release(self.bytes.len());
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Poll, Waker};

    use bytes::{Buf, Bytes};
    use portcullis_http::h2::Peer;

    use super::Outbox;
    use crate::h2::wire::Wire;

    #[test]
    fn pieces_count_until_they_are_written_or_dropped() {
        let (_wire, monitor) = Wire::new(tokio::io::empty(), Peer::Client, 1000, 1000);
        let outbox = Outbox::new(monitor, 1000);
        let mut cx = Context::from_waker(Waker::noop());
        let half = Bytes::from(vec![0; 500]);
        let mut first = outbox.piece(half.clone(), false);
        assert_eq!(outbox.poll_room(&mut cx), Poll::Ready(()), "half full");
        let second = outbox.piece(half, false);
        assert_eq!(outbox.poll_room(&mut cx), Poll::Pending, "full");
        first.advance(1);
        assert_eq!(outbox.0.bytes.get(), 999);
        assert_eq!(outbox.0.waiting.borrow().len(), 1, "still waits");
        drop(second);
        assert_eq!(outbox.0.waiting.borrow().len(), 0, "was woken");
        drop(first);
        assert_eq!(outbox.0.bytes.get(), 0);
    }
}
