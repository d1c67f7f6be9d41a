//! Policies that are plain functions.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use portcullis_model::{FailureMode, Name};
use portcullis_policy::{Called, Decision, Exchange, Fault, FaultKind, Hook, Hooks, Policy, PolicyFactory};

/// What a policy does in a hook: after some time, which may be none, it decides or fails.
pub(super) type Deed = (Duration, Result<Decision, FaultKind>);

type Act = dyn Fn(&Hook, &mut Exchange) -> Deed + Send + Sync;

/// A policy that does what a function says, and denies if that fails.
#[derive(Clone)]
pub(super) struct Scripted {
    name: Name,
    hooks: Hooks,
    act: Arc<Act>,
}

impl Scripted {
    /// A policy with these hooks.
    pub(super) fn factory(
        name: &str,
        hooks: Hooks,
        act: impl Fn(&Hook, &mut Exchange) -> Deed + Send + Sync + 'static,
    ) -> Arc<dyn PolicyFactory> {
        Arc::new(Self { name: name.into(), hooks, act: Arc::new(act) })
    }
}

/// Goes on at once.
pub(super) fn next() -> Deed {
    (Duration::ZERO, Ok(Decision::Next))
}

impl std::fmt::Debug for Scripted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Scripted").field(&self.name).finish()
    }
}

impl PolicyFactory for Scripted {
    fn name(&self) -> &Name {
        &self.name
    }

    fn hooks(&self) -> Hooks {
        self.hooks
    }

    fn failure_mode(&self) -> FailureMode {
        FailureMode::Deny
    }

    fn body_bytes_max(&self) -> usize {
        64 * 1024
    }

    fn worker(self: Arc<Self>) -> Rc<dyn Policy> {
        Rc::new(OnWorker { factory: self.clone(), policy: self })
    }

    fn detached(self: Arc<Self>) -> Rc<dyn Policy> {
        self.worker()
    }

    fn may_log(&self, _bytes: usize) -> bool {
        true
    }
}

struct OnWorker {
    factory: Arc<dyn PolicyFactory>,
    policy: Arc<Scripted>,
}

impl Policy for OnWorker {
    fn factory(&self) -> &Arc<dyn PolicyFactory> {
        &self.factory
    }

    fn call(&self, hook: Hook, mut exchange: Box<Exchange>) -> Called {
        let (after, result) = (self.policy.act)(&hook, &mut exchange);
        let policy = self.policy.name.clone();
        let result = result.map_err(|kind| Fault {
            policy,
            hook: hook.name(),
            kind,
            message: "told to fail".to_owned(),
        });
        if after.is_zero() {
            return Called::Ready(exchange, result);
        }
        Called::Waiting(Box::pin(async move {
            tokio::time::sleep(after).await;
            (exchange, result)
        }))
    }
}
