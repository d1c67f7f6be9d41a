//! A policy on one worker.
//!
//! With `isolation = "worker"` it has a pool of instances that are taken for one hook and given back right after; what the
//! policy wants to keep from one hook of an exchange to the next is in the exchange, so that any instance can serve any
//! hook. With `isolation = "exchange"` an instance starts from the configured image at an exchange's first hook, rests in
//! the exchange between its hooks, and is wiped after the last one that the component has: the next exchange then starts
//! with it where a new one would be the same and dearer, see `wipe.rs`.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use portcullis_model::Isolation;
use portcullis_policy::recorder::Quarantined;
use portcullis_policy::{
    Called, Decision, Exchange, Fault, FaultKind, Hook, Hooks, Policy, PolicyFactory, Returned,
};
use portcullis_traffic::{Probe, Standing};
use tokio::sync::Semaphore;

use crate::aside::{Aside, Done};
use crate::factory::PolicyContext;
use crate::fault::Failure;
use crate::instance::{Instance, MakeError};
use crate::quarantine::{Admitted, refusal};
use crate::shared::Calls;
use crate::shares::Client;
use crate::state::Stage;

/// Instances kept for later. A policy that never yields needs one; on fibers, as many as exchanges are inside it.
const IDLE_MAX: usize = 8;
/// Wiped instances kept for later: as many as exchanges may end at once.
const SPARES_MAX: usize = 64;
/// So many calls in a row have to be short until a policy that has run long is called on the worker's thread again.
const SHORT_CALLS: u32 = 1000;

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
    /// Short calls that it still owes before it is trusted with the worker's thread; 0 unless it ran long.
    owes: Cell<u32>,
    /// Made when it first ran long.
    aside: RefCell<Option<Rc<Aside>>>,
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
        let calls = context.shared.add_worker(context.version);
        let pool = Pool {
            context,
            calls,
            idle: RefCell::new(idle),
            rested: Cell::new(0),
            making: Semaphore::new(1),
            owes: Cell::new(0),
            aside: RefCell::new(None),
        };
        Self { factory, pool: Rc::new(pool) }
    }
}

impl Policy for Worker {
    fn factory(&self) -> &Arc<dyn PolicyFactory> {
        &self.factory
    }

    fn call(&self, hook: Hook, mut exchange: Box<Exchange>) -> Called {
        let stage = Stage::of(&hook);
        let entry = match self.pool.enter(stage, &hook, &mut exchange) {
            Ok(entry) => entry,
            Err(fault) => return Called::Ready(exchange, Err(fault)),
        };
        if let Some(aside) = self.pool.aside() {
            return self.pool.waiting(entry, call_aside(self.pool.clone(), aside, stage, hook, exchange));
        }
        if self.pool.context.isolation == Isolation::Exchange {
            return call_isolated(&self.pool, entry, hook, exchange);
        }
        if self.pool.context.yields {
            return self.pool.waiting(entry, call_on_fiber(self.pool.clone(), stage, hook, exchange));
        }
        let taken = self.pool.take_idle();
        let Some(mut instance) = taken else {
            return self.pool.waiting(entry, call_in_new(self.pool.clone(), stage, hook, exchange));
        };
        let (exchange, result) = instance.call(hook, exchange);
        let result = self.pool.give_back(&exchange, stage, instance, result);
        self.pool.ready(entry, exchange, result)
    }

    fn sweep(&self) {
        self.pool.sweep();
    }
}

