//! Closes a client's connection so that the response that was sent on it arrives.

use std::task::Poll;

use tokio::io::AsyncWriteExt;
use tokio::time::Instant;

use super::io::Io;
use crate::connection::Connection;
use crate::timer::Timer;
use crate::worker::Worker;

/// Closes the sending half, then reads and drops what still arrives, until the client has closed its half as well.
///
/// If bytes arrive at a closed socket, or are in it unread, the kernel resets the connection, and a reset discards what
/// the client has not read of the response (RFC 9112, 9.6). Clients do send after a response: those that write a whole
/// body before they read, and those that had already sent further requests when they got `Connection: close`.
///
/// With `at_once` there is no such danger, and the connection closes. Otherwise it closes if nothing arrives for
/// `timeouts.linger`, after `timeouts.idle` in any case, and after `limits.linger` bytes.
pub(super) async fn close(
    mut io: Io,
    worker: &Worker,
    connection: &Connection,
    timer: &mut Timer,
    at_once: bool,
) {
    let (timeouts, limits) = (connection.timeouts(), connection.limits());
    io.unread.clear();
    io.release_buffers();
    let whole = Instant::now() + timeouts.idle.max(timeouts.linger);
    // A failure to shut down changes nothing: the connection closes either way.
    let goodbye = timer.run(Instant::now() + timeouts.linger, io.stream.shutdown()).await;
    if at_once || !matches!(goodbye, Ok(Ok(()))) {
        return;
    }
    let mut left = limits.linger_bytes;
    while left > 0 {
        let until = (Instant::now() + timeouts.linger).min(whole);
        let discarded = std::future::poll_fn(|cx| match worker.is_drain_over() {
            true => Poll::Ready(Ok(0)),
            false => io.poll_discard(cx),
        });
        match timer.run(until, discarded).await {
            Ok(Ok(read)) if read > 0 => left = left.saturating_sub(read as u64),
            _ => return,
        }
    }
}
