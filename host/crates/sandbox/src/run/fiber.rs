//! Polls what runs on a fiber: in turns that are counted, up to the time at which it is given up.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use portcullis_services::cpu_time::thread_cpu_time;
use wasmtime::Result as WasmResult;

use crate::instance::budget::{Starved, TooSlow, Turns};

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

    /// Returns why a call is given up that has used so much CPU time (or its policy, if it has a thread of its own) and
    /// has waited for so long. Half of the limit is enough to call it slow: what is left then was the machine's or that
    /// of other calls.
    fn over(self, used: Duration, waited: Duration) -> wasmtime::Error {
        let limit = self.limit;
        if used + waited >= limit / 2 {
            TooSlow { limit }.into()
        } else {
            Starved { limit, used, waited }.into()
        }
    }
}

thread_local! {
    /// Whether this thread runs the calls of one policy only.
    static OF_ONE_POLICY: Cell<bool> = const { Cell::new(false) };
}

/// Notes that this thread runs the calls of one policy only. If one of them gets too little time because others have
/// it, the policy is to blame and not the machine.
pub(crate) fn thread_is_of_one_policy() {
    OF_ONE_POLICY.set(true);
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
    let (mut waits_since, mut waited) = (None, Duration::ZERO);
    // A call that ends in its first turn reads no clock for this.
    let mut policy_since = None;
    let over = |waited: Duration, policy_since: Option<Duration>| {
        let policy = policy_since.map_or(Duration::ZERO, |since| thread_cpu_time().saturating_sub(since));
        until.over(turns.used().max(policy), waited)
    };
    poll_fn(|context| {
        let now = Instant::now();
        if let Some(since) = waits_since.take() {
            waited += now.saturating_duration_since(since);
        }
        if std::mem::replace(&mut begun, true) && now >= until.at {
            return Poll::Ready(Err(over(waited, policy_since)));
        }
        turns.resume(now);
        let polled = future.as_mut().poll(context);
        let ran = now.elapsed();
        let by_itself = turns.pause(ran);
        if polled.is_pending() && by_itself {
            waits_since = Some(now + ran);
            // It waits for something that may never come. After a tick it is woken at once, and needs no alarm. On the
            // thread of `on-tick` there is no runtime to ring one: that thread comes back by itself when the time is
            // over.
            if alarm.is_none() && tokio::runtime::Handle::try_current().is_ok() {
                alarm = Some(Box::pin(tokio::time::sleep_until(until.at.into())));
            }
            if alarm.as_mut().is_some_and(|alarm| alarm.as_mut().poll(context).is_ready()) {
                return Poll::Ready(Err(over(waited, policy_since)));
            }
        }
        if polled.is_pending() && policy_since.is_none() && OF_ONE_POLICY.get() {
            policy_since = Some(thread_cpu_time());
        }
        polled
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::Until;
    use crate::instance::budget::{Starved, TooSlow};

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_call_is_slow_if_half_of_its_time_was_its_own_and_starved_otherwise() {
        let until = Until::after(Instant::now(), 100 * MS);
        for (used, waited) in [(50, 0), (0, 50), (20, 30), (0, 100)] {
            let error = until.over(used * MS, waited * MS);
            assert!(error.downcast_ref::<TooSlow>().is_some(), "{used} {waited}: {error}");
        }
        for (used, waited) in [(49, 0), (0, 49), (0, 0)] {
            let error = until.over(used * MS, waited * MS);
            assert!(error.downcast_ref::<Starved>().is_some(), "{used} {waited}: {error}");
        }
    }
}
