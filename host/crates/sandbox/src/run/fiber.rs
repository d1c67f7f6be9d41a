//! Polls what runs on a fiber: in turns that are counted, up to the time at which it is given up.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use wasmtime::Result as WasmResult;

use crate::instance::budget::{TooSlow, Turns};

/// When a call is given up.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Until {
    pub(crate) at: Instant,
    limit: Duration,
}

impl Until {
    pub(crate) fn after(begun: Instant, limit: Duration) -> Self {
        Self { at: begun + limit, limit }
    }

    fn too_slow(self) -> wasmtime::Error {
        TooSlow { limit: self.limit }.into()
    }
}

/// Runs a fiber turn by turn, and counts each in its budget, so that only the guest's own time counts. Gives up when
/// its time is over, whatever it is doing then.
pub(crate) async fn in_turns<T>(
    turns: &Turns,
    until: Until,
    future: impl Future<Output = WasmResult<T>>,
) -> WasmResult<T> {
    let mut future = pin!(future);
    let mut begun = false;
    let mut alarm = None;
    poll_fn(|context| {
        let now = Instant::now();
        if std::mem::replace(&mut begun, true) && now >= until.at {
            return Poll::Ready(Err(until.too_slow()));
        }
        turns.resume(now);
        let polled = future.as_mut().poll(context);
        let by_itself = turns.pause(now.elapsed());
        if polled.is_pending() && by_itself {
            // It waits for something that may never come. After a tick it is woken at once, and needs no alarm. On the
            // thread of `on-tick` there is no runtime to ring one: that thread comes back by itself when the time is
            // over.
            if alarm.is_none() && tokio::runtime::Handle::try_current().is_ok() {
                alarm = Some(Box::pin(tokio::time::sleep_until(until.at.into())));
            }
            if alarm.as_mut().is_some_and(|alarm| alarm.as_mut().poll(context).is_ready()) {
                return Poll::Ready(Err(until.too_slow()));
            }
        }
        polled
    })
    .await
}