/// Calls a hook on the thread beside the worker.
async fn call_aside(
    pool: Rc<Pool>,
    aside: Rc<Aside>,
    stage: Stage,
    hook: Hook,
    mut exchange: Box<Exchange>,
) -> Returned {
    let Some(_place) = pool.context.hook_calls.place() else {
        let fault = pool.crowded(&exchange, stage);
        return (exchange, Err(fault));
    };
    let isolated = pool.context.isolation == Isolation::Exchange;
    let taken = match isolated {
        true => exchange.slot().instance.take().and_then(Instance::from_any),
        false => pool.take_idle(),
    };
    let instance = match pool.instance(taken, stage, &mut exchange).await {
        Ok(instance) => instance,
        Err(fault) => return (exchange, Err(fault)),
    };
    let then = Then::after(&hook, pool.context.component.info.hooks);
    let called = match aside.call(instance, hook, exchange) {
        Ok(called) => called,
        Err(exchange) => {
            let fault = pool.crowded(&exchange, stage);
            return (exchange, Err(fault));
        }
    };
    let (instance, mut exchange, result): Done =
        called.await.expect("the thread sends back what it was given, unless our own code panicked there");
    let result = match isolated {
        true => pool.leave(stage, instance, &mut exchange, then, result),
        false => pool.give_back(&exchange, stage, instance, result),
    };
    (exchange, result)
}

/// Calls a hook in the instance of the exchange.
fn call_isolated(pool: &Rc<Pool>, entry: Entry, hook: Hook, mut exchange: Box<Exchange>) -> Called {
    let stage = entry.stage;
    let own = exchange.slot().instance.take().and_then(Instance::from_any);
    // Without an image it has to be configured, and that may take long.
    if pool.context.yields || (own.is_none() && pool.context.image().is_none()) {
        return pool.waiting(entry, call_isolated_on_fiber(pool.clone(), own, stage, hook, exchange));
    }
    let mut instance = match own.map_or_else(|| pool.fresh(&mut exchange), Ok) {
        Ok(instance) => instance,
        Err(failure) => {
            let fault = pool.fault(&exchange, stage, failure);
            return pool.ready(entry, exchange, Err(fault));
        }
    };
    let then = Then::after(&hook, pool.context.component.info.hooks);
    let (mut exchange, result) = instance.call(hook, exchange);
    let result = pool.leave(stage, instance, &mut exchange, then, result);
    pool.ready(entry, exchange, result)
}

async fn call_isolated_on_fiber(
    pool: Rc<Pool>,
    own: Option<Instance>,
    stage: Stage,
    hook: Hook,
    mut exchange: Box<Exchange>,
) -> Returned {
    let Some(_place) = pool.context.hook_calls.place() else {
        let fault = pool.crowded(&exchange, stage);
        return (exchange, Err(fault));
    };
    let mut instance = match pool.instance(own, stage, &mut exchange).await {
        Ok(instance) => instance,
        Err(fault) => return (exchange, Err(fault)),
    };
    let then = Then::after(&hook, pool.context.component.info.hooks);
    let (mut exchange, result) = match pool.context.yields {
        true => instance.call_on_fiber(hook, exchange).await,
        false => instance.call(hook, exchange),
    };
    let result = pool.leave(stage, instance, &mut exchange, then, result);
    (exchange, result)
}

/// Which hooks of an exchange may come after one, as far as the component has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Then {
    /// Where the exchange goes on.
    next: bool,
    /// Where the policy has replied: its response hooks are passed over.
    replied: bool,
}

impl Then {
    fn after(hook: &Hook, hooks: Hooks) -> Self {
        let at_end = hooks.completed;
        let response = hooks.response_head || hooks.response_body || at_end;
        // The request's body may still be on its way while the response goes out.
        let (next, replied) = match hook {
            Hook::RequestHead => (hooks.request_body || response, at_end),
            Hook::RequestBody { last, .. } => (!last || response, at_end),
            Hook::ResponseHead => {
                let next = hooks.request_body || hooks.response_body || at_end;
                (next, next)
            }
            Hook::ResponseBody { last, .. } => {
                (!last || hooks.request_body || at_end, hooks.request_body || at_end)
            }
            Hook::Completed(_) => (false, false),
        };
        Self { next, replied }
    }
}

