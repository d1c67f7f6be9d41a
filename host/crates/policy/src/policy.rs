//! What a policy is to the gateway.

use std::any::Any;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use portcullis_http::Fields;
use portcullis_model::{FailureMode, Name, Version};

use crate::{BodySide, Exchange};

/// A configured policy, shared by all workers and by all snapshots in which nothing of it changed.
pub trait PolicyFactory: Send + Sync + std::fmt::Debug {
    /// The name in the config.
    fn name(&self) -> &Name;

    /// The hooks that it has.
    fn hooks(&self) -> Hooks;

    /// The body hooks that it does not have, but whose pieces it is shown where that changes nothing about the body.
    fn watches(&self) -> Hooks {
        Hooks::default()
    }

    /// What a fault of it means.
    fn failure_mode(&self) -> FailureMode;

    /// Bytes of one body that it may be given at once or hold back.
    fn body_bytes_max(&self) -> usize;

    /// The policy as one worker runs it, with instances of its own.
    fn worker(self: Arc<Self>) -> Rc<dyn Policy>;

    /// The policy for a run apart from traffic, as when somebody wonders about a request: with instances of its own, and
    /// without the policy going live.
    fn apart(self: Arc<Self>) -> Rc<dyn Policy> {
        self.worker()
    }

    /// The same on a worker where `before` ran under this name: what of it is unchanged is taken over.
    fn worker_after(self: Arc<Self>, before: &Rc<dyn Policy>) -> Rc<dyn Policy> {
        let _made_of_one_piece = before;
        self.worker()
    }

    /// The version that an exchange takes whose first hook of this policy comes now.
    fn version_for(&self, exchange: &Exchange) -> Version {
        let _all_the_same = exchange;
        Version::Active
    }

    /// Where requests of its own are counted that it is refused because it must have no effect; `None` where it is refused
    /// none for that.
    fn refused_requests(&self) -> Option<Arc<AtomicU64>> {
        None
    }

    /// Returns whether so many bytes about a fault may be logged now; asked once for each line. They are few in a second, whatever a
    /// plugin's faults say and on however many workers they happen.
    fn may_tell(&self, bytes: usize) -> bool {
        let _any_number = bytes;
        true
    }

    /// For finding the concrete type again.
    fn as_any(&self) -> &dyn Any;
}

/// A policy on one worker. Everything happens on that worker's thread.
pub trait Policy {
    /// The factory that made it.
    fn factory(&self) -> &Arc<dyn PolicyFactory>;

    /// Runs a hook. The exchange is moved in and comes back with the outcome; it is lost only when the returned future
    /// is dropped, which happens only when the whole exchange is.
    fn call(&self, hook: Hook, exchange: Box<Exchange>) -> Called;

    /// Bytes of one body that it may be given at once or hold back in this exchange.
    fn body_bytes_max(&self, exchange: &Exchange) -> usize {
        let _all_the_same = exchange;
        self.factory().body_bytes_max()
    }

    /// Whoever is to be shown a body that is about to begin, and about which this policy does not decide. `None` where
    /// nobody is, in this exchange.
    fn watch(&self, side: BodySide, exchange: &mut Exchange) -> Option<Box<dyn Watch>> {
        let _nobody = (side, exchange);
        None
    }

    /// The versions that it is made of, where it is made of several.
    fn versions(&self) -> Vec<Rc<dyn Policy>> {
        Vec::new()
    }

    /// Called every now and then: lets go what no exchange needs any more.
    fn sweep(&self) {}
}

/// Sees a body pass, without a part in what becomes of it.
pub trait Watch {
    /// Takes a piece, at once: nobody waits. Gives whether there is use in showing it more.
    fn show(&mut self, piece: &bytes::Bytes, last: bool) -> bool;
}

/// What runs `factory` on a worker on which `before` ran: the same, a part of it, or made anew.
pub fn carry_over(before: Option<&Rc<dyn Policy>>, factory: &Arc<dyn PolicyFactory>) -> Rc<dyn Policy> {
    match before {
        Some(before) => match find_version(before, factory) {
            Some(kept) => kept,
            None => factory.clone().worker_after(before),
        },
        None => factory.clone().worker(),
    }
}

/// What runs `factory` in `policy` or among its versions.
pub(crate) fn find_version(
    policy: &Rc<dyn Policy>,
    factory: &Arc<dyn PolicyFactory>,
) -> Option<Rc<dyn Policy>> {
    let is_it = |policy: &Rc<dyn Policy>| Arc::ptr_eq(policy.factory(), factory);
    if is_it(policy) {
        return Some(policy.clone());
    }
    policy.versions().into_iter().find(is_it)
}

/// A hook and what it is given beside the exchange.
#[derive(Debug)]
pub enum Hook {
    /// The head of the request.
    RequestHead,
    /// A piece of the request's body.
    RequestBody {
        /// The piece; together with what was held back before.
        chunk: bytes::Bytes,
        /// Whether it is the last.
        last: bool,
    },
    /// The head of the response.
    ResponseHead,
    /// A piece of the response's body.
    ResponseBody {
        /// The piece; together with what was held back before.
        chunk: bytes::Bytes,
        /// Whether it is the last.
        last: bool,
    },
    /// All is over.
    Completed(Outcome),
}

