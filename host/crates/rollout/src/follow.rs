//! Runs the hooks of a shadow behind those of the active version, and compares what the two made of them.

use std::rc::Rc;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use portcullis_model::Lock;
use portcullis_policy::{
    BodyDecision, BodySide, Called, Decision, Exchange, Fault, FaultKind, Hook, HookKind, Hooks, Policy,
    Returned,
};

use crate::compare::{Decided, Difference, Sample, differences};
use crate::meter::timed;
use crate::pair::Pair;
use crate::side::Side;
use crate::stream::{self, Full};
use crate::track::{Job, Track};

/// Runs the hooks that wait, one after the other, until none does.
pub(crate) async fn follow(shadow: Rc<dyn Policy>, shared: Arc<Pair>, track: Arc<Lock<Track>>) {
    loop {
        // A statement of its own, so that the lock is not held while the hook runs.
        let next = track.lock().next();
        let Some((Job { hook, mut before, decided, after }, slot)) = next else { return };
        *before.slot() = slot;
        let (mut exchange, result) = match hook.piece() {
            Some((side, chunk, last)) => {
                // What the active version has decided something about, the shadow has to see now, or they would differ.
                let must = !decided.is_like(&Decided::Next);
                pass(&shadow, &shared, &track, before, (side, chunk.clone(), last), must).await
            }
            None => call(&shadow, &shared, before, hook.clone()).await,
        };
        let shadowed = Decided::of(&result);
        let passed = {
            let mut state = track.lock();
            state.keep(std::mem::take(exchange.slot()));
            count(&shared, &mut state, &exchange.trace_id, &result);
            let passed = match hook.piece() {
                Some((side, _, true)) if shadowed.is_like(&decided) => {
                    state.stream(side).difference().map(|bytes| (stream::kind(side), bytes))
                }
                _ => None,
            };
            if !shadowed.is_like(&decided) || result.is_err() || is_last(&hook, &shared, &mut state) {
                state.end();
            }
            passed
        };
        let mut found =
            differences(exchange.phase, (&decided, &after), (&shadowed, &exchange), shared.keeps_values);
        found.extend(passed.map(|(kind, (active, candidate))| Difference {
            kind,
            name: None,
            active,
            candidate,
        }));
        shared.rollout.compared(found, |differences| Sample {
            at: SystemTime::now(),
            trace_id: after.trace_id.clone(),
            route: after.route.clone(),
            hook: hook.name(),
            method: after.request.method.clone(),
            differences,
        });
    }
}

/// Returns whether the shadow has no hook that may be called after this one.
fn is_last(hook: &Hook, shared: &Pair, state: &mut Track) -> bool {
    let mut following = hook.following().and(shared.shadowed_hooks());
    if state.stream(BodySide::Request).ended {
        following = following.except(Hooks::of(&[HookKind::RequestBody]));
    }
    following.is_empty()
}

/// Counts what a hook came to, and logs a fault that is the first of its kind.
fn count(shared: &Pair, state: &mut Track, trace_id: &str, result: &Result<Decision, Fault>) {
    match result {
        Ok(Decision::Reply(_)) => shared.rollout.replied(Side::Candidate),
        Ok(Decision::Next | Decision::Body(_)) => {}
        Err(fault) => {
            if shared.rollout.failed(Side::Candidate, fault.kind, state.fail()) {
                tracing::warn!(
                    policy = %fault.policy,
                    hook = fault.hook,
                    kind = %fault.kind,
                    trace_id = %trace_id,
                    "fault of a shadow, the first of its kind; those after it are only counted: {}",
                    fault.message,
                );
            }
        }
    }
}

/// Calls a hook of the shadow, and counts what it costs.
async fn call(shadow: &Rc<dyn Policy>, shared: &Arc<Pair>, exchange: Box<Exchange>, hook: Hook) -> Returned {
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

/// Gives the shadow a piece of a body, as the chain gives one to a policy: behind what it held back, and in parts
/// that are no larger than it may be given.
async fn pass(
    shadow: &Rc<dyn Policy>,
    shared: &Arc<Pair>,
    track: &Lock<Track>,
    mut exchange: Box<Exchange>,
    (side, mut piece, last): (BodySide, Bytes, bool),
    must: bool,
) -> Returned {
    let bytes_max = shadow.body_bytes_max(&exchange);
    loop {
        let part = track.lock().stream(side).part(&mut piece, last, must, bytes_max);
        let part = match part {
            Ok(Some(part)) => part,
            Ok(None) => return (exchange, Ok(Decision::Body(BodyDecision::Hold))),
            Err(Full) => {
                let fault = Fault {
                    policy: shadow.factory().name().clone(),
                    hook: side.kind().name(),
                    kind: FaultKind::TooLarge,
                    message: format!("it held back more than its body limit of {bytes_max} bytes"),
                };
                return (exchange, Err(fault));
            }
        };
        let (back, result) = call(shadow, shared, exchange, side.hook(part.chunk.clone(), part.last)).await;
        exchange = back;
        track.lock().stream(side).shadowed(&part, &result);
        if piece.is_empty() || !matches!(result, Ok(Decision::Next | Decision::Body(_))) {
            return (exchange, result);
        }
    }
}
