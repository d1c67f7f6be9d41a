//! Waits for what a client says next.

use std::task::Poll;
use std::time::Duration;

use bytes::Buf;
use portcullis_http::Scheme;
use portcullis_http::h1::{HeadLimits, ParsedRequest, RequestError, parse_request};
use portcullis_policy::Exchange;
use tokio::time::Instant;

use super::body::SharedConnection;
use super::io::Io;
use crate::connection::Connection;
use crate::timer::Timer;
use crate::worker::Worker;

/// What an HTTP/2 client says first (RFC 9113, 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// How long the rest of a head may take once a drain has begun.
const DRAIN_GRACE: Duration = Duration::from_secs(2);

/// For how long after it was accepted a client that has sent nothing is waited for at a drain.
const FRESH: Duration = Duration::from_millis(500);

/// What came first.
pub(super) enum ReadOutcome {
    Request(ParsedRequest, Box<Exchange>),
    Invalid(RequestError, Box<Exchange>),
    /// The client speaks HTTP/2.
    Preface,
    /// The head did not come in time.
    TimedOut,
    /// The client has closed its sending half, and so has nothing to be answered.
    Closed,
    /// The client stayed silent.
    Idle,
    /// It is time to end.
    Draining,
}

/// The empty line that may stand before a request (RFC 9112, 2.2). It is not the start of a head: old clients send it behind
/// a body, and then stay idle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum EmptyLine {
    Nothing,
    Cr,
    Whole,
}

impl EmptyLine {
    /// Takes off `io` what belongs to the line; false if it is none or a second one.
    fn take(&mut self, io: &mut Io) -> bool {
        while let (Some(byte), true) = (io.unread.first(), *self != Self::Whole) {
            match (&self, byte) {
                (Self::Nothing, b'\r') => *self = Self::Cr,
                (Self::Cr, b'\n') => *self = Self::Whole,
                (Self::Cr, _) => return false,
                _ => break,
            }
            io.unread.advance(1);
        }
        *self != Self::Whole || io.unread.first() != Some(&b'\r')
    }
}

/// Waits for the next request's head. While there is nothing of it, the connection holds no buffer.
/// With `sniff` the client may turn out to speak HTTP/2.
pub(super) async fn read_head(
    worker: &Worker,
    connection: &Connection,
    shared: &SharedConnection,
    timer: &mut Timer,
    limits: &HeadLimits,
    sniff: bool,
    timeout: Duration,
) -> ReadOutcome {
    let scheme = if connection.tls.is_some() { Scheme::Https } else { Scheme::Http };
    let since = Instant::now();
    let mut deadline = since + timeout;
    let mut empty_line = EmptyLine::Nothing;
    let (mut looked_at, mut drained) = (0, None);
    std::future::poll_fn(move |cx| {
        let io = &mut *shared.io.borrow_mut();
        loop {
            if looked_at == 0 && !empty_line.take(io) {
                return Poll::Ready(ReadOutcome::Invalid(RequestError::Malformed, worker.take_exchange()));
            }
            if io.unread.len() > looked_at {
                if looked_at == 0 {
                    deadline = deadline.min(Instant::now() + connection.timeouts().request_head);
                }
                looked_at = io.unread.len();
                if sniff && io.unread.starts_with(PREFACE) {
                    return Poll::Ready(ReadOutcome::Preface);
                }
                if !(sniff && PREFACE.starts_with(&io.unread)) {
                    let mut exchange = worker.take_exchange();
                    match parse_request(&io.unread, limits, scheme, &mut exchange.request) {
                        Ok(Some(parsed)) => {
                            io.unread.advance(parsed.head_len);
                            io.out.prepare();
                            return Poll::Ready(ReadOutcome::Request(parsed, exchange));
                        }
                        Ok(None) => worker.release_exchange(Some(exchange)),
                        Err(error) => return Poll::Ready(ReadOutcome::Invalid(error, exchange)),
                    }
                }
            }
            match io.poll_fill(cx) {
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(ReadOutcome::Closed),
                Poll::Ready(Ok(_)) => {}
                Poll::Pending => break,
            }
        }
        let idle = io.unread.is_empty();
        if idle {
            io.release_buffers();
        }
        if connection.poll_draining(cx, since).is_ready() {
            // The first request of a client that was accepted a moment ago may be on its way, such as one that connected to
            // a listener whose place another one takes.
            let soon = connection.accepted + FRESH;
            if idle && connection.is_draining() && Instant::now() < soon {
                deadline = deadline.min(soon);
            } else if idle {
                // What was answered long ago has arrived, or never will: a client that sleeps holds nothing up.
                let long_ago = since.elapsed() >= connection.timeouts().linger;
                return Poll::Ready(if long_ago { ReadOutcome::Idle } else { ReadOutcome::Draining });
            } else {
                // A head that has begun may be on its way, or be all that a client will ever send.
                let end = *drained.get_or_insert_with(|| Instant::now() + DRAIN_GRACE);
                deadline = deadline.min(end);
            }
        }
        match timer.poll(cx, deadline) {
            Poll::Ready(()) if idle => Poll::Ready(ReadOutcome::Idle),
            Poll::Ready(()) => Poll::Ready(ReadOutcome::TimedOut),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}
