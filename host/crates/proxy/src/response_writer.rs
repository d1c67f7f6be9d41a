//! Writes responses, whatever protocol the client speaks: the order of steps, how long each side may take, and what a
//! failure leads to. The protocol itself is behind [`ResponseSink`].

use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use portcullis_policy::Exchange;

use crate::body::{Body, Frame};
use crate::coalesce::Coalesced;
use crate::compress::Encoding;
use crate::downstream::{Content, ResponseSink};
use crate::error::StreamError;
use crate::respond;
use crate::slot::Slot;
use crate::timeouts::{IdleTimer, Timeouts};
use crate::timer::Timer;
use crate::worker::Worker;

/// What was sent of a response.
#[derive(Debug, Default)]
pub(crate) struct Sent {
    /// The status that was written; 0 if none was.
    pub(crate) status: u16,
    /// Bytes of the body that were written.
    pub(crate) bytes: u64,
}

/// Writes one response to `sink`. Its head is in the exchange, which is in the slot.
pub(crate) struct ResponseWriter<'a> {
    pub(crate) worker: &'a Worker,
    pub(crate) slot: &'a Rc<Slot>,
    pub(crate) timer: &'a mut Timer,
    pub(crate) sink: &'a mut dyn ResponseSink,
    /// How long the client may take nothing of the data that is ready for it.
    pub(crate) client_idle: Duration,
    pub(crate) timeouts: Timeouts,
    /// How it is encoded, if it may be.
    pub(crate) encoding: Option<&'a Encoding<'a>>,
}

