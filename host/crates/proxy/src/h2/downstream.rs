//! The client's side of an exchange on a stream of HTTP/2.

use std::cell::Cell;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use portcullis_http::{Fields, ResponseHead};

use super::outbox::Piece;
use super::streams::StreamGuard;
use super::tunnel_end::H2TunnelEnd;
use super::{convert, describe};
use crate::body::Body;
use crate::downstream::{Content, Downstream, ResponseSink};
use crate::error::StreamError;
use crate::h1::COPY_BYTES_MAX;
use crate::tunnel_end::TunnelEnd;

/// One stream that a client has opened.
pub(super) struct H2Downstream<'a> {
    respond: SendResponse<Piece>,
    guard: &'a StreamGuard,
    /// The method is HEAD.
    wants_head: bool,
    /// The client waits for 100 (Continue), which is sent when this turns true.
    expects: Option<Rc<Cell<bool>>>,
    /// Set once the head was sent, if a body follows it.
    send: Option<SendStream<Piece>>,
    /// The rest of the piece that is being sent, if one is, and whether the body ends behind it.
    piece: Option<(Bytes, bool)>,
}

impl<'a> H2Downstream<'a> {
    pub(super) const fn new(respond: SendResponse<Piece>, guard: &'a StreamGuard) -> Self {
        Self { respond, guard, wants_head: false, expects: None, send: None, piece: None }
    }

    /// Records what the client waits for, before the policies run, because they may change the method that is
    /// forwarded: the head alone, and 100 (Continue) once `expects` turns true.
    pub(super) fn waits_for(&mut self, head_alone: bool, expects: Option<Rc<Cell<bool>>>) {
        (self.wants_head, self.expects) = (head_alone, expects);
    }

    /// Returns whether the client was never asked for the body that it announced, so that it does not send one.
    pub(super) const fn has_not_asked(&self) -> bool {
        self.expects.is_some()
    }

    /// Refuses a malformed request with a head alone.
    pub(super) fn refuse_malformed(&mut self, status: http::StatusCode) {
        let mut response = http::Response::new(());
        *response.status_mut() = status;
        if self.respond.send_response(response, true).is_err() {
            self.respond.send_reset(Reason::PROTOCOL_ERROR);
        }
    }

    /// Accepts an extended CONNECT, whose stream becomes the client's end of a tunnel.
    pub(super) fn accept_tunnel(
        mut self,
        head: &ResponseHead,
        receive: RecvStream,
    ) -> Result<Box<dyn TunnelEnd>, StreamError> {
        let mut head = head.clone();
        // RFC 8441, 5: HTTP/2 has 200 for the 101 of HTTP/1, and the handshake's own fields have no meaning.
        head.status = 200;
        head.fields.remove(b"sec-websocket-accept");
        let response =
            convert::write_response(&head, None).map_err(|error| StreamError::Head(error.to_string()))?;
        let send = self.respond.send_response(response, false);
        let send = send.map_err(|error| StreamError::StreamLost(describe(&error)))?;
        let outbox = self.guard.outbox().clone();
        Ok(Box::new(H2TunnelEnd::new(receive, send, outbox, None)))
    }

    /// Sends 100 (Continue) only when the body is read (RFC 9110, 10.1.1), so that a policy can refuse the request
    /// before the client sends the body.
    fn ask_for_body(&mut self) {
        if self.expects.take_if(|wanted| wanted.get()).is_some() {
            self.send_informational(&ResponseHead { status: 100, ..ResponseHead::default() });
        }
    }

    fn send_data(&mut self, bytes: Bytes, cut: bool, ends: bool) -> Result<(), StreamError> {
        let Some(send) = &mut self.send else { return Ok(()) };
        let piece = self.guard.piece(bytes, cut);
        send.send_data(piece, ends).map_err(|error| StreamError::StreamLost(describe(&error)))?;
        if ends {
            self.send = None;
        }
        Ok(())
    }
}

