//! Calls `on-tick` at intervals, on a thread of its own, so that it never delays an exchange.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use portcullis_model::Isolation;
use portcullis_policy::HookKind;

use crate::instance::Instance;
use crate::policy::context::PolicyContext;
use crate::policy::shared::Calls;

/// No policy is woken more often.
const INTERVAL_MIN: Duration = Duration::from_millis(10);

/// The thread. It ends when this is dropped; a call that is under way then still ends by itself, at its deadline at the
/// latest. Dropping does not wait for that, because workers drop policies.
#[derive(Debug)]
pub(crate) struct TickThread {
    // Nothing is ever sent: that it is gone says it all.
    _alive: SyncSender<()>,
}

impl TickThread {
    /// Starts calling `on-tick` every `interval`.
    pub(crate) fn start(context: &Arc<PolicyContext>, interval: Duration) -> std::io::Result<Self> {
        let (alive, gone) = sync_channel(0);
        let (context, interval) = (context.clone(), interval.max(INTERVAL_MIN));
        thread::Builder::new()
            .name("policy-tick".to_owned())
            .spawn(move || run(&context, interval, &gone))?;
        Ok(Self { _alive: alive })
    }
}

fn run(context: &Arc<PolicyContext>, interval: Duration, gone: &Receiver<()>) {
    let calls = context.policy.shared.add_worker(context.policy.version);
    let mut instance = None;
    let mut due = Instant::now() + interval;
    while gone.recv_timeout(due.saturating_duration_since(Instant::now())) == Err(RecvTimeoutError::Timeout) {
        calls.add(HookKind::Tick);
        instance = call(context, &calls, instance);
        // A call that took longer than the interval skips what it missed.
        due = (due + interval).max(Instant::now());
    }
    context.policy.shared.remove_worker(&calls);
}

/// Calls `on-tick`, and returns the instance if it can be used again.
fn call(context: &Arc<PolicyContext>, calls: &Calls, instance: Option<Instance>) -> Option<Instance> {
    let made = match instance {
        Some(instance) => Ok(instance),
        None => Instance::fresh(context, None),
    };
    let called = made.and_then(|mut instance| {
        let ticked = instance.tick();
        context.policy.left_out.log(&context.policy.name);
        let (cpu, memory_bytes) = instance.cost();
        calls.spend(cpu, memory_bytes);
        ticked.map(|()| instance)
    });
    match called {
        Ok(instance) => {
            Some(instance).filter(|instance| context.isolation == Isolation::Worker && instance.is_fresh())
        }
        Err(failure) => {
            context.policy.shared.count_fault(HookKind::Tick, failure.kind, &failure.message);
            let fault = failure.into_fault(&context.policy.name, HookKind::Tick);
            tracing::error!(
                policy = %fault.policy,
                hook = fault.hook,
                kind = %fault.kind,
                "policy fault: {}", fault.message,
            );
            None
        }
    }
}
