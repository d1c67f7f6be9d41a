//! How hooks are called, and what instances share.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use portcullis_model::Isolation;
use portcullis_policy::{Again, BodyDecision, BodySplit, Called, Decision, Hook, Outcome, Policy};
use portcullis_test_guests::{ALL_HOOKS, HOOK_COST, MISBEHAVE, TICKER, VERSION_1, VERSION_2};

use super::{both, config, exchange, factory, in_time, on_fibers, piece, policy, run};
use crate::{Sandbox, SandboxOptions};

#[test]
pub(super) fn calls_every_hook_in_order() {
    both(|| {
        for config in [config("all", "{}"), on_fibers(config("all", "{}"))] {
            let policy = policy(ALL_HOOKS, &config);
            let hooks = policy.factory().hooks();
            assert_eq!(hooks, portcullis_policy::Hooks::of(&portcullis_policy::HookKind::ALL));

            let (exchange, result) = run(&*policy, Hook::RequestHead, exchange());
            assert!(matches!(result, Ok(Decision::Next)), "{result:?}");
            let (exchange, result) = run(&*policy, piece("four", true), exchange);
            assert!(matches!(result, Ok(Decision::Body(BodyDecision::Forward))), "{result:?}");
            let (exchange, result) = run(&*policy, Hook::ResponseHead, exchange);
            assert!(matches!(result, Ok(Decision::Next)), "{result:?}");
            let chunk = Bytes::from_static(b"shout");
            let (exchange, result) = run(&*policy, Hook::ResponseBody { chunk, last: false }, exchange);
            match result {
                Ok(Decision::Body(BodyDecision::Replace(bytes))) => assert_eq!(&*bytes, b"SHOUT"),
                other => panic!("{other:?}"),
            }
            let outcome = Outcome {
                status: 200,
                response_bytes: 5,
                upstream: Some("127.0.0.1:1".to_owned()),
                ..Outcome::default()
            };
            let (exchange, result) = run(&*policy, Hook::Completed(outcome), exchange);
            assert!(matches!(result, Ok(Decision::Next)), "{result:?}");

            let seen = "request-head request-body(4,true) response-head response-body(5,false) \
                    completed(200,127.0.0.1:1,-,5)";
            assert_eq!(exchange.attributes.get("seen"), Some(seen));
            let field = exchange.response.fields.get(b"x-seen");
            assert_eq!(field, Some(b"request-head request-body(4,true) response-head".as_slice()));
            assert_eq!(exchange.policies[0].state, b"+++++", "its state went from hook to hook");
        }
    });
}

#[test]
fn replies_holds_and_replaces() {
    both(|| {
        let json = r#"{"request-head":"reply","request-body":"hold","response-body":"replace 0"}"#;
        let policy = policy(MISBEHAVE, &config("deciding", json));
        match run(&*policy, Hook::RequestHead, exchange()).1 {
            Ok(Decision::Reply(reply)) => {
                assert_eq!((reply.status, &*reply.body), (418, b"short and stout".as_slice()));
                assert_eq!(reply.fields.get(b"x-by"), Some(b"request-head".as_slice()));
            }
            other => panic!("{other:?}"),
        }
        let held = run(&*policy, piece("x", false), exchange()).1;
        assert!(matches!(held, Ok(Decision::Body(BodyDecision::Hold))), "{held:?}");
        let dropped =
            run(&*policy, Hook::ResponseBody { chunk: Bytes::from_static(b"x"), last: false }, exchange()).1;
        assert!(
            matches!(&dropped, Ok(Decision::Body(BodyDecision::Replace(bytes))) if bytes.is_empty()),
            "{dropped:?}"
        );
    });
}

