//! Passes a body through the body hooks of a chain.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use portcullis_http::Fields;
use portcullis_policy::{BodyOutcome, BodySide, ClientGone, Exchange, HeldBody, PolicyChain};

use tokio::time::{Instant, Sleep};

use crate::body::{Body, BodyError, BodySource, Frame};
use crate::coalesce::Coalesced;
use crate::slot::{PolicyStop, Slot};

/// Hooks that run in a row before other tasks get a turn. A peer that sends fast could otherwise occupy the worker,
/// because its socket always has more data.
const TURN_HOOKS: u32 = 8;

/// A policy that holds data back is called again once the data has doubled, and at the latest this long after new data
/// arrived: a stream of messages may pause after one, or in the middle of one.
const RECHECK_AFTER: Duration = Duration::from_millis(250);

/// A body whose pieces pass through policies. Data that has arrived is joined, so that many small pieces cost about as
/// much as their bytes.
pub(crate) struct FilteredBody {
    inner: Coalesced,
    chain: Rc<PolicyChain>,
    slot: Rc<Slot>,
    side: BodySide,
    until: usize,
    /// Moved into the hook while it runs.
    held: HeldBody,
    /// Fires when a policy that holds data back has to be called again, however little arrived. Made when first needed.
    recheck: Option<Pin<Box<Sleep>>>,
    /// Whether `recheck` is set.
    recheck_armed: bool,
    /// Hooks since other tasks had their turn.
    in_turn: u32,
    running: Option<Running>,
    /// A piece whose hooks wait for the exchange, and whether it is the last.
    waiting: Option<(Bytes, bool)>,
    /// The first piece, between its release and the first read.
    peeked: Option<Result<Frame, BodyError>>,
    trailers: Option<Box<Fields>>,
    state: State,
    /// Notified if this is dropped while a hook is running.
    gone: Option<ClientGone>,
}

type Running = Pin<Box<dyn Future<Output = Filtered>>>;

/// What policies have made of a piece.
struct Filtered {
    held: HeldBody,
    outcome: BodyOutcome,
    trailers: Option<Box<Fields>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Streaming,
    /// The policies have seen the last piece. Trailers may still follow.
    Seen,
    Done,
}

impl FilteredBody {
    /// Passes `inner` through the policies of `chain` before position `until`.
    pub(crate) fn new(
        inner: Body,
        chain: Rc<PolicyChain>,
        slot: Rc<Slot>,
        side: BodySide,
        until: usize,
    ) -> Self {
        Self {
            inner: Coalesced::new(inner),
            chain,
            slot,
            side,
            until,
            held: HeldBody::default(),
            recheck: None,
            recheck_armed: false,
            in_turn: 0,
            running: None,
            waiting: None,
            peeked: None,
            trailers: None,
            state: State::Streaming,
            gone: None,
        }
    }

    /// Notifies a hook that waits, if the body is dropped before its end, that the client has gone. This holds for
    /// responses only: a request's body is also dropped if the upstream does not want it.
    pub(crate) fn notifying(mut self, gone: ClientGone) -> Self {
        self.gone = Some(gone);
        self
    }

