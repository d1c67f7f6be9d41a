//! Rollouts with versions that are plain functions.

mod canary;
mod choice;
mod shadow;

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use portcullis_model::{
    AbortRules, Canary, Candidate, FailureMode, Grants, Isolation, Name, Origin, PluginSource, PolicyConfig,
    ResourceLimits, Selection, Shadow, Share, Version,
};

use super::{Environment, Rollout, RolloutFactory, VersionLabel};
use crate::{
    Called, Decision, Exchange, Fault, FaultKind, HeadOutcome, Hook, Hooks, Outcome, Policy, PolicyChain,
    PolicyFactory, Reply,
};

/// What a fake does in a hook.
type Deed = Arc<dyn Fn(&Hook, &mut Exchange) -> Result<Decision, FaultKind> + Send + Sync>;

pub(super) const HEADS: Hooks = Hooks {
    request_head: true,
    request_body: false,
    response_head: true,
    response_body: false,
    completed: true,
    tick: false,
};

/// A version that does the same in each exchange.
struct FakeFactory {
    name: Name,
    hooks: Hooks,
    waits: bool,
    deed: Deed,
    /// How many workers have it.
    alive: Arc<AtomicUsize>,
}

struct Fake {
    factory: Arc<dyn PolicyFactory>,
    concrete: Arc<FakeFactory>,
}

thread_local! {
    /// CPU time of this thread, as the fakes say.
    static CPU: Cell<Duration> = const { Cell::new(Duration::ZERO) };
    static SPAWNED: RefCell<Vec<Pin<Box<dyn Future<Output = ()>>>>> = const { RefCell::new(Vec::new()) };
}

const ENVIRONMENT: Environment = Environment {
    cpu: || CPU.get(),
    wall: || CPU.get(),
    spawn: |future| SPAWNED.with_borrow_mut(|spawned| spawned.push(future)),
};

/// Uses up CPU time.
fn work(time: Duration) {
    CPU.set(CPU.get() + time);
}

/// Lets what was spawned have its turn.
fn run_spawned() {
    loop {
        let futures = SPAWNED.with_borrow_mut(std::mem::take);
        if futures.is_empty() {
            return;
        }
        futures.into_iter().for_each(block_on);
    }
}

fn version(
    deed: impl Fn(&Hook, &mut Exchange) -> Result<Decision, FaultKind> + Send + Sync + 'static,
) -> FakeFactory {
    FakeFactory { name: "p".into(), hooks: HEADS, waits: false, deed: Arc::new(deed), alive: Arc::default() }
}

/// Names itself in an attribute of each hook.
fn named(name: &'static str) -> FakeFactory {
    version(move |hook, exchange| {
        assert!(exchange.attributes.set(hook.name(), name));
        Ok(Decision::Next)
    })
}

impl FakeFactory {
    /// Returns each hook only when asked for a second time, as one on a fiber does.
    fn waiting(self) -> Self {
        Self { waits: true, ..self }
    }

    fn with_hooks(self, hooks: Hooks) -> Self {
        Self { hooks, ..self }
    }
}

impl PolicyFactory for FakeFactory {
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
        100
    }

    fn worker(self: Arc<Self>) -> Rc<dyn Policy> {
        self.alive.fetch_add(1, Ordering::Relaxed);
        Rc::new(Fake { factory: self.clone(), concrete: self })
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl std::fmt::Debug for FakeFactory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FakeFactory")
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.concrete.alive.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Policy for Fake {
    fn factory(&self) -> &Arc<dyn PolicyFactory> {
        &self.factory
    }

    fn call(&self, hook: Hook, mut exchange: Box<Exchange>) -> Called {
        assert!(self.concrete.hooks.has(&hook), "{} is not one of its hooks", hook.name());
        let (deed, policy) = (self.concrete.deed.clone(), self.concrete.name.clone());
        let act = move |exchange: &mut Exchange| {
            deed(&hook, exchange).map_err(|kind| Fault {
                policy: policy.clone(),
                hook: hook.name(),
                kind,
                message: "told to fail".to_owned(),
            })
        };
        if !self.concrete.waits {
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

fn config(version: Version) -> PolicyConfig {
    PolicyConfig {
        name: "p".into(),
        version,
        plugin: PluginSource::Builtin("p".into()),
        digest: [0; 32],
        grants: Grants::default(),
        isolation: Isolation::Exchange,
        limits: ResourceLimits::default(),
        on_error: FailureMode::Deny,
        quarantine: None,
        tick: Duration::from_secs(1),
        config_json: "{}".to_owned(),
        candidate: None,
        origin: Origin::default(),
    }
}

fn canary(selection: Selection, abort: Option<AbortRules>) -> Candidate {
    Candidate::Canary(Canary { version: config(Version::Canary), selection, abort })
}

fn shadow(share: Share, samples: usize) -> Candidate {
    Candidate::Shadow(Shadow { version: config(Version::Shadow), share, samples })
}

/// Both versions under one rollout.
fn pair(active: FakeFactory, tried: FakeFactory, candidate: &Candidate) -> Arc<RolloutFactory> {
    of_pair(Arc::new(active), Arc::new(tried), candidate)
}

fn of_pair(active: Arc<FakeFactory>, tried: Arc<FakeFactory>, candidate: &Candidate) -> Arc<RolloutFactory> {
    let labels =
        ["one", "two"].map(|plugin| VersionLabel { plugin: plugin.to_owned(), digest: String::new() });
    let rollout = Arc::new(Rollout::new("p".into(), candidate, labels, Default::default()));
    Arc::new(RolloutFactory::new(active, tried, rollout, ENVIRONMENT, true))
}

fn chain(policy: &Rc<dyn Policy>) -> PolicyChain {
    PolicyChain::new(vec![policy.clone()], 1000)
}

fn exchange(trace_id: &str) -> Box<Exchange> {
    let mut exchange = Box::<Exchange>::default();
    exchange.trace_id.push_str(trace_id);
    exchange.request.method.push_str("GET");
    exchange.request.set_target("/a", Some("q"));
    exchange.response.status = 200;
    exchange
}

/// Takes an exchange through the chain; the status of a reply where there was one.
fn drive(chain: &PolicyChain, exchange: Box<Exchange>) -> (Box<Exchange>, Option<u16>) {
    let (exchange, status) = match block_on(chain.request_head(exchange)) {
        HeadOutcome::Permitted(permitted) => {
            let (exchange, ..) = block_on(chain.response_head(permitted.into_inner(), chain.len()));
            (exchange, None)
        }
        HeadOutcome::Replied(replied) => (replied.exchange, Some(replied.reply.status)),
    };
    (block_on(chain.completed(exchange, &Outcome::default())), status)
}

fn reply(status: u16) -> Decision {
    Decision::Reply(Reply { status, ..Reply::default() })
}

/// Nothing here waits for anything but its turn.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let mut cx = Context::from_waker(Waker::noop());
    for _ in 0..10_000 {
        if let Poll::Ready(value) = future.as_mut().poll(&mut cx) {
            return value;
        }
    }
    panic!("it never ends");
}
