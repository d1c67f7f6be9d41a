//! What goes wrong because a test wants it to: calls that the host fails, memory, tables and instances that it refuses.
//!
//! The sandbox of these tests has an injector, which no other has. Calls are replaced when a component is linked,
//! whatever their names, so a function that is added to the contract is reached like all others.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::ops::Deref;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, LazyLock, MutexGuard};
use std::task::{Context, Poll};
use std::time::Duration;

use portcullis_model::{Isolation, Lock, Name, PolicyConfig, Secret};
use portcullis_policy::cache_purger::{CachePurger, PurgeError, PurgeRequest, Purging};
use portcullis_policy::outbound::{Outbound, OutboundError, OutboundRequest, OutboundResponse, Outgoing};
use portcullis_policy::{Exchange, Fault, Policy, PolicyFactory};
use portcullis_test_guests::{EVERY_CALL, EVERY_CALL_WAITS};
use wasmtime::bail;
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, Linker};

use super::calls::until;
use super::faults::hook;
use super::{config, exchange, on_fibers, run_in_time};
use crate::inject::Injector;
use crate::instance::refusal::{InjectedRefusals, Refusal};
use crate::instance::state::State;
use crate::{ConfigureError, PolicyComponent, PolicyReport, Sandbox, SandboxOptions};

type Which = Box<dyn Fn(&str) -> bool>;

thread_local! {
    /// Which calls fail in the components that this thread links.
    static FAILING: RefCell<Option<Which>> = const { RefCell::new(None) };
}

/// Has the calls fail that `which` says, by names such as `store.get` and `wasi:cli/stdin.get-stdin`, in all that is
/// linked in `body`: components while they are compiled, images while a policy is configured.
pub(super) fn failing<T>(which: impl Fn(&str) -> bool + 'static, body: impl FnOnce() -> T) -> T {
    struct Restore;
    impl Drop for Restore {
        fn drop(&mut self) {
            FAILING.set(None);
        }
    }
    let _restore = Restore;
    FAILING.set(Some(Box::new(which)));
    body()
}

/// What tests have go wrong: calls by [`failing`], and the rest by the [`Plan`] of a policy.
#[derive(Debug)]
struct Planned;

impl Injector for Planned {
    fn link(&self, linker: &mut Linker<State>, component: &Component) -> wasmtime::Result<()> {
        FAILING.with_borrow(|failing| {
            let Some(failing) = failing else { return Ok(()) };
            linker.allow_shadowing(true);
            for (import, function) in functions(linker.engine(), component) {
                let name = name(&import, &function);
                if failing(&name) {
                    let mut instance = linker.instance(&import)?;
                    instance.func_new(&function, move |_, _, _, _| bail!("the test has `{name}` fail"))?;
                }
            }
            Ok(())
        })
    }

    fn refusals(&self, policy: &Name) -> Arc<dyn InjectedRefusals> {
        Plan::of(policy)
    }
}

/// The functions that a component imports, by the names that a test has for them.
pub(super) fn imports(component: &PolicyComponent) -> Vec<String> {
    let component = component.linked.pre.component();
    functions(component.engine(), component).iter().map(|(import, function)| name(import, function)).collect()
}

fn functions(engine: &wasmtime::Engine, component: &Component) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for (import, item) in component.component_type().imports(engine) {
        let ComponentItem::ComponentInstance(instance) = item.ty else { continue };
        for (function, item) in instance.exports(engine) {
            if matches!(item.ty, ComponentItem::ComponentFunc(_)) {
                found.push((import.to_owned(), function.to_owned()));
            }
        }
    }
    found
}

/// `store.get` for what is the contract's, `wasi:cli/stdin.get-stdin` for what is not.
fn name(import: &str, function: &str) -> String {
    let interface = import.split_once('@').map_or(import, |(interface, _)| interface);
    let interface = interface.strip_prefix("portcullis:policy/").unwrap_or(interface);
    format!("{interface}.{function}")
}

/// What is refused to the instances of a policy.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    growths: Gate,
    instances: Gate,
    /// Whether growths are refused as if all policies together had too much, rather than this one.
    as_total: AtomicBool,
}

