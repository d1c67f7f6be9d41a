//! Host functions called one after the other in straight code, in which the engine never looks at the epoch: the
//! deadline holds all the same, for every function of the contract, wherever a policy runs.

pub(super) mod guest;

use std::collections::BTreeSet;
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use portcullis_model::{Isolation, PolicyConfig};
use portcullis_policy::{Called, Fault, FaultKind, Policy};
use portcullis_test_guests::{EVERY_CALL, EVERY_CALL_WAITS, MISBEHAVE};

use self::guest::Straight;
use super::calls::until;
use super::faults::{HOOKS, hook};
use super::host_calls::{contract, needs_exchange};
use super::injected::{Alone, alone, asking};
use super::{both, config, run};
use crate::{ConfigureError, PolicyComponent};

/// The guest of one of the two ways in which hooks run, and its functions.
struct Guest {
    straight: &'static Straight,
    component: Arc<PolicyComponent>,
    config: PolicyConfig,
}

/// On the worker's thread, and on fibers because it imports the one call that waits.
fn guests(alone: &mut Alone, name: &str) -> [Guest; 2] {
    static STRAIGHT: LazyLock<[Straight; 2]> = LazyLock::new(|| {
        [EVERY_CALL, EVERY_CALL_WAITS].map(|guest| {
            let component = super::SANDBOX.compile(guest, Isolation::Worker).unwrap().component;
            Straight::of(guest, component.linked.pre.component())
        })
    });
    let [on_thread, on_fibers] = &*STRAIGHT;
    [("on a thread", on_thread), ("on fibers", on_fibers)].map(|(mode, straight)| {
        let mut config = config(&format!("{name} {mode} {:?}", super::ISOLATION.get()), r#""-""#);
        // Less than any call takes until a tick meets it: what counts is that it is met.
        config.limits.deadline = Duration::from_micros(1);
        config.limits.configure_deadline = Duration::from_secs(20);
        config.limits.memory_bytes = 64 << 20;
        config.tick = Duration::from_secs(3600);
        Guest { straight, component: alone.component(&straight.component, config.isolation), config }
    })
}

/// Those of WASI that need no handle.
#[test]
fn so_are_the_functions_of_wasi() {
    let mut alone = alone();
    let component = super::SANDBOX.compile(MISBEHAVE, Isolation::Worker).unwrap().component;
    let straight = Straight::of(MISBEHAVE, component.linked.pre.component());
    let component = alone.compile(&straight.component, Isolation::Worker).unwrap().component;
    let [Guest { config, .. }, _] = guests(&mut alone, "wasi");
    let policy = alone.policy(&component, &config);
    let works = |name: &&String| ["cli/", "random/", "clocks/"].iter().any(|part| name.contains(part));
    let functions: Vec<_> = straight.functions.iter().filter(works).collect();
    for function in &functions {
        let fault = stopped(&*policy, "request-head", &straight.deed(function));
        assert_eq!(fault.kind, FaultKind::Deadline, "{function}: {fault}");
    }
    assert!(functions.len() >= 3, "{functions:?}");
}

#[test]
fn every_function_of_the_contract_is_called_so() {
    let mut alone = alone();
    let called: BTreeSet<String> = guests(&mut alone, "complete")
        .into_iter()
        .flat_map(|guest| guest.straight.functions.clone())
        .collect();
    let missing: Vec<String> = contract().into_iter().filter(|name| !called.contains(name)).collect();
    assert_eq!(missing, [""; 0]);
}

/// Calls a hook until it is met by a tick: one that takes little longer than a tick may get by.
fn stopped(policy: &dyn Policy, name: &str, deed: &str) -> Fault {
    for _ in 0..200 {
        if let (_, Err(fault)) = run(policy, hook(name), asking(deed)) {
            return fault;
        }
    }
    panic!("{deed} in {name} was never stopped");
}

#[test]
fn each_is_stopped_in_each_hook() {
    both(|| {
        let mut alone = alone();
        for Guest { straight, component, config } in guests(&mut alone, "straight") {
            let policy = alone.policy(&component, &config);
            for function in &straight.functions {
                for name in HOOKS {
                    let fault = stopped(&*policy, name, &straight.deed(function));
                    assert_eq!(fault.kind, FaultKind::Deadline, "{function} in {name}: {fault}");
                }
            }
        }
    });
}

#[test]
fn each_is_stopped_in_configure() {
    both(|| {
        let mut alone = alone();
        for Guest { straight, component, mut config } in guests(&mut alone, "configured") {
            config.limits.configure_deadline = Duration::from_micros(1);
            // What is of an exchange ends it by itself.
            for function in straight.functions.iter().filter(|name| !needs_exchange(name)) {
                config.config_json = format!("\"c{}\"", straight.deed(function));
                let failed = (0..200).find_map(|_| alone.configure(&component, &config).err());
                match failed {
                    Some(ConfigureError::Failed { kind: FaultKind::Deadline, .. }) => {}
                    other => panic!("{function}: {other:?}"),
                }
            }
            assert_eq!(alone.alive(), (0, 0));
        }
    });
}

#[test]
fn each_is_stopped_in_on_tick() {
    both(|| {
        let mut alone = alone();
        for Guest { straight, component, config } in guests(&mut alone, "ticking") {
            let functions = straight.functions.iter().filter(|name| !needs_exchange(name));
            // An image for each of them would take long: there, every third.
            let step = if config.isolation == Isolation::Exchange { 3 } else { 1 };
            for function in functions.step_by(step) {
                let config = PolicyConfig {
                    name: format!("{} {function}", config.name).into(),
                    tick: Duration::from_millis(10),
                    config_json: format!("\"t{}\"", straight.deed(function)),
                    ..config.clone()
                };
                let policy = alone.configure(&component, &config).unwrap().worker();
                until(|| !alone.report(&*policy).faults.is_empty());
                let faults = alone.report(&*policy).faults;
                let is_right = |(hook, kind, _): &(&str, FaultKind, u64)| {
                    (*hook, *kind) == ("on-tick", FaultKind::Deadline)
                };
                assert!(faults.iter().all(is_right), "{function}: {faults:?}");
            }
        }
    });
}

#[test]
fn what_it_used_is_told_and_the_next_call_is_made_beside_the_worker() {
    both(|| {
        let mut alone = alone();
        let [Guest { straight, component, mut config }, _] = guests(&mut alone, "told");
        config.limits.deadline = Duration::from_millis(10);
        let policy = alone.policy(&component, &config);
        let deed = straight.deed("exchange.attribute");
        let (mut exchange, result) = run(&*policy, hook("request-head"), asking(&deed));
        assert_eq!(result.unwrap_err().kind, FaultKind::Deadline);
        let used = exchange.slot().cost.cpu;
        assert!(used >= config.limits.deadline, "{used:?}");
        let called = policy.call(hook("request-head"), asking(&deed));
        assert!(matches!(called, Called::Waiting(_)), "{called:?}");
    });
}

#[test]
fn on_a_fiber_it_lets_others_go_on() {
    both(|| {
        let mut alone = alone();
        let [_, Guest { straight, component, mut config }] = guests(&mut alone, "giving way");
        config.limits.deadline = Duration::from_millis(30);
        let policy = alone.policy(&component, &config);
        let called = policy.call(hook("request-head"), asking(&straight.deed("exchange.attribute")));
        let Called::Waiting(mut call) = called else { panic!("not on a fiber") };
        let mut turns = 0;
        let fault = loop {
            match call.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready((_, result)) => break result.unwrap_err(),
                Poll::Pending => turns += 1,
            }
        };
        assert_eq!(fault.kind, FaultKind::Deadline);
        // A tick that comes late, as on a busy machine, makes the turns longer.
        assert!(turns >= 3, "it let others go on {turns} times in 30 ms");
    });
}
