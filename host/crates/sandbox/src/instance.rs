//! One instance of a policy: how it is made and how its hooks are called.

pub(crate) mod at_hand;
pub(crate) mod bounds;
pub(crate) mod budget;
pub(crate) mod fault;
mod guest;
pub(crate) mod memory;
pub(crate) mod output;
pub(crate) mod refusal;
pub(crate) mod returns;
pub(crate) mod stage;
pub(crate) mod state;

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use portcullis_policy::{Decision, Exchange, FaultKind, Hook, HookKind};
use portcullis_traffic::Permit;
use wasmtime::component::Instance as WasmInstance;
use wasmtime::{Engine, PoolConcurrencyLimitError, Result as WasmResult, Store};

use crate::component::hooks::{Configure, HookFuncs, typed};
use crate::component::image::{self, NoImage};
use crate::component::wipe::PageMap;
use crate::component::{Image, ImageSource};
use crate::instance::at_hand::AtHand;
use crate::instance::bounds::{HANDLES_MAX, handed_over_max};
use crate::instance::budget::{Budget, Length, Turns};
use crate::instance::fault::{Failure, bounded, refusal};
use crate::instance::guest::{GuestInstance, first};
use crate::instance::memory::MemoryLimiter;
use crate::instance::output::Stdio;
use crate::instance::stage::Stage;
use crate::instance::state::State;
use crate::policy::context::PolicyContext;
use crate::policy::places::{InstancePlace, NoPlace};
use crate::policy::shares::{Beyond, Client};
use crate::run::block_on::{block_on, block_on_with};
use crate::run::fiber::{Until, in_turns};

/// An instance is replaced after so many calls, so that a slow leak ends some day.
const USES_MAX: u32 = 1_000_000;
/// A deadline in ticks that never comes.
const NO_TICKS: u64 = 1 << 40;

/// An instance that `configure` was called in. Boxed, so that taking it from a pool moves a pointer.
pub(crate) struct Instance(Box<Inner>);

struct Inner {
    context: Arc<PolicyContext>,
    store: Store<State>,
    guest: GuestInstance,
    /// Linear memory once it was configured.
    configured_bytes: usize,
    uses: u32,
    // Given back after the store is gone.
    place: Place,
}

/// What an instance is counted as.
enum Place {
    Used {
        _place: InstancePlace,
    },
    /// Wiped, and waiting for an exchange.
    Spare {
        _place: Permit,
    },
}

/// Why there is no image of a configured instance.
#[derive(Debug)]
pub(crate) enum ImageError {
    /// There can be none, and why.
    Impossible(NoImage),
    /// It could not be made now: reading an instance takes a little memory.
    Failed(Failure),
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
    pub(crate) fn make(context: &Arc<PolicyContext>) -> Result<Self, MakeError> {
        if context.policy.yields {
            return block_on(Self::make_on_fiber(context, None));
        }
        let (mut store, place) = new_store(context, false, None)?;
        if let Some(code) = context.direct() {
            let made = code.instantiate(&mut store, handed_over_max(&context.policy));
            let mut instance = made.map_err(|error| MakeError::Failed(Failure::of(&error, &mut store)))?;
            let answer = instance.configure(code, &mut store, &context.config_json);
            return Self::configured(
                context,
                store,
                GuestInstance::Direct(instance),
                place,
                answer.transpose(),
            );
        }
        let made = context.component.linked.pre.instantiate(&mut store);
        let (instance, hooks, configure) = load(context, &mut store, made)?;
        let answer = configure.map(|configure| configure.call(&mut store, (context.config_json.clone(),)));
        let guest = GuestInstance::Linked { instance, hooks, wiper: None };
        Self::configured(context, store, guest, place, answer.map(first))
    }