/// Counts how many times something was wanted, and refuses it from one of them on: a guest that is refused memory once
/// may well try again.
#[derive(Debug, Default)]
struct Gate {
    wanted: AtomicU32,
    /// From which time on, counted from 1; 0 for never.
    refused: AtomicU32,
}

impl Gate {
    fn refuses(&self) -> bool {
        let wanted = self.wanted.fetch_add(1, Ordering::SeqCst) + 1;
        let refused = self.refused.load(Ordering::SeqCst);
        refused > 0 && wanted >= refused
    }

    fn refuse_from(&self, next: u32) {
        self.refused.store(self.wanted.load(Ordering::SeqCst) + next, Ordering::SeqCst);
    }

    fn has_refused(&self) -> bool {
        let refused = self.refused.load(Ordering::SeqCst);
        refused > 0 && self.wanted.load(Ordering::SeqCst) >= refused
    }

    /// Lets everything through again. Whether anything was refused.
    fn open(&self) -> bool {
        let has_refused = self.has_refused();
        self.refused.store(0, Ordering::SeqCst);
        has_refused
    }
}

static PLANS: LazyLock<Lock<HashMap<Name, Arc<Plan>>>> = LazyLock::new(Lock::default);

impl Plan {
    /// That of the policy. Its instances follow it on whatever thread they are.
    pub(crate) fn of(policy: &Name) -> Arc<Self> {
        PLANS.lock().entry(policy.clone()).or_default().clone()
    }

    /// Refuses growths of memories and tables: the `next` one that is wanted, and all after it.
    pub(super) fn refuse_growths(&self, next: u32, as_total: bool) {
        self.as_total.store(as_total, Ordering::SeqCst);
        self.growths.refuse_from(next);
    }

    /// Refuses instances from the next one on.
    pub(super) fn refuse_instances(&self) {
        self.instances.refuse_from(1);
    }

    /// Whether a growth was refused by now.
    pub(super) fn has_refused_growth(&self) -> bool {
        self.growths.has_refused()
    }

    /// Refuses nothing any more. Whether anything was refused.
    pub(super) fn refuse_nothing(&self) -> bool {
        let (growths, instances) = (self.growths.open(), self.instances.open());
        growths || instances
    }
}

impl InjectedRefusals for Plan {
    fn instance(&self) -> Option<String> {
        self.instances.refuses().then(|| "the test has no instance".to_owned())
    }

    fn memory(&self, bytes: usize, more: u64) -> Option<Refusal> {
        let as_total = self.as_total.load(Ordering::SeqCst);
        let refusal = if as_total { Refusal::Total(more) } else { Refusal::Memory(bytes) };
        self.growths.refuses().then_some(refusal)
    }

    fn table(&self, elements: usize) -> Option<Refusal> {
        self.growths.refuses().then_some(Refusal::Table(elements))
    }
}

