//! One instance of a policy: how it is made and how its hooks are called.

use std::any::Any;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

use portcullis_policy::{Decision, Exchange, FaultKind, Hook};
use wasmtime::component::Instance as WasmInstance;
use wasmtime::{Engine, Result as WasmResult, Store};

use crate::answer;
use crate::budget::{Budget, Resumed};
use crate::capabilities::log::LogWindow;
use crate::component::{ImageSource, Linked};
use crate::factory::PolicyContext;
use crate::fault::Failure;
use crate::hooks::{BodyHook, CompletedHook, Configure, HeadHook, HookFuncs, TickHook, typed, wanted};
use crate::image::{self, NoImage};
use crate::shared::InstancePlace;
use crate::state::{MemoryLimiter, Stage, State};
use crate::wasi::Stdio;

/// After so many calls an instance makes place for a new one, so that a slow leak ends some day.
const USES_MAX: u32 = 1_000_000;
/// Beside a body, a guest hands over at most this much at once: attributes, a head, a value for the store.
const HANDED_OVER_BYTES_MAX: usize = 2 << 20;
/// Handles that a guest may hold. Only WASI's streams and the like are handles at all.
const HANDLES_MAX: usize = 1000;

/// An instance that `configure` was called in. Boxed, so that taking it from a pool moves a pointer.
pub(crate) struct Instance(Box<Inner>);

struct Inner {
    store: Store<State>,
    instance: WasmInstance,
    hooks: HookFuncs,
    /// Linear memory once it was configured.
    configured_bytes: usize,
    uses: u32,
    // Given back after the store is gone.
    _place: InstancePlace,
}

/// Why there is no instance.
#[derive(Debug)]
pub(crate) enum MakeError {
    /// `configure` returned an error.
    Refused(String),
    /// It could not be made, or `configure` failed.
    Failed(Failure),
}

impl MakeError {
    /// On a worker: the same configuration was accepted before.
    pub(crate) fn into_failure(self) -> Failure {
        match self {
            Self::Failed(failure) => {
                Failure::new(failure.kind, format!("a new instance could not be made: {}", failure.message))
            }
            Self::Refused(reason) => {
                let message = format!("a new instance refused the configuration that another took: {reason}");
                Failure::new(FaultKind::InvalidReturn, message)
            }
        }
    }
}

impl Instance {
    /// Makes and configures an instance on this thread.
    pub(crate) fn make(context: &Arc<PolicyContext>, log_window: &Arc<LogWindow>) -> Result<Self, MakeError> {
        if context.waits {
            return block_on(Self::make_on_fiber(context, log_window));
        }
        let (mut store, place) = new_store(context, log_window, false)?;
        let made = context.component.linked.pre.instantiate(&mut store);
        let (instance, hooks, configure) = load(context, &mut store, made)?;
        let answer = configure.map(|configure| configure.call(&mut store, (context.config_json.clone(),)));
        Self::configured(store, instance, hooks, place, answer)
    }

    /// Starts an instance from the configured image, on this thread: it maps memory and runs nothing.
    pub(crate) fn start(
        context: &Arc<PolicyContext>,
        image: &Linked,
        log_window: &Arc<LogWindow>,
    ) -> Result<Self, Failure> {
        let engine = &context.sandbox.engines.images;
        let (mut store, place) = new_store_of(engine, context, log_window)?;
        store.data_mut().begin(Stage::Configure, context.limits.configure_deadline, false);
        store.set_epoch_deadline(1);
        let instance = if context.waits {
            block_on(image.pre.instantiate_async(&mut store))
        } else {
            image.pre.instantiate(&mut store)
        };
        let instance =
            instance.map_err(|error| MakeError::Failed(Failure::of(&error, &mut store)).into_failure())?;
        let configured_bytes = store.data().memory.bytes();
        let hooks = HookFuncs::default();
        Ok(Self(Box::new(Inner { store, instance, hooks, configured_bytes, uses: 0, _place: place })))
    }

    /// An image of what is in it. It is used up.
    pub(crate) fn into_image(mut self, source: &ImageSource) -> Result<Vec<u8>, NoImage> {
        let Inner { store, instance, .. } = &mut *self.0;
        let deadline = store.data().policy.limits.configure_deadline;
        store.data_mut().begin(Stage::Configure, deadline, false);
        store.data_mut().memory.unbound();
        store.set_hostcall_fuel(usize::MAX);
        store.set_epoch_deadline(1);
        image::snapshot(&source.bytes, store, *instance)
    }

    /// As what an exchange keeps it as.
    pub(crate) fn into_any(self) -> Box<dyn Any + Send> {
        self.0
    }

    /// Back from what an exchange kept it as.
    pub(crate) fn from_any(any: Box<dyn Any + Send>) -> Option<Self> {
        any.downcast().ok().map(Self)
    }

