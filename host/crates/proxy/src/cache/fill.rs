//! Takes a response from the upstream into the store, at the upstream's pace: whoever reads it, and however slowly.

use std::future::poll_fn;
use std::ops::Range;
use std::task::{Context, Poll};
use std::time::Duration;

use portcullis_cache::rules::StoredHead;
use portcullis_cache::store::{Fill, Store};
use tokio::time::Instant;

use super::Kept;
use crate::body::{Body, Frame};
use crate::gate::UnderWay;
use crate::timeouts::{IdleTimer, Timeouts};
use crate::timer::Timer;
use crate::worker::Worker;

/// A response on its way into the store.
pub(super) struct Filling {
    pub(super) body: Body,
    pub(super) fill: Fill<StoredHead>,
    pub(super) others: Others,
    /// How long the upstream may send nothing.
    pub(super) idle: Duration,
    pub(super) deadline: Option<Instant>,
    /// How long the disk may write nothing. After that it is not stored there.
    pub(super) disk_timeout: Duration,
    /// Counts as under way at its endpoint.
    pub(super) in_flight: Option<UnderWay>,
}

/// What other stored responses have to do with one that is being stored.
pub(super) struct Others {
    pub(super) store: Store<StoredHead>,
    /// How many bytes come from the upstream, if they are a part of what is stored.
    pub(super) part_bytes: Option<u64>,
    /// What a stored part has behind them.
    pub(super) behind: Option<(Kept, Range<u64>)>,
    /// Those whose place it takes once it is complete.
    pub(super) replaced: Vec<Kept>,
}

impl Others {
    /// Whether so many bytes from the upstream are too many: those behind them would be at a wrong place.
    fn is_beyond(&self, came: u64) -> bool {
        self.part_bytes.is_some_and(|bytes| came > bytes)
    }

    /// Completes what is stored, after so many bytes from the upstream.
    fn commit(&mut self, mut fill: Fill<StoredHead>, came: u64) {
        if self.part_bytes.is_some_and(|bytes| came != bytes) {
            tracing::debug!("a part is shorter than it said, and is not stored");
            return;
        }
        if let Some((entry, bytes)) = self.behind.take()
            && !fill.append_part(entry.body(), bytes)
        {
            return;
        }
        match fill.commit() {
            Ok(_) => self.replaced.drain(..).for_each(|old| {
                self.store.forget(&old);
            }),
            Err(why) => tracing::debug!(%why, "a response is not stored"),
        }
    }
}

/// A response that is being taken in.
struct Intake {
    body: Body,
    /// Until the end.
    fill: Option<Fill<StoredHead>>,
    others: Others,
    /// How many bytes have come.
    came: u64,
}

/// What a response waits for that is not all there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum WaitsFor {
    /// Its readers to catch up: it is not stored.
    Room,
    /// The disk to write more than so many bytes.
    Disk(u64),
    /// The upstream.
    More,
}

/// Starts to take it in. What is here already is taken at once, so that most small responses need no task.
pub(super) async fn start(worker: &Worker, filling: Filling) {
    let Filling { body, fill, others, idle, deadline, disk_timeout, in_flight } = filling;
    let mut intake = Intake { body, fill: Some(fill), others, came: 0 };
    if poll_fn(|cx| Poll::Ready(intake.poll(cx))).await.is_none() {
        return;
    }
    worker.fills().spawn_local(async move {
        let timeouts = Timeouts { deadline, upstream_idle: None };
        let (mut timer, mut idle_timer) = (Timer::default(), IdleTimer::default());
        let mut disk_timer = IdleTimer::default();
        poll_fn(|cx| {
            let mut waits = intake.poll(cx);
            if let Some(WaitsFor::Disk(written)) = waits {
                // Its readers shall not wait for a disk that has stopped.
                idle_timer = IdleTimer::default();
                let until = timeouts.bounded(disk_timer.deadline(written, false, disk_timeout));
                if timer.poll(cx, until).is_pending() {
                    return Poll::Pending;
                }
                if let Some(fill) = &mut intake.fill {
                    fill.leave_disk();
                }
                waits = intake.poll(cx);
            }
            let until = match waits {
                None => return Poll::Ready(()),
                Some(WaitsFor::More) => {
                    Some(timeouts.bounded(idle_timer.deadline(intake.body.moved(), false, idle)))
                }
                // How long readers may take is for those who write to them.
                Some(WaitsFor::Room | WaitsFor::Disk(_)) => {
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

impl Intake {
    /// Takes in what is there. Returns `None` once nothing more comes: all of it is stored, or the upstream has failed,
    /// or the rest serves no reader.
    fn poll(&mut self, cx: &mut Context<'_>) -> Option<WaitsFor> {
        loop {
            let filling = self.fill.as_mut()?;
            match filling.poll_room(cx) {
                Poll::Ready(true) => {}
                Poll::Ready(false) => {
                    self.fill = None;
                    return None;
                }
                Poll::Pending => {
                    return Some(filling.waits_for_disk().map_or(WaitsFor::Room, WaitsFor::Disk));
                }
            }
            let Poll::Ready(next) = self.body.poll_next(cx) else { return Some(WaitsFor::More) };
            match next {
                Some(Ok(Frame::Data(bytes))) => {
                    self.came += bytes.len() as u64;
                    match self.others.is_beyond(self.came) {
                        false => filling.append(&bytes),
                        true => {
                            tracing::debug!("a part is longer than it said, and is not stored");
                            self.fill = None;
                        }
                    }
                }
                // They are not stored: a recipient may drop them (RFC 9110, 6.5.1).
                Some(Ok(Frame::Trailers(_))) => {}
                Some(Err(error)) => {
                    tracing::debug!(%error, "a response ended early, and is not stored");
                    self.fill = None;
                }
                None => {
                    if let Some(fill) = self.fill.take() {
                        self.others.commit(fill, self.came);
                    }
                    return None;
                }
            }
        }
    }
}