/// How an exchange ended.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// The status that the client got; 0 where it got none.
    pub status: u16,
    /// Bytes of the request's body that were received.
    pub request_bytes: u64,
    /// Bytes of the response's body that were sent.
    pub response_bytes: u64,
    /// From the request's first byte to the response's last, in microseconds.
    pub duration_us: u64,
    /// The endpoint that answered.
    pub upstream: Option<String>,
    /// What went wrong.
    pub error: Option<String>,
}

/// Which hooks a policy has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Hooks {
    /// `on-request-head`.
    pub request_head: bool,
    /// `on-request-body`.
    pub request_body: bool,
    /// `on-response-head`.
    pub response_head: bool,
    /// `on-response-body`.
    pub response_body: bool,
    /// `on-completed`.
    pub completed: bool,
    /// `on-tick`, which the sandbox calls by itself.
    pub tick: bool,
}

impl Hooks {
    /// Those that either has.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self {
            request_head: self.request_head || other.request_head,
            request_body: self.request_body || other.request_body,
            response_head: self.response_head || other.response_head,
            response_body: self.response_body || other.response_body,
            completed: self.completed || other.completed,
            tick: self.tick || other.tick,
        }
    }

    /// Whether this one is among them.
    #[must_use]
    pub fn has(self, hook: &Hook) -> bool {
        match hook {
            Hook::RequestHead => self.request_head,
            Hook::RequestBody { .. } => self.request_body,
            Hook::ResponseHead => self.response_head,
            Hook::ResponseBody { .. } => self.response_body,
            Hook::Completed(_) => self.completed,
        }
    }
}

/// What a hook gives back.
pub type Returned = (Box<Exchange>, Result<Decision, Fault>);

/// The outcome of a call: at once, or later where the hook waits or runs long.
pub enum Called {
    /// The hook has returned.
    Ready(Box<Exchange>, Result<Decision, Fault>),
    /// The hook is under way on a fiber of its own.
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

/// What a policy decided.
#[derive(Debug)]
pub enum Decision {
    /// Go on.
    Next,
    /// Answer the client with this.
    Reply(Reply),
    /// Of a body hook: what becomes of the piece.
    Body(BodyDecision),
}

/// What becomes of a piece of a body.
#[derive(Debug)]
pub enum BodyDecision {
    /// It goes on as it is.
    Forward,
    /// This goes on in its place.
    Replace(bytes::Bytes),
    /// It is kept and given again together with the next one.
    Hold,
}

/// An answer that a policy gives in place of the upstream. Validated by whoever made it.
#[derive(Debug, Default)]
pub struct Reply {
    /// 200 to 599.
    pub status: u16,
    /// Its fields, without framing.
    pub fields: Fields,
    /// Its body.
    pub body: bytes::Bytes,
}

/// A policy failed. The exchange goes on as its [`FailureMode`] says.
#[derive(Debug, Clone, thiserror::Error)]
#[error("policy `{policy}` failed in {hook}: {kind}: {message}")]
pub struct Fault {
    /// The policy.
    pub policy: Name,
    /// The hook, by its WIT name.
    pub hook: &'static str,
    /// What sort of failure it is.
    pub kind: FaultKind,
    /// The reason, with the Wasm backtrace where there is one.
    pub message: String,
}

impl Fault {
    /// What the client gets where the policy fails closed: 500, or 503 where nothing has failed and there was only no place
    /// for the policy. Its body is for whoever sends it.
    #[must_use]
    pub fn reply(&self) -> Reply {
        let mut reply = Reply { status: 500, ..Reply::default() };
        if self.kind == FaultKind::Exhausted {
            reply.status = 503;
            // Places become free as exchanges end, of which many do within a second. An empty section has room for it.
            reply.fields.append(b"retry-after", b"1").unwrap_or_default();
        }
        reply
    }
}

/// What sort of failure a [`Fault`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FaultKind {
    /// The guest trapped.
    Trap,
    /// The guest used up its time.
    Deadline,
    /// The guest asked for more memory, tables or instances than it may have.
    Memory,
    /// The guest returned something that is not allowed, such as a reply with an invalid field.
    InvalidReturn,
    /// The guest handed over or held back more bytes than it may.
    TooLarge,
    /// A hook took longer than it may, waiting included.
    Timeout,
    /// No instance, or no memory for one, was to be had: a total of the gateway or of the policy is used up.
    Exhausted,
    /// It was not called: it failed too often lately.
    Quarantined,
}

impl FaultKind {
    /// Whether it is the policy's own doing, rather than what was left for it.
    #[must_use]
    pub fn is_its_own(self) -> bool {
        match self {
            Self::Trap
            | Self::Deadline
            | Self::Memory
            | Self::InvalidReturn
            | Self::TooLarge
            | Self::Timeout => true,
            Self::Exhausted | Self::Quarantined => false,
        }
    }

    /// The word for it in the log and in metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Trap => "trap",
            Self::Deadline => "deadline",
            Self::Memory => "memory",
            Self::InvalidReturn => "invalid-return",
            Self::TooLarge => "too-large",
            Self::Timeout => "timeout",
            Self::Exhausted => "exhausted",
            Self::Quarantined => "quarantined",
        }
    }
}

impl std::fmt::Display for FaultKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl Hook {
    /// Its name in WIT.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::RequestHead => "on-request-head",
            Self::RequestBody { .. } => "on-request-body",
            Self::ResponseHead => "on-response-head",
            Self::ResponseBody { .. } => "on-response-body",
            Self::Completed(_) => "on-completed",
        }
    }
}
