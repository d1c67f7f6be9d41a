//! The chain with policies that are plain functions.

mod body;
mod head;

use std::any::Any;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use portcullis_model::{FailureMode, Name};

use super::{BodyOutcome, BodySide, HeadOutcome, HeldBody, PolicyChain, Replied};
use crate::{
    BodyDecision, Called, Decision, Exchange, Fault, FaultKind, Hook, Hooks, Outcome, Phase, Policy,
    PolicyFactory, Reply,
};

/// What all fakes of a test were asked, in order: `name.hook`, with the piece for a body.
type Log = Rc<RefCell<Vec<String>>>;

#[derive(Debug)]
struct FakeFactory {
    name: Name,
    hooks: Hooks,
    failure_mode: FailureMode,
    body_bytes_max: usize,
}

/// A policy that does what it was told, step by step, and then only lets through.
struct Fake {
    factory: Arc<dyn PolicyFactory>,
    waits: bool,
    steps: RefCell<VecDeque<(&'static str, Step)>>,
    log: Log,
}

type Step = Box<dyn FnOnce(&mut Exchange) -> Result<Decision, FaultKind>>;

const ALL: Hooks = Hooks {
    request_head: true,
    request_body: true,
    response_head: true,
    response_body: true,
    completed: true,
    tick: false,
};

impl PolicyFactory for FakeFactory {
    fn name(&self) -> &Name {
        &self.name
    }

    fn hooks(&self) -> Hooks {
        self.hooks
    }

    fn failure_mode(&self) -> FailureMode {
        self.failure_mode
    }

    fn body_bytes_max(&self) -> usize {
        self.body_bytes_max
    }

    fn worker(self: Arc<Self>) -> Rc<dyn Policy> {
        Fake::of(self, &Log::default(), vec![]).into_policy()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl Fake {
    fn of(factory: Arc<FakeFactory>, log: &Log, steps: Vec<(&'static str, Step)>) -> Self {
        Self { factory, waits: false, steps: RefCell::new(steps.into()), log: log.clone() }
    }

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
        let factory = FakeFactory { name: name.into(), hooks, failure_mode, body_bytes_max };
        Self::of(Arc::new(factory), log, steps)
    }

    /// Returns each hook only when it was asked for a second time, as one on a fiber does.
    fn waiting(self) -> Self {
        Self { waits: true, ..self }
    }

    fn into_policy(self) -> Rc<dyn Policy> {
        Rc::new(self)
    }
}

impl Policy for Fake {
    fn blame(&self, _: &mut Exchange, fault: &Fault) {
        self.log.borrow_mut().push(format!("{}.blamed: {}", fault.policy, fault.kind));
    }

    fn factory(&self) -> &Arc<dyn PolicyFactory> {
        &self.factory
    }

    fn call(&self, hook: Hook, mut exchange: Box<Exchange>) -> Called {
        let name = self.factory.name();
        let piece = match &hook {
            Hook::RequestBody { chunk, last } | Hook::ResponseBody { chunk, last } => {
                format!(" {:?}{}", String::from_utf8_lossy(chunk), if *last { " last" } else { "" })
            }
            _ => String::new(),
        };
        self.log.borrow_mut().push(format!("{name}.{}{piece}", hook.name()));
        let phase = match &hook {
            Hook::RequestHead => Phase::RequestHead,
            Hook::RequestBody { .. } => Phase::RequestBody,
            Hook::ResponseHead => Phase::ResponseHead,
            Hook::ResponseBody { .. } => Phase::ResponseBody,
            Hook::Completed(_) => Phase::Completed,
        };
        assert_eq!(exchange.phase, phase, "{}", hook.name());
        let told = self.steps.borrow().front().is_some_and(|(step, _)| *step == hook.name());
        let step = if told { self.steps.borrow_mut().pop_front() } else { None };
        let result = match step {
            Some((_, step)) => step(&mut exchange),
            None => Ok(Decision::Next),
        };
        let result = result.map_err(|kind| Fault {
            policy: name.clone(),
            hook: hook.name(),
            kind,
            message: "told to fail".to_owned(),
        });
        match self.waits {
            false => Called::Ready(exchange, result),
            true => Called::Waiting(Box::pin(async move {
                let mut asked = false;
                std::future::poll_fn(|cx| {
                    cx.waker().wake_by_ref();
                    if std::mem::replace(&mut asked, true) { Poll::Ready(()) } else { Poll::Pending }
                })
                .await;
                (exchange, result)
            })),
        }
    }
}

/// What a policy does at its next call of that hook.
fn on(
    hook: &'static str,
    step: impl FnOnce(&mut Exchange) -> Result<Decision, FaultKind> + 'static,
) -> (&'static str, Step) {
    (hook, Box::new(step))
}

fn decides(hook: &'static str, decision: Decision) -> (&'static str, Step) {
    on(hook, move |_| Ok(decision))
}

fn fails(hook: &'static str) -> (&'static str, Step) {
    on(hook, |_| Err(FaultKind::Trap))
}

fn reply(status: u16) -> Decision {
    Decision::Reply(Reply { status, ..Reply::default() })
}

fn chain(policies: Vec<Fake>) -> PolicyChain {
    PolicyChain::new(policies.into_iter().map(Fake::into_policy).collect(), 1000)
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
