//! Holds an exchange between the steps that need it.
//!
//! Request and response stream at the same time, and a policy's hook takes the exchange away for as long as it runs.
//! All of it runs on one thread, so this is not a lock but a place that may be empty for a while. A task that waits for
//! the exchange must also poll whatever holds it. The reader of the response polls the hooks of the request's body
//! ([`Body::poll_drive`](crate::body::Body::poll_drive)). If there is no such reader any more, the hook runs to its end
//! in a task of its own.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use portcullis_http::Fields;
use portcullis_policy::{Exchange, Fault, Reply};

use crate::body::{Body, BodyError};

/// The place of one exchange.
#[derive(Debug, Default)]
pub(crate) struct Slot {
    exchange: RefCell<Option<Box<Exchange>>>,
    waiter: RefCell<Option<Waker>>,
    /// Another step waits. Hooks of the request's body let it go first, because they could otherwise take the exchange
    /// again and again.
    reserved: Cell<bool>,
    /// Set by a body hook that replied or failed closed.
    stop: RefCell<Option<PolicyStop>>,
    /// Bytes of the request's body so far.
    request_bytes: Cell<u64>,
    /// The trailers that were sent behind the response.
    trailers: RefCell<Option<Box<Fields>>>,
}

/// A body hook ended the message.
#[derive(Debug)]
pub(crate) struct PolicyStop {
    /// What the client gets, if its response has not begun.
    pub(crate) reply: Reply,
    /// Position of the policy in the chain.
    pub(crate) at: usize,
    /// The fault, if it was one.
    pub(crate) fault: Option<Fault>,
}

impl Slot {
    /// Puts the exchange back and wakes the task that waits for it.
    pub(crate) fn put(&self, exchange: Box<Exchange>) {
        *self.exchange.borrow_mut() = Some(exchange);
        if let Some(waker) = self.waiter.borrow_mut().take() {
            waker.wake();
        }
    }

    /// Takes the exchange, if it is there.
    pub(crate) fn take(&self) -> Option<Box<Exchange>> {
        self.exchange.borrow_mut().take()
    }

    /// Returns whether the exchange is taken, by a hook or another step.
    pub(crate) fn is_away(&self) -> bool {
        self.exchange.borrow().is_none()
    }

    /// Takes the exchange as soon as the hook that has it returns, which its deadline bounds. Only for callers that do
    /// not have to poll that hook themselves.
    pub(crate) async fn taken(self: &Rc<Self>) -> Box<Exchange> {
        std::future::poll_fn(|cx| self.poll_take_first(cx)).await
    }

    /// As [`taken`](Self::taken), but continues the hook of `request`, the request's body, that may have the exchange:
    /// after an attempt that failed half-way nothing else does.
    pub(crate) async fn taken_beside(&self, request: &mut Body) -> Box<Exchange> {
        std::future::poll_fn(|cx| {
            if let Poll::Ready(exchange) = self.poll_take_first(cx) {
                return Poll::Ready(exchange);
            }
            request.drive_hook(cx);
            self.poll_take_first(cx)
        })
        .await
    }

    /// Takes the exchange for a hook of the request's body.
    pub(crate) fn poll_take(&self, cx: &mut Context<'_>) -> Poll<Box<Exchange>> {
        let taken = if self.reserved.get() { None } else { self.take() };
        match taken {
            Some(exchange) => Poll::Ready(exchange),
            None => self.wait(cx),
        }
    }

    /// Takes the exchange for anything else.
    pub(crate) fn poll_take_first(&self, cx: &mut Context<'_>) -> Poll<Box<Exchange>> {
        let taken = self.take();
        self.reserved.set(taken.is_none());
        match taken {
            Some(exchange) => Poll::Ready(exchange),
            None => self.wait(cx),
        }
    }

    /// As [`poll_take_first`](Self::poll_take_first), and polls `drive`, which sends the rest of the request's body
    /// while the response is written: one of its hooks may have the exchange. The error is that of the request's body.
    pub(crate) fn poll_take_driving(
        &self,
        cx: &mut Context<'_>,
        drive: impl FnOnce(&mut Context<'_>) -> Poll<Result<(), BodyError>>,
    ) -> Poll<Result<Box<Exchange>, BodyError>> {
        if let Poll::Ready(exchange) = self.poll_take_first(cx) {
            return Poll::Ready(Ok(exchange));
        }
        if let Poll::Ready(Err(error)) = drive(cx) {
            return Poll::Ready(Err(error));
        }
        self.poll_take_first(cx).map(Ok)
    }

    /// Waits. All that wait are parts of one task, so it is enough to wake the last one.
    fn wait(&self, cx: &mut Context<'_>) -> Poll<Box<Exchange>> {
        *self.waiter.borrow_mut() = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Records that a body hook ended the message.
    pub(crate) fn stop(&self, stop: PolicyStop) {
        *self.stop.borrow_mut() = Some(stop);
    }

    /// Takes what a body hook recorded.
    pub(crate) fn take_stop(&self) -> Option<PolicyStop> {
        self.stop.borrow_mut().take()
    }

    /// Counts bytes of the request's body and returns the sum.
    pub(crate) fn count_request_bytes(&self, bytes: usize) -> u64 {
        let sum = self.request_bytes.get().saturating_add(bytes as u64);
        self.request_bytes.set(sum);
        sum
    }

    /// Bytes of the request's body so far.
    pub(crate) fn request_bytes(&self) -> u64 {
        self.request_bytes.get()
    }

    /// Keeps the trailers that were sent behind the response, for the end of the exchange.
    pub(crate) fn keep_trailers(&self, trailers: Box<Fields>) {
        *self.trailers.borrow_mut() = Some(trailers);
    }

    /// Takes them.
    pub(crate) fn take_trailers(&self) -> Option<Box<Fields>> {
        self.trailers.borrow_mut().take()
    }

    /// Empties the slot for the next exchange.
    pub(crate) fn clear(&self) {
        self.trailers.borrow_mut().take();
        self.exchange.borrow_mut().take();
        self.waiter.borrow_mut().take();
        self.reserved.set(false);
        self.stop.borrow_mut().take();
        self.request_bytes.set(0);
    }
}