    /// Starts an instance from the configured image, on this thread: it maps memory and runs nothing.
    pub(crate) fn start(
        context: &Arc<PolicyContext>,
        image: &Image,
        client: Option<Client>,
    ) -> Result<Self, Failure> {
        let engine = &context.sandbox.engines.images;
        let is_direct = matches!(image, Image::Direct(_));
        let (mut store, place) = new_store_of(engine, context, is_direct, client)?;
        store.data_mut().begin(Stage::Configure, context.policy.limits.configure_deadline, false);
        store.set_epoch_deadline(1);
        if let Some((bytes, _)) = image.code().wipe() {
            store.data_mut().memory.keep(bytes);
        }
        let guest = match image {
            Image::Linked(linked) => {
                let instance = if context.policy.yields {
                    block_on(linked.pre.instantiate_async(&mut store))
                } else {
                    linked.pre.instantiate(&mut store)
                };
                let hooks = HookFuncs::default();
                instance.map(|instance| GuestInstance::Linked { instance, hooks, wiper: None })
            }
            Image::Direct(code) => {
                code.instantiate(&mut store, handed_over_max(&context.policy)).map(GuestInstance::Direct)
            }
        };
        let guest =
            guest.map_err(|error| MakeError::Failed(Failure::of(&error, &mut store)).into_failure())?;
        store.data_mut().budget.finish();
        let configured_bytes = store.data().memory.bytes();
        Ok(Self::of(context, store, guest, configured_bytes, place))
    }

    /// Returns an instance that nothing was done with since it was configured. It takes as long as `configure` does if
    /// there is no image.
    pub(crate) fn fresh(context: &Arc<PolicyContext>, client: Option<Client>) -> Result<Self, Failure> {
        match context.image() {
            Some(image) => Self::start(context, image, client),
            None => Self::make(context).map_err(MakeError::into_failure),
        }
    }

    fn of(
        context: &Arc<PolicyContext>,
        store: Store<State>,
        guest: GuestInstance,
        configured_bytes: usize,
        place: InstancePlace,
    ) -> Self {
        let place = Place::Used { _place: place };
        let context = context.clone();
        Self(Box::new(Inner { context, store, guest, configured_bytes, uses: 0, place }))
    }

    /// Makes it what it was when it started from its image, and a spare, if that is possible: see `wipe.rs`.
    pub(crate) fn wiped(mut self) -> Option<Self> {
        let inner = &mut *self.0;
        let context = inner.context.clone();
        let (Some(pages), Some((_, failed))) = (&context.sandbox.pages, context.code().wipe()) else {
            return None;
        };
        let state = inner.store.data();
        let unchanged = state.memory.bytes() == inner.configured_bytes && !state.had_handles;
        if !unchanged || inner.uses >= USES_MAX || failed.load(Ordering::Relaxed) {
            return None;
        }
        let place = context.sandbox.spares.acquire()?;
        match inner.wipe(pages) {
            Ok(true) => {}
            Ok(false) => return None,
            // All fibers are taken, which says nothing of the image.
            Err(error) if error.downcast_ref::<PoolConcurrencyLimitError>().is_some() => return None,
            Err(error) => {
                // It would fail again each time.
                failed.store(true, Ordering::Relaxed);
                let policy = &context.policy.name;
                tracing::warn!(%policy, "its instances cannot be wiped, so each exchange has a new one: {error:#}");
                return None;
            }
        }
        inner.store.data_mut().memory.rest();
        inner.place = Place::Spare { _place: place };
        Some(self)
    }

    /// For an exchange, as if it had just started.
    pub(crate) fn wake(mut self, client: Option<Client>) -> Result<Self, Failure> {
        let inner = &mut *self.0;
        let context = inner.context.clone();
        inner.place = Place::Used { _place: place(&context, client)? };
        if !inner.store.data_mut().memory.wake() {
            let error = wasmtime::format_err!("its memory is more than is left");
            return Err(MakeError::Failed(Failure::of(&error, &mut inner.store)).into_failure());
        }
        Ok(self)
    }

    /// Returns an image of what is in it, compiled. It is used up.
    pub(crate) fn into_linked_image(self, source: &ImageSource) -> Result<Image, ImageError> {
        let sandbox = self.0.context.sandbox.clone();
        let on_fibers = self.0.context.policy.yields;
        let image = self.into_image(source)?;
        let compiled = sandbox.compile_image(source, &image, on_fibers);
        compiled.map_err(|error| ImageError::Impossible(format!("{error:#}")))
    }

