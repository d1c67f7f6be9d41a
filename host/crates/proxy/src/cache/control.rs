//! Purges that policies ask for, done on a thread of their own: a search among all keys takes longer than a worker may.

mod queue;

use std::collections::HashMap;
use std::sync::{Arc, OnceLock, Weak};
use std::thread;
use std::time::Duration;

use portcullis_model::{Lock, Name};
use portcullis_policy::cache_purger::{CachePurger, PurgeError, PurgeRequest, Purged, Purging as Waiting};
use tokio::runtime;
use tokio::sync::{mpsc, oneshot};
use tokio::task::LocalSet;

use self::queue::Queue;
use super::purge::Purging;
use super::typed_url::{PurgeTarget, TypedUrl, UrlError};
use crate::snapshot::Snapshot;

/// Purges of one policy that may wait at once.
const WAITING_MAX: u32 = 64;

/// Purges of all policies together that the thread has not taken yet.
const UNTAKEN_MAX: usize = 1024;

/// How long a purge waits to be written down on a disk that is not known any more.
const WRITTEN_TIMEOUT: Duration = Duration::from_secs(10);

/// The caches of the generation that runs, for the purges of policies. Cheap to clone; all clones are one.
#[derive(Debug, Clone, Default)]
pub struct CacheControl(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    current: Lock<Weak<Snapshot>>,
    /// How many purges of each policy wait.
    waiting: Lock<HashMap<Name, u32>>,
    /// To the thread, which the first purge starts. It ends with the last clone. `None` if it cannot be started.
    thread: OnceLock<Option<mpsc::Sender<Job>>>,
}

/// A purge that waits for its turn. There are as many as `waiting` allows.
#[derive(Debug)]
struct Job {
    request: PurgeRequest,
    /// The hook may not be there any more. The purge is done all the same.
    done: oneshot::Sender<Result<u64, PurgeError>>,
}

impl CacheControl {
    /// Notes which generation runs.
    pub fn set(&self, snapshot: &Arc<Snapshot>) {
        *self.0.current.lock() = Arc::downgrade(snapshot);
    }

    fn thread(&self) -> Option<&mpsc::Sender<Job>> {
        let start = || {
            let (send, receive) = mpsc::channel(UNTAKEN_MAX);
            let inner = Arc::downgrade(&self.0);
            let runtime = runtime::Builder::new_current_thread().enable_time().build();
            let started = runtime.and_then(|runtime| {
                let run = move || LocalSet::new().block_on(&runtime, run(inner, receive));
                thread::Builder::new().name("policy-purges".to_owned()).spawn(run)
            });
            match started {
                Ok(_detached) => Some(send),
                Err(error) => {
                    tracing::error!(%error, "no thread can be started for the purges of policies");
                    None
                }
            }
        };
        self.0.thread.get_or_init(start).as_ref()
    }
}

impl Inner {
    /// Takes a place for one more purge of a policy. Returns `false` if too many wait.
    fn enter(&self, policy: &Name) -> bool {
        let mut waiting = self.waiting.lock();
        let count = waiting.entry(policy.clone()).or_default();
        let is_free = *count < WAITING_MAX;
        *count += u32::from(is_free);
        is_free
    }

    fn leave(&self, policy: &Name) {
        let mut waiting = self.waiting.lock();
        if let Some(count) = waiting.get_mut(policy) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                waiting.remove(policy);
            }
        }
    }
}

/// Does the purges that come, one policy after the other, until all clones are gone.
async fn run(inner: Weak<Inner>, mut jobs: mpsc::Receiver<Job>) {
    let mut queue = Queue::default();
    loop {
        if queue.is_empty() {
            match jobs.recv().await {
                Some(job) => queue.push(job.request.policy.clone(), job),
                None => return,
            }
        }
        while let Ok(job) = jobs.try_recv() {
            queue.push(job.request.policy.clone(), job);
        }
        let Some(Job { request, done }) = queue.pop() else { continue };
        let Some(inner) = inner.upgrade() else { return };
        inner.leave(&request.policy);
        let snapshot = inner.current.lock().upgrade();
        drop(inner);
        match purge(snapshot.as_deref(), &request) {
            Err(error) => drop(done.send(Err(error))),
            Ok(purged) => {
                // A disk that is slow delays no other purge.
                tokio::task::spawn_local(async move { drop(done.send(written(purged).await)) });
            }
        }
        tokio::task::yield_now().await;
    }
}

/// What was purged in one cache, and how long its disk may take to write that down.
type PurgedCache = (Purging, Duration);

/// Purges in memory and in the indexes of disks.
fn purge(snapshot: Option<&Snapshot>, request: &PurgeRequest) -> Result<Vec<PurgedCache>, PurgeError> {
    let invalid = |error: UrlError| PurgeError::Invalid(error.to_string());
    let (kind, text, target) = match &request.what {
        Purged::Url(url) => ("url", url, PurgeTarget::Url(TypedUrl::parse(url).map_err(invalid)?)),
        Purged::Prefix(url) => {
            ("prefix", url, PurgeTarget::Url(TypedUrl::parse_prefix(url).map_err(invalid)?))
        }
        Purged::Tag(tag) => ("tag", tag, PurgeTarget::Tag(tag.clone().into_bytes())),
    };
    let mut all = Vec::new();
    for cache in &request.caches {
        // A cache that a reload has removed has nothing.
        let Some(purging) = snapshot.and_then(|snapshot| snapshot.purge(cache, &target, request.soft)) else {
            continue;
        };
        let purging = purging.map_err(invalid)?;
        tracing::debug!(
            event = "cache-purge",
            policy = %request.policy,
            %cache,
            kind,
            purged = text,
            in_memory = purging.in_memory,
            on_disk = purging.on_disk,
            soft = request.soft,
            "cache purged by a policy"
        );
        let timeout = snapshot.and_then(|snapshot| snapshot.write_timeout(cache));
        all.push((purging, timeout.unwrap_or(WRITTEN_TIMEOUT)));
    }
    Ok(all)
}

/// Waits until all of it is written down. Returns how many responses were met.
async fn written(purged: Vec<PurgedCache>) -> Result<u64, PurgeError> {
    let (mut met, mut lasts) = (0, true);
    for (purging, timeout) in purged {
        met += (purging.in_memory + purging.on_disk) as u64;
        lasts &= tokio::time::timeout(timeout, purging.written()).await.unwrap_or(false);
    }
    if lasts { Ok(met) } else { Err(PurgeError::NotLasting) }
}

impl CachePurger for CacheControl {
    fn purge(&self, request: PurgeRequest) -> Waiting {
        let (done, receive) = oneshot::channel();
        let sent = match self.thread() {
            Some(thread) if self.0.enter(&request.policy) => {
                let policy = request.policy.clone();
                let sent = thread.try_send(Job { request, done }).is_ok();
                if !sent {
                    self.0.leave(&policy);
                }
                sent
            }
            _ => false,
        };
        Box::pin(async move {
            match sent {
                true => receive.await.unwrap_or(Err(PurgeError::Busy)),
                false => Err(PurgeError::Busy),
            }
        })
    }
}

#[cfg(test)]
mod tests;
