//! A policy on one worker: a pool of instances that are taken for one hook and given back right after.
//!
//! What a policy wants to keep from one hook of an exchange to the next is in the exchange itself, so that any instance
//! can serve any hook.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use portcullis_policy::{
    Called, Decision, Exchange, Fault, FaultKind, Hook, Policy, PolicyFactory, Returned,
};
use tokio::sync::Semaphore;

use crate::capabilities::log::LogWindow;
use crate::factory::PolicyContext;
use crate::fault::Failure;
use crate::instance::Instance;
use crate::shared::Calls;
use crate::state::Stage;

/// Instances kept for later. A policy that never yields needs one; on fibers, as many as exchanges are inside it.
const IDLE_MAX: usize = 8;
/// Fibers of one policy on one worker at once: so that a slow policy under a flood does not use up the gateway's
/// instances, which others need.
const FIBERS_MAX: usize = 64;

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
}

impl Worker {
    /// With `spare` as its first instance; without, one is made at once, so that no exchange waits for it.
    pub(crate) fn new(
        factory: Arc<dyn PolicyFactory>,
        context: Arc<PolicyContext>,
        spare: Option<Instance>,
    ) -> Self {
        let log_window = Arc::new(LogWindow::default());
        let mut idle = Vec::with_capacity(IDLE_MAX);
        match spare {
            Some(mut instance) => {
                instance.adopt(&log_window);
                idle.push(instance);
            }
            // A failure will be the fault of the exchange that meets it again.
            None => idle.extend(Instance::make(&context, &log_window)),
        }
        let calls = context.shared.add_worker();
        let pool = Pool {
            context,
            log_window,
            calls,
            idle: RefCell::new(idle),
            fibers: Cell::new(0),
            making: Semaphore::new(1),
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
        self.pool.calls.add(stage);
        if self.pool.context.yields {
            return Called::Waiting(Box::pin(call_on_fiber(self.pool.clone(), stage, hook, exchange)));
        }
        let taken = self.pool.idle.borrow_mut().pop();
        let Some(mut instance) = taken else {
            return Called::Waiting(Box::pin(call_in_new(self.pool.clone(), stage, hook, exchange)));
        };
        let (exchange, result) = instance.call(hook, exchange);
        Called::Ready(exchange, self.pool.give_back(stage, instance, result))
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
        Err(error) => return (exchange, Err(pool.fault(stage, error.into_failure()))),
    };
    let (exchange, result) = instance.call(hook, exchange);
    let result = pool.give_back(stage, instance, result);
    drop(turn);
    (exchange, result)
}

async fn call_on_fiber(pool: Rc<Pool>, stage: Stage, hook: Hook, exchange: Box<Exchange>) -> Returned {
    let Some(_place) = FiberPlace::take(&pool) else {
        let message = format!("{FIBERS_MAX} calls of it are already under way on this worker");
        return (exchange, Err(pool.fault(stage, Failure::new(FaultKind::Exhausted, message))));
    };
    let taken = pool.idle.borrow_mut().pop();
    let made = match taken {
        Some(instance) => Ok(instance),
        None => Instance::make_on_fiber(&pool.context, &pool.log_window).await,
    };
    let mut instance = match made {
        Ok(instance) => instance,
        Err(error) => return (exchange, Err(pool.fault(stage, error.into_failure()))),
    };
    let (exchange, result) = instance.call_on_fiber(hook, exchange).await;
    (exchange, pool.give_back(stage, instance, result))
}

impl Pool {
    /// Keeps the instance for the next call. After a fault it is dropped instead: its memory may be in any state.
    fn give_back(
        &self,
        stage: Stage,
        instance: Instance,
        result: Result<Decision, Failure>,
    ) -> Result<Decision, Fault> {
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
                Err(self.fault(stage, failure))
            }
        }
    }

    #[cold]
    fn fault(&self, stage: Stage, failure: Failure) -> Fault {
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