    fn into_image(mut self, source: &ImageSource) -> Result<Vec<u8>, ImageError> {
        let Inner { store, guest, .. } = &mut *self.0;
        let GuestInstance::Linked { instance, .. } = guest else {
            return Err(ImageError::Impossible("it is not an instance of the component".to_owned()));
        };
        let deadline = store.data().policy.limits.configure_deadline;
        store.data_mut().begin(Stage::Configure, deadline, false);
        store.data_mut().memory.unbound();
        store.set_hostcall_fuel(usize::MAX);
        store.set_epoch_deadline(1);
        image::snapshot(&source.component, store, *instance).map_err(|reason| {
            // That there is no memory now says nothing of the component, which would be without an image for as long as
            // its configuration runs.
            match store.data().memory.has_refused() {
                true => ImageError::Failed(Failure::of(&wasmtime::Error::msg(reason), store)),
                false => ImageError::Impossible(reason),
            }
        })
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
        client: Option<Client>,
    ) -> Result<Self, MakeError> {
        let (mut store, place) = new_store(context, true, client)?;
        let (turns, until) = configure_turns(&mut store);
        if let Some(code) = context.direct() {
            let bytes_max = handed_over_max(&context.policy);
            let made = in_turns(&turns, until, code.instantiate_on_fiber(&mut store, bytes_max)).await;
            let mut instance = made.map_err(|error| MakeError::Failed(Failure::of(&error, &mut store)))?;
            let configure = instance.configure_on_fiber(code, &mut store, &context.config_json);
            let answer = in_turns(&turns, until, configure).await;
            return Self::configured(
                context,
                store,
                GuestInstance::Direct(instance),
                place,
                answer.transpose(),
            );
        }
        let made = context.component.linked.pre.instantiate_async(&mut store);
        let made = in_turns(&turns, until, made).await;
        let (instance, hooks, configure) = load(context, &mut store, made)?;
        let answer = match configure {
            Some(configure) => {
                let config = context.config_json.clone();
                Some(in_turns(&turns, until, configure.call_async(&mut store, (config,))).await)
            }
            None => None,
        };
        let guest = GuestInstance::Linked { instance, hooks, wiper: None };
        Self::configured(context, store, guest, place, answer.map(first))
    }

    fn configured(
        context: &Arc<PolicyContext>,
        mut store: Store<State>,
        guest: GuestInstance,
        place: InstancePlace,
        answer: Option<WasmResult<Result<(), String>>>,
    ) -> Result<Self, MakeError> {
        store.data_mut().budget.finish();
        match answer {
            Some(Err(error)) => return Err(MakeError::Failed(Failure::of(&error, &mut store))),
            Some(Ok(Err(reason))) => return Err(MakeError::Refused(refusal(&reason))),
            Some(Ok(Ok(()))) | None => {}
        }
        let configured_bytes = store.data().memory.bytes();
        Ok(Self::of(context, store, guest, configured_bytes, place))
    }

    /// What the last call in it has cost, right after it: CPU time, and the linear memory that it left.
    pub(crate) fn cost(&self) -> (Duration, u64) {
        let state = self.0.store.data();
        (state.budget.spent(), state.memory.bytes() as u64)
    }

    /// Whether it is good for another call, rather than to be replaced. What it took when it was configured is not held
    /// against it: a list of a million addresses is no leak.
    pub(crate) fn is_fresh(&self) -> bool {
        let memory = &self.0.store.data().memory;
        let room = memory.bytes_max().saturating_sub(self.0.configured_bytes);
        let grown = memory.bytes().saturating_sub(self.0.configured_bytes);
        self.0.uses < USES_MAX && grown <= room / 4 * 3
    }

    /// Whether its hooks have to be called on fibers.
    pub(crate) fn yields(&self) -> bool {
        self.0.store.data().policy.yields
    }

    /// Returns whether its last call was one that other exchanges notice.
    pub(crate) fn length(&self) -> Length {
        self.0.store.data().budget.length()
    }

    /// Calls a hook on this thread. After a failure the instance is only good for dropping.
    pub(crate) fn call(
        &mut self,
        hook: Hook,
        exchange: Box<Exchange>,
    ) -> (Box<Exchange>, Result<Decision, Failure>) {
        let kind = hook.kind();
        self.begin(kind, Some((exchange, AtHand::of(hook))), false);
        let answer = self.0.call(kind);
        self.end(answer)
    }

    /// The same on a fiber. Dropping the future drops the exchange, and the instance must be dropped too.
    pub(crate) async fn call_on_fiber(
        &mut self,
        hook: Hook,
        exchange: Box<Exchange>,
    ) -> (Box<Exchange>, Result<Decision, Failure>) {
        let kind = hook.kind();
        self.begin(kind, Some((exchange, AtHand::of(hook))), true);
        let inner = &mut *self.0;
        let wall = inner.store.data().policy.limits.wall;
        let budget = &mut inner.store.data_mut().budget;
        let (turns, until) = (budget.turns(), Until::after(budget.begun(), wall));
        let answer = in_turns(&turns, until, inner.call_on_fiber(kind)).await;
        self.end(answer)
    }