    /// The same on a fiber, letting other exchanges go on meanwhile.
    pub(crate) async fn make_on_fiber(
        context: &Arc<PolicyContext>,
        log_window: &Arc<LogWindow>,
    ) -> Result<Self, MakeError> {
        let (mut store, place) = new_store(context, log_window, true)?;
        let resumed = store.data().budget.resumed();
        let made = noting(&resumed, context.component.linked.pre.instantiate_async(&mut store)).await;
        let (instance, hooks, configure) = load(context, &mut store, made)?;
        let answer = match configure {
            Some(configure) => {
                let config = context.config_json.clone();
                Some(noting(&resumed, configure.call_async(&mut store, (config,))).await)
            }
            None => None,
        };
        Self::configured(store, instance, hooks, place, answer)
    }

    fn configured(
        mut store: Store<State>,
        instance: WasmInstance,
        hooks: HookFuncs,
        place: InstancePlace,
        answer: Option<WasmResult<(Result<(), String>,)>>,
    ) -> Result<Self, MakeError> {
        match answer {
            Some(Err(error)) => return Err(MakeError::Failed(Failure::of(&error, &mut store))),
            Some(Ok((Err(reason),))) => return Err(MakeError::Refused(reason)),
            Some(Ok((Ok(()),))) | None => {}
        }
        let configured_bytes = store.data().memory.bytes();
        Ok(Self(Box::new(Inner { store, instance, hooks, configured_bytes, uses: 0, _place: place })))
    }

    /// Belongs to another worker from now on.
    pub(crate) fn adopt(&mut self, log_window: &Arc<LogWindow>) {
        self.0.store.data_mut().log_window = log_window.clone();
    }

    /// Whether it is good for another call, rather than to be replaced. What it took when it was configured is not held
    /// against it: a list of a million addresses is no leak.
    pub(crate) fn is_fresh(&self) -> bool {
        let memory = &self.0.store.data().memory;
        let room = memory.bytes_max().saturating_sub(self.0.configured_bytes);
        let grown = memory.bytes().saturating_sub(self.0.configured_bytes);
        self.0.uses < USES_MAX && grown <= room / 4 * 3
    }

    /// Whether its last call was one that other exchanges notice.
    pub(crate) fn ran_long(&self) -> bool {
        self.0.store.data().budget.ran_long()
    }

    /// Calls a hook on this thread. After a failure the instance is only good for dropping.
    pub(crate) fn call(
        &mut self,
        hook: Hook,
        exchange: Box<Exchange>,
    ) -> (Box<Exchange>, Result<Decision, Failure>) {
        self.begin(Stage::of(&hook), Some(exchange), false);
        let limits = self.0.store.data().policy.limits;
        let answer = match hook {
            Hook::RequestHead => (self.0.request_head())
                .and_then(|hook| hook.call(&mut self.0.store, ()))
                .map(|(decision,)| answer::head(decision, &limits)),
            Hook::ResponseHead => (self.0.response_head())
                .and_then(|hook| hook.call(&mut self.0.store, ()))
                .map(|(decision,)| answer::head(decision, &limits)),
            Hook::RequestBody { chunk, last } => (self.0.request_body())
                .and_then(|hook| hook.call(&mut self.0.store, (chunk, last)))
                .map(|(decision,)| answer::body(decision, &limits)),
            Hook::ResponseBody { chunk, last } => (self.0.response_body())
                .and_then(|hook| hook.call(&mut self.0.store, (chunk, last)))
                .map(|(decision,)| answer::body(decision, &limits)),
            Hook::Completed(outcome) => (self.0.completed())
                .and_then(|hook| hook.call(&mut self.0.store, (outcome.into(),)))
                .map(|()| Ok(Decision::Next)),
        };
        self.end(answer)
    }

    /// The same on a fiber. Dropping the future drops the exchange, and the instance must be dropped too.
    pub(crate) async fn call_on_fiber(
        &mut self,
        hook: Hook,
        exchange: Box<Exchange>,
    ) -> (Box<Exchange>, Result<Decision, Failure>) {
        self.begin(Stage::of(&hook), Some(exchange), true);
        let inner = &mut *self.0;
        let limits = inner.store.data().policy.limits;
        let resumed = inner.store.data().budget.resumed();
        let answer = noting(&resumed, async {
            Ok(match hook {
                Hook::RequestHead => {
                    let (decision,) = inner.request_head()?.call_async(&mut inner.store, ()).await?;
                    answer::head(decision, &limits)
                }
                Hook::ResponseHead => {
                    let (decision,) = inner.response_head()?.call_async(&mut inner.store, ()).await?;
                    answer::head(decision, &limits)
                }
                Hook::RequestBody { chunk, last } => {
                    let hook = inner.request_body()?;
                    let (decision,) = hook.call_async(&mut inner.store, (chunk, last)).await?;
                    answer::body(decision, &limits)
                }
                Hook::ResponseBody { chunk, last } => {
                    let hook = inner.response_body()?;
                    let (decision,) = hook.call_async(&mut inner.store, (chunk, last)).await?;
                    answer::body(decision, &limits)
                }
                Hook::Completed(outcome) => {
                    inner.completed()?.call_async(&mut inner.store, (outcome.into(),)).await?;
                    Ok(Decision::Next)
                }
            })
        })
        .await;
        self.end(answer)
    }

