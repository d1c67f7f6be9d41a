//! A policy on one worker.
//!
//! With `isolation = "worker"` it has a pool of instances that are taken for one hook and given back right after; what
//! the policy wants to keep from one hook of an exchange to the next is in the exchange, so that any instance can serve
//! any hook. With `isolation = "exchange"` an instance starts from the configured image at an exchange's first hook,
//! rests in the exchange between its hooks, and is wiped after the last one that the component has: the next exchange
//! then starts with it, because a new one would be the same and cost more: see `wipe.rs`.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use portcullis_model::Isolation;
use portcullis_policy::recorder::Quarantined;
use portcullis_policy::{
    Called, Decision, Exchange, Fault, FaultKind, Hook, HookKind, Hooks, Policy, PolicyFactory, Returned,
};
use portcullis_traffic::{Probe, Standing};
use tokio::sync::Semaphore;

use crate::instance::fault::Failure;
use crate::instance::{Instance, MakeError};
use crate::policy::context::PolicyContext;
use crate::policy::quarantine::{Admitted, refusal};
use crate::policy::shared::Calls;
use crate::policy::shares::{Beyond, Client};
use crate::run::background::Background;
use crate::run::trust::Trust;

/// Instances kept for later. A policy that never yields needs one; on fibers, as many as exchanges are inside it.
const IDLE_MAX: usize = 8;
/// Wiped instances kept for later: as many as exchanges may end at once.
const SPARES_MAX: usize = 64;

/// A policy on one worker.
pub(crate) struct Worker {
    factory: Arc<dyn PolicyFactory>,
    pool: Rc<Pool>,
}

struct Pool {
    context: Arc<PolicyContext>,
    calls: Arc<Calls>,
    idle: RefCell<Vec<Instance>>,
    /// How many of them have rested since the last sweep.
    rested: Cell<usize>,
    /// The turn to make an instance for a policy that does not yield.
    making: Semaphore,
    /// Whether it is trusted with the worker's thread.
    trust: Trust,
    /// Made when it first ran long.
    background: RefCell<Option<Rc<Background>>>,
}

impl Worker {
    /// With `spare` as its first instance; without, one is made at once, so that no exchange waits for it.
    pub(crate) fn new(
        factory: Arc<dyn PolicyFactory>,
        context: Arc<PolicyContext>,
        spare: Option<Instance>,
    ) -> Self {
        let mut idle = Vec::new();
        match spare {
            Some(instance) => idle.push(instance),
            // A failure will be the fault of the exchange that meets it again.
            None if context.isolation == Isolation::Worker => {
                idle.extend(Instance::make(&context));
            }
            None => {}
        }
        let calls = context.policy.shared.add_worker(context.policy.version);
        let pool = Pool {
            context,
            calls,
            idle: RefCell::new(idle),
            rested: Cell::new(0),
            making: Semaphore::new(1),
            trust: Trust::default(),
            background: RefCell::new(None),
        };
        Self { factory, pool: Rc::new(pool) }
    }
}

impl Policy for Worker {
    fn factory(&self) -> &Arc<dyn PolicyFactory> {
        &self.factory
    }

    fn call(&self, hook: Hook, mut exchange: Box<Exchange>) -> Called {
        let kind = hook.kind();
        let entry = match self.pool.enter(kind, &hook, &mut exchange) {
            Ok(entry) => entry,
            Err(fault) => return Called::Ready(exchange, Err(fault)),
        };
        let placement = self.pool.placement();
        if placement.is_immediate()
            && let Some(instance) = self.pool.at_hand(&placement, &mut exchange)
        {
            let (exchange, result) = match instance {
                Ok(instance) => self.pool.call_here(&placement, instance, hook, exchange),
                Err(failure) => {
                    let fault = self.pool.fault(&exchange, kind, failure);
                    (exchange, Err(fault))
                }
            };
            return self.pool.ready(entry, exchange, result);
        }
        self.pool.waiting(entry, run(self.pool.clone(), placement, hook, exchange))
    }

    fn sweep(&self) {
        self.pool.sweep();
    }
}

/// How a hook is called. Decided once for each call, from what the policy is and what its last calls took.
#[derive(Debug, Clone)]
struct Placement {
    instance: Source,
    thread: Thread,
    stack: Stack,
}

/// The place that the instance for a call comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    /// From the pool, and back there after the call.
    Pool,
    /// From the exchange, which keeps it for its next hook.
    Exchange,
}

