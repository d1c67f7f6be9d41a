//! A rollout for a run apart from traffic: an exchange takes the version that it would take, and nobody counts it.

use std::cell::OnceCell;
use std::rc::Rc;
use std::sync::Arc;

use portcullis_model::Version;

use super::canary::Chosen;
use super::factory::RolloutFactory;
use super::state::Side;
use crate::{Called, Decision, Exchange, Hook, Policy, PolicyFactory};

/// Both versions, each made when an exchange takes it. A shadow is none of them: it has no part in what becomes of a
/// request.
pub(crate) struct ApartPolicy {
    shared: Arc<RolloutFactory>,
    as_factory: Arc<dyn PolicyFactory>,
    versions: [OnceCell<Rc<dyn Policy>>; 2],
}

impl ApartPolicy {
    pub(crate) fn new(shared: Arc<RolloutFactory>) -> Self {
        Self { as_factory: shared.clone(), versions: Default::default(), shared }
    }

    fn side(&self, exchange: &mut Exchange) -> Side {
        if let Some(chosen) = &exchange.slot().rollout {
            return chosen.side;
        }
        let side = match self.shared.rollout.candidate() {
            Version::Shadow => Side::Active,
            Version::Active | Version::Canary => self.shared.rollout.side_for(exchange),
        };
        exchange.slot().rollout = Some(Box::new(Chosen::apart(side)));
        side
    }
}

impl Policy for ApartPolicy {
    fn factory(&self) -> &Arc<dyn PolicyFactory> {
        &self.as_factory
    }

    fn call(&self, hook: Hook, mut exchange: Box<Exchange>) -> Called {
        let side = self.side(&mut exchange);
        let factory = self.shared.version(side);
        if !factory.hooks().has(&hook) {
            return Called::Ready(exchange, Ok(Decision::Next));
        }
        self.versions[side as usize].get_or_init(|| factory.clone().apart()).call(hook, exchange)
    }
}
