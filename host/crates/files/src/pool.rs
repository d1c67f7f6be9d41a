//! Threads that open and read files, so that a worker never waits for a disk.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Condvar, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use portcullis_model::Lock;
use portcullis_traffic::Permits;
use tokio::sync::oneshot;

use crate::{FileError, Found, Rest, Wanted, find};

/// The threads. They start when there is something to do, and end after that once every clone of this is dropped; one
/// that waits for a file system that does not answer cannot be stopped, and is not waited for.
#[derive(Debug, Clone)]
pub struct FilePool(Arc<Owner>);

/// Ends the threads when it is dropped.
#[derive(Debug)]
struct Owner {
    shared: Arc<Shared>,
    threads_max: usize,
    open_files: Permits,
}

#[derive(Debug)]
struct Shared {
    state: Lock<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// What waits for a thread. An exchange waits for one at a time, so that there are no more of them than exchanges.
    jobs: VecDeque<Box<dyn FnOnce() + Send>>,
    threads: usize,
    idle: usize,
    ended: bool,
}

/// What a thread is to find or to read. Dropping it drops what has not begun.
#[derive(Debug)]
pub struct Pending<T>(oneshot::Receiver<Result<T, FileError>>);

impl FilePool {
    /// Returns a pool of at most `threads_max` threads, which has at most `open_files_max` files open that are read
    /// piece by piece.
    #[must_use]
    pub fn new(threads_max: usize, open_files_max: u32) -> Self {
        let shared = Arc::new(Shared { state: Lock::default(), changed: Condvar::new() });
        let open_files = Permits::new(open_files_max);
        Self(Arc::new(Owner { shared, threads_max: threads_max.max(1), open_files }))
    }

    /// Finds a file, see [`find`](find()).
    #[must_use]
    pub fn find(&self, wanted: Wanted) -> Pending<Found> {
        let open_files = self.0.open_files.clone();
        self.run(move || find(&wanted, &open_files))
    }

    /// Reads the next piece, see [`Rest::read`].
    #[must_use]
    pub fn read(&self, rest: &Rest) -> Pending<Bytes> {
        let rest = rest.clone();
        self.run(move || rest.read())
    }

    fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, FileError> + Send + 'static,
    ) -> Pending<T> {
        let (done, pending) = oneshot::channel();
        let job = move || {
            // If the exchange has ended, its receiver is gone.
            if !done.is_closed() {
                drop(done.send(work()));
            }
        };
        self.0.add(Box::new(job));
        Pending(pending)
    }
}

impl Owner {
    /// Adds a job, and a thread if all are busy and there may be one more.
    fn add(&self, job: Box<dyn FnOnce() + Send>) {
        let mut state = self.shared.state.lock();
        state.jobs.push_back(job);
        if state.idle < state.jobs.len() && state.threads < self.threads_max {
            let shared = self.shared.clone();
            let name = format!("files-{}", state.threads);
            match std::thread::Builder::new().name(name).spawn(move || shared.work()) {
                Ok(_) => state.threads += 1,
                // The others do it. If no thread runs, the sender is dropped with the job.
                Err(_) if state.threads == 0 => state.jobs.clear(),
                Err(_) => {}
            }
        }
        drop(state);
        self.shared.changed.notify_one();
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.shared.state.lock().ended = true;
        self.shared.changed.notify_all();
    }
}

impl Shared {
    /// What each thread does until the end.
    fn work(&self) {
        let mut state = self.state.lock();
        loop {
            if let Some(job) = state.jobs.pop_front() {
                drop(state);
                // A panic, which would be a mistake of ours, ends the job and not the thread.
                drop(std::panic::catch_unwind(std::panic::AssertUnwindSafe(job)));
                state = self.state.lock();
            } else if state.ended {
                return;
            } else {
                state.idle += 1;
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                state.idle -= 1;
            }
        }
    }
}

impl<T> Future for Pending<T> {
    type Output = Result<T, FileError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx).map(|done| done.unwrap_or(Err(FileError::Stopped)))
    }
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State")
            .field("jobs", &self.jobs.len())
            .field("threads", &self.threads)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;

    use super::*;

    fn wait<T>(pending: Pending<T>) -> Result<T, FileError> {
        pending.0.blocking_recv().unwrap_or(Err(FileError::Stopped))
    }

    #[test]
    fn no_more_run_at_once_than_there_may_be_threads() {
        let pool = FilePool::new(3, 0);
        let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let jobs: Vec<Pending<usize>> = (0..200)
            .map(|at| {
                let (running, most) = (running.clone(), most.clone());
                pool.run(move || {
                    most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    std::thread::yield_now();
                    running.fetch_sub(1, Ordering::SeqCst);
                    Ok(at)
                })
            })
            .collect();
        let done: Vec<usize> = jobs.into_iter().map(|job| wait(job).unwrap()).collect();
        assert_eq!(done, (0..200).collect::<Vec<_>>());
        assert!(most.load(Ordering::SeqCst) <= 3);
        assert!(pool.0.shared.state.lock().threads <= 3);
    }

    #[test]
    fn what_was_given_up_is_not_done_and_the_threads_end_with_the_pool() {
        let pool = FilePool::new(1, 0);
        let (go, gate) = mpsc::sync_channel::<()>(1);
        let first = pool.run(move || {
            gate.recv().unwrap();
            Ok(())
        });
        let touched = Arc::new(AtomicUsize::new(0));
        let count = touched.clone();
        drop(pool.run(move || {
            count.fetch_add(1, Ordering::SeqCst);
            Ok(())
        }));
        let last = pool.run(|| Ok(()));
        go.send(()).unwrap();
        wait(first).unwrap();
        wait(last).unwrap();
        assert_eq!(touched.load(Ordering::SeqCst), 0);
        let shared = Arc::downgrade(&pool.0.shared);
        drop(pool);
        while shared.upgrade().is_some() {
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_job_that_panics_is_an_error_and_not_the_end() {
        let pool = FilePool::new(1, 0);
        assert!(matches!(
            wait(pool.run(|| -> Result<(), _> { panic!("in a job") })),
            Err(FileError::Stopped)
        ));
        assert!(wait(pool.run(|| Ok(()))).is_ok());
    }
}
