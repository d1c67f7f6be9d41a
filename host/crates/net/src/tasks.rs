//! The connection tasks of one worker, so that a drain can wait for all of them, wake them to check the time, and end
//! those that take too long.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::Future;
use std::rc::Rc;
use std::task::Waker;

use tokio::sync::Notify;
use tokio::task::AbortHandle;

/// Owns a worker's connection tasks. Clones are the same set; it stays on its worker.
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
    /// The waker of the whole task, once it has run for the first time.
    waker: Option<Waker>,
}

/// Removes the task from the set however it ends: done, aborted, panicked, or dropped with its `LocalSet`.
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
    /// Returns an empty set.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Runs `future` as a task of the current `LocalSet`.
    ///
    /// # Panics
    /// If called outside a `LocalSet`: workers always have one.
    pub fn spawn_local<F: Future<Output = ()> + 'static>(&self, future: F) {
        let id = self.0.next.get();
        self.0.next.set(id.wrapping_add(1));
        let entry = Entry { tasks: Rc::clone(&self.0), id };
        let task = tokio::task::spawn_local(async move {
            // Dropped after the future, so that its sockets are closed when a wait for the last task ends.
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
        // The task cannot have run yet, because it belongs to this thread.
        let running = Running { abort: task.abort_handle(), waker: None };
        self.0.running.borrow_mut().insert(id, running);
    }

    /// Makes each task be polled once more, so that it sees what has changed outside.
    pub fn wake_all(&self) {
        for running in self.0.running.borrow().values() {
            if let Some(waker) = &running.waker {
                waker.wake_by_ref();
            }
        }
    }

    /// Returns how many run.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.running.borrow().len()
    }

    /// Returns whether none runs.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.running.borrow().is_empty()
    }

    /// Waits until none runs, including those that are started meanwhile. Dropping the future ends the wait.
    pub async fn wait_idle(&self) {
        loop {
            let idle = self.0.idle.notified();
            if self.is_empty() {
                return;
            }
            idle.await;
        }
    }

    /// Ends all that run at their next await point, and returns how many there were. They are gone once
    /// [`Tasks::wait_idle`] returns.
    pub fn abort_all(&self) -> usize {
        // Collected first, because an abort may drop the task, and its entry with it, at once.
        let running: Vec<_> = self.0.running.borrow().values().map(|running| running.abort.clone()).collect();
        for task in &running {
            task.abort();
        }
        running.len()
    }
}