/// Calls a hook in an instance that has yet to be made, as after a fault. Making one runs `configure`, which may take
/// seconds: on a fiber, the worker's other exchanges go on meanwhile. One at a time, so that they get every second turn
/// even if each call of this policy ends in a fault.
async fn call_in_new(pool: Rc<Pool>, stage: Stage, hook: Hook, mut exchange: Box<Exchange>) -> Returned {
    let turn = pool.making.acquire().await;
    // While this one waited, others may have given theirs back.
    let taken = pool.take_idle();
    let mut instance = match pool.instance(taken, stage, &mut exchange).await {
        Ok(instance) => instance,
        Err(fault) => return (exchange, Err(fault)),
    };
    let (exchange, result) = instance.call(hook, exchange);
    let result = pool.give_back(&exchange, stage, instance, result);
    drop(turn);
    (exchange, result)
}

async fn call_on_fiber(pool: Rc<Pool>, stage: Stage, hook: Hook, mut exchange: Box<Exchange>) -> Returned {
    let Some(_place) = pool.context.hook_calls.place() else {
        let fault = pool.crowded(&exchange, stage);
        return (exchange, Err(fault));
    };
    let taken = pool.take_idle();
    let mut instance = match pool.instance(taken, stage, &mut exchange).await {
        Ok(instance) => instance,
        Err(fault) => return (exchange, Err(fault)),
    };
    let (exchange, result) = instance.call_on_fiber(hook, exchange).await;
    let result = pool.give_back(&exchange, stage, instance, result);
    (exchange, result)
}

/// A call that was let through, until it is settled.
struct Entry {
    stage: Stage,
    /// To see whether the policy works again.
    probe: Option<Probe>,
    /// Of a body hook: whether it is given the last piece.
    last: Option<bool>,
    /// Whether what becomes of it counts: not where an exchange shall change nothing.
    counts: bool,
    /// What the policy had cost the exchange before.
    cpu: Duration,
}

impl Pool {
    /// Asks the quarantine whether a hook may be called, and counts the call.
    fn enter(&self, stage: Stage, hook: &Hook, exchange: &mut Exchange) -> Result<Entry, Fault> {
        let counts = exchange.has_effects();
        let probe = match self.context.quarantine.admit(stage, counts, exchange.client.address) {
            Admitted::Call => None,
            Admitted::Probe(probe) => Some(probe),
            Admitted::Refused => {
                if counts {
                    self.calls.refuse(stage);
                }
                if let Some(recorder) = &mut exchange.recorder
                    && let Some(Standing { lasted, probe_in }) = self.context.quarantine.standing(stage)
                {
                    recorder.note_quarantine(Quarantined { lasted, probe_in });
                }
                return Err(refusal(&self.context.name, stage));
            }
        };
        if counts {
            self.calls.add(stage);
        }
        let last = match hook {
            Hook::RequestBody { last, .. } | Hook::ResponseBody { last, .. } => Some(*last),
            _ => None,
        };
        Ok(Entry { stage, probe, last, counts, cpu: exchange.slot().cost.cpu })
    }

    /// Notes what has become of a call, and what it has cost.
    fn settle(&self, entry: Entry, exchange: &mut Exchange, result: &Result<Decision, Fault>) {
        let Entry { stage, probe, last, counts, cpu } = entry;
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
            self.calls.succeed(stage);
        }
        let PolicyContext { shared, quarantine, version, .. } = &*self.context;
        match (probe, result) {
            (Some(probe), result) => quarantine.probed(shared, stage, probe, result.as_ref().err()),
            (None, Err(fault)) => {
                quarantine.fault(shared, *version, stage, exchange.client.address, fault);
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
            None => self
                .context
                .fresh_instance(client_of(exchange))
                .inspect(|instance| Self::made(exchange, instance)),
        }
    }

    /// An instance that was wiped, where instances are.
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

    /// Drops half of those that nobody has needed since the last time, after a peak. One stays where making one may take long.
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

    /// The thread beside the worker, for a policy that owes short calls.
    fn aside(&self) -> Option<Rc<Aside>> {
        if self.owes.get() == 0 {
            return None;
        }
        self.aside.borrow().clone()
    }