#[test]
fn lets_parts_of_a_body_go() {
    both(|| {
        let json = r#"{"request-body":"parts","response-body":"finish"}"#;
        let policy = policy(MISBEHAVE, &config("parting", json));
        let (exchange, parts) = run(&*policy, piece("abcd", false), exchange());
        let Ok(Decision::Body(BodyDecision::Split(split))) = parts else { panic!("{parts:?}") };
        assert_eq!(split, BodySplit { passed: Bytes::from_static(b"*bc"), kept: 1, again: Again::WithMore });
        let (exchange, last) = run(&*policy, piece("abcd", true), exchange);
        assert!(
            matches!(&last, Ok(Decision::Body(BodyDecision::Replace(bytes))) if bytes == "*bcd"),
            "{last:?}"
        );
        let chunk = Bytes::from_static(b"x");
        let (_, done) = run(&*policy, Hook::ResponseBody { chunk, last: false }, exchange);
        let Ok(Decision::Body(BodyDecision::Split(split))) = done else { panic!("{done:?}") };
        assert_eq!(split, BodySplit { passed: Bytes::from_static(b"<x"), kept: 0, again: Again::Never });
    });
}

#[test]
pub(super) fn reuses_one_instance() {
    in_time(|| {
        let sandbox =
            Sandbox::new(SandboxOptions { instances_max: 20, ..SandboxOptions::default() }).unwrap();
        let component = sandbox.compile(HOOK_COST, Isolation::Worker).unwrap().component;
        for config in [config("reused", "{}"), on_fibers(config("reused", "{}"))] {
            let factory = sandbox.configure(&component, &config, &BTreeMap::new()).unwrap();
            assert_eq!(sandbox.metrics().instances, 1, "the one that configure was tried in");
            let policy = factory.clone().worker();
            for _ in 0..100 {
                let mut exchange = exchange();
                exchange.request.fields.append(b"x-api-key", b"0123456789abcdef").unwrap();
                let (exchange, result) = run(&*policy, Hook::RequestHead, exchange);
                assert!(matches!(result, Ok(Decision::Next)), "{result:?}");
                assert_eq!(exchange.attributes.get("api-key.name"), Some("alice"));
                assert_eq!(sandbox.metrics().instances, 1, "which the first worker goes on with");
            }
            let other = factory.worker();
            assert_eq!(sandbox.metrics().instances, 2, "another worker has its own");
            drop((policy, other));
            assert_eq!(sandbox.metrics().instances, 0);
        }
    });
}

