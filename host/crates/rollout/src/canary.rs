//! A version that takes a part of the exchanges.

use std::rc::Rc;
use std::sync::Arc;

use portcullis_policy::{Called, Decision, Exchange, Hook, Policy, PolicyFactory};

use crate::choice::{Choice, count};
use crate::meter::timed;
use crate::side::Side;
use crate::workers::Workers;

/// Both versions on one worker.
pub(crate) struct CanaryPolicy(Workers);

impl CanaryPolicy {
    pub(crate) fn new(workers: Workers) -> Self {
        Self(workers)
    }

    /// Returns the version of this exchange, which is chosen once.
    fn side(&self, exchange: &mut Exchange) -> Side {
        if let Some(choice) = Choice::of(exchange) {
            return choice.side;
        }
        let rollout = &self.0.shared.rollout;
        let side = rollout.side_for(exchange);
        rollout.begin(side);
        Choice::new(side, &self.0).keep(rollout, exchange);
        side
    }
}

impl Policy for CanaryPolicy {
    fn factory(&self) -> &Arc<dyn PolicyFactory> {
        self.0.factory()
    }

    fn call(&self, hook: Hook, mut exchange: Box<Exchange>) -> Called {
        let side = self.side(&mut exchange);
        if !self.0.shared.version(side).hooks().has(hook.kind()) {
            return Called::Ready(exchange, Ok(Decision::Next));
        }
        let policy = self.0.get(side);
        let rollout = self.0.shared.rollout.clone();
        timed(
            self.0.shared.wall,
            exchange,
            |exchange| policy.call(hook, exchange),
            move |exchange, result, spent| count(&rollout, side, exchange, result, spent),
        )
    }

    fn body_bytes_max(&self, exchange: &Exchange) -> usize {
        let side = Choice::of(exchange).map_or(Side::Active, |choice| choice.side);
        self.0.shared.version(side).body_bytes_max()
    }

    fn versions(&self) -> Vec<Rc<dyn Policy>> {
        self.0.all()
    }

    fn sweep(&self) {
        self.0.sweep();
    }
}