    /// Judges a policy by its last call.
    fn judge(&self, instance: &Instance) {
        let owes = self.owes.get();
        if instance.ran_long() {
            self.owes.set(SHORT_CALLS);
            if owes == 0 {
                self.send_aside();
            }
        } else if owes > 0 {
            self.owes.set(owes - 1);
        }
    }

    #[cold]
    fn send_aside(&self) {
        let mut aside = self.aside.borrow_mut();
        if aside.is_none() {
            match Aside::start(self.context.hook_calls.max() as usize) {
                Ok(started) => *aside = Some(Rc::new(started)),
                Err(error) => {
                    tracing::warn!(policy = %self.context.name, "no thread for hooks that run long: {error}");
                }
            }
        }
    }

    /// The instance that is at hand, else a new one. Where there can be none, the fault that this is.
    async fn instance(
        &self,
        at_hand: Option<Instance>,
        stage: Stage,
        exchange: &mut Exchange,
    ) -> Result<Instance, Fault> {
        let instance = match at_hand {
            Some(instance) => Ok(instance),
            None => self.make(exchange).await,
        };
        instance.map_err(|failure| self.fault(exchange, stage, failure))
    }

    /// An instance that nothing was done with since it was configured.
    async fn make(&self, exchange: &mut Exchange) -> Result<Instance, Failure> {
        if self.context.image().is_some() {
            return self.fresh(exchange);
        }
        let made = Instance::make_on_fiber(&self.context, client_of(exchange)).await;
        made.inspect(|instance| Self::made(exchange, instance)).map_err(MakeError::into_failure)
    }

    /// Keeps the instance for the next call. After a fault it is dropped instead: its memory may be in any state.
    fn give_back(
        &self,
        exchange: &Exchange,
        stage: Stage,
        instance: Instance,
        result: Result<Decision, Failure>,
    ) -> Result<Decision, Fault> {
        self.judge(&instance);
        match result {
            Ok(decision) => {
                let mut idle = self.idle.borrow_mut();
                if idle.len() < IDLE_MAX && instance.is_fresh() {
                    idle.push(instance);
                }
                Ok(decision)
            }
            Err(failure) => {
                drop(instance);
                Err(self.fault(exchange, stage, failure))
            }
        }
    }

    /// Leaves the instance in its exchange where more of its hooks may come, and wipes it else.
    fn leave(
        &self,
        stage: Stage,
        instance: Instance,
        exchange: &mut Exchange,
        then: Then,
        result: Result<Decision, Failure>,
    ) -> Result<Decision, Fault> {
        self.judge(&instance);
        match result {
            Ok(decision) => {
                let stays = if matches!(decision, Decision::Reply(_)) { then.replied } else { then.next };
                if stays {
                    exchange.slot().instance = Some(instance.into_any());
                } else if self.idle.borrow().len() < SPARES_MAX {
                    self.idle.borrow_mut().extend(instance.wiped());
                }
                Ok(decision)
            }
            Err(failure) => {
                drop(instance);
                Err(self.fault(exchange, stage, failure))
            }
        }
    }

    #[cold]
    fn crowded(&self, exchange: &Exchange, stage: Stage) -> Fault {
        let max = self.context.hook_calls.max();
        let message = format!("all {max} calls of it that may be are under way (`limits.hook-calls`)");
        self.fault(exchange, stage, Failure::new(FaultKind::Exhausted, message))
    }

    #[cold]
    fn fault(&self, exchange: &Exchange, stage: Stage, failure: Failure) -> Fault {
        if exchange.has_effects() {
            self.context.shared.count_fault(stage, failure.kind, &failure.message);
        }
        failure.into_fault(&self.context, stage)
    }
}

/// Whose share an instance for the exchange is of. Of nobody's where somebody only looks.
fn client_of(exchange: &Exchange) -> Option<Client> {
    exchange.has_effects().then(|| Client::of(exchange.client.address))
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.context.shared.remove_worker(&self.calls);
    }
}
