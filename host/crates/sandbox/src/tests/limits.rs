//! What policies may take, what happens when they want more, and what is told of what they took.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use portcullis_model::PolicyConfig;
use portcullis_policy::{Called, FaultKind, Hook, PolicyFactory};
use portcullis_test_guests::MISBEHAVE;

use super::{both, config, exchange, factory, logged, on_fibers, policy, run};
use crate::{ConfigureError, PolicyReport, Sandbox, SandboxOptions};

fn report(sandbox: &Sandbox, name: &str) -> PolicyReport {
    let report = sandbox.metrics();
    report.policies.into_iter().find(|report| &*report.policy == name).unwrap()
}

/// A sandbox whose policies have so much memory together.
fn sandbox(memory_bytes_max: u64) -> Sandbox {
    Sandbox::new(SandboxOptions { memory_bytes_max, instances_max: 20, ..SandboxOptions::default() }).unwrap()
}

fn configure(sandbox: &Sandbox, config: &PolicyConfig) -> Result<Arc<dyn PolicyFactory>, ConfigureError> {
    let component = sandbox.compile(MISBEHAVE, config.isolation).unwrap().component;
    sandbox.configure(&component, config, &BTreeMap::new())
}

#[test]
fn memory_is_bounded_over_all_policies() {
    both(bounds_memory);
}

