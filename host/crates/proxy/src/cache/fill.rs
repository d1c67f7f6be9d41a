//! Takes a response from the upstream into the store, at the upstream's pace: whoever reads it, and however slowly.

use std::future::poll_fn;
use std::task::{Context, Poll};
use std::time::Duration;

use portcullis_cache::rules::StoredHead;
use portcullis_cache::store::Fill;
use portcullis_traffic::InFlight;
use tokio::time::Instant;

use crate::body::{Body, Frame};
use crate::timeouts::{IdleTimer, Timeouts};
use crate::timer::Timer;
use crate::worker::Worker;

/// A response on its way into the store.
pub(super) struct Filling {
    pub(super) body: Body,
    pub(super) fill: Fill<StoredHead>,
    /// How long the upstream may send nothing.
    pub(super) idle: Duration,
    pub(super) deadline: Option<Instant>,
    /// Counts as under way at its endpoint.
    pub(super) in_flight: Option<InFlight>,
}

/// What a response waits for that is not all there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Waits {
    /// Until its readers have caught up: it is not stored.
    ForRoom,
    /// For the upstream.
    ForMore,
}

/// Starts to take it in. What is here already is taken at once, so that most small responses need no task.
pub(super) async fn start(worker: &Worker, filling: Filling) {
    let Filling { mut body, fill, idle, deadline, in_flight } = filling;
    let mut fill = Some(fill);
    if poll_fn(|cx| Poll::Ready(poll_fill(&mut body, &mut fill, cx))).await.is_none() {
        return;
    }
    worker.fills().spawn_local(async move {
        let timeouts = Timeouts { deadline, upstream_idle: None };
        let (mut timer, mut idle_timer) = (Timer::default(), IdleTimer::default());
        poll_fn(|cx| {
            let until = match poll_fill(&mut body, &mut fill, cx) {
                None => return Poll::Ready(()),
                Some(Waits::ForMore) => {
                    Some(timeouts.bounded(idle_timer.deadline(body.moved(), false, idle)))
                }
                // How long readers may take is for those who write to them.
                Some(Waits::ForRoom) => {
                    idle_timer = IdleTimer::default();
                    deadline
                }
            };
            // Dropped unfinished, it makes its readers fail.
            until.map_or(Poll::Pending, |until| timer.poll(cx, until))
        })
        .await;
        drop(in_flight);
    });
}

/// Takes in what is there. Returns `None` once nothing more comes: all of it is stored, or the upstream has failed, or
/// the rest serves no reader.
fn poll_fill(body: &mut Body, fill: &mut Option<Fill<StoredHead>>, cx: &mut Context<'_>) -> Option<Waits> {
    loop {
        let filling = fill.as_mut()?;
        match filling.poll_room(cx) {
            Poll::Ready(true) => {}
            Poll::Ready(false) => {
                *fill = None;
                return None;
            }
            Poll::Pending => return Some(Waits::ForRoom),
        }
        let Poll::Ready(next) = body.poll_next(cx) else { return Some(Waits::ForMore) };
        match next {
            Some(Ok(Frame::Data(bytes))) => filling.append(&bytes),
            // They are not stored: a recipient may drop them (RFC 9110, 6.5.1).
            Some(Ok(Frame::Trailers(_))) => {}
            Some(Err(error)) => {
                tracing::debug!(%error, "a response ended early, and is not stored");
                *fill = None;
            }
            None => {
                if let Some(Err(why)) = fill.take().map(Fill::commit) {
                    tracing::debug!(%why, "a response is not stored");
                }
                return None;
            }
        }
    }
}
