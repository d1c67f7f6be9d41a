//! A thread beside a worker, for the hooks of one policy that was seen to run long.
//!
//! A hook that runs for milliseconds keeps the worker's other exchanges waiting. On a fiber it would let them go on
//! once in a millisecond, and each of them would meet that millisecond at every step of its way. On a thread of a low
//! priority it takes what the worker leaves, and when there is something to do the operating system has the worker do
//! it. A policy is sent here by what it did, so that one that is quick, as nearly all are, never pays for crossing
//! over.
//!
//! Hooks that cannot wait are called here one after the other. Those that may are on fibers here as well, so that one
//! that waits holds up none of the others.

use std::io;
use std::thread;

use portcullis_policy::{Decision, Exchange, Hook};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc::{Receiver, Sender, channel, error::TrySendError};
use tokio::sync::oneshot;
use tokio::task::LocalSet;

use crate::instance::Instance;
use crate::instance::fault::Failure;
use crate::run::fiber::thread_is_of_one_policy;

/// The thread's nice value, the one that the process which compiles plugins has too. A worker has 0, so it preempts
/// this thread as soon as it has something to do.
///
/// Not 19, the lowest priority: if other programs keep a core busy, Linux gives such a thread one or two hundredths of
/// it, and a hook that needs half a second of CPU time meets `limits.wall` (30 s) before `limits.deadline`. With 10 it
/// gets about a tenth beside one busy thread.
#[cfg(unix)]
const NICE: i32 = 10;

/// What comes back of a call.
pub(crate) type Done = (Instance, Box<Exchange>, Result<Decision, Failure>);

/// The thread. It ends when this is dropped, after the call that is running; calls that wait are given up.
#[derive(Debug)]
pub(crate) struct Background {
    jobs: Sender<Job>,
}

struct Job {
    instance: Instance,
    hook: Hook,
    exchange: Box<Exchange>,
    done: oneshot::Sender<Done>,
}

impl Background {
    /// Starts the thread. Up to `calls_max` calls wait for their turn.
    pub(crate) fn start(calls_max: usize) -> io::Result<Self> {
        let (jobs, receiver) = channel(calls_max);
        let runtime = Builder::new_current_thread().enable_time().build()?;
        thread::Builder::new().name("policy-aside".to_owned()).spawn(move || run(&runtime, receiver))?;
        Ok(Self { jobs })
    }

    /// Calls the hook there. Dropping the receiver drops the exchange: a call that has not begun is not made, and one
    /// that waits is given up.
    ///
    /// # Errors
    /// Returns the exchange if as many calls as may are waiting already.
    pub(crate) fn call(
        &self,
        instance: Instance,
        hook: Hook,
        exchange: Box<Exchange>,
    ) -> Result<oneshot::Receiver<Done>, Box<Exchange>> {
        let (done, result) = oneshot::channel();
        match self.jobs.try_send(Job { instance, hook, exchange, done }) {
            Ok(()) => Ok(result),
            Err(TrySendError::Full(job) | TrySendError::Closed(job)) => Err(job.exchange),
        }
    }
}

fn run(runtime: &Runtime, mut jobs: Receiver<Job>) {
    lower_priority();
    thread_is_of_one_policy();
    LocalSet::new().block_on(runtime, async move {
        while let Some(job) = jobs.recv().await {
            if job.done.is_closed() {
                continue;
            }
            if job.instance.yields() {
                // There are no more of them than hook calls of the policy under way, which are bounded.
                tokio::task::spawn_local(job.call_on_fiber());
            } else {
                job.call();
            }
        }
    });
}

impl Job {
    fn call(self) {
        let Self { mut instance, hook, exchange, done } = self;
        let (exchange, result) = instance.call(hook, exchange);
        // If the exchange has ended meanwhile, its receiver is gone.
        drop(done.send((instance, exchange, result)));
    }

    async fn call_on_fiber(self) {
        let Self { mut instance, hook, exchange, mut done } = self;
        let (exchange, result) = tokio::select! {
            // The exchange is dropped, and with the instance what it waits for.
            () = done.closed() => return,
            called = instance.call_on_fiber(hook, exchange) => called,
        };
        drop(done.send((instance, exchange, result)));
    }
}

/// That it is refused does no harm: the thread is then a thread like any other.
#[cfg(unix)]
fn lower_priority() {
    // On Linux "this process" means this thread here.
    let _refused = rustix::process::setpriority_process(None, NICE).is_err();
}

#[cfg(not(unix))]
fn lower_priority() {}

impl std::fmt::Debug for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Job").field("hook", &self.hook).finish_non_exhaustive()
    }
}