fn bounds_memory() {
    // Little, because on a busy machine the first touch of much takes longer than a deadline.
    let sandbox = sandbox(3 << 20);
    let plain = config("hungry", r#"{"request-head":"memory"}"#);
    for config in [on_fibers(plain.clone()), plain] {
        let policy = configure(&sandbox, &config).unwrap().worker();
        let at_rest = sandbox.metrics().memory_bytes;
        for _ in 0..2 {
            let (_, result) = run(&*policy, Hook::RequestHead, exchange());
            let fault = result.unwrap_err();
            assert_eq!(fault.kind, FaultKind::Exhausted, "{fault}");
            assert!(fault.message.contains("may have 3145728 (`server.policy-memory-max`)"), "{fault}");
            assert!(sandbox.metrics().memory_bytes <= at_rest, "what it had is given back");
        }
        drop(policy);
        assert_eq!(sandbox.metrics().memory_bytes, 0);
    }
}

#[test]
fn memory_is_bounded_while_a_policy_is_configured() {
    let sandbox = sandbox(6 << 20);
    match configure(&sandbox, &config("hungry", r#"{"configure":"memory"}"#)) {
        Err(ConfigureError::Failed { kind: FaultKind::Exhausted, message, .. }) => {
            assert!(message.contains("all policies together"), "{message}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(sandbox.metrics().memory_bytes, 0);
    // The last byte that is allowed, and the first that is not.
    let least = {
        let _factory = configure(&sandbox, &config("modest", "{}")).unwrap();
        sandbox.metrics().memory_bytes
    };
    for (bytes, fits) in [(least, true), (least - 1, false)] {
        let configured = configure(&self::sandbox(bytes), &config("modest", "{}"));
        assert_eq!(configured.is_ok(), fits, "{configured:?}");
    }
}

#[test]
fn instances_are_bounded_for_each_policy() {
    both(bounds_instances);
}

fn bounds_instances() {
    let mut config = on_fibers(config("one of a kind", r#"{"request-head":"loop"}"#));
    config.limits.instances = Some(1);
    config.limits.deadline = Duration::from_secs(5);
    let policy = policy(MISBEHAVE, &config);
    let Called::Waiting(mut first) = policy.call(Hook::RequestHead, exchange()) else {
        panic!("it does not yield")
    };
    assert!(first.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    let (_, result) = run(&*policy, Hook::RequestHead, exchange());
    let fault = result.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Exhausted);
    assert!(fault.message.contains("all 1 instances that the policy may have"), "{fault}");
    assert_eq!(report(&super::SANDBOX, &config.name).instances, 1);
    drop(first);
    assert_eq!(report(&super::SANDBOX, &config.name).instances, 0);
    // While it is configured there is one as well.
    config.limits.instances = Some(0);
    let error = factory(MISBEHAVE, &config).unwrap_err();
    assert!(matches!(error, ConfigureError::Failed { kind: FaultKind::Exhausted, .. }), "{error}");
}

#[test]
fn a_call_that_goes_on_too_long_is_given_up() {
    both(gives_up);
}

fn gives_up() {
    let mut config = on_fibers(config("slow", r#"{"request-head":"loop","response-head":"next"}"#));
    config.limits.deadline = Duration::from_secs(60);
    config.limits.wall = Duration::from_millis(30);
    let policy = policy(MISBEHAVE, &config);
    let (exchange, result) = run(&*policy, Hook::RequestHead, exchange());
    let fault = result.unwrap_err();
    // On a busy machine it got too little of the time to be at fault.
    assert!(matches!(fault.kind, FaultKind::Timeout | FaultKind::Exhausted), "{fault}");
    assert!(fault.message.contains("the 30ms that a call of it may"), "{fault}");
    assert_eq!(exchange.request.target(), "/a/b?q=1", "the exchange came back whole");
    let (_, result) = run(&*policy, Hook::ResponseHead, exchange);
    assert!(result.is_ok(), "in another instance: {result:?}");
}

#[test]
fn a_call_that_gets_no_core_is_given_up_without_fault_of_its_own() {
    both(|| {
        let mut config = on_fibers(config("starved", r#"{"request-head":"loop"}"#));
        config.limits.deadline = Duration::from_secs(60);
        config.limits.wall = Duration::from_secs(1);
        let policy = policy(MISBEHAVE, &config);
        let Called::Waiting(mut call) = policy.call(Hook::RequestHead, exchange()) else {
            panic!("not on a fiber")
        };
        let mut context = Context::from_waker(Waker::noop());
        // It runs to its first tick. Then the worker has other things to do.
        assert!(call.as_mut().poll(&mut context).is_pending());
        let begun = Instant::now();
        super::calls::until(|| begun.elapsed() > config.limits.wall);
        let Poll::Ready((_, result)) = call.as_mut().poll(&mut context) else { panic!("it goes on") };
        let fault = result.unwrap_err();
        assert_eq!(fault.kind, FaultKind::Exhausted, "{fault}");
        assert!(!fault.kind.is_its_own(), "which brings no quarantine");
        assert!(fault.message.contains("waited for 0ns in the 1s that a call of it may take"), "{fault}");
    });
}

#[test]
fn an_instance_that_is_configured_for_too_long_is_given_up() {
    // An instance is configured while others of the worker go on only if instances are shared.
    let json = r#"{"configure":"work 10000000","request-head":"loop"}"#;
    let mut config = on_fibers(config("slow to make", json));
    config.isolation = portcullis_model::Isolation::Worker;
    config.limits.configure_deadline = Duration::from_secs(1);
    config.limits.wall = Duration::from_millis(100);
    let policy = policy(MISBEHAVE, &config);
    let mut context = Context::from_waker(Waker::noop());
    let mut begin = || {
        let Called::Waiting(mut call) = policy.call(Hook::RequestHead, exchange()) else {
            panic!("not on a fiber")
        };
        // The instance that is there already loops; for another one a tick meets `configure`.
        assert!(call.as_mut().poll(&mut context).is_pending());
        call
    };
    let (_looping, mut making) = (begin(), begin());
    let begun = Instant::now();
    // What others of the worker do meanwhile counts, to `configure-deadline` and `wall` together.
    super::calls::until(|| begun.elapsed() > Duration::from_millis(1_100));
    let Poll::Ready((exchange, result)) = making.as_mut().poll(&mut context) else { panic!("it goes on") };
    let fault = result.unwrap_err();
    // It had little of that time, so that it is not at fault.
    assert_eq!(fault.kind, FaultKind::Exhausted);
    assert!(fault.message.contains("in the 1.1s that a call of it may take"), "{fault}");
    assert_eq!(exchange.request.target(), "/a/b?q=1", "the exchange came back whole");
}

#[test]
fn tells_what_calls_cost() {
    both(tells_costs);
}

fn tells_costs() {
    let json = r#"{"request-head":"next","response-head":"work 3000000","completed":"trap"}"#;
    let plain = config("costly", json);
    for config in [on_fibers(plain.clone()), plain] {
        // As little as it takes in either mode; a slow machine has its time.
        let config = PolicyConfig {
            limits: portcullis_model::ResourceLimits {
                deadline: config.limits.deadline * 100,
                ..config.limits
            },
            ..config
        };
        let mut tries = 0;
        loop {
            tries += 1;
            // Another policy each time: one that ran long is called beside this thread, whose time then says nothing.
            let name = portcullis_model::Name::from(format!("{}-{tries}", config.name));
            let policy = policy(MISBEHAVE, &PolicyConfig { name: name.clone(), ..config.clone() });
            let (mut exchange, _) = run(&*policy, Hook::RequestHead, exchange());
            let first = exchange.slot().cost;
            assert_eq!((first.calls, first.faults), (1, 0));
            assert!(first.cpu > Duration::ZERO && first.memory_bytes >= 1 << 20, "{first:?}");
            let before = portcullis_services::cpu_time::thread_cpu_time();
            (exchange, _) = run(&*policy, Hook::ResponseHead, exchange);
            let took = portcullis_services::cpu_time::thread_cpu_time() - before;
            let second = exchange.slot().cost;
            assert_eq!(second.calls, 2);
            // All of it was the guest's work, except a tick whose start is known by another clock. If the ticking
            // thread gets no core for some milliseconds, too little is reported.
            let told = second.cpu - first.cpu;
            if told > took / 2 && told < took + Duration::from_millis(2) {
                let report = report(&super::SANDBOX, &name);
                assert_eq!(report.cpu, second.cpu);
                assert_eq!(report.memory_bytes_max, second.memory_bytes);
                break;
            }
            assert!(tries < 20, "{told:?} of {took:?}");
        }
    }
}

#[test]
fn lines_and_bytes_of_the_log_are_bounded_over_all_workers() {
    both(bounds_lines);
}

fn bounds_lines() {
    let told = |log: &str| log.lines().filter(|line| line.contains("line ")).count();
    // If a second ends in between, there are twice as many at most.
    let mut config = config("chatty", r#"{"request-head":"flood 50"}"#);
    config.limits.log_lines = 10;
    let factory = factory(MISBEHAVE, &config).unwrap();
    let workers = [factory.clone().worker(), factory.worker()];
    let log =
        logged(|| workers.iter().for_each(|worker| drop(run(&**worker, Hook::RequestHead, exchange()))));
    assert!((10..=20).contains(&told(&log)), "{log}");
    config.limits.log_lines = 1000;
    config.limits.log_bytes = 128;
    let policy = policy(MISBEHAVE, &config);
    let log = logged(|| drop(run(&*policy, Hook::RequestHead, exchange())));
    // `line 0` and its like: six or seven bytes each.
    assert!((18..=42).contains(&told(&log)), "{log}");
}
