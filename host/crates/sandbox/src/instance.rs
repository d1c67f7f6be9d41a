//! One instance of a policy: how it is made and how its hooks are called.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use portcullis_policy::{Decision, Exchange, FaultKind, Hook};
use wasmtime::component::Instance as WasmInstance;
use wasmtime::{Result as WasmResult, Store, format_err};

use crate::answer;
use crate::budget::{Budget, Resumed};
use crate::capabilities::log::LogWindow;
use crate::factory::PolicyContext;
use crate::fault::Failure;
use crate::hooks::{Configure, HookFuncs, typed};
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
        let (mut store, place) = new_store(context, log_window, false)?;
        let made = context.component.pre.instantiate(&mut store);
        let (hooks, configure) = load(context, &mut store, made)?;
        let answer = configure.map(|configure| configure.call(&mut store, (context.config_json.clone(),)));
        Self::configured(store, hooks, place, answer)
    }

    /// The same on a fiber, letting other exchanges go on meanwhile.
    pub(crate) async fn make_on_fiber(
        context: &Arc<PolicyContext>,
        log_window: &Arc<LogWindow>,
    ) -> Result<Self, MakeError> {
        let (mut store, place) = new_store(context, log_window, true)?;
        let resumed = store.data().budget.resumed();
        let made = noting(&resumed, context.component.pre.instantiate_async(&mut store)).await;
        let (hooks, configure) = load(context, &mut store, made)?;
        let answer = match configure {
            Some(configure) => {
                let config = context.config_json.clone();
                Some(noting(&resumed, configure.call_async(&mut store, (config,))).await)
            }
            None => None,
        };
        Self::configured(store, hooks, place, answer)
    }

    fn configured(
        mut store: Store<State>,
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
        Ok(Self(Box::new(Inner { store, hooks, configured_bytes, uses: 0, _place: place })))
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

    /// Calls a hook on this thread. After a failure the instance is only good for dropping.
    pub(crate) fn call(
        &mut self,
        hook: Hook,
        exchange: Box<Exchange>,
    ) -> (Box<Exchange>, Result<Decision, Failure>) {
        self.begin(Stage::of(&hook), Some(exchange), false);
        let Inner { store, hooks, .. } = &mut *self.0;
        let limits = store.data().policy.limits;
        let answer = match hook {
            Hook::RequestHead => wanted(&hooks.request_head)
                .and_then(|hook| hook.call(&mut *store, ()))
                .map(|(decision,)| answer::head(decision, &limits)),
            Hook::ResponseHead => wanted(&hooks.response_head)
                .and_then(|hook| hook.call(&mut *store, ()))
                .map(|(decision,)| answer::head(decision, &limits)),
            Hook::RequestBody { chunk, last } => wanted(&hooks.request_body)
                .and_then(|hook| hook.call(&mut *store, (chunk, last)))
                .map(|(decision,)| answer::body(decision, &limits)),
            Hook::ResponseBody { chunk, last } => wanted(&hooks.response_body)
                .and_then(|hook| hook.call(&mut *store, (chunk, last)))
                .map(|(decision,)| answer::body(decision, &limits)),
            Hook::Completed(outcome) => wanted(&hooks.completed)
                .and_then(|hook| hook.call(&mut *store, (outcome.into(),)))
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
        let Inner { store, hooks, .. } = &mut *self.0;
        let limits = store.data().policy.limits;
        let resumed = store.data().budget.resumed();
        let answer = noting(&resumed, async {
            Ok(match hook {
                Hook::RequestHead => {
                    let (decision,) = wanted(&hooks.request_head)?.call_async(&mut *store, ()).await?;
                    answer::head(decision, &limits)
                }
                Hook::ResponseHead => {
                    let (decision,) = wanted(&hooks.response_head)?.call_async(&mut *store, ()).await?;
                    answer::head(decision, &limits)
                }
                Hook::RequestBody { chunk, last } => {
                    let hook = wanted(&hooks.request_body)?;
                    let (decision,) = hook.call_async(&mut *store, (chunk, last)).await?;
                    answer::body(decision, &limits)
                }
                Hook::ResponseBody { chunk, last } => {
                    let hook = wanted(&hooks.response_body)?;
                    let (decision,) = hook.call_async(&mut *store, (chunk, last)).await?;
                    answer::body(decision, &limits)
                }
                Hook::Completed(outcome) => {
                    wanted(&hooks.completed)?.call_async(&mut *store, (outcome.into(),)).await?;
                    Ok(Decision::Next)
                }
            })
        })
        .await;
        self.end(answer)
    }

    /// Calls `on-tick` on this thread.
    pub(crate) fn tick(&mut self) -> Result<(), Failure> {
        self.begin(Stage::Tick, None, false);
        let Inner { store, hooks, .. } = &mut *self.0;
        let result = wanted(&hooks.tick).and_then(|hook| hook.call(&mut *store, ()));
        result.map_err(|error| Failure::of(&error, store))
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

/// The chain calls only hooks that there are.
fn wanted<T>(hook: &Option<T>) -> WasmResult<&T> {
    hook.as_ref().ok_or_else(|| format_err!("the component does not have this hook"))
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

fn new_store(
    context: &Arc<PolicyContext>,
    log_window: &Arc<LogWindow>,
    yields: bool,
) -> Result<(Store<State>, InstancePlace), MakeError> {
    let sandbox = &context.sandbox;
    let Some(place) = sandbox.instances.take() else {
        let message =
            format!("all {} instances that the gateway may have are in use", sandbox.instances.max());
        return Err(MakeError::Failed(Failure::new(FaultKind::Exhausted, message)));
    };
    let mut state = State {
        exchange: None,
        stage: Stage::Configure,
        policy: context.clone(),
        log_window: log_window.clone(),
        memory: MemoryLimiter::new(context.limits.memory_bytes),
        budget: Budget::new(sandbox.ticker.ticker().clone()),
        stdio: Stdio::default(),
    };
    state.begin(Stage::Configure, context.limits.configure_deadline, yields);
    let mut store = Store::new(&sandbox.engine, state);
    store.limiter(|state| &mut state.memory);
    store.set_hostcall_fuel(context.limits.body_bytes.saturating_add(HANDED_OVER_BYTES_MAX));
    store.set_max_component_handles(HANDLES_MAX);
    store.epoch_deadline_callback(|mut context| context.data_mut().budget.on_tick());
    store.set_epoch_deadline(1);
    Ok((store, place))
}

fn load(
    context: &PolicyContext,
    store: &mut Store<State>,
    made: WasmResult<WasmInstance>,
) -> Result<(HookFuncs, Option<Configure>), MakeError> {
    let indices = &context.component.indices;
    let loaded = made.and_then(|instance| {
        let hooks = indices.load(store, &instance)?;
        Ok((hooks, typed(store, &instance, indices.configure.as_ref())?))
    });
    loaded.map_err(|error| MakeError::Failed(Failure::of(&error, store)))
}