/// Which thread calls the hook.
#[derive(Debug, Clone)]
enum Thread {
    /// The worker's.
    Here,
    /// The one beside it, for policies that ran long.
    Background(Rc<Background>),
}

/// What the guest's stack is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stack {
    /// The thread's own.
    Plain,
    /// A fiber's: the call can stop half-way and let others go on.
    Fiber,
}

impl Placement {
    /// Whether the call is over when it returns, if there is an instance for it.
    fn is_immediate(&self) -> bool {
        matches!(self.thread, Thread::Here) && self.stack == Stack::Plain
    }
}

/// Calls a hook that waits: for an instance, for its turn on the thread beside the worker, or because it is on a fiber.
async fn run(pool: Rc<Pool>, placement: Placement, hook: Hook, mut exchange: Box<Exchange>) -> Returned {
    let kind = hook.kind();
    // Making an instance runs `configure`, which may take seconds: on a fiber, the worker's other exchanges go on
    // meanwhile. For a pool that ran empty one at a time, so that they get every second turn even if each call of this
    // policy ends in a fault. All other calls have a bound together.
    let (_place, _turn) = if placement.is_immediate() && placement.instance == Source::Pool {
        (None, Some(pool.making.acquire().await))
    } else {
        match pool.context.hook_calls.place(client_of(&exchange)) {
            Ok(place) => (Some(place), None),
            Err(beyond) => {
                let fault = pool.at_capacity(&exchange, kind, beyond);
                return (exchange, Err(fault));
            }
        }
    };
    // While this one waited, others may have given theirs back.
    let instance = match pool.at_hand(&placement, &mut exchange) {
        Some(instance) => instance,
        None => pool.make(&mut exchange).await,
    };
    let mut instance = match instance {
        Ok(instance) => instance,
        Err(failure) => {
            let fault = pool.fault(&exchange, kind, failure);
            return (exchange, Err(fault));
        }
    };
    let background = match &placement.thread {
        Thread::Here if placement.stack == Stack::Plain => {
            return pool.call_here(&placement, instance, hook, exchange);
        }
        Thread::Here => None,
        Thread::Background(background) => Some(background),
    };
    let later = LaterHooks::after(&hook, pool.context.component.info.hooks);
    let (instance, mut exchange, result) = match background {
        None => {
            let (exchange, result) = instance.call_on_fiber(hook, exchange).await;
            (instance, exchange, result)
        }
        Some(background) => match background.call(instance, hook, exchange) {
            Ok(called) => called
                .await
                .expect("the thread sends back what it was given, unless our own code panicked there"),
            Err(exchange) => {
                let fault = pool.at_capacity(&exchange, kind, Beyond::Policy);
                return (exchange, Err(fault));
            }
        },
    };
    let result = pool.put_back(placement.instance, kind, instance, &mut exchange, later, result);
    (exchange, result)
}

/// Which hooks of an exchange may come after one, as far as the component has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct LaterHooks {
    /// If the exchange goes on.
    next: bool,
    /// If the policy has replied: its response hooks are passed over.
    replied: bool,
}

impl LaterHooks {
    fn after(hook: &Hook, hooks: Hooks) -> Self {
        let following = hook.following().and(hooks);
        let passed_over = match hook.kind() {
            HookKind::RequestHead | HookKind::RequestBody => Hooks::of(&HookKind::ALL).except(AT_END),
            HookKind::ResponseBody => Hooks::of(&[HookKind::ResponseBody]),
            HookKind::ResponseHead | HookKind::Completed | HookKind::Tick => Hooks::NONE,
        };
        Self { next: !following.is_empty(), replied: !following.except(passed_over).is_empty() }
    }
}

const AT_END: Hooks = Hooks::of(&[HookKind::Completed]);

/// A call that was let through, until it is settled.
struct Entry {
    kind: HookKind,
    /// To see whether the policy works again.
    probe: Option<Probe>,
    /// Of a body hook: whether it is given the last piece.
    last: Option<bool>,
    /// Whether its outcome counts. It does not if the exchange must change nothing.
    counts: bool,
    /// What the policy had cost the exchange before.
    cpu: Duration,
}

