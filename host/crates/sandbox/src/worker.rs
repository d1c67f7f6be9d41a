//! A policy on one worker.
//!
//! With `isolation = "worker"` it has a pool of instances that are taken for one hook and given back right after; what the
//! policy wants to keep from one hook of an exchange to the next is in the exchange, so that any instance can serve any
//! hook. With `isolation = "exchange"` an instance starts from the configured image at an exchange's first hook, rests in
//! the exchange between its hooks, and is wiped after the last one that the component has.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use portcullis_model::Isolation;
use portcullis_policy::{
    Called, Decision, Exchange, Fault, FaultKind, Hook, Hooks, Policy, PolicyFactory, Returned,
};
use tokio::sync::Semaphore;

use crate::aside::{Aside, Done};
use crate::capabilities::log::LogWindow;
use crate::factory::PolicyContext;
use crate::fault::Failure;
use crate::instance::{Instance, MakeError};
use crate::shared::Calls;
use crate::state::Stage;

/// Instances kept for later. A policy that never yields needs one; on fibers, as many as exchanges are inside it.
const IDLE_MAX: usize = 8;
/// Fibers of one policy on one worker at once: so that a slow policy under a flood does not use up the gateway's
/// instances, which others need.
const FIBERS_MAX: usize = 64;
/// So many calls in a row have to be short until a policy that has run long is called on the worker's thread again.
const SHORT_CALLS: u32 = 1000;

/// A policy on one worker.
pub(crate) struct Worker {
    factory: Arc<dyn PolicyFactory>,
    pool: Rc<Pool>,
}

