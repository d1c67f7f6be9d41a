//! Signals connections to end.

use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::Notify;

/// Every [`Drain`] of the process that connections may watch.
static ALL: Mutex<Vec<Weak<Shared>>> = Mutex::new(Vec::new());

#[derive(Debug, Default)]
struct Shared {
    draining: AtomicBool,
    notify: Notify,
}

/// Starts the end: of a listener that a reload removed, or of all when the process stops.
///
/// Make one for each worker and listener, so that the connections that wait for it contend with no other worker's. It
/// may be started from any thread. Dropping it starts nothing: signals that are left then never fire.
#[derive(Debug)]
pub struct Drain(Arc<Shared>);

impl Drain {
    /// Returns a drain that has not started.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "each is registered in the process")]
    pub fn new() -> Self {
        let shared = Arc::new(Shared::default());
        let mut all = ALL.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|other| other.strong_count() > 0);
        all.push(Arc::downgrade(&shared));
        Self(shared)
    }

    /// Returns the signal for connections.
    #[must_use]
    pub fn signal(&self) -> DrainSignal {
        DrainSignal(Arc::clone(&self.0))
    }

    /// Starts it, for good. Accept loops end, idle connections close, busy ones end with their exchange.
    pub fn start(&self) {
        self.0.draining.store(true, Ordering::Release);
        self.0.notify.notify_waiters();
    }
}

/// Receives the start of a drain. Cheap to clone.
#[derive(Debug, Clone)]
pub struct DrainSignal(Arc<Shared>);

impl DrainSignal {
    /// Returns whether it has started. One atomic read.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.0.draining.load(Ordering::Acquire)
    }

    /// Waits for the start, and is ready at once if it has happened. Dropping the future ends the wait.
    pub fn wait(&self) -> impl Future<Output = ()> + Send + use<> {
        let signal = self.clone();
        async move {
            while !signal.is_draining() {
                signal.nudged().await;
            }
        }
    }

    /// Waits for the start or for the next [`nudge`]. Dropping the future forgets the wait.
    pub fn nudged(&self) -> impl Future<Output = ()> + Send + use<> {
        let shared = Arc::clone(&self.0);
        async move {
            let mut notified = std::pin::pin!(shared.notify.notified());
            // Registered before the flag is read, so that a start in between is not missed.
            notified.as_mut().enable();
            if !shared.draining.load(Ordering::Acquire) {
                notified.await;
            }
        }
    }
}

/// Asks idle connections to end, because others wait for their permits: those of all workers and listeners, because the
/// permits belong to the process.
pub(crate) fn nudge() {
    let all = ALL.lock().unwrap_or_else(PoisonError::into_inner);
    for shared in all.iter().filter_map(Weak::upgrade) {
        shared.notify.notify_waiters();
    }
}