impl Pool {
    /// Asks the quarantine whether a hook may be called, and counts the call.
    fn enter(&self, kind: HookKind, hook: &Hook, exchange: &mut Exchange) -> Result<Entry, Fault> {
        let counts = exchange.has_effects();
        let probe = match self.context.quarantine.admit(kind, counts, exchange.client.address) {
            Admitted::Call => None,
            Admitted::Probe(probe) => Some(probe),
            Admitted::Refused => {
                if counts {
                    self.calls.refuse(kind);
                }
                if let Some(recorder) = &mut exchange.recorder
                    && let Some(Standing { lasted, probe_in }) = self.context.quarantine.standing(kind)
                {
                    recorder.note_quarantine(Quarantined { lasted, probe_in });
                }
                return Err(refusal(&self.context.policy.name, kind));
            }
        };
        if counts {
            self.calls.add(kind);
        }
        let last = hook.piece().map(|(_, _, last)| last);
        Ok(Entry { kind, probe, last, counts, cpu: exchange.slot().cost.cpu })
    }

    /// Notes what has become of a call, and what it has cost.
    fn settle(&self, entry: Entry, exchange: &mut Exchange, result: &Result<Decision, Fault>) {
        let Entry { kind, probe, last, counts, cpu } = entry;
        if !counts {
            return;
        }
        let cost = exchange.slot().cost;
        self.calls.spend(cost.cpu.saturating_sub(cpu), cost.memory_bytes);
        // Of a body the piece with which the hook is done.
        if last.map_or(result.is_ok(), |last| match result {
            Ok(Decision::Reply(_)) => true,
            Ok(_) => last,
            Err(_) => false,
        }) {
            self.calls.succeed(kind);
        }
        let PolicyContext { policy, quarantine, .. } = &*self.context;
        let shared = &policy.shared;
        match (probe, result) {
            (Some(probe), result) => quarantine.probed(shared, kind, probe, result.as_ref().err()),
            (None, Err(fault)) => {
                quarantine.fault(shared, policy.version, kind, exchange.client.address, fault);
            }
            (None, Ok(_)) => {}
        }
    }

    /// A call that is over, settled.
    fn ready(&self, entry: Entry, mut exchange: Box<Exchange>, result: Result<Decision, Fault>) -> Called {
        self.settle(entry, &mut exchange, &result);
        Called::Ready(exchange, result)
    }

    /// A call that takes its time, settled when it ends.
    fn waiting(self: &Rc<Self>, entry: Entry, call: impl Future<Output = Returned> + 'static) -> Called {
        let pool = self.clone();
        Called::Waiting(Box::pin(async move {
            let (mut exchange, result) = call.await;
            pool.settle(entry, &mut exchange, &result);
            (exchange, result)
        }))
    }

    /// An instance for an exchange, on the spot.
    fn fresh(&self, exchange: &mut Exchange) -> Result<Instance, Failure> {
        match self.spare() {
            Some(spare) => spare.wake(client_of(exchange)),
            None => Instance::fresh(&self.context, client_of(exchange))
                .inspect(|instance| Self::made(exchange, instance)),
        }
    }

    /// Decides how the next hook is called.
    fn placement(&self) -> Placement {
        Placement {
            instance: match self.context.isolation {
                Isolation::Worker => Source::Pool,
                Isolation::Exchange => Source::Exchange,
            },
            thread: self.background().map_or(Thread::Here, Thread::Background),
            stack: if self.context.policy.yields { Stack::Fiber } else { Stack::Plain },
        }
    }

    /// Returns the instance that can be called at once, or why there is none. `None` if one has to be configured first,
    /// which may take long.
    fn at_hand(&self, placement: &Placement, exchange: &mut Exchange) -> Option<Result<Instance, Failure>> {
        match placement.instance {
            Source::Pool => self.take_idle().map(Ok),
            Source::Exchange => match exchange.slot().instance.take().and_then(Instance::from_any) {
                Some(own) => Some(Ok(own)),
                None => self.context.image().is_some().then(|| self.fresh(exchange)),
            },
        }
    }

    /// Calls a hook on this thread's stack.
    fn call_here(
        &self,
        placement: &Placement,
        mut instance: Instance,
        hook: Hook,
        exchange: Box<Exchange>,
    ) -> Returned {
        let kind = hook.kind();
        let later = LaterHooks::after(&hook, self.context.component.info.hooks);
        let (mut exchange, result) = instance.call(hook, exchange);
        let result = self.put_back(placement.instance, kind, instance, &mut exchange, later, result);
        (exchange, result)
    }

    /// Returns an instance that was wiped, if instances of this policy are.
    fn spare(&self) -> Option<Instance> {
        self.context.image()?;
        self.take_idle()
    }

