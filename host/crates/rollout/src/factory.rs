//! The policy that the chain sees in place of two versions of one.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use portcullis_model::{FailureMode, Name, Version};
use portcullis_policy::{HookKind, Hooks, Policy, PolicyFactory};

use crate::canary::CanaryPolicy;
use crate::detached::DetachedPolicy;
use crate::pair::{Pair, Spawn};
use crate::shadow::ShadowPolicy;
use crate::side::Side;
use crate::state::Rollout;
use crate::workers::Workers;

/// What a rollout needs of the process that runs it.
#[derive(Debug, Clone, Copy)]
pub struct Environment {
    /// Returns the time that has passed since some moment.
    pub wall: fn() -> Duration,
    /// Runs what must not keep an exchange waiting.
    pub spawn: Spawn,
}

/// Two versions of a policy as one.
pub struct RolloutFactory(Arc<Pair>);

impl RolloutFactory {
    /// Returns `candidate` beside `active`, as `rollout` says. With `keeps_values`, samples hold what the two write
    /// differently, except what looks like a credential.
    #[must_use]
    pub fn new(
        active: Arc<dyn PolicyFactory>,
        candidate: Arc<dyn PolicyFactory>,
        rollout: Arc<Rollout>,
        environment: Environment,
        keeps_values: bool,
    ) -> Self {
        let Environment { wall, spawn } = environment;
        rollout.count_refused_by(candidate.refused_requests());
        Self(Arc::new(Pair { versions: [active, candidate], rollout, wall, spawn, keeps_values }))
    }

    /// Returns how it stands.
    #[must_use]
    pub fn rollout(&self) -> &Arc<Rollout> {
        &self.0.rollout
    }

    fn make(self: Arc<Self>, before: Option<&Rc<dyn Policy>>) -> Rc<dyn Policy> {
        let workers = Workers::new(self.0.clone(), self, before);
        match workers.shared.rollout.candidate() {
            Version::Shadow => Rc::new(ShadowPolicy::new(workers)),
            Version::Active | Version::Canary => Rc::new(CanaryPolicy::new(workers)),
        }
    }
}

impl PolicyFactory for RolloutFactory {
    fn name(&self) -> &Name {
        self.0.version(Side::Active).name()
    }

    /// Returns the hooks that either version has; the other one is not called for them. The body hooks of a shadow are
    /// left out: that a body passes through policies at all shows in how it is framed and when it is sent, and a shadow
    /// must change nothing.
    fn hooks(&self) -> Hooks {
        let [active, candidate] = self.0.hooks();
        match self.0.rollout.candidate() {
            Version::Shadow => active.or(candidate.except(Hooks::BODIES.with(HookKind::Tick))),
            Version::Active | Version::Canary => active.or(candidate),
        }
    }

    fn informs_cache(&self) -> bool {
        let [active, candidate] = &self.0.versions;
        active.informs_cache() || candidate.informs_cache()
    }

    fn failure_mode(&self) -> FailureMode {
        self.0.version(Side::Active).failure_mode()
    }

    fn may_log(&self, bytes: usize) -> bool {
        self.0.version(Side::Active).may_log(bytes)
    }

    fn body_bytes_max(&self) -> usize {
        self.0.version(Side::Active).body_bytes_max()
    }

    fn worker(self: Arc<Self>) -> Rc<dyn Policy> {
        self.make(None)
    }

    fn worker_after(self: Arc<Self>, before: &Rc<dyn Policy>) -> Rc<dyn Policy> {
        self.make(Some(before))
    }

    fn detached(self: Arc<Self>) -> Rc<dyn Policy> {
        Rc::new(DetachedPolicy::new(self.0.clone(), self))
    }
}

impl std::fmt::Debug for RolloutFactory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RolloutFactory").field("rollout", &self.0.rollout).finish_non_exhaustive()
    }
}