struct Pool {
    context: Arc<PolicyContext>,
    log_window: Arc<LogWindow>,
    calls: Arc<Calls>,
    idle: RefCell<Vec<Instance>>,
    /// How many fibers are under way.
    fibers: Cell<usize>,
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
        let log_window = Arc::new(LogWindow::default());
        let mut idle = Vec::new();
        match spare {
            Some(mut instance) => {
                instance.adopt(&log_window);
                idle.push(instance);
            }
            // A failure will be the fault of the exchange that meets it again.
            None if context.isolation == Isolation::Worker => {
                idle.extend(Instance::make(&context, &log_window));
            }
            None => {}
        }
        let calls = context.shared.add_worker();
        let pool = Pool {
            context,
            log_window,
            calls,
            idle: RefCell::new(idle),
            fibers: Cell::new(0),
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

    fn call(&self, hook: Hook, exchange: Box<Exchange>) -> Called {
        let stage = Stage::of(&hook);
        if exchange.has_effects() {
            self.pool.calls.add(stage);
        }
        if let Some(aside) = self.pool.aside() {
            return Called::Waiting(Box::pin(call_aside(self.pool.clone(), aside, stage, hook, exchange)));
        }
        if self.pool.context.isolation == Isolation::Exchange {
            return call_isolated(&self.pool, stage, hook, exchange);
        }
        if self.pool.context.yields {
            return Called::Waiting(Box::pin(call_on_fiber(self.pool.clone(), stage, hook, exchange)));
        }
        let taken = self.pool.idle.borrow_mut().pop();
        let Some(mut instance) = taken else {
            return Called::Waiting(Box::pin(call_in_new(self.pool.clone(), stage, hook, exchange)));
        };
        let (exchange, result) = instance.call(hook, exchange);
        let result = self.pool.give_back(&exchange, stage, instance, result);
        Called::Ready(exchange, result)
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
    let Some(_place) = FiberPlace::take(&pool) else {
        let fault = pool.crowded(&exchange, stage);
        return (exchange, Err(fault));
    };
    let isolated = pool.context.isolation == Isolation::Exchange;
    let taken = match isolated {
        true => exchange.slot().instance.take().and_then(Instance::from_any),
        false => pool.idle.borrow_mut().pop(),
    };
    let made = match taken {
        Some(instance) => Ok(instance),
        None => pool.make().await,
    };
    let instance = match made {
        Ok(instance) => instance,
        Err(failure) => {
            let fault = pool.fault(&exchange, stage, failure);
            return (exchange, Err(fault));
        }
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
fn call_isolated(pool: &Rc<Pool>, stage: Stage, hook: Hook, mut exchange: Box<Exchange>) -> Called {
    let own = exchange.slot().instance.take().and_then(Instance::from_any);
    // Without an image it has to be configured, and that may take long.
    if pool.context.yields || (own.is_none() && pool.context.image().is_none()) {
        return Called::Waiting(Box::pin(call_isolated_on_fiber(pool.clone(), own, stage, hook, exchange)));
    }
    let mut instance = match own.map_or_else(|| pool.context.fresh_instance(&pool.log_window), Ok) {
        Ok(instance) => instance,
        Err(failure) => {
            let fault = pool.fault(&exchange, stage, failure);
            return Called::Ready(exchange, Err(fault));
        }
    };
    let then = Then::after(&hook, pool.context.component.info.hooks);
    let (mut exchange, result) = instance.call(hook, exchange);
    let result = pool.leave(stage, instance, &mut exchange, then, result);
    Called::Ready(exchange, result)
}

async fn call_isolated_on_fiber(
    pool: Rc<Pool>,
    own: Option<Instance>,
    stage: Stage,
    hook: Hook,
    exchange: Box<Exchange>,
) -> Returned {
    let Some(_place) = FiberPlace::take(&pool) else {
        let fault = pool.crowded(&exchange, stage);
        return (exchange, Err(fault));
    };
    let made = match own {
        Some(instance) => Ok(instance),
        None => pool.make().await,
    };
    let mut instance = match made {
        Ok(instance) => instance,
        Err(failure) => {
            let fault = pool.fault(&exchange, stage, failure);
            return (exchange, Err(fault));
        }
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
async fn call_in_new(pool: Rc<Pool>, stage: Stage, hook: Hook, exchange: Box<Exchange>) -> Returned {
    let turn = pool.making.acquire().await;
    // While this one waited, others may have given theirs back.
    let taken = pool.idle.borrow_mut().pop();
    let made = match taken {
        Some(instance) => Ok(instance),
        None => Instance::make_on_fiber(&pool.context, &pool.log_window).await,
    };
    let mut instance = match made {
        Ok(instance) => instance,
        Err(error) => {
            let fault = pool.fault(&exchange, stage, error.into_failure());
            return (exchange, Err(fault));
        }
    };
    let (exchange, result) = instance.call(hook, exchange);
    let result = pool.give_back(&exchange, stage, instance, result);
    drop(turn);
    (exchange, result)
}

async fn call_on_fiber(pool: Rc<Pool>, stage: Stage, hook: Hook, exchange: Box<Exchange>) -> Returned {
    let Some(_place) = FiberPlace::take(&pool) else {
        let fault = pool.crowded(&exchange, stage);
        return (exchange, Err(fault));
    };
    let taken = pool.idle.borrow_mut().pop();
    let made = match taken {
        Some(instance) => Ok(instance),
        None => Instance::make_on_fiber(&pool.context, &pool.log_window).await,
    };
    let mut instance = match made {
        Ok(instance) => instance,
        Err(error) => {
            let fault = pool.fault(&exchange, stage, error.into_failure());
            return (exchange, Err(fault));
        }
    };
    let (exchange, result) = instance.call_on_fiber(hook, exchange).await;
    let result = pool.give_back(&exchange, stage, instance, result);
    (exchange, result)
}

impl Pool {
    /// The thread beside the worker, for a policy that owes short calls.
    fn aside(&self) -> Option<Rc<Aside>> {
        if self.owes.get() == 0 {
            return None;
        }
        self.aside.borrow().clone()
    }

    /// Judges a policy by its last call.
    fn judge(&self, instance: &Instance) {
        // One whose hooks wait would keep that thread waiting as well. It stays on fibers, which yield.
        if self.context.waits {
            return;
        }
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
            match Aside::start(FIBERS_MAX) {
                Ok(started) => *aside = Some(Rc::new(started)),
                Err(error) => {
                    tracing::warn!(policy = %self.context.name, "no thread for hooks that run long: {error}");
                }
            }
        }
    }

    /// An instance that nothing was done with since it was configured.
    async fn make(&self) -> Result<Instance, Failure> {
        match self.context.image() {
            Some(image) => Instance::start(&self.context, image, &self.log_window),
            None => Instance::make_on_fiber(&self.context, &self.log_window)
                .await
                .map_err(MakeError::into_failure),
        }
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
        let message = format!("{FIBERS_MAX} calls of it are already under way on this worker");
        self.fault(exchange, stage, Failure::new(FaultKind::Exhausted, message))
    }

    #[cold]
    fn fault(&self, exchange: &Exchange, stage: Stage, failure: Failure) -> Fault {
        if exchange.has_effects() {
            self.context.shared.count_fault(stage, failure.kind);
        }
        failure.into_fault(&self.context, stage)
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.context.shared.remove_worker(&self.calls);
    }
}

/// A place among the fibers; given back when dropped, also with the future that holds it.
struct FiberPlace(Rc<Pool>);

impl FiberPlace {
    fn take(pool: &Rc<Pool>) -> Option<Self> {
        let fibers = pool.fibers.get();
        (fibers < FIBERS_MAX).then(|| {
            pool.fibers.set(fibers + 1);
            Self(pool.clone())
        })
    }
}

impl Drop for FiberPlace {
    fn drop(&mut self) {
        self.0.fibers.set(self.0.fibers.get() - 1);
    }
}