#[test]
fn makes_instances_beforehand_where_that_is_slow() {
    let cores = std::thread::available_parallelism().unwrap().get();
    let instances_max = u32::try_from(cores + 1).unwrap();
    let sandbox = Sandbox::new(SandboxOptions { instances_max, ..SandboxOptions::default() }).unwrap();
    let component = sandbox.compile(MISBEHAVE, Isolation::Worker).unwrap().component;
    let config = config("slow to make", r#"{"configure":"work 20000000"}"#);
    let factory = sandbox.configure(&component, &config, &BTreeMap::new()).unwrap();
    assert_eq!(sandbox.metrics().instances as usize, cores, "one for each core");
    let _workers: Vec<_> = (0..cores).map(|_| factory.clone().worker()).collect();
    assert_eq!(sandbox.metrics().instances as usize, cores, "which the workers take");
    let _another = factory.worker();
    assert_eq!(sandbox.metrics().instances as usize, cores + 1);
}

#[test]
fn keeps_the_states_of_exchanges_and_policies_apart() {
    both(|| {
        let json = r#"{"request-head":"state","response-head":"state"}"#;
        let policy = policy(MISBEHAVE, &config("stateful", json));
        let (mut first, mut second) = (exchange(), exchange());
        // The same policy twice in a chain, and two exchanges one in the other.
        first.policies.resize_with(2, Default::default);
        first.policies[1].state = b"xx".to_vec();
        let (mut first, _) = run(&*policy, Hook::RequestHead, first);
        second = run(&*policy, Hook::RequestHead, second).0;
        first.policy_at = 1;
        let (mut first, _) = run(&*policy, Hook::RequestHead, first);
        assert_eq!(first.attributes.get("state"), Some("xxc"));
        first.policy_at = 0;
        let (first, _) = run(&*policy, Hook::ResponseHead, first);
        assert_eq!(first.attributes.get("state"), Some("ab"));
        assert_eq!((&*first.policies[0].state, &*first.policies[1].state), (&b"ab"[..], &b"xxc"[..]));
        assert_eq!(second.policies[0].state, b"a");
    });
}

#[test]
fn bounds_the_state() {
    both(|| {
        for (size, result) in [(65_536, "ok"), (65_537, "too-large")] {
            let policy =
                policy(MISBEHAVE, &config("big", &format!("{{\"request-head\":\"big-state {size}\"}}")));
            let (exchange, _) = run(&*policy, Hook::RequestHead, exchange());
            assert_eq!(exchange.attributes.get("result"), Some(result));
        }
    });
}

#[test]
fn lets_other_exchanges_go_on_while_a_long_hook_runs() {
    both(|| {
        let json = r#"{"request-head":"loop"}"#;
        let mut slow = on_fibers(config("slow", json));
        slow.limits.deadline = Duration::from_millis(200);
        let slow = policy(MISBEHAVE, &slow);
        let quick = policy(HOOK_COST, &on_fibers(config("quick", "{}")));

        let Called::Waiting(mut looping) = slow.call(Hook::RequestHead, exchange()) else {
            panic!("not on a fiber")
        };
        let mut context = Context::from_waker(Waker::noop());
        let mut turns = 0;
        let fault = loop {
            match looping.as_mut().poll(&mut context) {
                Poll::Ready((_, result)) => break result.unwrap_err(),
                Poll::Pending => {
                    turns += 1;
                    let (_, result) = run(&*quick, Hook::RequestHead, exchange());
                    assert!(result.is_ok());
                }
            }
        };
        assert_eq!(fault.kind, portcullis_policy::FaultKind::Deadline);
        assert!(turns > 20, "it yielded {turns} times in 200 ms");
    });
}

#[test]
fn gives_up_a_hook_whose_exchange_is_dropped() {
    in_time(|| {
        let sandbox =
            Sandbox::new(SandboxOptions { instances_max: 20, ..SandboxOptions::default() }).unwrap();
        let component = sandbox.compile(MISBEHAVE, Isolation::Worker).unwrap().component;
        let config = on_fibers(config("dropped", r#"{"request-head":"loop"}"#));
        let policy = sandbox.configure(&component, &config, &BTreeMap::new()).unwrap().worker();
        let Called::Waiting(mut looping) = policy.call(Hook::RequestHead, exchange()) else {
            panic!("not on a fiber")
        };
        assert!(looping.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        drop(looping);
        assert_eq!(sandbox.metrics().instances, 0, "its instance went with it");
        let (_, result) = run(&*policy, Hook::ResponseHead, exchange());
        assert!(result.is_ok(), "and the next call has a new one");
    });
}

#[test]
fn bounds_the_calls_of_a_policy_that_are_under_way() {
    both(|| {
        let mut config = on_fibers(config("flooded", r#"{"request-head":"loop","response-head":"next"}"#));
        config.limits.hook_calls = 5;
        config.limits.deadline = Duration::from_secs(5);
        let factory = factory(MISBEHAVE, &config).unwrap();
        // They count together.
        let (policy, other) = (factory.clone().worker(), factory.worker());
        let mut context = Context::from_waker(Waker::noop());
        let mut pending = Vec::new();
        let fault = loop {
            let Called::Waiting(mut call) = policy.call(Hook::RequestHead, exchange()) else {
                panic!("not on a fiber")
            };
            match call.as_mut().poll(&mut context) {
                Poll::Pending => pending.push(call),
                Poll::Ready((_, result)) => break result.unwrap_err(),
            }
        };
        assert_eq!((pending.len(), fault.kind), (5, portcullis_policy::FaultKind::Exhausted));
        assert!(
            fault.message.contains("all 5 calls of it") && fault.message.contains("hook-calls"),
            "{fault}"
        );
        let (_, result) = run(&*other, Hook::ResponseHead, exchange());
        assert_eq!(result.unwrap_err().kind, portcullis_policy::FaultKind::Exhausted);
        let told = || {
            let policies = super::SANDBOX.metrics().policies;
            policies.into_iter().find(|report| report.policy == config.name).unwrap().under_way[0]
        };
        assert_eq!((told().hook_calls, told().hook_calls_max, told().http_calls), (5, 5, None));
        pending.pop();
        assert_eq!(told().hook_calls, 4);
        let (_, result) = run(&*other, Hook::ResponseHead, exchange());
        assert!(result.is_ok(), "{result:?}");
        pending.clear();
        assert_eq!(told().hook_calls, 0);
    });
}

#[test]
fn a_client_with_many_calls_under_way_leaves_some_to_others() {
    both(|| {
        let mut config = on_fibers(config("besieged", r#"{"request-head":"loop","response-head":"next"}"#));
        config.limits.hook_calls = 40;
        config.limits.deadline = Duration::from_secs(60);
        let policy = policy(MISBEHAVE, &config);
        let mut context = Context::from_waker(Waker::noop());
        let mut pending = Vec::new();
        let fault = loop {
            let Called::Waiting(mut call) = policy.call(Hook::RequestHead, exchange()) else {
                panic!("not on a fiber")
            };
            match call.as_mut().poll(&mut context) {
                Poll::Pending => pending.push(call),
                Poll::Ready((_, result)) => break result.unwrap_err(),
            }
        };
        // Eight are not counted by client, and half of the others are left.
        assert_eq!((pending.len(), fault.kind), (24, portcullis_policy::FaultKind::Exhausted));
        assert!(
            fault.message.contains("exchanges of this client") && fault.message.contains("hook-calls"),
            "{fault}"
        );
        let mut others = exchange();
        others.client.address = IpAddr::from([203, 0, 113, 7]);
        let (_, result) = run(&*policy, Hook::ResponseHead, others);
        assert!(result.is_ok(), "{result:?}");
        pending.pop();
        let (_, result) = run(&*policy, Hook::ResponseHead, exchange());
        assert!(result.is_ok(), "{result:?}");
    });
}

#[test]
fn a_hook_that_works_within_its_deadline_is_let_be() {
    both(|| {
        // Some milliseconds of work: several ticks, none of which ends it.
        let mut config = config("working", r#"{"request-head":"work 10000000"}"#);
        config.limits.deadline = Duration::from_secs(5);
        let policy = policy(MISBEHAVE, &config);
        let (_, result) = run(&*policy, Hook::RequestHead, exchange());
        assert!(result.is_ok(), "{result:?}");
    });
}

#[test]
fn time_between_two_calls_on_a_fiber_is_nobodys() {
    both(|| {
        let mut config = on_fibers(config("resting", r#"{"request-head":"work 10000000"}"#));
        config.limits.deadline = Duration::from_millis(300);
        let policy = policy(MISBEHAVE, &config);
        for _ in 0..3 {
            // It yields at least once, so that it is resumed, and ends before its next tick.
            let (_, result) = run(&*policy, Hook::RequestHead, exchange());
            assert!(result.is_ok(), "{result:?}");
            let until = portcullis_services::cpu_time::thread_cpu_time() + Duration::from_millis(350);
            while portcullis_services::cpu_time::thread_cpu_time() < until {}
        }
    });
}

#[test]
pub(super) fn runs_two_versions_side_by_side() {
    both(|| {
        let old = policy(VERSION_1, &config("versioned", "{}"));
        let new = policy(VERSION_2, &config("versioned", "{}"));
        for (policy, version) in [(&old, "v1"), (&new, "v2"), (&old, "v1")] {
            let (exchange, _) = run(&**policy, Hook::ResponseHead, exchange());
            assert_eq!(exchange.response.fields.get(b"x-version"), Some(version.as_bytes()));
        }
    });
}

pub(super) fn ticks(policy: &Rc<dyn Policy>) -> u32 {
    let (exchange, result) = run(&**policy, Hook::RequestHead, exchange());
    assert!(result.is_ok(), "{result:?}");
    exchange.attributes.get("ticks").and_then(|ticks| ticks.parse().ok()).unwrap_or(0)
}

/// Waits until it holds, within a time that only a broken gateway takes.
pub(super) fn until(mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(120), "it did not come to hold");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

#[test]
pub(super) fn ticks_until_the_policy_is_dropped() {
    in_time(|| {
        let sandbox =
            Sandbox::new(SandboxOptions { instances_max: 20, ..SandboxOptions::default() }).unwrap();
        let component = sandbox.compile(TICKER, Isolation::Worker).unwrap().component;
        let mut config = config("ticking", "{}");
        config.tick = Duration::from_millis(10);
        let factory = sandbox.configure(&component, &config, &BTreeMap::new()).unwrap();
        let policy = factory.worker();
        until(|| ticks(&policy) >= 3);
        assert_eq!(sandbox.metrics().instances, 2, "it ticks in an instance of its own");
        drop(policy);
        until(|| sandbox.metrics().instances == 0);
    });
}

#[test]
fn goes_on_ticking_after_a_fault() {
    both(|| {
        let mut config = config("tripping", r#"{"tick":"trap"}"#);
        config.tick = Duration::from_millis(10);
        let policy = policy(TICKER, &config);
        until(|| ticks(&policy) >= 3);
        let report = super::SANDBOX.metrics().policies;
        let report = report.into_iter().find(|report| &*report.policy == "tripping").unwrap();
        assert!(report.faults.iter().any(|(hook, _, count)| *hook == "on-tick" && *count >= 2), "{report:?}");
    });
}

#[test]
fn a_policy_that_is_not_live_does_not_tick() {
    both(|| {
        let mut config = config("waiting", "{}");
        config.tick = Duration::from_millis(10);
        let idle = factory(TICKER, &config).unwrap();
        let mut witness_config = config.clone();
        witness_config.name = "witness".into();
        let witness = policy(TICKER, &witness_config);
        until(|| ticks(&witness) >= 5);
        let report = super::SANDBOX.metrics().policies;
        let report = report.into_iter().find(|report| report.policy == *idle.name()).unwrap();
        assert_eq!(report.calls, []);
    });
}

#[test]
fn a_policy_that_runs_long_is_called_beside_the_worker() {
    both(|| {
        let json = r#"{"request-head":"loop","request-body":"work 1000"}"#;
        let policy = policy(MISBEHAVE, &config("burning", json));
        let fault = run(&*policy, Hook::RequestHead, exchange()).1.unwrap_err();
        assert_eq!(fault.kind, portcullis_policy::FaultKind::Deadline);
        // From now on the worker's thread goes on at once.
        let Called::Waiting(mut call) = policy.call(Hook::RequestHead, exchange()) else {
            panic!("on the worker's thread")
        };
        assert!(call.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        let (mut ended, result) = super::block_on(call);
        assert!(result.is_err());
        // A measurement of the worker's thread would miss it.
        assert!(ended.slot().cost.cpu > Duration::from_millis(1), "{:?}", ended.slot().cost.cpu);
        // It is trusted again after as many short calls in a row. On a busy machine one of them may be long.
        let is_trusted = || {
            for _ in 0..1000 {
                assert!(run(&*policy, piece("a", true), exchange()).1.is_ok());
            }
            matches!(policy.call(piece("a", true), exchange()), Called::Ready(..))
        };
        assert!((0..100).any(|_| is_trusted()), "back on the worker's thread");
    });
}
