//! Notifies a hook that waits of its client having gone away.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};

use portcullis_model::Lock;

/// Whether the client has gone away. A hook that runs is not stopped by that, because the exchange is inside it; what
/// it waits for ends. Clones are of the same client.
#[derive(Debug, Clone, Default)]
pub struct ClientGone(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    notified: AtomicBool,
    /// Of the one call that may wait.
    waiter: Lock<Option<Waker>>,
}

impl ClientGone {
    /// Notifies the hook that waits that the client has gone away.
    pub fn notify(&self) {
        self.0.notified.store(true, Ordering::Release);
        if let Some(waker) = self.waiter().take() {
            waker.wake();
        }
    }

    /// Returns whether the client has gone away.
    #[must_use]
    pub fn is_notified(&self) -> bool {
        self.0.notified.load(Ordering::Acquire)
    }

    /// Is ready once the client has gone away. The last task that polled is woken.
    pub fn poll_notified(&self, cx: &mut Context<'_>) -> Poll<()> {
        *self.waiter() = Some(cx.waker().clone());
        // Read after the waker was stored, so that a notification in between is not missed.
        if self.is_notified() { Poll::Ready(()) } else { Poll::Pending }
    }

    fn waiter(&self) -> std::sync::MutexGuard<'_, Option<Waker>> {
        self.0.waiter.lock()
    }
}