/// A guest that makes every call, in each way in which its hooks can run: on the worker's thread, on fibers, and on
/// fibers because it imports the one call that waits. It ticks once an hour.
pub(super) fn modes(name: &str, json: &str) -> [(&'static [u8], PolicyConfig); 3] {
    let config = |mode: &str| {
        let config = config(&format!("{name} {mode} {:?}", super::ISOLATION.get()), json);
        PolicyConfig { tick: Duration::from_secs(3600), ..config }
    };
    [
        (EVERY_CALL, config("plain")),
        (EVERY_CALL, on_fibers(config("yielding"))),
        (EVERY_CALL_WAITS, config("waiting")),
    ]
}

/// An exchange in whose hooks that guest does something.
pub(super) fn asking(deed: &str) -> Box<Exchange> {
    let mut exchange = exchange();
    exchange.request.fields.append(b"x-do", deed.as_bytes()).unwrap();
    exchange
}

/// Calls a hook of that name, and again if it met its deadline.
pub(super) fn call(
    policy: &dyn Policy,
    name: &str,
    exchange: Box<Exchange>,
) -> (Box<Exchange>, Result<(), Fault>) {
    let (exchange, result) = run_in_time(policy, || hook(name), exchange);
    (exchange, result.map(drop))
}

/// A server, and caches, that answer when they were waited for a few times.
#[derive(Debug)]
struct Patience;

/// Answers that are waited for.
static AWAITED: AtomicU32 = AtomicU32::new(0);

/// How many times each is waited for.
const WAITS: u32 = 3;

struct Answer {
    polls: u32,
}

impl Outbound for Patience {
    fn send(&self, _: OutboundRequest) -> Outgoing {
        AWAITED.fetch_add(1, Ordering::SeqCst);
        Box::pin(Answer { polls: 0 })
    }
}

impl CachePurger for Patience {
    fn purge(&self, _: PurgeRequest) -> Purging {
        AWAITED.fetch_add(1, Ordering::SeqCst);
        let answer = Answer { polls: 0 };
        Box::pin(async move { answer.await.map(|_| 1).map_err(|_| PurgeError::Busy) })
    }
}

impl Future for Answer {
    type Output = Result<OutboundResponse, OutboundError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.polls += 1;
        if self.polls <= WAITS {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let mut answer = OutboundResponse::default();
        answer.head.status = 200;
        Poll::Ready(Ok(answer))
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        AWAITED.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A sandbox that no other test uses meanwhile, so that what is alive in it can be counted. At the test's end nothing
/// is.
pub(super) struct Alone {
    sandbox: Sandbox,
    compiled: MutexGuard<'static, Compiled>,
}

type Compiled = HashMap<(usize, Isolation), Arc<PolicyComponent>>;

pub(super) fn alone() -> Alone {
    static SANDBOX: LazyLock<Sandbox> = LazyLock::new(|| {
        Sandbox::with(SandboxOptions::default(), usize::MAX, Some(Arc::new(Planned))).unwrap()
    });
    static COMPILED: LazyLock<Lock<Compiled>> = LazyLock::new(Lock::default);
    // A test that failed leaves nothing half-done here.
    let compiled = COMPILED.lock();
    SANDBOX.send_by(Arc::new(Patience));
    SANDBOX.purge_by(Arc::new(Patience));
    Alone { sandbox: SANDBOX.clone(), compiled }
}

impl Alone {
    /// The guest; compiled once for each isolation.
    pub(super) fn component(&mut self, guest: &'static [u8], isolation: Isolation) -> Arc<PolicyComponent> {
        let compile = || self.sandbox.compile(guest, isolation).unwrap().component;
        self.compiled.entry((guest.as_ptr() as usize, isolation)).or_insert_with(compile).clone()
    }

    /// A policy of the component, with a secret.
    pub(super) fn configure(
        &self,
        component: &Arc<PolicyComponent>,
        config: &PolicyConfig,
    ) -> Result<Arc<dyn PolicyFactory>, ConfigureError> {
        let mut config = config.clone();
        config.grants.secrets.push("key".into());
        let secrets: BTreeMap<Name, Secret> = BTreeMap::from([("key".into(), Secret::new(&b"x"[..]))]);
        self.sandbox.configure(component, &config, &secrets)
    }

    /// Returns a worker's policy, without instances that were made beforehand for others, as happens if that took long.
    pub(super) fn policy(&self, component: &Arc<PolicyComponent>, config: &PolicyConfig) -> Rc<dyn Policy> {
        let factory = self.configure(component, config).unwrap();
        let policy = factory.clone().worker();
        while self.alive().0 > 1 {
            drop(factory.clone().worker());
        }
        policy
    }

    /// What the policy has counted.
    pub(super) fn report(&self, policy: &dyn Policy) -> PolicyReport {
        let name = policy.factory().name();
        self.sandbox.metrics().policies.into_iter().find(|report| report.policy == *name).unwrap()
    }

    /// Answers of servers that policies wait for.
    pub(super) fn awaited(&self) -> u32 {
        AWAITED.load(Ordering::SeqCst)
    }

    /// Instances that are alive, and the memory that they have together.
    pub(super) fn alive(&self) -> (u32, u64) {
        let report = self.sandbox.metrics();
        (report.instances, report.memory_bytes)
    }
}

impl Deref for Alone {
    type Target = Sandbox;

    fn deref(&self) -> &Sandbox {
        &self.sandbox
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            // Threads beside the workers end a moment later.
            until(|| self.alive() == (0, 0));
        }
    }
}