    /// Calls `on-tick` on this thread.
    pub(crate) fn tick(&mut self) -> Result<(), Failure> {
        let waits = self.0.store.data().policy.waits;
        self.begin(Stage::Tick, None, waits);
        let inner = &mut *self.0;
        let result = if waits {
            let resumed = inner.store.data().budget.resumed();
            block_on(noting(&resumed, async { inner.tick()?.call_async(&mut inner.store, ()).await }))
        } else {
            inner.tick().and_then(|hook| hook.call(&mut inner.store, ()))
        };
        result.map_err(|error| Failure::of(&error, &mut self.0.store))
    }

    fn begin(&mut self, stage: Stage, exchange: Option<Box<Exchange>>, yields: bool) {
        self.0.uses += 1;
        let store = &mut self.0.store;
        let state = store.data_mut();
        state.exchange = exchange;
        let deadline = state.policy.limits.deadline;
        state.begin(stage, deadline, yields);
        store.set_epoch_deadline(1);
    }

    fn end(
        &mut self,
        answer: WasmResult<Result<Decision, Failure>>,
    ) -> (Box<Exchange>, Result<Decision, Failure>) {
        let store = &mut self.0.store;
        let result = answer.unwrap_or_else(|error| Err(Failure::of(&error, store)));
        let exchange = store.data_mut().exchange.take();
        (exchange.expect("`begin` put it there, and host functions only borrow it"), result)
    }
}

impl State {
    fn begin(&mut self, stage: Stage, deadline: Duration, yields: bool) {
        self.stage = stage;
        self.budget.start(deadline, yields);
        // What was refused in an earlier call and borne is forgotten.
        self.memory.take_refused();
    }
}

/// Finds each hook of an instance where it is needed.
macro_rules! find_hooks {
    ($($hook:ident: $Type:ty),* $(,)?) => {
        impl Inner {
            $(fn $hook(&mut self) -> WasmResult<$Type> {
                let index = self.store.data().policy.linked().indices.$hook;
                wanted(&mut self.hooks.$hook, &mut self.store, &self.instance, index)
            })*
        }
    };
}

find_hooks! {
    request_head: HeadHook,
    request_body: BodyHook,
    response_head: HeadHook,
    response_body: BodyHook,
    completed: CompletedHook,
    tick: TickHook,
}

/// Tells the budget of each time that the fiber goes on, so that only the guest's own time counts.
async fn noting<F: Future>(resumed: &Resumed, future: F) -> F::Output {
    let mut future = pin!(future);
    let mut begun = false;
    poll_fn(|context| {
        if std::mem::replace(&mut begun, true) {
            resumed.note();
        }
        future.as_mut().poll(context)
    })
    .await
}

/// Runs a future on this thread, which sleeps while it waits. Not for a worker's thread, unless what it runs does not wait
/// for anybody: `configure` does not.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
        thread::park();
    }
}

/// A store in which `configure` is about to run.
fn new_store(
    context: &Arc<PolicyContext>,
    log_window: &Arc<LogWindow>,
    yields: bool,
) -> Result<(Store<State>, InstancePlace), MakeError> {
    let made = new_store_of(&context.sandbox.engines.plain, context, log_window);
    let (mut store, place) = made.map_err(MakeError::Failed)?;
    store.data_mut().begin(Stage::Configure, context.limits.configure_deadline, yields);
    store.set_epoch_deadline(1);
    Ok((store, place))
}

fn new_store_of(
    engine: &Engine,
    context: &Arc<PolicyContext>,
    log_window: &Arc<LogWindow>,
) -> Result<(Store<State>, InstancePlace), Failure> {
    let sandbox = &context.sandbox;
    let Some(place) = sandbox.instances.take() else {
        let message =
            format!("all {} instances that the gateway may have are in use", sandbox.instances.max());
        return Err(Failure::new(FaultKind::Exhausted, message));
    };
    let state = State {
        exchange: None,
        stage: Stage::Configure,
        policy: context.clone(),
        log_window: log_window.clone(),
        memory: MemoryLimiter::new(context.limits.memory_bytes),
        budget: Budget::new(sandbox.ticker.ticker().clone()),
        stdio: Stdio::default(),
        wasi_handles: 0,
    };
    let mut store = Store::new(engine, state);
    store.limiter(|state| &mut state.memory);
    store.set_hostcall_fuel(context.limits.body_bytes.saturating_add(HANDED_OVER_BYTES_MAX));
    store.set_max_component_handles(HANDLES_MAX);
    store.epoch_deadline_callback(|mut context| context.data_mut().budget.on_tick());
    Ok((store, place))
}

fn load(
    context: &PolicyContext,
    store: &mut Store<State>,
    made: WasmResult<WasmInstance>,
) -> Result<(WasmInstance, HookFuncs, Option<Configure>), MakeError> {
    let indices = &context.component.linked.indices;
    let loaded = made.and_then(|instance| {
        let hooks = indices.load(store, &instance)?;
        Ok((instance, hooks, typed(store, &instance, indices.configure)?))
    });
    loaded.map_err(|error| MakeError::Failed(Failure::of(&error, store)))
}