    /// The idle instance that was used last: the others go on resting.
    fn take_idle(&self) -> Option<Instance> {
        let mut idle = self.idle.borrow_mut();
        let taken = idle.pop();
        self.rested.set(self.rested.get().min(idle.len()));
        taken
    }

    /// Drops half of those that were not used since the last sweep, after a peak. One stays if making one may take
    /// long.
    fn sweep(&self) {
        let mut idle = self.idle.borrow_mut();
        let kept = idle.len() - self.rested.get().min(idle.len()).div_ceil(2);
        let least = usize::from(self.context.isolation == Isolation::Worker);
        // The first ones have rested the longest.
        let dropped = idle.len().saturating_sub(kept.max(least));
        idle.drain(..dropped);
        self.rested.set(idle.len());
    }

    /// Notes what it took to make an instance for an exchange.
    fn made(exchange: &mut Exchange, instance: &Instance) {
        exchange.slot().cost.cpu += instance.cost().0;
    }

    /// Returns the thread beside the worker for a policy that has to show that it is short again.
    fn background(&self) -> Option<Rc<Background>> {
        if !self.trust.is_lost() {
            return None;
        }
        self.background.borrow().clone()
    }

    /// Judges a policy by its last call.
    fn judge(&self, instance: &Instance) {
        if self.trust.judge(instance.length()) {
            self.start_background();
        }
    }

    #[cold]
    fn start_background(&self) {
        let mut background = self.background.borrow_mut();
        if background.is_none() {
            match Background::start(self.context.hook_calls.max() as usize) {
                Ok(started) => *background = Some(Rc::new(started)),
                Err(error) => {
                    tracing::warn!(policy = %self.context.policy.name, "no thread for hooks that run long: {error}");
                }
            }
        }
    }

    /// Makes an instance and configures it.
    async fn make(&self, exchange: &mut Exchange) -> Result<Instance, Failure> {
        let made = Instance::make_on_fiber(&self.context, client_of(exchange)).await;
        made.inspect(|instance| Self::made(exchange, instance)).map_err(MakeError::into_failure)
    }

    /// Keeps the instance for the call that comes next, if there is one that it is good for. After a fault it is
    /// dropped, because its memory may be in any state, unless the hook returned an error.
    fn put_back(
        &self,
        source: Source,
        kind: HookKind,
        instance: Instance,
        exchange: &mut Exchange,
        later: LaterHooks,
        result: Result<Decision, Failure>,
    ) -> Result<Decision, Fault> {
        self.judge(&instance);
        let (is_good, replied) = match &result {
            Ok(decision) => (true, matches!(decision, Decision::Reply(_))),
            // It has said so itself, and is as whole as after any other call.
            Err(failure) => (failure.kind == FaultKind::Failed, false),
        };
        match source {
            _ if !is_good => drop(instance),
            Source::Pool => {
                let mut idle = self.idle.borrow_mut();
                if idle.len() < IDLE_MAX && instance.is_fresh() {
                    idle.push(instance);
                }
            }
            Source::Exchange => {
                let stays = if replied { later.replied } else { later.next };
                if stays {
                    exchange.slot().instance = Some(instance.into_any());
                } else if self.idle.borrow().len() < SPARES_MAX {
                    self.idle.borrow_mut().extend(instance.wiped());
                }
            }
        }
        result.map_err(|failure| self.fault(exchange, kind, failure))
    }

    #[cold]
    fn at_capacity(&self, exchange: &Exchange, kind: HookKind, beyond: Beyond) -> Fault {
        let max = self.context.hook_calls.max();
        let message = match beyond {
            Beyond::Policy => {
                format!("all {max} calls of it that may be are under way (`limits.hook-calls`)")
            }
            Beyond::Client => format!(
                "exchanges of this client have as many calls of it under way as are left to others of the {max} that may \
                 be (`limits.hook-calls`)"
            ),
        };
        self.fault(exchange, kind, Failure::new(FaultKind::Exhausted, message))
    }

    #[cold]
    fn fault(&self, exchange: &Exchange, kind: HookKind, failure: Failure) -> Fault {
        if exchange.has_effects() {
            self.context.policy.shared.count_fault(kind, failure.kind, &failure.message);
        }
        failure.into_fault(&self.context.policy.name, kind)
    }
}

/// Returns the client whose share an instance or a call for the exchange counts against; `None` for one without
/// effects.
fn client_of(exchange: &Exchange) -> Option<Client> {
    exchange.has_effects().then(|| Client::of(exchange.client.address))
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.context.policy.shared.remove_worker(&self.calls);
    }
}
