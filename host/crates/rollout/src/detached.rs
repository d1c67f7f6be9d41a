//! A rollout for runs detached from traffic: an exchange takes the version that it would take, and it is not counted.

use std::cell::OnceCell;
use std::rc::Rc;
use std::sync::Arc;

use portcullis_model::Version;
use portcullis_policy::{Called, Decision, Exchange, Hook, Policy, PolicyFactory};

use crate::choice::Choice;
use crate::pair::Pair;
use crate::side::Side;

/// Both versions, each made when an exchange takes it. A shadow is never taken: it has no part in what becomes of a
/// request.
pub(crate) struct DetachedPolicy {
    shared: Arc<Pair>,
    factory: Arc<dyn PolicyFactory>,
    versions: [OnceCell<Rc<dyn Policy>>; 2],
}

impl DetachedPolicy {
    pub(crate) fn new(shared: Arc<Pair>, factory: Arc<dyn PolicyFactory>) -> Self {
        Self { shared, factory, versions: Default::default() }
    }

    fn side(&self, exchange: &mut Exchange) -> Side {
        if let Some(choice) = Choice::of(exchange) {
            return choice.side;
        }
        let side = match self.shared.rollout.candidate() {
            Version::Shadow => Side::Active,
            Version::Active | Version::Canary => self.shared.rollout.side_for(exchange),
        };
        Choice::without_lease(side).keep(&self.shared.rollout, exchange);
        side
    }
}

impl Policy for DetachedPolicy {
    fn factory(&self) -> &Arc<dyn PolicyFactory> {
        &self.factory
    }

    fn call(&self, hook: Hook, mut exchange: Box<Exchange>) -> Called {
        let side = self.side(&mut exchange);
        let factory = self.shared.version(side);
        if !factory.hooks().has(hook.kind()) {
            return Called::Ready(exchange, Ok(Decision::Next));
        }
        self.versions[side as usize].get_or_init(|| factory.clone().detached()).call(hook, exchange)
    }
}
