//! The policy that the chain sees where there are two versions of one.

use std::any::Any;
use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use portcullis_model::{FailureMode, Name, Version};

use super::apart::ApartPolicy;
use super::canary::CanaryPolicy;
use super::shadow::ShadowPolicy;
use super::state::{Rollout, Side, Standing};
use crate::policy::find_version;
use crate::{Exchange, Hooks, Policy, PolicyFactory};

/// Runs a future on this thread beside what runs there, until it ends or the thread does.
pub type Spawn = fn(Pin<Box<dyn Future<Output = ()>>>);

/// What a rollout needs of whoever runs it.
#[derive(Debug, Clone, Copy)]
pub struct Environment {
    /// Time that passes, from any moment on.
    pub wall: fn() -> Duration,
    /// Runs what must not keep an exchange waiting.
    pub spawn: Spawn,
}

/// Two versions of a policy as one.
pub struct RolloutFactory {
    pub(crate) versions: [Arc<dyn PolicyFactory>; 2],
    pub(crate) rollout: Arc<Rollout>,
    pub(crate) wall: fn() -> Duration,
    pub(crate) spawn: Spawn,
    /// Whether samples may hold values at all: a policy that can read secrets may write them anywhere.
    pub(crate) keeps_values: bool,
}

impl RolloutFactory {
    /// `candidate` beside `active`, as `rollout` says. With `keeps_values`, what the two write differently is kept in
    /// samples, except what looks like a credential.
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
        Self { versions: [active, candidate], rollout, wall, spawn, keeps_values }
    }

    /// How it stands.
    #[must_use]
    pub fn rollout(&self) -> &Arc<Rollout> {
        &self.rollout
    }

    pub(crate) fn version(&self, side: Side) -> &Arc<dyn PolicyFactory> {
        &self.versions[side as usize]
    }

    /// The hooks that a shadow sees.
    pub(crate) fn shadowed_hooks(&self) -> Hooks {
        Hooks { tick: false, ..self.version(Side::Candidate).hooks() }
    }

    fn make(self: Arc<Self>, before: Option<&Rc<dyn Policy>>) -> Rc<dyn Policy> {
        let workers = Workers::new(self, before);
        match workers.shared.rollout.candidate() {
            Version::Shadow => Rc::new(ShadowPolicy::new(workers)),
            Version::Active | Version::Canary => Rc::new(CanaryPolicy::new(workers)),
        }
    }
}

impl PolicyFactory for RolloutFactory {
    fn name(&self) -> &Name {
        self.version(Side::Active).name()
    }

    /// What either version has; the other one is not called for it. Of a shadow without its body hooks: that a body passes
    /// through policies at all shows in how it is framed and when it is sent, and a shadow must change nothing.
    fn hooks(&self) -> Hooks {
        let [active, candidate] = [Side::Active, Side::Candidate].map(|side| self.version(side).hooks());
        match self.rollout.candidate() {
            Version::Shadow => {
                active.or(Hooks { request_body: false, response_body: false, tick: false, ..candidate })
            }
            Version::Active | Version::Canary => active.or(candidate),
        }
    }

    fn watches(&self) -> Hooks {
        let [active, candidate] = [Side::Active, Side::Candidate].map(|side| self.version(side).hooks());
        match self.rollout.candidate() {
            Version::Shadow => Hooks {
                request_body: candidate.request_body && !active.request_body,
                response_body: candidate.response_body && !active.response_body,
                ..Hooks::default()
            },
            Version::Active | Version::Canary => Hooks::default(),
        }
    }

    fn failure_mode(&self) -> FailureMode {
        self.version(Side::Active).failure_mode()
    }

    fn may_tell(&self, bytes: usize) -> bool {
        self.version(Side::Active).may_tell(bytes)
    }

    fn body_bytes_max(&self) -> usize {
        self.version(Side::Active).body_bytes_max()
    }

    fn worker(self: Arc<Self>) -> Rc<dyn Policy> {
        self.make(None)
    }

    fn worker_after(self: Arc<Self>, before: &Rc<dyn Policy>) -> Rc<dyn Policy> {
        self.make(Some(before))
    }

    fn apart(self: Arc<Self>) -> Rc<dyn Policy> {
        Rc::new(ApartPolicy::new(self))
    }

    fn version_for(&self, exchange: &Exchange) -> Version {
        self.rollout.version_for(exchange)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl std::fmt::Debug for RolloutFactory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RolloutFactory").field("rollout", &self.rollout).finish_non_exhaustive()
    }
}

/// The versions on one worker. One that exchanges no longer take is let go when the last of its exchanges has ended.
pub(crate) struct Workers {
    pub(crate) shared: Arc<RolloutFactory>,
    as_factory: Arc<dyn PolicyFactory>,
    versions: [RefCell<Option<Rc<dyn Policy>>>; 2],
    /// Held once by each exchange that took the version.
    leases: [Arc<()>; 2],
}

impl Workers {
    fn new(shared: Arc<RolloutFactory>, before: Option<&Rc<dyn Policy>>) -> Self {
        let workers = Self {
            as_factory: shared.clone(),
            versions: Default::default(),
            leases: Default::default(),
            shared,
        };
        for side in [Side::Active, Side::Candidate] {
            let factory = workers.shared.version(side);
            let kept = before.and_then(|before| find_version(before, factory));
            if kept.is_some() || !workers.is_idle(side) {
                *workers.place(side).borrow_mut() = Some(kept.unwrap_or_else(|| factory.clone().worker()));
            }
        }
        workers
    }

    pub(crate) fn factory(&self) -> &Arc<dyn PolicyFactory> {
        &self.as_factory
    }

    /// The version on this worker. Made again where it was let go and is wanted once more.
    pub(crate) fn get(&self, side: Side) -> Rc<dyn Policy> {
        let mut place = self.place(side).borrow_mut();
        place.get_or_insert_with(|| self.shared.version(side).clone().worker()).clone()
    }

    pub(crate) fn lease(&self, side: Side) -> Arc<()> {
        self.leases[side as usize].clone()
    }

    /// Those versions that are there.
    pub(crate) fn all(&self) -> Vec<Rc<dyn Policy>> {
        self.versions.iter().filter_map(|place| place.borrow().clone()).collect()
    }

    /// Lets go what no exchange takes any more.
    pub(crate) fn sweep(&self) {
        for side in [Side::Active, Side::Candidate] {
            if self.is_idle(side) && Arc::strong_count(&self.leases[side as usize]) == 1 {
                self.place(side).borrow_mut().take();
            }
        }
        self.all().iter().for_each(|policy| policy.sweep());
    }

    /// Whether new exchanges do not take this version.
    fn is_idle(&self, side: Side) -> bool {
        match side {
            Side::Active => self.shared.rollout.standing() == Standing::Promoted,
            Side::Candidate => self.shared.rollout.standing() == Standing::Aborted,
        }
    }

    fn place(&self, side: Side) -> &RefCell<Option<Rc<dyn Policy>>> {
        &self.versions[side as usize]
    }
}