    /// Calls `on-tick` on this thread.
    pub(crate) fn tick(&mut self) -> Result<(), Failure> {
        let yields = self.yields();
        self.begin(HookKind::Tick, None, yields);
        let inner = &mut *self.0;
        let result = if yields {
            let limit = inner.store.data().policy.limits.wall;
            let budget = &mut inner.store.data_mut().budget;
            let (turns, until) = (budget.turns(), Until::after(budget.begun(), limit));
            let tick = inner.call_on_fiber(HookKind::Tick);
            // Nothing else rings an alarm here.
            let left = || thread::park_timeout(until.at.saturating_duration_since(Instant::now()));
            block_on_with(in_turns(&turns, until, tick), left)
        } else {
            inner.call(HookKind::Tick)
        };
        self.0.store.data_mut().budget.finish();
        returned(result, &mut self.0.store)
    }

    fn begin(&mut self, hook: HookKind, given: Option<(Box<Exchange>, AtHand)>, yields: bool) {
        self.0.uses += 1;
        self.0.guest.runs_here();
        let store = &mut self.0.store;
        let state = store.data_mut();
        if let Some((exchange, at_hand)) = given {
            (state.exchange, state.at_hand) = (Some(exchange), at_hand);
        }
        let deadline = state.policy.limits.deadline;
        state.begin(Stage::Hook(hook), deadline, yields);
        store.set_epoch_deadline(1);
    }

