//! A version that runs beside the active one, on copies, and changes nothing.

use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use super::canary::{Chosen, note};
use super::compare::{Decided, Sample, differences};
use super::factory::{RolloutFactory, Workers};
use super::meter::timed;
use super::state::Side;
use crate::{
    Called, ClientGone, Decision, Exchange, Fault, Hook, Hooks, Outcome, Policy, PolicyFactory, PolicySlot,
};

/// Exchanges that one shadow may be with on one worker, from the policy's first hook to its last: each may hold an instance
/// of the shadow, of which the gateway has a bounded number, and copies of the heads for up to three hooks. The active
/// versions need theirs more, so that the shadow does not see what comes while it is with so many.
const TRACKS_MAX: usize = 64;

/// What the shadow does with one exchange.
pub(crate) struct Track {
    /// What the shadow keeps from hook to hook, apart from what the active version does.
    slot: PolicySlot,
    waiting: VecDeque<Job>,
    /// Whether somebody works on it.
    running: bool,
    /// There until the shadow is through with the exchange: it has run its last hook; it decided otherwise, so that from
    /// here on the two are on different ways; or it failed.
    place: Option<Place>,
    faulted: bool,
}

/// A hook that the shadow has to run.
struct Job {
    hook: HeadHook,
    /// The exchange as the active version was given it.
    before: Box<Exchange>,
    decided: Decided,
    /// The exchange as the active version left it.
    after: Box<Exchange>,
}

/// The hooks that a shadow runs.
#[derive(Debug, Clone)]
enum HeadHook {
    RequestHead,
    ResponseHead,
    Completed(Outcome),
}

impl HeadHook {
    fn of(hook: &Hook) -> Option<Self> {
        match hook {
            Hook::RequestHead => Some(Self::RequestHead),
            Hook::ResponseHead => Some(Self::ResponseHead),
            Hook::Completed(outcome) => Some(Self::Completed(outcome.clone())),
            // A piece may hold what the active version held back before, which the shadow might not have.
            Hook::RequestBody { .. } | Hook::ResponseBody { .. } => None,
        }
    }

    /// Whether a version with these hooks is called for none after this one.
    fn is_last_of(&self, hooks: Hooks) -> bool {
        match self {
            Self::RequestHead => !hooks.response_head && !hooks.completed,
            Self::ResponseHead => !hooks.completed,
            Self::Completed(_) => true,
        }
    }

    fn hook(&self) -> Hook {
        match self {
            Self::RequestHead => Hook::RequestHead,
            Self::ResponseHead => Hook::ResponseHead,
            Self::Completed(outcome) => Hook::Completed(outcome.clone()),
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
    fn track(&self, exchange: &mut Exchange) -> Option<Arc<Mutex<Track>>> {
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
                    chosen.track = Some(Arc::new(Mutex::new(Track::new(place))));
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
        let hook = HeadHook::of(hook).filter(|_| {
            !lock(&track).is_over() && self.workers.shared.version(Side::Candidate).hooks().has(hook)
        })?;
        Some(Prepared {
            shadow: self.workers.get(Side::Candidate),
            shared: self.workers.shared.clone(),
            track,
            hook,
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
                prepared.go(Decided::Next, &exchange);
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
                    prepared.go(Decided::of(result), exchange);
                }
            },
        )
    }

    fn body_bytes_max(&self, _: &Exchange) -> usize {
        self.workers.shared.version(Side::Active).body_bytes_max()
    }

    fn blame(&self, exchange: &mut Exchange, fault: &Fault) {
        self.workers.get(Side::Active).blame(exchange, fault);
        let faulted = exchange.slot().rollout.as_mut().map(|chosen| &mut chosen.faulted);
        let first = faulted.is_none_or(|faulted| !std::mem::replace(faulted, true));
        self.workers.shared.rollout.failed(Side::Active, fault.kind, first);
    }

    fn versions(&self) -> Vec<Rc<dyn Policy>> {
        self.workers.all()
    }

    fn sweep(&self) {
        self.workers.sweep();
    }
}

/// A hook of the shadow that waits for the active version to have had its turn.
struct Prepared {
    shadow: Rc<dyn Policy>,
    shared: Arc<RolloutFactory>,
    track: Arc<Mutex<Track>>,
    hook: HeadHook,
    before: Box<Exchange>,
}

impl Prepared {
    /// The active version has had its turn. The shadow gets its own when this thread is free: the exchange goes on first.
    fn go(self, decided: Decided, after: &Exchange) {
        let Self { shadow, shared, track, hook, before } = self;
        let mut state = lock(&track);
        if state.is_over() {
            return;
        }
        state.waiting.push_back(Job { hook, before, decided, after: copy(after) });
        if std::mem::replace(&mut state.running, true) {
            return;
        }
        drop(state);
        (shared.spawn)(Box::pin(run(shadow, shared, track)));
    }
}

/// Runs what waits, one hook after the other, until nothing does.
async fn run(shadow: Rc<dyn Policy>, shared: Arc<RolloutFactory>, track: Arc<Mutex<Track>>) {
    loop {
        let (job, slot) = {
            let mut state = lock(&track);
            match state.waiting.pop_front() {
                Some(job) => (job, std::mem::take(&mut state.slot)),
                None => {
                    state.running = false;
                    return;
                }
            }
        };
        let Job { hook, mut before, decided, after } = job;
        *before.slot() = slot;
        let rollout = shared.rollout.clone();
        let called = timed(
            shared.wall,
            before,
            |before| shadow.call(hook.hook(), before),
            move |_, _, spent| rollout.spent(Side::Candidate, spent),
        );
        let (mut exchange, result) = match called {
            Called::Ready(exchange, result) => (exchange, result),
            Called::Waiting(future) => future.await,
        };
        let rollout = &shared.rollout;
        let mut state = lock(&track);
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
        if !shadowed.is_like(&decided) || result.is_err() || hook.is_last_of(shadow.factory().hooks()) {
            state.end();
        }
        drop(state);
        let hook = hook.hook().name();
        let found =
            differences(exchange.phase, (&decided, &after), (&shadowed, &exchange), shared.keeps_values);
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

impl Track {
    fn new(place: Place) -> Self {
        let (slot, waiting) = (PolicySlot::default(), VecDeque::new());
        Self { slot, waiting, running: false, place: Some(place), faulted: false }
    }

    fn is_over(&self) -> bool {
        self.place.is_none()
    }

    /// The shadow is through with the exchange.
    fn end(&mut self) {
        self.waiting.clear();
        // An instance that it may hold is of no more use.
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

// What is in there is whole at every moment, so a panic elsewhere does not spoil it.
fn lock(track: &Mutex<Track>) -> MutexGuard<'_, Track> {
    track.lock().unwrap_or_else(PoisonError::into_inner)
}
