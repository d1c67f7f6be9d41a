//! A version that runs beside the active one, on copies, and changes nothing.

use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use portcullis_model::Lock;
use portcullis_policy::{
    BodySide, Called, ClientGone, Decision, Exchange, Fault, Hook, Hooks, Policy, PolicyFactory, Watch,
    Watcher,
};
use portcullis_traffic::Permits;

use crate::choice::{Choice, count};
use crate::compare::Decided;
use crate::follow::follow;
use crate::meter::timed;
use crate::pair::Pair;
use crate::side::Side;
use crate::track::{Job, Track};
use crate::workers::Workers;

/// Exchanges that one shadow may be with on one worker, from the policy's first hook to its last: each may hold an
/// instance of the shadow, of which the gateway has a bounded number, and copies of the heads for up to three hooks.
/// The active versions need theirs more, so a shadow that is with so many does not see the exchanges that come then.
const TRACKS_MAX: u32 = 64;

/// Both versions on one worker.
pub(crate) struct ShadowPolicy {
    workers: Workers,
    /// For the exchanges that the shadow is with.
    tracks: Permits,
}

impl ShadowPolicy {
    pub(crate) fn new(workers: Workers) -> Self {
        Self { workers, tracks: Permits::new(TRACKS_MAX) }
    }

    /// Returns what the shadow does with this exchange, or `None` if it does not see it, which is decided once.
    fn track(&self, exchange: &mut Exchange) -> Option<Arc<Lock<Track>>> {
        if let Some(choice) = Choice::of(exchange) {
            return choice.track.clone();
        }
        let rollout = &self.workers.shared.rollout;
        let side = rollout.side_for(exchange);
        rollout.begin(Side::Active);
        let mut choice = Choice::new(side, &self.workers);
        if side == Side::Candidate {
            match self.tracks.acquire() {
                Some(permit) => {
                    rollout.begin(Side::Candidate);
                    choice.track = Some(Arc::new(Lock::new(Track::new(permit))));
                }
                None => rollout.skipped(),
            }
        }
        let track = choice.track.clone();
        choice.keep(rollout, exchange);
        track
    }

    /// Copies what the active version is about to be given, if the shadow is to see it.
    fn prepare(&self, hook: &Hook, exchange: &mut Exchange) -> Option<Prepared> {
        let track = self.track(exchange)?;
        if track.lock().is_over() || !self.workers.shared.shadowed_hooks().has(hook.kind()) {
            return None;
        }
        Some(Prepared {
            shadow: self.workers.get(Side::Candidate),
            shared: self.workers.shared.clone(),
            track,
            hook: hook.clone(),
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
        if !shared.version(Side::Active).hooks().has(hook.kind()) {
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
                count(&rollout, Side::Active, exchange, result, spent);
                if let Some(prepared) = prepared {
                    prepared.go(result, exchange);
                }
            },
        )
    }

    fn body_bytes_max(&self, _exchange: &Exchange) -> usize {
        self.workers.shared.version(Side::Active).body_bytes_max()
    }

    fn as_watcher(&self) -> Option<&dyn Watcher> {
        Some(self)
    }

    fn versions(&self) -> Vec<Rc<dyn Policy>> {
        self.workers.all()
    }

    fn sweep(&self) {
        self.workers.sweep();
    }
}

impl Watcher for ShadowPolicy {
    fn watches(&self) -> Hooks {
        let [active, candidate] = self.workers.shared.hooks();
        candidate.except(active).and(Hooks::BODIES)
    }

    fn watch(&self, side: BodySide, exchange: &mut Exchange) -> Option<Box<dyn Watch>> {
        let track = self.track(exchange)?;
        if track.lock().is_over() {
            return None;
        }
        let (shadow, shared) = (self.workers.get(Side::Candidate), self.workers.shared.clone());
        Some(Box::new(Watching { shadow, shared, track, side, exchange: copy(exchange) }))
    }
}

/// Shows the shadow a body for which the active version has no hook. The exchange itself may be with another hook while
/// a piece comes, so the shadow has it as it was when the body began.
struct Watching {
    shadow: Rc<dyn Policy>,
    shared: Arc<Pair>,
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
            hook: self.side.hook(piece.clone(), last),
            before: copy(&self.exchange),
        };
        prepared.go(&Ok(Decision::Next), &self.exchange);
        self.exchange.body_begun |= !piece.is_empty();
        !last && !self.track.lock().is_over()
    }
}

/// A hook of the shadow that waits until the active version has run.
struct Prepared {
    shadow: Rc<dyn Policy>,
    shared: Arc<Pair>,
    track: Arc<Lock<Track>>,
    hook: Hook,
    before: Box<Exchange>,
}

impl Prepared {
    /// Queues the hook after the active version has run. The shadow runs when this thread is free: the exchange goes
    /// on first.
    fn go(self, result: &Result<Decision, Fault>, after: &Exchange) {
        let Self { shadow, shared, track, mut hook, before } = self;
        let mut state = track.lock();
        if state.is_over() {
            return;
        }
        if let Some((side, chunk, last)) = hook.piece() {
            let stream = state.stream(side);
            let new = stream.new_in(chunk);
            stream.decided(chunk, last, result);
            hook = side.hook(new, last);
        }
        if !state.add(Job { hook, before, decided: Decided::of(result), after: copy(after) }) {
            shared.rollout.left_behind();
            return;
        }
        if state.start() {
            drop(state);
            (shared.spawn)(Box::pin(follow(shadow, shared, track)));
        }
    }
}

/// Returns a copy of what policies see of an exchange, without what they keep in it.
fn copy(exchange: &Exchange) -> Box<Exchange> {
    Box::new(Exchange {
        request: exchange.request.clone(),
        response: exchange.response.clone(),
        phase: exchange.phase,
        client: exchange.client.clone(),
        route: exchange.route.clone(),
        upstreams: exchange.upstreams.clone(),
        upstream: exchange.upstream,
        endpoint_key: exchange.endpoint_key.clone(),
        trace_id: exchange.trace_id.clone(),
        attributes: exchange.attributes.clone(),
        cache: exchange.cache.clone(),
        policies: Vec::new(),
        gone: ClientGone::default(),
        policy_at: exchange.policy_at,
        body_begun: exchange.body_begun,
        trailers: exchange.trailers.clone(),
        recorder: None,
    })
}
