//! A version that runs beside the active one, on copies, and changes nothing.

use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::SystemTime;

use portcullis_model::Lock;

use bytes::Bytes;

use super::canary::{Chosen, note};
use super::compare::{Decided, Difference, Sample, differences};
use super::factory::{RolloutFactory, Workers};
use super::meter::timed;
use super::state::Side;
use super::stream::{self, Full, Stream};
use crate::{
    BodyDecision, BodySide, Called, ClientGone, Decision, Exchange, Fault, FaultKind, Hook, Hooks, Outcome,
    Policy, PolicyFactory, PolicySlot, Returned, Watch,
};

/// Exchanges that one shadow may be with on one worker, from the policy's first hook to its last: each may hold an instance
/// of the shadow, of which the gateway has a bounded number, and copies of the heads for up to three hooks. The active
/// versions need theirs more, so that the shadow does not see what comes while it is with so many.
const TRACKS_MAX: usize = 64;

/// Bytes of bodies that wait for a shadow in one exchange. They are not copied, but kept from being freed; a shadow that does
/// not keep up, which makes nobody wait, sees no more of the exchange.
const WAITING_BYTES_MAX: usize = 1 << 20;
/// Hooks that wait for it there, each with copies of the heads.
const WAITING_MAX: usize = 32;

/// What the shadow does with one exchange.
pub(crate) struct Track {
    /// What the shadow keeps from hook to hook, apart from what the active version does.
    slot: PolicySlot,
    waiting: VecDeque<Job>,
    waiting_bytes: usize,
    /// The bodies of request and response.
    streams: [Stream; 2],
    /// Whether somebody works on it.
    running: bool,
    /// There until the shadow is through with the exchange: it has run its last hook; it decided otherwise, so that from
    /// here on the two are on different ways; or it failed.
    place: Option<Place>,
    faulted: bool,
}

/// A hook that the shadow has to run.
struct Job {
    hook: ShadowHook,
    /// The exchange as the active version was given it.
    before: Box<Exchange>,
    decided: Decided,
    /// The exchange as the active version left it.
    after: Box<Exchange>,
}

/// The hooks that a shadow runs. Of a body it is what the active version was given, with what that had held back in front.
#[derive(Debug, Clone)]
enum ShadowHook {
    RequestHead,
    ResponseHead,
    Body { side: BodySide, chunk: Bytes, last: bool },
    Completed(Outcome),
}

impl ShadowHook {
    fn of(hook: &Hook) -> Self {
        let body = |side, chunk: &Bytes, last: &bool| Self::Body { side, chunk: chunk.clone(), last: *last };
        match hook {
            Hook::RequestHead => Self::RequestHead,
            Hook::ResponseHead => Self::ResponseHead,
            Hook::RequestBody { chunk, last } => body(BodySide::Request, chunk, last),
            Hook::ResponseBody { chunk, last } => body(BodySide::Response, chunk, last),
            Hook::Completed(outcome) => Self::Completed(outcome.clone()),
        }
    }

    /// Whether a version with these hooks is called for none after this one. The body of a request may still be on its way
    /// while the response goes out; `request_ended` says whether it is not.
    fn is_last_of(&self, hooks: Hooks, request_ended: bool) -> bool {
        let response = hooks.response_head || hooks.response_body;
        let request_body = hooks.request_body && !request_ended;
        match self {
            Self::RequestHead => !(hooks.request_body || response || hooks.completed),
            Self::Body { side: BodySide::Request, last, .. } => *last && !(response || hooks.completed),
            Self::ResponseHead => !(request_body || hooks.response_body || hooks.completed),
            Self::Body { side: BodySide::Response, last, .. } => *last && !(request_body || hooks.completed),
            Self::Completed(_) => true,
        }
    }

    /// Its name in WIT.
    fn name(&self) -> &'static str {
        match self {
            Self::RequestHead => Hook::RequestHead.name(),
            Self::ResponseHead => Hook::ResponseHead.name(),
            Self::Body { side, .. } => side.hook(Bytes::new(), false).name(),
            Self::Completed(_) => Hook::Completed(Outcome::default()).name(),
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Body { chunk, .. } => chunk.len(),
            _ => 0,
        }
    }
}

