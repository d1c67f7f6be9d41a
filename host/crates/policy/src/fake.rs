//! Policies that are plain functions, for tests of this crate and of crates that build on it.

use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};

use portcullis_model::{FailureMode, Name};

use crate::decision::{Decision, Fault, FaultKind, Reply};
use crate::exchange::Exchange;
use crate::hook::{Hook, Hooks};
use crate::policy::{Called, Policy, PolicyFactory};

/// What a fake does in a hook.
pub type Deed = Arc<dyn Fn(&Hook, &mut Exchange) -> Result<Decision, FaultKind> + Send + Sync>;

/// A policy that does `deed` in each hook that it has.
pub struct Fake {
    pub name: Name,
    pub hooks: Hooks,
    pub failure_mode: FailureMode,
    pub body_bytes_max: usize,
    /// Whether it returns each hook only when asked for a second time, as one on a fiber does.
    pub waits: bool,
    /// Whether it says that it may say something to the cache of a route.
    pub informs_cache: bool,
    pub deed: Deed,
    /// How many workers have it.
    pub alive: Arc<AtomicUsize>,
    /// What counts the requests of its own that it was refused.
    pub refused_requests: Option<Arc<AtomicU64>>,
}

impl Fake {
    pub fn doing(
        name: &str,
        hooks: Hooks,
        deed: impl Fn(&Hook, &mut Exchange) -> Result<Decision, FaultKind> + Send + Sync + 'static,
    ) -> Self {
        Self {
            name: name.into(),
            hooks,
            failure_mode: FailureMode::Deny,
            body_bytes_max: 100,
            waits: false,
            informs_cache: false,
            deed: Arc::new(deed),
            alive: Arc::default(),
            refused_requests: None,
        }
    }

    /// Returns each hook only when it was asked for a second time.
    pub fn waiting(self) -> Self {
        Self { waits: true, ..self }
    }

    pub fn with_hooks(self, hooks: Hooks) -> Self {
        Self { hooks, ..self }
    }

    pub fn into_policy(self) -> Rc<dyn Policy> {
        Arc::new(self).worker()
    }
}

impl PolicyFactory for Fake {
    fn name(&self) -> &Name {
        &self.name
    }

    fn hooks(&self) -> Hooks {
        self.hooks
    }

    fn failure_mode(&self) -> FailureMode {
        self.failure_mode
    }

    fn informs_cache(&self) -> bool {
        self.informs_cache
    }

    fn body_bytes_max(&self) -> usize {
        self.body_bytes_max
    }

    fn worker(self: Arc<Self>) -> Rc<dyn Policy> {
        self.alive.fetch_add(1, Ordering::Relaxed);
        Rc::new(OnWorker { factory: self.clone(), fake: self })
    }

    fn detached(self: Arc<Self>) -> Rc<dyn Policy> {
        self.worker()
    }

    fn refused_requests(&self) -> Option<Arc<AtomicU64>> {
        self.refused_requests.clone()
    }

    fn may_log(&self, _bytes: usize) -> bool {
        true
    }
}

impl std::fmt::Debug for Fake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Fake").field(&self.name).finish()
    }
}

struct OnWorker {
    factory: Arc<dyn PolicyFactory>,
    fake: Arc<Fake>,
}

impl Drop for OnWorker {
    fn drop(&mut self) {
        self.fake.alive.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Policy for OnWorker {
    fn factory(&self) -> &Arc<dyn PolicyFactory> {
        &self.factory
    }

    fn call(&self, hook: Hook, mut exchange: Box<Exchange>) -> Called {
        assert!(self.fake.hooks.has(hook.kind()), "{} is not one of its hooks", hook.name());
        let (deed, policy) = (self.fake.deed.clone(), self.fake.name.clone());
        let act = move |exchange: &mut Exchange| {
            deed(&hook, exchange).map_err(|kind| Fault {
                policy,
                hook: hook.name(),
                kind,
                message: "told to fail".to_owned(),
            })
        };
        if !self.fake.waits {
            let result = act(&mut exchange);
            return Called::Ready(exchange, result);
        }
        Called::Waiting(Box::pin(async move {
            let mut asked = false;
            std::future::poll_fn(|cx| {
                cx.waker().wake_by_ref();
                if std::mem::replace(&mut asked, true) { Poll::Ready(()) } else { Poll::Pending }
            })
            .await;
            let result = act(&mut exchange);
            (exchange, result)
        }))
    }
}

pub fn reply(status: u16) -> Decision {
    Decision::Reply(Reply { status, ..Reply::default() })
}

/// Nothing here waits for anything but its turn.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let mut cx = Context::from_waker(Waker::noop());
    for _ in 0..10_000 {
        if let Poll::Ready(value) = future.as_mut().poll(&mut cx) {
            return value;
        }
    }
    panic!("it never ends");
}
