//! What an exchange asks of an HTTP/1 client beside its body.

use std::rc::Rc;
use std::task::{Context, Poll};

use portcullis_http::h1::{BodyFraming, ResponseOptions, write_response_head};
use portcullis_http::{ResponseHead, Version};
use portcullis_model::HalfClosed;
use portcullis_policy::Exchange;

use super::body::Downlink;
use super::io::READ_BYTES;
use crate::downstream::Downstream;
use crate::worker::Worker;

/// What of a request decides how its response is written. Kept from before the policies, which may change the method
/// that is forwarded but not what the client waits for.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Client {
    pub(super) version: Version,
    /// The method is HEAD.
    pub(super) wants_head: bool,
    /// The method is CONNECT: what follows it is meant for a tunnel, whoever answers.
    pub(super) wants_tunnel: bool,
    /// It has offered another protocol, and may speak that before it knows whether it was accepted.
    pub(super) offers_upgrade: bool,
    /// It gets its answer although it has closed its sending half behind the request.
    pub(super) half_close: bool,
}

impl Client {
    pub(super) fn of(exchange: &Exchange, half_closed: HalfClosed, keep_alive: bool) -> Self {
        let request = &exchange.request;
        let half_close = match half_closed {
            HalfClosed::Answer => true,
            HalfClosed::Cancel => false,
            // It has said before that it would send nothing more.
            HalfClosed::AnswerLast => !keep_alive,
        };
        Self {
            version: request.version,
            wants_head: request.method == "HEAD",
            wants_tunnel: request.method == "CONNECT",
            offers_upgrade: request.upgrade.is_some(),
            half_close,
        }
    }
}

/// The client's side of an exchange.
pub(super) struct H1Downstream<'a> {
    worker: &'a Worker,
    link: &'a Rc<Downlink>,
    version: Version,
    /// Whether a client that closes its sending half behind its request waits for the answer, instead of having gone.
    half_close: bool,
}

impl<'a> H1Downstream<'a> {
    pub(super) const fn of(worker: &'a Worker, link: &'a Rc<Downlink>, client: Client) -> Self {
        Self { worker, link, version: client.version, half_close: client.half_close }
    }
}

impl Downstream for H1Downstream<'_> {
    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let io = &mut *self.link.io.borrow_mut();
        if self.worker.is_cutting_off() {
            return Poll::Ready(());
        }
        if let Poll::Ready(Err(_)) = io.poll_write(cx) {
            return Poll::Ready(());
        }
        // Whoever waits for more of the body sees the end. Behind the end of what the client sends only an answer that it
        // does not take shows that it has gone.
        if self.link.reading.get() || self.link.half_closed.get() {
            return Poll::Pending;
        }
        // Else the end is behind what has come and nobody has taken. Of a body so much is read ahead; a request that came
        // ahead of its turn hides the end.
        let decoder = self.link.decoder.borrow();
        let ahead = if decoder.is_done() { 1 } else { READ_BYTES };
        while io.unread.len() < ahead {
            match io.poll_fill(cx) {
                Poll::Ready(Ok(0)) if self.half_close && decoder.may_be_whole(&io.unread) => {
                    self.link.half_closed.set(true);
                    return Poll::Pending;
                }
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(()),
                Poll::Ready(Ok(_)) => {}
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Pending
    }

    fn send_informational(&mut self, head: &ResponseHead) {
        // HTTP/1.0 has none (RFC 9110, 15.2), and 100 is said when the body is read.
        if self.version == Version::Http11 && head.status != 100 {
            let out = &mut self.link.io.borrow_mut().out.bytes;
            let options = ResponseOptions {
                version: self.version,
                framing: BodyFraming::None,
                keep_alive: true,
                upgrade: None,
            };
            write_response_head(out, head, options);
        }
    }
}
