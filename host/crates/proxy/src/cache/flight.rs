//! Requests for the same response, of which one gets it from the upstream and the others wait: on all workers together.
//!
//! The one that gets it has a [`Lead`]. Dropping that releases the others, so none waits for a client that has gone.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::collections::hash_map::{Entry as Place, RandomState};
use std::hash::BuildHasher as _;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use portcullis_model::{Collapse, Lock};
use tokio::time::Instant;

use crate::error::SharedFailure;

/// Parts of the table, each with a lock that is held for some nanoseconds.
const SHARDS: usize = 16;

/// Keys of one part whose responses are remembered as not stored.
const PASSES_MAX: usize = 1024;

/// What is under way, for all workers. `E` is what the waiting requests get: an entry of a store.
#[derive(Debug)]
pub(crate) struct Flights<E> {
    shards: [Lock<Shard<E>>; SHARDS],
    hasher: RandomState,
}

#[derive(Debug)]
struct Shard<E> {
    flights: HashMap<Box<[u8]>, Arc<Flight<E>>>,
    /// By the hash of the key, which is as good here: two keys that share one cost requests to the upstream.
    passes: HashMap<u64, Pass>,
}

/// A response that is awaited.
#[derive(Debug)]
struct Flight<E>(Lock<State<E>>);

#[derive(Debug)]
struct State<E> {
    outcome: Option<Outcome<E>>,
    wakers: Vec<(u64, Waker)>,
    waiting: u32,
    /// The number that the next request gets that waits.
    next: u64,
}

/// What becomes of those that wait.
#[derive(Debug, Clone)]
pub(crate) enum Outcome<E> {
    /// The response can be read, as it comes.
    Read(E),
    /// It is for the request alone that got it.
    NotShared,
    /// The upstream failed. Without a reason of the gateway's own it has answered so.
    Failed(Option<Arc<SharedFailure>>),
    /// The request that was to get it ended before it was answered: another one has to.
    Abandoned,
}

/// Why requests for a key do not wait for each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Passing {
    /// Its last response was not stored.
    NotStored,
    /// Its last response was larger than what is stored.
    TooLarge,
}

#[derive(Debug, Clone, Copy)]
struct Pass {
    until: Instant,
    why: Passing,
}

/// How a request takes part.
#[derive(Debug)]
pub(crate) enum Joined<E> {
    /// It gets the response, for the others too.
    Lead(Lead<E>),
    /// It waits.
    Wait(Wait<E>),
    /// It goes to the upstream by itself.
    Alone(Option<Passing>),
}

impl<E> Default for Flights<E> {
    fn default() -> Self {
        let shard = || Lock::new(Shard { flights: HashMap::new(), passes: HashMap::new() });
        Self { shards: std::array::from_fn(|_| shard()), hasher: RandomState::new() }
    }
}

impl<E> Flights<E> {
    /// The part of the table that has `key`, and the hash of it.
    fn shard(&self, key: &[u8]) -> (&Lock<Shard<E>>, u64) {
        let hash = self.hasher.hash_one(key);
        (&self.shards[(hash >> 32) as usize % SHARDS], hash)
    }

    /// Takes part in getting the response for `key`. Unless it `may_wait`, a request is alone if another one leads.
    pub(crate) fn join(self: &Arc<Self>, key: &[u8], rules: &Collapse, may_wait: bool) -> Joined<E> {
        let (shard, hash) = self.shard(key);
        let mut shard = shard.lock();
        if let Some(pass) = shard.passes.get(&hash) {
            if pass.until > Instant::now() {
                return Joined::Alone(Some(pass.why));
            }
            shard.passes.remove(&hash);
        }
        let flight = match shard.flights.entry(key.into()) {
            Place::Occupied(there) => there.get().clone(),
            Place::Vacant(free) => {
                let flight = Arc::new(Flight(Lock::new(State::default())));
                free.insert(flight.clone());
                return Joined::Lead(Lead { flights: self.clone(), key: key.into(), flight });
            }
        };
        drop(shard);
        let mut state = flight.0.lock();
        // One that has ended is about to leave the table.
        let full = rules.wait.is_zero() || state.waiting >= rules.waiting_max;
        if !may_wait || full || state.outcome.is_some() {
            return Joined::Alone(None);
        }
        state.waiting += 1;
        let number = state.next;
        state.next += 1;
        drop(state);
        Joined::Wait(Wait { flight, number })
    }
}

impl<E> Default for State<E> {
    fn default() -> Self {
        Self { outcome: None, wakers: Vec::new(), waiting: 0, next: 0 }
    }
}

impl<E> Flight<E> {
    fn settle(&self, outcome: Outcome<E>) {
        let mut state = self.0.lock();
        state.outcome = Some(outcome);
        let wakers = std::mem::take(&mut state.wakers);
        drop(state);
        for (_, waker) in wakers {
            waker.wake();
        }
    }
}

/// The duty to get a response for all that wait for it. Dropping it releases them, to get it themselves.
#[derive(Debug)]
pub(crate) struct Lead<E> {
    flights: Arc<Flights<E>>,
    key: Box<[u8]>,
    flight: Arc<Flight<E>>,
}

impl<E> Lead<E> {
    /// Returns how many wait.
    pub(crate) fn waiting(&self) -> u32 {
        self.flight.0.lock().waiting
    }

    /// Ends it with `outcome` for those that wait.
    pub(crate) fn end(self, outcome: Outcome<E>) {
        self.leave();
        self.flight.settle(outcome);
    }

    /// Ends it: the response is for one request alone. The next ones do not wait for each other for a while.
    pub(crate) fn pass(self, why: Passing, time: Duration) {
        let until = Instant::now() + time;
        let (shard, hash) = self.flights.shard(&self.key);
        let mut shard = shard.lock();
        if shard.passes.len() >= PASSES_MAX {
            let now = Instant::now();
            shard.passes.retain(|_, pass| pass.until > now);
        }
        if shard.passes.len() < PASSES_MAX {
            shard.passes.insert(hash, Pass { until, why });
        }
        drop(shard);
        self.end(Outcome::NotShared);
    }

    fn leave(&self) {
        let mut shard = self.flights.shard(&self.key).0.lock();
        if shard.flights.get(&self.key).is_some_and(|there| Arc::ptr_eq(there, &self.flight)) {
            shard.flights.remove(&self.key);
        }
    }
}

impl<E> Drop for Lead<E> {
    fn drop(&mut self) {
        self.leave();
        if self.flight.0.lock().outcome.is_none() {
            self.flight.settle(Outcome::Abandoned);
        }
    }
}

/// A request's wait for a response that another one gets. Dropping it ends the wait.
#[derive(Debug)]
pub(crate) struct Wait<E> {
    flight: Arc<Flight<E>>,
    number: u64,
}

impl<E: Clone> Wait<E> {
    /// Ready once the response can be read, or will not come.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Outcome<E>> {
        let mut state = self.flight.0.lock();
        if let Some(outcome) = &state.outcome {
            return Poll::Ready(outcome.clone());
        }
        match state.wakers.iter_mut().find(|(number, _)| *number == self.number) {
            Some((_, waker)) => waker.clone_from(cx.waker()),
            None => state.wakers.push((self.number, cx.waker().clone())),
        }
        Poll::Pending
    }
}

impl<E> Drop for Wait<E> {
    fn drop(&mut self) {
        let mut state = self.flight.0.lock();
        state.waiting = state.waiting.saturating_sub(1);
        state.wakers.retain(|(number, _)| *number != self.number);
    }
}
