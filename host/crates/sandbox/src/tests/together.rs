//! All that can go wrong at once, on several threads, beside a policy that is well.

use std::sync::Arc;
use std::task::{Context, Waker};
use std::thread;

use portcullis_model::Isolation;
use portcullis_policy::{Called, FaultKind, PolicyFactory};

use super::calls::until;
use super::faults::{HOOKS, hook};
use super::injected::{Plan, alone, asking, call, failing, modes};
use super::run;

const THREADS: u64 = 4;
const ROUNDS: u32 = 150;

/// xorshift64*: which thread does what is the same in each run.
struct Draw(u64);

impl Draw {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        usize::try_from(self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33).unwrap() % bound
    }

    fn of<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len())]
    }
}

/// What guests are told to do: calls that the host fails, traps, and what is well unless a growth is refused.
const DEEDS: [&str; 8] = [
    "store.get",
    "exchange.set-attribute",
    "metrics.add",
    "crypto.digest",
    "trap",
    "leak",
    "work",
    "nothing",
];

#[test]
fn faults_leave_a_healthy_policy_and_memory_alone() {
    let mut alone = alone();
    let mut factories: Vec<Arc<dyn PolicyFactory>> = Vec::new();
    let mut healthy = Vec::new();
    for isolation in [Isolation::Worker, Isolation::Exchange] {
        super::ISOLATION.set(isolation);
        for (guest, config) in modes("all at once", "{}") {
            let component = alone.component(guest, isolation);
            let fails = ["store.get", "exchange.set-attribute", "metrics.add", "crypto.digest"];
            factories.push(failing(
                move |name| fails.contains(&name),
                || alone.configure(&alone.link_again(&component), &config).unwrap(),
            ));
        }
        let [(guest, config), ..] = modes("well", "{}");
        let component = alone.component(guest, isolation);
        healthy.push(alone.configure(&component, &config).unwrap());
    }
    // Instances that were made beforehand are gone with the workers that took them.
    while alone.alive().0 > 0 {
        factories.iter().chain(&healthy).for_each(|factory| drop(factory.clone().worker()));
    }
    assert_eq!(alone.alive(), (0, 0));

    thread::scope(|scope| {
        for seed in 1..=THREADS {
            let (factories, healthy) = (&factories, &healthy);
            scope.spawn(move || work(seed, factories, healthy));
        }
    });
    until(|| alone.alive() == (0, 0));
    assert_eq!(alone.awaited(), 0);
    // Each of them is as it was.
    for factory in factories.iter().chain(&healthy) {
        Plan::of(factory.name()).refuse_nothing();
        let policy = factory.clone().worker();
        for name in HOOKS {
            let (_, result) = call(&*policy, name, asking("nothing"));
            assert!(result.is_ok(), "{} in {name}: {result:?}", factory.name());
        }
    }
    until(|| alone.alive() == (0, 0));
}

/// A worker's thread.
fn work(seed: u64, factories: &[Arc<dyn PolicyFactory>], healthy: &[Arc<dyn PolicyFactory>]) {
    let mut draw = Draw(seed);
    let worker = |factory: &Arc<dyn PolicyFactory>| factory.clone().worker();
    let policies: Vec<_> = factories.iter().map(worker).collect();
    let healthy: Vec<_> = healthy.iter().map(worker).collect();
    for round in 0..ROUNDS {
        let policy = draw.of(&policies);
        let plan = Plan::of(policy.factory().name());
        match draw.below(6) {
            0 => plan.refuse_growths(1 + u32::try_from(draw.below(4)).unwrap(), draw.below(2) == 0),
            1 => plan.refuse_instances(),
            _ => drop(plan.refuse_nothing()),
        }
        let (name, deed) = (*draw.of(&HOOKS), *draw.of(&DEEDS));
        // One in some does not end, and one in some is given up.
        let deed = if round % 30 == 29 { "loop" } else { deed };
        if draw.below(4) > 0 {
            let (exchange, result) = run(&**policy, hook(name), asking(deed));
            assert_eq!(exchange.request.target(), "/a/b?q=1");
            if let Err(fault) = result {
                let known = [FaultKind::Trap, FaultKind::Deadline, FaultKind::Memory, FaultKind::Exhausted];
                assert!(known.contains(&fault.kind), "{seed}, {round}: {deed} in {name}: {fault}");
            }
        } else if let Called::Waiting(mut call) = policy.call(hook(name), asking(deed)) {
            let mut context = Context::from_waker(Waker::noop());
            for _ in 0..draw.below(4) {
                if call.as_mut().poll(&mut context).is_ready() {
                    break;
                }
            }
        }
        for policy in &healthy {
            let name = *draw.of(&HOOKS);
            let (exchange, result) = call(&**policy, name, asking("store.increment"));
            assert!(result.is_ok(), "{seed}, {round}: {result:?}");
            assert_eq!(exchange.request.target(), "/a/b?q=1");
        }
    }
}
