//! Waits for the next request's head on a client's connection.

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

/// The first bytes of an HTTP/2 client (RFC 9113, 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// How long the rest of a head may take once a drain has begun.
const DRAIN_GRACE: Duration = Duration::from_secs(2);

/// How long after its acceptance a drain still waits for the first byte of a connection.
const FRESH: Duration = Duration::from_millis(500);

/// What happened first.
pub(super) enum ReadOutcome {
    Request(ParsedRequest, Box<Exchange>),
    Invalid(RequestError, Box<Exchange>),
    /// The client speaks HTTP/2.
    Preface,
    /// The head was not complete in time.
    TimedOut,
    /// The client has closed its sending half, so there is nothing to answer.
    Closed,
    /// The client sent nothing until the timeout.
    Idle,
    /// The gateway drains.
    Draining,
}

/// The empty line that may precede a request (RFC 9112, 2.2). It does not start a head: old clients send it after a
/// body, and then stay idle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum EmptyLine {
    Nothing,
    Cr,
    Whole,
}

impl EmptyLine {
    /// Removes the bytes of the line from `io`. Returns `false` if they are not such a line, or a second one follows.
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

/// Waits for the next request's head. The connection holds no buffer until its first byte arrives. With `sniff` the
/// client may turn out to speak HTTP/2.
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
            // The first request of a client that connected a moment ago may still arrive, for example if it connected
            // to a listener that another one replaces.
            let soon = connection.accepted + FRESH;
            if idle && connection.is_draining() && Instant::now() < soon {
                deadline = deadline.min(soon);
            } else if idle {
                // A response that was sent long ago has arrived, or never will, so an idle client does not delay the
                // drain.
                let long_ago = since.elapsed() >= connection.timeouts().linger;
                return Poll::Ready(if long_ago { ReadOutcome::Idle } else { ReadOutcome::Draining });
            } else {
                // The rest of a head may still arrive, or the client may never send it.
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