    /// Waits until the first piece is released, or the end. After that its length may be known.
    pub(crate) fn poll_first(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BodyError>> {
        if self.peeked.is_none() {
            self.peeked = ready!(self.poll_frame(cx));
        }
        Poll::Ready(match &self.peeked {
            Some(Err(error)) => Err(error.clone()),
            _ => Ok(()),
        })
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame, BodyError>>> {
        loop {
            if let Some(running) = &mut self.running {
                let filtered = ready!(running.as_mut().poll(cx));
                self.running = None;
                self.held = filtered.held;
                self.trailers = filtered.trailers.filter(|trailers| !trailers.is_empty());
                match self.settle(filtered.outcome) {
                    Ok(piece) if piece.is_empty() => {}
                    Ok(piece) => return Poll::Ready(Some(Ok(Frame::Data(piece)))),
                    Err(error) => return Poll::Ready(Some(Err(error))),
                }
            }
            if self.waiting.is_some() && self.in_turn >= TURN_HOOKS {
                self.in_turn = 0;
                // Yields to the runtime, which looks at its sockets only if no task wakes itself again and again.
                if std::pin::pin!(tokio::task::yield_now()).poll(cx).is_pending() {
                    return Poll::Pending;
                }
            }
            if let Some((piece, last)) = self.waiting.take() {
                match self.poll_exchange(cx) {
                    Poll::Ready(Ok(exchange)) => self.start(exchange, piece, last),
                    Poll::Ready(Err(error)) => {
                        self.state = State::Done;
                        return Poll::Ready(Some(Err(error)));
                    }
                    Poll::Pending => {
                        self.waiting = Some((piece, last));
                        return Poll::Pending;
                    }
                }
                continue;
            }
            match self.state {
                State::Done => return Poll::Ready(None),
                State::Seen => {
                    self.state = State::Done;
                    return Poll::Ready(self.trailers.take().map(|trailers| Ok(Frame::Trailers(trailers))));
                }
                State::Streaming => match self.inner.poll_next(cx) {
                    Poll::Ready(Some(Ok(Frame::Data(piece)))) => {
                        let last = self.inner.ends_with_last();
                        self.filter(piece, last);
                    }
                    Poll::Ready(Some(Ok(Frame::Trailers(trailers)))) => {
                        self.trailers = Some(trailers);
                        self.filter(Bytes::new(), true);
                    }
                    Poll::Ready(Some(Err(error))) => {
                        self.state = State::Done;
                        return Poll::Ready(Some(Err(error)));
                    }
                    Poll::Ready(None) => self.filter(Bytes::new(), true),
                    Poll::Pending => {
                        ready!(self.poll_recheck(cx));
                        self.held.hurry();
                        self.filter(Bytes::new(), false);
                    }
                },
            }
        }
    }

    /// Ready when a policy that holds data back has to be called again, although little has arrived.
    fn poll_recheck(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.held.has_fresh() {
            self.recheck_armed = false;
            return Poll::Pending;
        }
        let recheck = self.recheck.get_or_insert_with(|| Box::pin(tokio::time::sleep(RECHECK_AFTER)));
        if !std::mem::replace(&mut self.recheck_armed, true) {
            recheck.as_mut().reset(Instant::now() + RECHECK_AFTER);
        }
        ready!(recheck.as_mut().poll(cx));
        self.recheck_armed = false;
        Poll::Ready(())
    }

    fn filter(&mut self, piece: Bytes, last: bool) {
        if last {
            self.state = State::Seen;
        }
        self.waiting = Some((piece, last));
    }

    /// Takes the exchange. If this is a response, a hook of the request's body may have it, which only this task polls.
    fn poll_exchange(&mut self, cx: &mut Context<'_>) -> Poll<Result<Box<Exchange>, BodyError>> {
        if self.side == BodySide::Request {
            return self.slot.poll_take(cx).map(Ok);
        }
        self.slot.poll_take_driving(cx, |cx| self.inner.poll_drive(cx))
    }

    fn start(&mut self, mut exchange: Box<Exchange>, piece: Bytes, last: bool) {
        let (chain, slot) = (self.chain.clone(), self.slot.clone());
        let (side, until, mut held) = (self.side, self.until, std::mem::take(&mut self.held));
        self.in_turn += 1;
        // Policies may edit them, and add some to a body that has none.
        exchange.trailers = self.trailers.take();
        self.running = Some(Box::pin(async move {
            let (mut exchange, outcome) = chain.body(side, &mut held, exchange, piece, last, until).await;
            let trailers = exchange.trailers.take();
            slot.put(exchange);
            Filtered { held, outcome, trailers }
        }));
    }

    fn settle(&mut self, outcome: BodyOutcome) -> Result<Bytes, BodyError> {
        let (reply, at, fault) = match outcome {
            BodyOutcome::Pass(piece) => return Ok(piece),
            BodyOutcome::TooLarge { reason } => {
                self.state = State::Done;
                return Err(BodyError::Unheld { side: self.side, reason });
            }
            BodyOutcome::Reply { reply, at } => (reply, at, None),
            BodyOutcome::Fault { fault, at } => (fault.reply(), at, Some(fault)),
        };
        self.state = State::Done;
        let error = BodyError::Policy {
            reason: fault
                .as_ref()
                .map_or_else(|| format!("it replied {}", reply.status), ToString::to_string),
        };
        self.slot.stop(PolicyStop { reply, at, fault });
        Err(error)
    }
}

impl BodySource for FilteredBody {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame, BodyError>>> {
        match self.peeked.take() {
            Some(frame) => Poll::Ready(Some(frame)),
            None => self.poll_frame(cx),
        }
    }

    fn drive_hook(&mut self, cx: &mut Context<'_>) {
        if self.running.is_some()
            && self.peeked.is_none()
            && let Poll::Ready(let_go) = self.poll_frame(cx)
        {
            self.peeked = let_go;
        }
    }

    fn poll_drive(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BodyError>> {
        let driven = ready!(self.inner.poll_drive(cx));
        if driven.is_err() {
            self.state = State::Done;
        }
        Poll::Ready(driven)
    }

    fn moved(&self) -> u64 {
        self.inner.moved()
    }

    /// Returns how many bytes follow. Known once all of the body has passed.
    fn length(&self) -> Option<u64> {
        let at_work = self.running.is_some() || self.waiting.is_some();
        let over = !at_work && self.trailers.is_none() && self.state != State::Streaming;
        let left = match &self.peeked {
            None => 0,
            Some(Ok(Frame::Data(piece))) => piece.len() as u64,
            // It is not over before these were taken, and an error is no end.
            Some(Ok(Frame::Trailers(_)) | Err(_)) => return None,
        };
        over.then_some(left)
    }
}

impl Drop for FilteredBody {
    /// A hook that is running has the exchange. It is finished in a task of its own, which its deadline bounds, so that
    /// the exchange comes back for the completed hooks and the record.
    fn drop(&mut self) {
        // If a piece waits for the exchange, another hook is running.
        if let Some(gone) = self.gone.as_ref().filter(|_| self.running.is_some() || self.waiting.is_some()) {
            gone.notify();
        }
        if let Some(running) = self.running.take() {
            tokio::task::spawn_local(running);
        }
    }
}
