//! The connection tasks of one worker, so that a drain can wait for all of them, wake them to look at the time, and
//! end those that stay too long.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::Future;
use std::rc::Rc;
use std::task::Waker;

use tokio::sync::Notify;
use tokio::task::AbortHandle;

/// The owner of a worker's connection tasks. Clones are the same set; it stays on its worker.
///
/// Dropping it ends no task: that is [`Tasks::abort_all`], or the end of the worker's `LocalSet`.
#[derive(Debug, Clone, Default)]
pub struct Tasks(Rc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    next: Cell<u64>,
    running: RefCell<HashMap<u64, Running>>,
    idle: Notify,
}

#[derive(Debug)]
struct Running {
    abort: AbortHandle,
    /// Of the task as a whole; there once it has run for the first time.
    waker: Option<Waker>,
}

/// Takes the task out of the set however it ends: done, aborted, panicked, or dropped with its `LocalSet`.
struct Entry {
    tasks: Rc<Inner>,
    id: u64,
}

impl Drop for Entry {
    fn drop(&mut self) {
        let last = {
            let mut running = self.tasks.running.borrow_mut();
            running.remove(&self.id);
            running.is_empty()
        };
        if last {
            self.tasks.idle.notify_waiters();
        }
    }
}

impl Tasks {
    /// An empty set.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Runs `future` as a task of the current `LocalSet`.
    ///
    /// # Panics
    /// Outside a `LocalSet`: workers always have one.
    pub fn spawn_local<F: Future<Output = ()> + 'static>(&self, future: F) {
        let id = self.0.next.get();
        self.0.next.set(id.wrapping_add(1));
        let entry = Entry { tasks: Rc::clone(&self.0), id };
        let task = tokio::task::spawn_local(async move {
            // Dropped after the future, so that who waits for the last task finds its sockets closed.
            let entry = entry;
            std::future::poll_fn(|cx| {
                if let Some(running) = entry.tasks.running.borrow_mut().get_mut(&id) {
                    running.waker = Some(cx.waker().clone());
                }
                std::task::Poll::Ready(())
            })
            .await;
            future.await;
        });
        // The task cannot have run yet: it is of this thread.
        let running = Running { abort: task.abort_handle(), waker: None };
        self.0.running.borrow_mut().insert(id, running);
    }

    /// Has each task polled once more, so that it sees what has changed outside.
    pub fn wake_all(&self) {
        for running in self.0.running.borrow().values() {
            if let Some(waker) = &running.waker {
                waker.wake_by_ref();
            }
        }
    }

    /// How many run.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.running.borrow().len()
    }

    /// Whether none runs.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.running.borrow().is_empty()
    }

    /// Waits until none runs; those that are started meanwhile count. Dropping the future forgets the wait.
    pub async fn wait_idle(&self) {
        loop {
            let idle = self.0.idle.notified();
            if self.is_empty() {
                return;
            }
            idle.await;
        }
    }

    /// Ends all that run at their next await point, and says how many. They are gone once [`Tasks::wait_idle`] returns.
    pub fn abort_all(&self) -> usize {
        // Collected first: an abort may drop the task, and its entry with it, on the spot.
        let running: Vec<_> = self.0.running.borrow().values().map(|running| running.abort.clone()).collect();
        for task in &running {
            task.abort();
        }
        running.len()
    }
}
