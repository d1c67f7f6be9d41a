//! The version that an exchange takes, and what it came to there.

use std::sync::Arc;

use portcullis_model::Lock;
use portcullis_policy::{Decision, Exchange, Fault, FaultKind};

use crate::meter::Spent;
use crate::side::Side;
use crate::state::Rollout;
use crate::track::Track;
use crate::workers::Workers;

/// What a rollout keeps in an exchange from the policy's first hook to the end.
pub(crate) struct Choice {
    pub(crate) side: Side,
    /// Whether the version has failed in this exchange.
    faulted: bool,
    /// What the shadow does beside it.
    pub(crate) track: Option<Arc<Lock<Track>>>,
    _lease: Option<Arc<()>>,
}

impl Choice {
    /// Returns the choice of a version, which stays on this worker until the exchange has ended.
    pub(crate) fn new(side: Side, workers: &Workers) -> Self {
        Self { side, faulted: false, track: None, _lease: Some(workers.lease(side)) }
    }

    /// Returns the choice of a run that is detached from traffic.
    pub(crate) fn without_lease(side: Side) -> Self {
        Self { side, faulted: false, track: None, _lease: None }
    }

    /// Returns the choice that was made for the policy whose hook is running, if one was.
    pub(crate) fn of(exchange: &Exchange) -> Option<&Self> {
        let slot = exchange.policies.get(exchange.policy_at)?;
        slot.choice.as_ref()?.downcast_ref()
    }

    fn of_mut(exchange: &mut Exchange) -> Option<&mut Self> {
        exchange.slot().choice.as_mut()?.downcast_mut()
    }

    /// Keeps the choice in the exchange, and notes the version for a recording.
    pub(crate) fn keep(self, rollout: &Rollout, exchange: &mut Exchange) {
        let (at, version) = (exchange.policy_at, rollout.version_of(self.side));
        if let Some(recorder) = &mut exchange.recorder {
            recorder.note_version(at, version);
        }
        exchange.slot().choice = Some(Box::new(self));
    }
}

/// Counts what came of a call that had an effect.
pub(crate) fn count(
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
            count_fault(rollout, side, exchange, fault.kind);
        }
    }
}

#[cold]
fn count_fault(rollout: &Rollout, side: Side, exchange: &mut Exchange, kind: FaultKind) {
    let choice = Choice::of_mut(exchange);
    let first = choice.is_none_or(|choice| !std::mem::replace(&mut choice.faulted, true));
    rollout.failed(side, kind, first);
}