/// A place among the exchanges that the shadow is with; given back when dropped. All on one thread, but an exchange, which
/// has it, may be moved to another.
struct Place(Arc<AtomicUsize>);

impl Place {
    fn take(taken: &Arc<AtomicUsize>) -> Option<Self> {
        (taken.load(Ordering::Relaxed) < TRACKS_MAX).then(|| {
            taken.fetch_add(1, Ordering::Relaxed);
            Self(taken.clone())
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Both versions on one worker.
pub(crate) struct ShadowPolicy {
    workers: Workers,
    /// Exchanges that the shadow is with.
    tracks: Arc<AtomicUsize>,
}

impl ShadowPolicy {
    pub(crate) fn new(workers: Workers) -> Self {
        Self { workers, tracks: Arc::default() }
    }

    /// What the shadow does with this exchange, where it sees it at all, which is decided once.
    fn track(&self, exchange: &mut Exchange) -> Option<Arc<Lock<Track>>> {
        if let Some(chosen) = &exchange.slot().rollout {
            return chosen.track.clone();
        }
        let rollout = &self.workers.shared.rollout;
        let side = rollout.side_for(exchange);
        rollout.begin(Side::Active);
        let mut chosen = Chosen::new(side, &self.workers);
        if side == Side::Candidate {
            match Place::take(&self.tracks) {
                Some(place) => {
                    rollout.begin(Side::Candidate);
                    chosen.track = Some(Arc::new(Lock::new(Track::new(place))));
                }
                None => rollout.skipped(),
            }
        }
        let track = chosen.track.clone();
        exchange.slot().rollout = Some(Box::new(chosen));
        track
    }

    /// Takes a copy of what the active version is about to be given, where the shadow is to see it.
    fn prepare(&self, hook: &Hook, exchange: &mut Exchange) -> Option<Prepared> {
        let track = self.track(exchange)?;
        if track.lock().is_over() || !self.workers.shared.shadowed_hooks().has(hook) {
            return None;
        }
        Some(Prepared {
            shadow: self.workers.get(Side::Candidate),
            shared: self.workers.shared.clone(),
            track,
            hook: ShadowHook::of(hook),
            before: copy(exchange),
        })
    }
}

impl Policy for ShadowPolicy {
    fn factory(&self) -> &Arc<dyn PolicyFactory> {
        self.workers.factory()
    }

    fn call(&self, hook: Hook, mut exchange: Box<Exchange>) -> Called {
        let prepared = self.prepare(&hook, &mut exchange);
        let shared = &self.workers.shared;
        if !shared.version(Side::Active).hooks().has(&hook) {
            if let Some(prepared) = prepared {
                prepared.go(&Ok(Decision::Next), &exchange);
            }
            return Called::Ready(exchange, Ok(Decision::Next));
        }
        let policy = self.workers.get(Side::Active);
        let rollout = shared.rollout.clone();
        timed(
            shared.wall,
            exchange,
            |exchange| policy.call(hook, exchange),
            move |exchange, result, spent| {
                note(&rollout, Side::Active, exchange, result, spent);
                if let Some(prepared) = prepared {
                    prepared.go(result, exchange);
                }
            },
        )
    }

    fn body_bytes_max(&self, _: &Exchange) -> usize {
        self.workers.shared.version(Side::Active).body_bytes_max()
    }

    fn watch(&self, side: BodySide, exchange: &mut Exchange) -> Option<Box<dyn Watch>> {
        let track = self.track(exchange)?;
        if track.lock().is_over() {
            return None;
        }
        let (shadow, shared) = (self.workers.get(Side::Candidate), self.workers.shared.clone());
        Some(Box::new(Watching { shadow, shared, track, side, exchange: copy(exchange) }))
    }

    fn versions(&self) -> Vec<Rc<dyn Policy>> {
        self.workers.all()
    }

    fn sweep(&self) {
        self.workers.sweep();
    }
}

/// Shows the shadow a body for which the active version has no hook. The exchange itself may be with another hook while
/// a piece comes, so the shadow has it as it was when the body began.
struct Watching {
    shadow: Rc<dyn Policy>,
    shared: Arc<RolloutFactory>,
    track: Arc<Lock<Track>>,
    side: BodySide,
    exchange: Box<Exchange>,
}

impl Watch for Watching {
    fn show(&mut self, piece: &Bytes, last: bool) -> bool {
        if self.track.lock().is_over() {
            return false;
        }
        let prepared = Prepared {
            shadow: self.shadow.clone(),
            shared: self.shared.clone(),
            track: self.track.clone(),
            hook: ShadowHook::Body { side: self.side, chunk: piece.clone(), last },
            before: copy(&self.exchange),
        };
        prepared.go(&Ok(Decision::Next), &self.exchange);
        !last && !self.track.lock().is_over()
    }
}

/// A hook of the shadow that waits for the active version to have had its turn.
struct Prepared {
    shadow: Rc<dyn Policy>,
    shared: Arc<RolloutFactory>,
    track: Arc<Lock<Track>>,
    hook: ShadowHook,
    before: Box<Exchange>,
}

impl Prepared {
    /// The active version has had its turn. The shadow gets its own when this thread is free: the exchange goes on first.
    fn go(self, result: &Result<Decision, Fault>, after: &Exchange) {
        let Self { shadow, shared, track, mut hook, before } = self;
        let mut state = track.lock();
        if state.is_over() {
            return;
        }
        if let ShadowHook::Body { side, chunk, last } = &mut hook {
            let stream = &mut state.streams[*side as usize];
            let new = stream.new_in(chunk);
            stream.decided(chunk, *last, result);
            *chunk = new;
        }
        let bytes = state.waiting_bytes + hook.bytes();
        if bytes > WAITING_BYTES_MAX || state.waiting.len() >= WAITING_MAX {
            state.end();
            shared.rollout.left_behind();
            return;
        }
        state.waiting_bytes = bytes;
        state.waiting.push_back(Job { hook, before, decided: Decided::of(result), after: copy(after) });
        if std::mem::replace(&mut state.running, true) {
            return;
        }
        drop(state);
        (shared.spawn)(Box::pin(run(shadow, shared, track)));
    }
}

/// Runs what waits, one hook after the other, until nothing does.
async fn run(shadow: Rc<dyn Policy>, shared: Arc<RolloutFactory>, track: Arc<Lock<Track>>) {
    loop {
        let (job, slot) = {
            let mut state = track.lock();
            match state.waiting.pop_front() {
                Some(job) => {
                    state.waiting_bytes = state.waiting_bytes.saturating_sub(job.hook.bytes());
                    (job, std::mem::take(&mut state.slot))
                }
                None => {
                    state.running = false;
                    return;
                }
            }
        };
        let Job { hook, mut before, decided, after } = job;
        *before.slot() = slot;
        let (mut exchange, result) = match &hook {
            ShadowHook::RequestHead => call(&shadow, &shared, before, Hook::RequestHead).await,
            ShadowHook::ResponseHead => call(&shadow, &shared, before, Hook::ResponseHead).await,
            ShadowHook::Body { side, chunk, last } => {
                // What the active version has decided something about, the shadow has to see now, or they would differ.
                let must = !decided.is_like(&Decided::Next);
                pass(&shadow, &shared, &track, before, (*side, chunk.clone(), *last), must).await
            }
            ShadowHook::Completed(outcome) => {
                call(&shadow, &shared, before, Hook::Completed(outcome.clone())).await
            }
        };
        let rollout = &shared.rollout;
        let mut state = track.lock();
        state.slot = std::mem::take(exchange.slot());
        match &result {
            Ok(Decision::Reply(_)) => rollout.replied(Side::Candidate),
            Ok(Decision::Next | Decision::Body(_)) => {}
            Err(fault) => {
                let first_of_exchange = !std::mem::replace(&mut state.faulted, true);
                if rollout.failed(Side::Candidate, fault.kind, first_of_exchange) {
                    tracing::warn!(
                        policy = %fault.policy,
                        hook = fault.hook,
                        kind = %fault.kind,
                        trace_id = %exchange.trace_id,
                        "fault of a shadow, the first of its kind; those after it are only counted: {}",
                        fault.message,
                    );
                }
            }
        }
        let shadowed = Decided::of(&result);
        let passed = match &hook {
            ShadowHook::Body { side, last: true, .. } if shadowed.is_like(&decided) => {
                state.streams[*side as usize].difference().map(|bytes| (stream::kind(*side), bytes))
            }
            _ => None,
        };
        let request_ended = state.streams[BodySide::Request as usize].ended;
        if !shadowed.is_like(&decided)
            || result.is_err()
            || hook.is_last_of(shared.shadowed_hooks(), request_ended)
        {
            state.end();
        }
        drop(state);
        let mut found =
            differences(exchange.phase, (&decided, &after), (&shadowed, &exchange), shared.keeps_values);
        found.extend(passed.map(|(kind, (active, candidate))| Difference {
            kind,
            name: None,
            active,
            candidate,
        }));
        let hook = hook.name();
        rollout.compared(found, |differences| Sample {
            at: SystemTime::now(),
            trace_id: after.trace_id.clone(),
            route: after.route.clone(),
            hook,
            method: after.request.method.clone(),
            differences,
        });
    }
}

/// Calls a hook of the shadow, and counts what it takes.
async fn call(
    shadow: &Rc<dyn Policy>,
    shared: &Arc<RolloutFactory>,
    exchange: Box<Exchange>,
    hook: Hook,
) -> Returned {
    let rollout = shared.rollout.clone();
    let called = timed(
        shared.wall,
        exchange,
        |exchange| shadow.call(hook, exchange),
        move |_, _, spent| rollout.spent(Side::Candidate, spent),
    );
    match called {
        Called::Ready(exchange, result) => (exchange, result),
        Called::Waiting(future) => future.await,
    }
}

/// Gives the shadow a piece of a body, as the chain gives one to a policy: behind what it held back, and in parts that are no
/// larger than it may be given.
async fn pass(
    shadow: &Rc<dyn Policy>,
    shared: &Arc<RolloutFactory>,
    track: &Arc<Lock<Track>>,
    mut exchange: Box<Exchange>,
    (side, mut piece, last): (BodySide, Bytes, bool),
    must: bool,
) -> Returned {
    let bytes_max = shadow.body_bytes_max(&exchange);
    loop {
        let part = track.lock().streams[side as usize].part(&mut piece, last, must, bytes_max);
        let part = match part {
            Ok(Some(part)) => part,
            Ok(None) => return (exchange, Ok(Decision::Body(BodyDecision::Hold))),
            Err(Full) => {
                let fault = Fault {
                    policy: shadow.factory().name().clone(),
                    hook: side.hook(Bytes::new(), false).name(),
                    kind: FaultKind::TooLarge,
                    message: format!("it held back more than its body limit of {bytes_max} bytes"),
                };
                return (exchange, Err(fault));
            }
        };
        let (back, result) = call(shadow, shared, exchange, side.hook(part.chunk.clone(), part.last)).await;
        exchange = back;
        track.lock().streams[side as usize].shadowed(&part, &result);
        if piece.is_empty() || !matches!(result, Ok(Decision::Next | Decision::Body(_))) {
            return (exchange, result);
        }
    }
}

impl Track {
    fn new(place: Place) -> Self {
        Self {
            slot: PolicySlot::default(),
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            streams: Default::default(),
            running: false,
            place: Some(place),
            faulted: false,
        }
    }

    fn is_over(&self) -> bool {
        self.place.is_none()
    }

    /// The shadow is through with the exchange.
    fn end(&mut self) {
        self.waiting.clear();
        self.waiting_bytes = 0;
        // What it holds back, and an instance that it may hold, are of no more use.
        self.streams = Default::default();
        self.slot = PolicySlot::default();
        self.place = None;
    }
}

/// What policies see of an exchange, without what they keep in it.
fn copy(exchange: &Exchange) -> Box<Exchange> {
    Box::new(Exchange {
        request: exchange.request.clone(),
        response: exchange.response.clone(),
        phase: exchange.phase,
        client: exchange.client.clone(),
        route: exchange.route.clone(),
        upstreams: exchange.upstreams.clone(),
        upstream: exchange.upstream,
        trace_id: exchange.trace_id.clone(),
        attributes: exchange.attributes.clone(),
        policies: Vec::new(),
        gone: ClientGone::default(),
        policy_at: exchange.policy_at,
        recorder: None,
    })
}
