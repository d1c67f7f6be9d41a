//! A timer that is cheap to move: an exchange changes its deadline several times and almost never reaches one.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

/// How far ahead a new deadline is armed at most. Moving a deadline before that costs one comparison. A connection that
/// is idle for longer is woken once, and then armed for its real deadline.
const STEP: Duration = Duration::from_secs(5);

/// One timer for one task.
#[derive(Debug, Default)]
pub(crate) struct Timer {
    // Made at the first wait, so that an exchange that never waits pays nothing.
    sleep: Option<Pin<Box<Sleep>>>,
}

/// The deadline has passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Elapsed;

impl Timer {
    /// Ready once `deadline` has passed; otherwise wakes the task then.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        let sleep = match &mut self.sleep {
            Some(sleep) => sleep,
            none => {
                let at = deadline.min(Instant::now() + STEP);
                none.insert(Box::pin(tokio::time::sleep_until(at)))
            }
        };
        if sleep.deadline() > deadline {
            sleep.as_mut().reset(deadline);
        }
        loop {
            if sleep.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            let now = Instant::now();
            if now >= deadline {
                return Poll::Ready(());
            }
            // It was armed for an earlier deadline, or one step ahead. A task that was idle for a whole step is now
            // armed for its deadline; one that was armed long ago is armed one step ahead again.
            let quiet = now.duration_since(sleep.deadline()) < Duration::from_millis(50);
            sleep.as_mut().reset(if quiet { deadline } else { deadline.min(now + STEP) });
        }
    }

    /// Waits for `future` until `deadline`. Dropping it drops `future`.
    pub(crate) async fn run<F: Future>(
        &mut self,
        deadline: Instant,
        future: F,
    ) -> Result<F::Output, Elapsed> {
        let mut future = std::pin::pin!(future);
        std::future::poll_fn(|cx| {
            if let Poll::Ready(output) = future.as_mut().poll(cx) {
                return Poll::Ready(Ok(output));
            }
            self.poll(cx, deadline).map(|()| Err(Elapsed))
        })
        .await
    }
}
