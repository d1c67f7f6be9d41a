//! The versions of a rollout on one worker.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use portcullis_policy::{Policy, PolicyFactory, find_version};

use crate::pair::Pair;
use crate::side::Side;
use crate::state::Standing;

/// The versions on one worker. One that exchanges no longer take is dropped when the last of its exchanges has ended.
pub(crate) struct Workers {
    pub(crate) shared: Arc<Pair>,
    factory: Arc<dyn PolicyFactory>,
    versions: [RefCell<Option<Rc<dyn Policy>>>; 2],
    /// Held once by each exchange that took the version.
    leases: [Arc<()>; 2],
}

impl Workers {
    /// Returns the versions of `shared` for the policy that `factory` makes, with those that ran in `before`.
    pub(crate) fn new(
        shared: Arc<Pair>,
        factory: Arc<dyn PolicyFactory>,
        before: Option<&Rc<dyn Policy>>,
    ) -> Self {
        let workers = Self { shared, factory, versions: Default::default(), leases: Default::default() };
        for side in Side::BOTH {
            let factory = workers.shared.version(side);
            let kept = before.and_then(|before| find_version(before, factory));
            if kept.is_some() || !workers.is_idle(side) {
                *workers.slot(side).borrow_mut() = Some(kept.unwrap_or_else(|| factory.clone().worker()));
            }
        }
        workers
    }

    pub(crate) fn factory(&self) -> &Arc<dyn PolicyFactory> {
        &self.factory
    }

    /// Returns the version on this worker, and makes it again if it was dropped and is needed once more.
    pub(crate) fn get(&self, side: Side) -> Rc<dyn Policy> {
        let mut version = self.slot(side).borrow_mut();
        version.get_or_insert_with(|| self.shared.version(side).clone().worker()).clone()
    }

    pub(crate) fn lease(&self, side: Side) -> Arc<()> {
        self.leases[side as usize].clone()
    }

    /// Returns the versions that are there.
    pub(crate) fn all(&self) -> Vec<Rc<dyn Policy>> {
        self.versions.iter().filter_map(|version| version.borrow().clone()).collect()
    }

    /// Drops what no exchange takes any more.
    pub(crate) fn sweep(&self) {
        for side in Side::BOTH {
            if self.is_idle(side) && Arc::strong_count(&self.leases[side as usize]) == 1 {
                self.slot(side).borrow_mut().take();
            }
        }
        self.all().iter().for_each(|policy| policy.sweep());
    }

    /// Returns whether new exchanges do not take this version.
    fn is_idle(&self, side: Side) -> bool {
        match side {
            Side::Active => self.shared.rollout.standing() == Standing::Promoted,
            Side::Candidate => self.shared.rollout.standing() == Standing::Aborted,
        }
    }

    fn slot(&self, side: Side) -> &RefCell<Option<Rc<dyn Policy>>> {
        &self.versions[side as usize]
    }
}