impl Downstream for H2Downstream<'_> {
    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(send) = &mut self.send {
            return send.poll_reset(cx).map(|_| ());
        }
        self.ask_for_body();
        self.respond.poll_reset(cx).map(|_| self.guard.reset())
    }

    fn send_informational(&mut self, head: &ResponseHead) {
        // The client does not need informational responses, so a failure is only logged.
        let sent =
            convert::write_response(head, None).map(|response| self.respond.send_informational(response));
        if !matches!(sent, Ok(Ok(()))) {
            tracing::debug!(status = head.status, "an informational response could not be passed on");
        }
    }
}

impl ResponseSink for H2Downstream<'_> {
    fn wants_head(&self) -> bool {
        self.wants_head
    }

    fn send_head(
        &mut self,
        _: &mut Context<'_>,
        head: &ResponseHead,
        content: Content,
    ) -> Result<(), StreamError> {
        let written = convert::write_response(head, content.length).map_err(|error| error.to_string());
        let sent = written.and_then(|response| {
            self.respond.send_response(response, content.ends).map_err(|error| describe(&error))
        });
        match sent {
            Ok(send) => {
                self.send = (!content.ends).then_some(send);
                Ok(())
            }
            Err(error) => {
                self.guard.reset();
                Err(StreamError::Head(error))
            }
        }
    }

    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.guard.outbox().poll_room(cx)
    }

    fn start_buffered(&mut self, body: &mut Body) -> bool {
        let mut bytes = Vec::new();
        let taken = body.take_buffered(&mut bytes, COPY_BYTES_MAX);
        if taken {
            self.piece = Some((Bytes::from(bytes), true));
        }
        taken
    }

    fn start_piece(&mut self, piece: Bytes, last: bool) {
        self.piece = Some((piece, last));
    }

    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamError>> {
        while let (Some((piece, last)), Some(send)) = (&mut self.piece, &mut self.send) {
            // Checks the outbox first: window that a stream has reserved is not available to others.
            let capacity = match self.guard.outbox().poll_room(cx) {
                Poll::Ready(()) => {
                    send.reserve_capacity(piece.len());
                    send.poll_capacity(cx)
                }
                Poll::Pending => send.poll_reset(cx).map(|_| None),
            };
            let capacity = match ready!(capacity) {
                None => return Poll::Ready(Err(StreamError::StreamClosed("closed"))),
                Some(Err(error)) => return Poll::Ready(Err(StreamError::StreamLost(describe(&error)))),
                Some(Ok(0)) => {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Some(Ok(capacity)) => capacity,
            };
            let part = piece.split_to(capacity.min(piece.len()));
            let (more, last) = (!piece.is_empty(), *last);
            self.send_data(part, more, last && !more)?;
            if !more {
                self.piece = None;
            }
        }
        Poll::Ready(Ok(()))
    }

    fn piece_left(&self) -> usize {
        self.piece.as_ref().map_or(0, |(piece, _)| piece.len())
    }

    /// Data that fits the client's window counts as taken.
    fn buffered(&self) -> usize {
        0
    }

    fn end(&mut self, trailers: Option<&Fields>) -> Result<(), StreamError> {
        let (Some(trailers), Some(send)) = (trailers, &mut self.send) else {
            return self.send_data(Bytes::new(), false, true);
        };
        let map = convert::write_fields(trailers, None)
            .map_err(|error| StreamError::Trailers(error.to_string()))?;
        send.send_trailers(map).map_err(|error| StreamError::StreamLost(describe(&error)))?;
        self.send = None;
        Ok(())
    }

    fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<Result<(), StreamError>> {
        Poll::Ready(Ok(()))
    }

    fn complete(&mut self) {}

    fn cut(&mut self, cx: &mut Context<'_>) {
        match &mut self.send {
            Some(send) => {
                if send.poll_reset(cx).is_ready() {
                    self.guard.reset();
                }
                send.send_reset(Reason::INTERNAL_ERROR);
            }
            None => self.respond.send_reset(Reason::INTERNAL_ERROR),
        }
    }

    fn skip(&mut self) {
        self.respond.send_reset(Reason::CANCEL);
    }

    /// A body of tiny pieces would become as many DATA frames, which receivers treat as an attack.
    fn coalesces(&self) -> bool {
        true
    }

    fn gone(&self) -> StreamError {
        StreamError::StreamClosed("reset")
    }
}
