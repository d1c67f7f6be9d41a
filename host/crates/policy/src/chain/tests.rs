//! The chain with policies that are plain functions.

mod body;
mod head;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};

use portcullis_model::FailureMode;

use super::{BodyOutcome, HeadOutcome, HeldBody, PolicyChain, Replied};
use crate::fake::{Fake, block_on, reply};
use crate::{
    Again, BodyDecision, BodySide, BodySplit, Decision, Exchange, FaultKind, Hook, HookKind, Hooks, Outcome,
};

/// What all fakes of a test were asked, in order: `name.hook`, with the piece for a body.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

type Step = Box<dyn FnOnce(&mut Exchange) -> Result<Decision, FaultKind> + Send>;

const ALL: Hooks = Hooks::of(&HookKind::ALL);

impl Log {
    fn borrow(&self) -> MutexGuard<'_, Vec<String>> {
        self.0.lock().unwrap()
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.borrow())
    }
}

/// Policies that take the given steps one after the other, and then let everything through.
impl Fake {
    fn new(name: &str, log: &Log, steps: Vec<(&'static str, Step)>) -> Self {
        Self::with(name, log, ALL, FailureMode::Deny, 100, steps)
    }

    fn allowing(name: &str, log: &Log, steps: Vec<(&'static str, Step)>) -> Self {
        Self::with(name, log, ALL, FailureMode::Allow, 100, steps)
    }

    fn with(
        name: &str,
        log: &Log,
        hooks: Hooks,
        failure_mode: FailureMode,
        body_bytes_max: usize,
        steps: Vec<(&'static str, Step)>,
    ) -> Self {
        let (asked, of) = (log.clone(), name.to_owned());
        let steps = Mutex::new(VecDeque::from(steps));
        let fake = Self::doing(name, hooks, move |hook, exchange| {
            let (piece, phase) = match hook {
                Hook::RequestHead => (String::new(), HookKind::RequestHead),
                Hook::RequestBody { chunk, last } => (piece(chunk, *last), HookKind::RequestBody),
                Hook::ResponseHead => (String::new(), HookKind::ResponseHead),
                Hook::ResponseBody { chunk, last } => (piece(chunk, *last), HookKind::ResponseBody),
                Hook::Completed(_) => (String::new(), HookKind::Completed),
            };
            asked.borrow().push(format!("{of}.{}{piece}", hook.name()));
            assert_eq!(exchange.phase, phase, "{}", hook.name());
            let mut steps = steps.lock().unwrap();
            let step = steps.pop_front_if(|(step, _)| *step == hook.name());
            drop(steps);
            step.map_or(Ok(Decision::Next), |(_, step)| step(exchange))
        });
        Self { failure_mode, body_bytes_max, ..fake }
    }
}

fn piece(chunk: &[u8], last: bool) -> String {
    format!(" {:?}{}", String::from_utf8_lossy(chunk), if last { " last" } else { "" })
}

/// What a policy does at its next call of that hook.
fn on(
    hook: &'static str,
    step: impl FnOnce(&mut Exchange) -> Result<Decision, FaultKind> + Send + 'static,
) -> (&'static str, Step) {
    (hook, Box::new(step))
}

fn decides(hook: &'static str, decision: Decision) -> (&'static str, Step) {
    on(hook, move |_| Ok(decision))
}

fn fails(hook: &'static str) -> (&'static str, Step) {
    on(hook, |_| Err(FaultKind::Trap))
}

fn chain(policies: Vec<Fake>) -> PolicyChain {
    PolicyChain::new(policies.into_iter().map(Fake::into_policy).collect(), 1000)
}

fn permitted(outcome: HeadOutcome) -> Box<Exchange> {
    match outcome {
        HeadOutcome::Permitted(permitted) => permitted.into_inner(),
        HeadOutcome::Replied(replied) => panic!("replied {}", replied.reply.status),
    }
}

fn replied(outcome: HeadOutcome) -> Replied {
    match outcome {
        HeadOutcome::Replied(replied) => replied,
        HeadOutcome::Permitted(_) => panic!("it was let through"),
    }
}
