//! A version that takes a part of the exchanges.

use std::rc::Rc;
use std::sync::Arc;

use portcullis_model::Lock;

use super::factory::Workers;
use super::meter::{Spent, timed};
use super::shadow::Track;
use super::state::{Rollout, Side};
use crate::{Called, Decision, Exchange, Fault, FaultKind, Hook, Policy, PolicyFactory};

/// What a rollout keeps in an exchange from the policy's first hook to the end.
pub(crate) struct Chosen {
    pub(crate) side: Side,
    /// Whether the version has failed in it.
    pub(crate) faulted: bool,
    /// What the shadow does beside it.
    pub(crate) track: Option<Arc<Lock<Track>>>,
    _lease: Option<Arc<()>>,
}

impl Chosen {
    pub(crate) fn new(side: Side, workers: &Workers) -> Self {
        Self { side, faulted: false, track: None, _lease: Some(workers.lease(side)) }
    }

    /// Of a run apart from traffic.
    pub(crate) fn apart(side: Side) -> Self {
        Self { side, faulted: false, track: None, _lease: None }
    }
}

/// Both versions on one worker.
pub(crate) struct CanaryPolicy(Workers);

impl CanaryPolicy {
    pub(crate) fn new(workers: Workers) -> Self {
        Self(workers)
    }

    /// The version of this exchange, which is chosen once.
    fn side(&self, exchange: &mut Exchange) -> Side {
        if let Some(chosen) = &exchange.slot().rollout {
            return chosen.side;
        }
        let rollout = &self.0.shared.rollout;
        let side = rollout.side_for(exchange);
        rollout.begin(side);
        exchange.slot().rollout = Some(Box::new(Chosen::new(side, &self.0)));
        side
    }
}

impl Policy for CanaryPolicy {
    fn factory(&self) -> &Arc<dyn PolicyFactory> {
        self.0.factory()
    }

    fn call(&self, hook: Hook, mut exchange: Box<Exchange>) -> Called {
        let side = self.side(&mut exchange);
        if !self.0.shared.version(side).hooks().has(&hook) {
            return Called::Ready(exchange, Ok(Decision::Next));
        }
        let policy = self.0.get(side);
        let rollout = self.0.shared.rollout.clone();
        timed(
            self.0.shared.wall,
            exchange,
            |exchange| policy.call(hook, exchange),
            move |exchange, result, spent| note(&rollout, side, exchange, result, spent),
        )
    }

    fn body_bytes_max(&self, exchange: &Exchange) -> usize {
        let chosen = exchange.policies.get(exchange.policy_at).and_then(|slot| slot.rollout.as_ref());
        let side = chosen.map_or(Side::Active, |chosen| chosen.side);
        self.0.shared.version(side).body_bytes_max()
    }

    fn versions(&self) -> Vec<Rc<dyn Policy>> {
        self.0.all()
    }

    fn sweep(&self) {
        self.0.sweep();
    }
}

/// Counts what came of a call that had an effect.
pub(crate) fn note(
    rollout: &Rollout,
    side: Side,
    exchange: &mut Exchange,
    result: &mut Result<Decision, Fault>,
    spent: Spent,
) {
    rollout.spent(side, spent);
    match result {
        Ok(Decision::Reply(_)) => rollout.replied(side),
        Ok(Decision::Next | Decision::Body(_)) => {}
        Err(fault) => {
            if side == Side::Candidate {
                fault.message = format!("in its {}: {}", rollout.candidate(), fault.message);
            }
            blame(rollout, side, exchange, fault.kind);
        }
    }
}

#[cold]
fn blame(rollout: &Rollout, side: Side, exchange: &mut Exchange, kind: FaultKind) {
    let chosen = exchange.slot().rollout.as_mut();
    let first = chosen.is_none_or(|chosen| !std::mem::replace(&mut chosen.faulted, true));
    rollout.failed(side, kind, first);
}
