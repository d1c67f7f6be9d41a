//! What a policy is to the gateway.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use bytes::Bytes;
use portcullis_model::{FailureMode, Name};

use crate::decision::{Decision, Fault};
use crate::exchange::Exchange;
use crate::hook::{BodySide, Hook, Hooks};

/// A configured policy, shared by all workers and by all snapshots in which its configuration is unchanged.
pub trait PolicyFactory: Send + Sync + std::fmt::Debug {
    /// Returns the name in the config.
    fn name(&self) -> &Name;

    /// Returns the hooks that it has.
    fn hooks(&self) -> Hooks;

    /// Returns what a fault of it means for an exchange.
    fn failure_mode(&self) -> FailureMode;

    /// Returns whether it may say something to the cache of a route.
    fn informs_cache(&self) -> bool {
        false
    }

    /// Returns how many bytes of one body it may be given at once or hold back.
    fn body_bytes_max(&self) -> usize;

    /// Returns the policy as one worker runs it, with instances of its own.
    fn worker(self: Arc<Self>) -> Rc<dyn Policy>;

    /// Returns the same on a worker on which `before` ran under this name. A policy of several versions takes over
    /// those that are unchanged.
    fn worker_after(self: Arc<Self>, _before: &Rc<dyn Policy>) -> Rc<dyn Policy> {
        self.worker()
    }

    /// Returns the policy for runs detached from traffic, such as an explanation: with instances of its own, and
    /// without the policy going live.
    fn detached(self: Arc<Self>) -> Rc<dyn Policy>;

    /// Returns what counts the requests of its own that it was refused because it must have no effect; `None` if it
    /// may have effects.
    fn refused_requests(&self) -> Option<Arc<AtomicU64>> {
        None
    }

    /// Returns whether a message of so many bytes about a fault may be logged now. It is asked once for each line,
    /// and allows few bytes in a second, whatever the plugin's faults say and on however many workers they happen.
    fn may_log(&self, bytes: usize) -> bool;
}

/// A policy on one worker. Everything happens on that worker's thread.
pub trait Policy {
    /// Returns the factory that made it.
    fn factory(&self) -> &Arc<dyn PolicyFactory>;

    /// Runs a hook. The exchange is moved in and comes back with the outcome; it is lost only if the returned future
    /// is dropped, which happens only if the whole exchange is.
    fn call(&self, hook: Hook, exchange: Box<Exchange>) -> Called;

    /// Returns how many bytes of one body it may be given at once or hold back in this exchange.
    fn body_bytes_max(&self, _exchange: &Exchange) -> usize {
        self.factory().body_bytes_max()
    }

    /// Returns the policy as one that is shown bodies about which it does not decide, or `None` if it is not.
    fn as_watcher(&self) -> Option<&dyn Watcher> {
        None
    }

    /// Returns the versions that it is made of, or nothing if it is a single one.
    fn versions(&self) -> Vec<Rc<dyn Policy>> {
        Vec::new()
    }

    /// Drops what no exchange needs any more. It is called now and then.
    fn sweep(&self) {}
}

/// A policy that is shown bodies about which it does not decide. Being shown a body does not make it one that passes
/// through policies, which would change how it is framed and when it is sent.
pub trait Watcher {
    /// Returns the body hooks that it does not have, but whose pieces it is shown.
    fn watches(&self) -> Hooks;

    /// Returns what is to be shown a body that is about to begin, or `None` if nothing is in this exchange.
    fn watch(&self, side: BodySide, exchange: &mut Exchange) -> Option<Box<dyn Watch>>;
}

/// Sees a body pass, without a part in what becomes of it.
pub trait Watch {
    /// Takes a piece without waiting. Returns whether it is of use to show more.
    fn show(&mut self, piece: &Bytes, last: bool) -> bool;
}

/// Returns what runs `factory` on a worker on which `before` ran: the same policy, one of its versions, or a new one.
pub fn carry_over(before: Option<&Rc<dyn Policy>>, factory: &Arc<dyn PolicyFactory>) -> Rc<dyn Policy> {
    match before {
        Some(before) => match find_version(before, factory) {
            Some(kept) => kept,
            None => factory.clone().worker_after(before),
        },
        None => factory.clone().worker(),
    }
}

/// Returns what runs `factory`: `policy` itself or one of its versions.
pub fn find_version(policy: &Rc<dyn Policy>, factory: &Arc<dyn PolicyFactory>) -> Option<Rc<dyn Policy>> {
    let is_it = |policy: &Rc<dyn Policy>| Arc::ptr_eq(policy.factory(), factory);
    if is_it(policy) {
        return Some(policy.clone());
    }
    policy.versions().into_iter().find(is_it)
}

/// What a hook returns.
pub type Returned = (Box<Exchange>, Result<Decision, Fault>);

/// The outcome of a call: at once, or later if the hook waits or runs long.
pub enum Called {
    /// The hook has returned.
    Ready(Box<Exchange>, Result<Decision, Fault>),
    /// The hook runs on a fiber of its own.
    Waiting(Pin<Box<dyn Future<Output = Returned>>>),
}

impl std::fmt::Debug for Called {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Ready(_, result) => f.debug_tuple("Ready").field(result).finish_non_exhaustive(),
            Self::Waiting(_) => f.write_str("Waiting"),
        }
    }
}
