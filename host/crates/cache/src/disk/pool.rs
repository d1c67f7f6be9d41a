//! Threads that read and write files, so that no worker waits for the disk.

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Condvar, PoisonError};
use std::task::{Context, Poll, Waker};
use std::thread;

use portcullis_model::Lock;

type Job = Box<dyn FnOnce() + Send>;

/// Some threads and what they have to do. When the pool is dropped, they end with the job that they are at.
pub(crate) struct Pool(Arc<Queue>);

struct Queue {
    state: Lock<State>,
    changed: Condvar,
    max: usize,
}

struct State {
    jobs: VecDeque<Job>,
    closed: bool,
}

impl Pool {
    /// Starts `threads` threads with a queue of at most `max` jobs.
    pub(crate) fn start(name: &str, threads: usize, max: usize) -> std::io::Result<Self> {
        let state = Lock::new(State { jobs: VecDeque::new(), closed: false });
        let pool = Self(Arc::new(Queue { state, changed: Condvar::new(), max }));
        for number in 0..threads.max(1) {
            let queue = Arc::clone(&pool.0);
            thread::Builder::new().name(format!("{name}-{number}")).spawn(move || queue.run())?;
        }
        Ok(pool)
    }

    /// Adds a job, unless the queue is full. Returns whether it was added.
    pub(crate) fn add(&self, job: impl FnOnce() + Send + 'static) -> bool {
        self.push(Box::new(job), self.0.max)
    }

    /// Adds a job even if the queue is full: one that goes on with what was begun, of which there is a bounded
    /// number.
    pub(crate) fn add_next(&self, job: impl FnOnce() + Send + 'static) {
        self.push(Box::new(job), usize::MAX);
    }

    /// Returns how many jobs wait.
    pub(crate) fn waiting(&self) -> usize {
        self.0.state.lock().jobs.len()
    }

    fn push(&self, job: Job, max: usize) -> bool {
        let mut state = self.0.state.lock();
        let add = state.jobs.len() < max && !state.closed;
        if add {
            state.jobs.push_back(job);
            drop(state);
            self.0.changed.notify_one();
        }
        add
    }
}

impl Queue {
    fn run(&self) {
        while let Some(job) = self.next() {
            // A mistake costs the entry that it concerns, and not the thread. What the job had promised is dropped.
            drop(catch_unwind(AssertUnwindSafe(job)));
        }
    }

    fn next(&self) -> Option<Job> {
        let mut state = self.state.lock();
        loop {
            if state.closed {
                return None;
            }
            if let Some(job) = state.jobs.pop_front() {
                return Some(job);
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let jobs = {
            let mut state = self.0.state.lock();
            state.closed = true;
            std::mem::take(&mut state.jobs)
        };
        self.0.changed.notify_all();
        // What they hold is dropped without the lock.
        drop(jobs);
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Pool")
            .field("queued", &self.0.state.lock().jobs.len())
            .finish_non_exhaustive()
    }
}

/// The result of a job that is awaited. `None` if the job was dropped.
#[derive(Debug)]
pub(crate) struct Answer<T>(Arc<Lock<Arrival<T>>>);

#[derive(Debug)]
struct Arrival<T> {
    value: Option<Option<T>>,
    waker: Option<Waker>,
}

/// What a job gives its result to.
#[derive(Debug)]
pub(crate) struct Promise<T>(Option<Arc<Lock<Arrival<T>>>>);

/// Returns a promise and the answer that it will have.
pub(crate) fn promise<T>() -> (Promise<T>, Answer<T>) {
    let arrival = Arc::new(Lock::new(Arrival { value: None, waker: None }));
    (Promise(Some(Arc::clone(&arrival))), Answer(arrival))
}

impl<T> Promise<T> {
    /// Gives the result.
    pub(crate) fn keep(mut self, value: T) {
        self.set(Some(value));
    }

    fn set(&mut self, value: Option<T>) {
        if let Some(arrival) = self.0.take() {
            let waker = {
                let mut arrival = arrival.lock();
                arrival.value = Some(value);
                arrival.waker.take()
            };
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }
}

impl<T> Drop for Promise<T> {
    fn drop(&mut self) {
        self.set(None);
    }
}

impl<T> Future for Answer<T> {
    type Output = Option<T>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut arrival = self.0.lock();
        match arrival.value.take() {
            Some(value) => Poll::Ready(value),
            None => {
                arrival.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl<T> Answer<T> {
    /// Returns one that is there already.
    pub(crate) fn ready(value: T) -> Self {
        Self(Arc::new(Lock::new(Arrival { value: Some(Some(value)), waker: None })))
    }
}