    fn end(&mut self, answer: WasmResult<Result<(), String>>) -> (Box<Exchange>, Result<Decision, Failure>) {
        // Before the words for a fault are looked for, which takes longer than many a hook.
        self.0.store.data_mut().budget.finish();
        let (cpu, memory_bytes) = self.cost();
        let store = &mut self.0.store;
        let at_hand = std::mem::take(&mut store.data_mut().at_hand);
        let result = returned(answer, store).map(|()| at_hand.decided());
        let exchange = store.data_mut().exchange.take();
        let mut exchange = exchange.expect("`begin` put it there, and host functions only borrow it");
        let cost = &mut exchange.slot().cost;
        cost.calls = cost.calls.saturating_add(1);
        cost.cpu += cpu;
        cost.memory_bytes = cost.memory_bytes.max(memory_bytes);
        (exchange, result)
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

impl Inner {
    /// Restores everything that the guest could change. Returns `false` if restoring would take too long; the caller
    /// then drops the instance.
    fn wipe(&mut self, pages: &PageMap) -> WasmResult<bool> {
        // What runs now is not the guest's, has no loops, and has no deadline.
        self.store.set_epoch_deadline(NO_TICKS);
        let state = self.store.data_mut();
        state.budget.suspend();
        state.stdio = Stdio::default();
        state.memory.take_refused();
        self.guest.wipe(self.context.code(), &mut self.store, pages)
    }

    /// Calls a hook on this thread's stack.
    fn call(&mut self, kind: HookKind) -> WasmResult<Result<(), String>> {
        self.guest.call(self.context.code(), &mut self.store, kind)
    }

    /// The same on a fiber.
    async fn call_on_fiber(&mut self, kind: HookKind) -> WasmResult<Result<(), String>> {
        self.guest.call_on_fiber(self.context.code(), &mut self.store, kind).await
    }
}

/// What has become of a call: a trap and an error that the hook returned are both failures.
fn returned(answer: WasmResult<Result<(), String>>, store: &mut Store<State>) -> Result<(), Failure> {
    match answer {
        Ok(Ok(())) => Ok(()),
        Ok(Err(reason)) => Err(Failure::new(FaultKind::Failed, bounded(&reason))),
        Err(error) => Err(Failure::of(&error, store)),
    }
}

/// The turns of a fiber in which an instance is configured, and when that is given up.
fn configure_turns(store: &mut Store<State>) -> (Turns, Until) {
    let State { budget, policy, .. } = store.data_mut();
    let limit = policy.limits.configure_deadline + policy.limits.wall;
    (budget.turns(), Until::after(budget.begun(), limit))
}

/// A store in which `configure` is about to run.
fn new_store(
    context: &Arc<PolicyContext>,
    yields: bool,
    client: Option<Client>,
) -> Result<(Store<State>, InstancePlace), MakeError> {
    let made = new_store_of(&context.sandbox.engines.plain, context, context.direct().is_some(), client);
    let (mut store, place) = made.map_err(MakeError::Failed)?;
    store.data_mut().begin(Stage::Configure, context.policy.limits.configure_deadline, yields);
    store.set_epoch_deadline(1);
    Ok((store, place))
}

/// A store for a guest that is called directly, or for one that is not.
fn new_store_of(
    engine: &Engine,
    context: &Arc<PolicyContext>,
    is_direct: bool,
    client: Option<Client>,
) -> Result<(Store<State>, InstancePlace), Failure> {
    let sandbox = &context.sandbox;
    let injected = sandbox.injector.as_ref().map(|injector| injector.refusals(&context.policy.name));
    if let Some(why) = injected.as_ref().and_then(|injected| injected.instance()) {
        return Err(Failure::new(FaultKind::Exhausted, why));
    }
    let place = place(context, client)?;
    let state = State {
        exchange: None,
        at_hand: AtHand::default(),
        stage: Stage::Configure,
        guest: None,
        policy: context.policy.clone(),
        memory: MemoryLimiter::new(context.policy.limits.memory_bytes, sandbox.memory.share(), injected),
        budget: Budget::new(sandbox.ticker.ticker().clone()),
        stdio: Stdio::default(),
        wasi_handles: 0,
        had_handles: false,
    };
    let mut store = Store::new(engine, state);
    store.limiter(|state| &mut state.memory);
    store.set_hostcall_fuel(handed_over_max(&context.policy));
    store.set_max_component_handles(HANDLES_MAX);
    store.epoch_deadline_callback(|mut context| {
        let state = context.data_mut();
        // A call of the host's own for memory has no fiber to pause, also if what it is for runs on one.
        let may_pause = state.guest.as_ref().is_none_or(|guest| !guest.is_called_back());
        state.budget.on_epoch(may_pause)
    });
    if context.policy.yields {
        store.call_hook_async(returns::OnFiber);
    } else if !is_direct {
        store.call_hook(returns::on_thread);
    }
    Ok((store, place))
}

/// A place for an instance, within what an exchange of `client` may take; without one, within what there is.
fn place(context: &Arc<PolicyContext>, client: Option<Client>) -> Result<InstancePlace, Failure> {
    let (own, all) = (&context.instances, &context.sandbox.instances);
    let client = client.map(|client| (&context.sandbox.clients, client));
    InstancePlace::take(own, all, client).map_err(|none| {
        let (has, max) = (own.taken(), all.max());
        let message = match none {
            NoPlace::All => {
                format!("all {max} instances that the gateway may have are in use (`server.policy-instances-max`)")
            }
            NoPlace::Policy => {
                format!("all {} instances that the policy may have are in use (`limits.instances`)", own.max())
            }
            NoPlace::Share(Beyond::Policy) => format!(
                "the policy has {has} instances, which is as many as are free of the {max} that the gateway may have \
                 (`server.policy-instances-max`); with `limits.instances` it may have more"
            ),
            NoPlace::Share(Beyond::Client) => format!(
                "exchanges of this client have as many instances as are left to the policy, which has {has} (`limits.instances`, \
                 `server.policy-instances-max`)"
            ),
        };
        Failure::new(FaultKind::Exhausted, message)
    })
}

fn load(
    context: &PolicyContext,
    store: &mut Store<State>,
    made: WasmResult<WasmInstance>,
) -> Result<(WasmInstance, HookFuncs, Option<Configure>), MakeError> {
    let indices = &context.component.linked.indices;
    let instance = made.map_err(|error| MakeError::Failed(Failure::of(&error, store)))?;
    let loaded = indices.load(store, &instance).and_then(|hooks| {
        let configure = typed(store, &instance, indices.configure)?;
        Ok((instance, hooks, configure))
    });
    loaded.map_err(|error| {
        let Failure { kind, message } = Failure::of(&error, store);
        let note = context.component.info.other_contract();
        MakeError::Failed(Failure::new(
            kind,
            note.map_or(message.clone(), |note| format!("{note} ({message})")),
        ))
    })
}