/// The sink's function that is polled while a piece or the rest of a response is written.
type PollSink = fn(&mut dyn ResponseSink, &mut Context<'_>) -> Poll<Result<(), StreamError>>;

impl ResponseWriter<'_> {
    /// Writes the response with `body`. `declared` is the length that an upstream declared for a body that it did not
    /// send. If the future is dropped, the client can tell that the response is incomplete.
    pub(crate) async fn write(
        mut self,
        body: Body,
        declared: Option<u64>,
    ) -> (Sent, Result<(), StreamError>) {
        let mut sent = Sent::default();
        let result = self.response(body, declared, &mut sent).await;
        match &result {
            Ok(()) => self.sink.complete(),
            Err(error) => {
                sent.bytes = sent.bytes.saturating_sub(self.sink.piece_left() as u64);
                // Data that arrived before the failure is sent, as far as the client takes it.
                if matches!(error, StreamError::Body(_)) && self.sink.piece_left() == 0 {
                    drop(self.flush().await);
                }
                // Lets an HTTP/2 connection write what it can first: a reset discards what is not written.
                tokio::task::yield_now().await;
                poll_fn(|cx| {
                    self.sink.cut(cx);
                    Poll::Ready(())
                })
                .await;
            }
        }
        (sent, result)
    }

    async fn response(
        &mut self,
        mut body: Body,
        declared: Option<u64>,
        sent: &mut Sent,
    ) -> Result<(), StreamError> {
        let mut exchange = self.exchange(&mut body).await?;
        let (mut body, mut declared) = respond::content(&exchange.response, body, declared);
        if let Some(encoding) = self.encoding {
            (body, declared) = encoding.encode(&mut exchange, body, declared, self.sink.wants_head());
        }
        let head = &exchange.response;
        let bodyless = head.is_bodyless(self.sink.wants_head());
        let length = if bodyless { declared } else { body.length() };
        let content = Content { length, bodyless, ends: bodyless || length == Some(0) };
        let status = head.status;
        let written = poll_fn(|cx| Poll::Ready(self.sink.send_head(cx, head, content))).await;
        self.slot.put(exchange);
        written?;
        sent.status = status;
        if bodyless {
            return self.flush().await;
        }
        if content.ends {
            // The response is complete. The source is polled for the end so that it releases its connection.
            poll_fn(|cx| {
                drop(body.poll_next(cx));
                Poll::Ready(())
            })
            .await;
            return self.flush().await;
        }
        if let Some(length) = length
            && self.sink.start_buffered(&mut body)
        {
            sent.bytes = length;
            let mut rest = Coalesced::new(body);
            self.written(&mut rest, |sink, cx| sink.poll_piece(cx)).await?;
            self.sink.end(None)?;
            return self.flush().await;
        }
        self.stream(body, &mut sent.bytes).await
    }

    /// Takes the exchange, which a hook of the request's body may have: the rest of the request is sent beneath `body`.
    async fn exchange(&self, body: &mut Body) -> Result<Box<Exchange>, StreamError> {
        let taken = poll_fn(|cx| self.slot.poll_take_driving(cx, |cx| body.poll_drive(cx)));
        taken.await.map_err(StreamError::Body)
    }

    /// Writes a body that has not arrived yet.
    async fn stream(&mut self, body: Body, bytes: &mut u64) -> Result<(), StreamError> {
        let mut body =
            if self.sink.coalesces() { Coalesced::new(body) } else { Coalesced::passthrough(body) };
        loop {
            if let Some(place) = self.sink.file_piece()
                && let Some(part) = body.take_file_part()
            {
                *bytes += part.len();
                *place = Some(part);
                self.written(&mut body, |sink, cx| sink.poll_piece(cx)).await?;
                if body.is_empty() {
                    self.sink.end(None)?;
                    return self.flush().await;
                }
                continue;
            }
            match self.next(&mut body).await? {
                Some(Frame::Data(piece)) => {
                    let last = body.is_empty();
                    *bytes += piece.len() as u64;
                    self.sink.start_piece(piece, last);
                    self.written(&mut body, |sink, cx| sink.poll_piece(cx)).await?;
                    if last {
                        self.sink.end(None)?;
                        return self.flush().await;
                    }
                }
                Some(Frame::Trailers(trailers)) => {
                    self.sink.end(Some(&trailers))?;
                    self.slot.keep_trailers(trailers);
                    return self.flush().await;
                }
                None => {
                    self.sink.end(None)?;
                    return self.flush().await;
                }
            }
        }
    }

    /// Waits for the next piece of `body`, and sends what is buffered meanwhile.
    async fn next(&mut self, body: &mut Coalesced) -> Result<Option<Frame>, StreamError> {
        let (sink, slot, timer, timeouts) = (&mut *self.sink, self.slot, &mut *self.timer, self.timeouts);
        let client_idle = self.client_idle;
        let upstream_idle = timeouts.upstream_idle.unwrap_or(client_idle);
        let (mut idle_timer, mut write_timer) = (IdleTimer::default(), IdleTimer::default());
        poll_fn(|cx| {
            // Reads no piece without room for it: otherwise a client that stalls would hold one for each of its
            // streams.
            let room = sink.poll_room(cx).is_ready();
            if !room {
                if let Poll::Ready(Err(error)) = body.poll_drive(cx) {
                    return Poll::Ready(Err(StreamError::Body(error)));
                }
            } else if let Poll::Ready(frame) = body.poll_next(cx) {
                return Poll::Ready(frame.transpose().map_err(StreamError::Body));
            }
            if sink.poll_gone(cx).is_ready() {
                return Poll::Ready(Err(sink.gone()));
            }
            if !room {
                idle_timer = IdleTimer::default();
                let until = timeouts.bounded(write_timer.write_deadline(0, client_idle));
                return timer.poll(cx, until).map(|()| Err(timeouts.overdue(StreamError::ClientStalled)));
            }
            // The request may still be sent, and policies may hold back what arrives.
            let moved = body.moved().wrapping_add(slot.request_bytes());
            let until = timeouts.bounded(idle_timer.deadline(moved, slot.is_away(), upstream_idle));
            if timer.poll(cx, until).is_ready() {
                return Poll::Ready(Err(timeouts.overdue(StreamError::UpstreamSilent)));
            }
            // A client that sends data but takes none still times out.
            if sink.buffered() == 0 {
                write_timer = IdleTimer::default();
            } else if timer.poll(cx, write_timer.write_deadline(0, client_idle)).is_ready() {
                return Poll::Ready(Err(timeouts.overdue(StreamError::ClientStalled)));
            }
            Poll::Pending
        })
        .await
    }

    /// Writes all that is buffered.
    pub(crate) async fn flush(&mut self) -> Result<(), StreamError> {
        self.written(&mut Coalesced::default(), |sink, cx| sink.poll_flush(cx)).await
    }

    /// Waits for `poll`, and polls the other side of `body` meanwhile: the client may still be sending its request, and
    /// may not read before it has sent all of it.
    async fn written(&mut self, body: &mut Coalesced, poll: PollSink) -> Result<(), StreamError> {
        let (sink, timer, worker) = (&mut *self.sink, &mut *self.timer, self.worker);
        let (timeouts, client_idle) = (self.timeouts, self.client_idle);
        let whole = sink.buffered() + sink.piece_left();
        let mut idle_timer = IdleTimer::default();
        poll_fn(|cx| {
            // Nearly always the client's side takes it at once; the clock is then not read.
            if let Poll::Ready(written) = poll(sink, cx) {
                return Poll::Ready(written);
            }
            if worker.is_drain_over() {
                return Poll::Ready(Err(StreamError::DrainOver));
            }
            if let Poll::Ready(Err(error)) = body.poll_drive(cx) {
                return Poll::Ready(Err(StreamError::Body(error)));
            }
            let taken = whole.saturating_sub(sink.buffered() + sink.piece_left());
            let until = timeouts.bounded(idle_timer.write_deadline(taken as u64, client_idle));
            timer.poll(cx, until).map(|()| Err(timeouts.overdue(StreamError::ClientStalled)))
        })
        .await
    }
}
