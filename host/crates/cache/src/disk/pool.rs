//! Threads that read and write files, so that no worker waits for the disk.
//!
//! If the disk stops answering, the threads stand still with it and what waits for them grows old. From then on nothing
//! more is added, so that requests pass by at once rather than each waiting for its timeout.

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Condvar, PoisonError};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use portcullis_model::Lock;

type Job = Box<dyn FnOnce() + Send>;

/// Some threads and what they have to do. When the pool is dropped, they end with the job that they are at.
pub(crate) struct Pool(Arc<Queue>);

struct Queue {
    state: Lock<State>,
    changed: Condvar,
}

struct State {
    jobs: VecDeque<(Instant, Job)>,
    closed: bool,
    /// How many threads there are, and how many there should be.
    threads: usize,
    threads_max: usize,
    limits: Limits,
}

/// How much may wait for the threads.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// How many jobs.
    pub(crate) jobs: usize,
    /// How long the oldest job may have waited while another is added.
    pub(crate) age: Duration,
}

impl Pool {
    /// Starts `threads` threads.
    pub(crate) fn start(name: &str, threads: usize, limits: Limits) -> std::io::Result<Self> {
        let state = State { jobs: VecDeque::new(), closed: false, threads: 0, threads_max: 0, limits };
        let pool = Self(Arc::new(Queue { state: Lock::new(state), changed: Condvar::new() }));
        pool.set(name, threads, limits)?;
        Ok(pool)
    }

    /// Sets how many threads there are and how much may wait for them.
    pub(crate) fn set(&self, name: &str, threads: usize, limits: Limits) -> std::io::Result<()> {
        let mut state = self.0.state.lock();
        state.limits = limits;
        state.threads_max = threads.max(1);
        while state.threads < state.threads_max {
            let queue = Arc::clone(&self.0);
            let name = format!("{name}-{}", state.threads);
            thread::Builder::new().name(name).spawn(move || queue.run())?;
            state.threads += 1;
        }
        drop(state);
        self.0.changed.notify_all();
        Ok(())
    }

    /// Adds a job, unless the queue is full. Returns whether it was added.
    pub(crate) fn add(&self, job: impl FnOnce() + Send + 'static) -> bool {
        self.push(Box::new(job), true)
    }

    /// Adds a job even if the queue is full: one that goes on with what was begun, of which there is a bounded
    /// number.
    pub(crate) fn add_next(&self, job: impl FnOnce() + Send + 'static) {
        self.push(Box::new(job), false);
    }

    /// Returns how many jobs wait.
    pub(crate) fn waiting(&self) -> usize {
        self.0.state.lock().jobs.len()
    }

    fn push(&self, job: Job, limited: bool) -> bool {
        let now = Instant::now();
        let mut state = self.0.state.lock();
        let State { jobs, limits, .. } = &*state;
        let is_late = || jobs.front().is_some_and(|(since, _)| now.duration_since(*since) > limits.age);
        let add = !state.closed && !(limited && (jobs.len() >= limits.jobs || is_late()));
        if add {
            state.jobs.push_back((now, job));
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
            if state.closed || state.threads > state.threads_max {
                state.threads -= 1;
                return None;
            }
            if let Some((_, job)) = state.jobs.pop_front() {
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
    /// Whether it is not there yet.
    pub(crate) fn is_pending(&self) -> bool {
        self.0.lock().value.is_none()
    }

    /// Returns one that is there already.
    pub(crate) fn ready(value: T) -> Self {
        Self(Arc::new(Lock::new(Arrival { value: Some(Some(value)), waker: None })))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn what_waits_too_long_keeps_others_out_until_it_is_done() {
        let limits = Limits { jobs: 10, age: Duration::ZERO };
        let pool = Pool::start("test", 1, limits).unwrap();
        let (go, gate) = mpsc::sync_channel::<()>(2);
        let (begun, has_begun) = mpsc::sync_channel(2);
        assert!(pool.add(move || {
            begun.send(()).unwrap();
            gate.recv().unwrap();
        }));
        has_begun.recv().unwrap();
        assert!(pool.add(|| {}));
        // The disk does not answer: the one that waits is older than may be.
        thread::park_timeout(Duration::from_millis(1));
        assert!(!pool.add(|| {}));
        pool.set("test", 2, Limits { jobs: 1, age: Duration::MAX }).unwrap();
        while pool.waiting() > 0 {
            thread::yield_now();
        }
        assert!(pool.add(|| {}));
        pool.set("test", 1, limits).unwrap();
        go.send(()).unwrap();
        while pool.waiting() > 0 || pool.0.state.lock().threads > 1 {
            pool.0.changed.notify_all();
            thread::yield_now();
        }
    }
}
