//! Guests that do what they must not.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use portcullis_model::Isolation;
use portcullis_policy::{BodyDecision, Decision, FaultKind, HeadOutcome, Hook, Outcome, PolicyChain};
use portcullis_test_guests::{ALL_HOOKS, HOOK_COST, MISBEHAVE};

use super::{block_on, both, config, exchange, factory, in_time, on_fibers, piece, policy, run, run_in_time};
use crate::instance::fault::Failure;
use crate::{ConfigureError, Sandbox, SandboxOptions};

pub(super) const HOOKS: [&str; 5] =
    ["request-head", "request-body", "response-head", "response-body", "completed"];

pub(super) fn hook(name: &str) -> Hook {
    let chunk = Bytes::from_static(b"a piece");
    match name {
        "request-head" => Hook::RequestHead,
        "request-body" => Hook::RequestBody { chunk, last: true },
        "response-head" => Hook::ResponseHead,
        "response-body" => Hook::ResponseBody { chunk, last: true },
        _ => Hook::Completed(Outcome::default()),
    }
}

/// Deeds, the fault that they are, and a part of the message.
const DEEDS: [(&str, FaultKind, &str); 9] = [
    ("fail", FaultKind::Failed, "told to fail in"),
    ("loop", FaultKind::Deadline, "of CPU time"),
    ("trap", FaultKind::Trap, "unreachable"),
    ("panic", FaultKind::Trap, "told to panic in"),
    ("memory", FaultKind::Memory, "bytes of memory and may have 2097152"),
    ("recurse", FaultKind::Trap, "call stack overflowed"),
    ("exit", FaultKind::Trap, "called exit"),
    ("abort", FaultKind::Trap, "unreachable"),
    ("sleep", FaultKind::Trap, "wants to wait"),
];

/// Deeds of hooks that can reply.
const ANSWERS: [(&str, FaultKind, &str); 8] = [
    ("status 199", FaultKind::Failed, "its reply was refused: invalid-value"),
    ("status 600", FaultKind::Failed, "its reply was refused: invalid-value"),
    ("bad-name", FaultKind::Failed, "its reply was refused: invalid-name"),
    ("bad-value", FaultKind::Failed, "its reply was refused: invalid-value"),
    ("owned", FaultKind::Failed, "its reply was refused: forbidden"),
    ("many 3000", FaultKind::Failed, "its reply was refused: too-large"),
    ("body 1048577", FaultKind::Failed, "its reply was refused: too-large"),
    ("body 4194304", FaultKind::TooLarge, "bytes at once"),
];

#[test]
pub(super) fn tells_every_fault_in_every_hook_by_its_kind() {
    both(|| {
        for name in HOOKS {
            let answers: &[_] = if name == "completed" { &[] } else { &ANSWERS };
            for (deed, kind, message) in DEEDS.iter().chain(answers) {
                let sync = config(&format!("fault {name} {deed}"), &format!("{{\"{name}\":\"{deed}\"}}"));
                for mut config in [on_fibers(sync.clone()), sync] {
                    if *deed == "memory" {
                        // On a busy machine the first touch of 16 MiB alone can take longer than a deadline.
                        config.limits.memory_bytes = 2 << 20;
                    }
                    let policy = policy(MISBEHAVE, &config);
                    let mut exchange = exchange();
                    assert!(exchange.attributes.set("kept", "yes"));
                    // Twice: the second time in an instance that the first fault had made.
                    for _ in 0..2 {
                        let (back, result) = match kind {
                            FaultKind::Deadline => run(&*policy, hook(name), exchange),
                            _ => run_in_time(&*policy, || hook(name), exchange),
                        };
                        exchange = back;
                        let fault = result.expect_err(deed);
                        assert_eq!(fault.kind, *kind, "{deed} in {name}: {fault}");
                        assert!(fault.message.contains(message), "{deed} in {name}: {fault}");
                        assert_eq!(fault.hook, format!("on-{name}"));
                        assert_eq!(fault.policy, config.name);
                    }
                    assert_eq!(exchange.attributes.get("kept"), Some("yes"), "the exchange came back whole");
                    assert_eq!(exchange.request.target(), "/a/b?q=1");
                }
            }
        }
    });
}

#[test]
fn refuses_too_large_a_replacement() {
    both(|| {
        for (size, allowed) in [(1_048_576, true), (1_048_577, false)] {
            let json = format!("{{\"request-body\":\"replace {size}\"}}");
            let policy = policy(MISBEHAVE, &config("replacing", &json));
            let (_, result) = run_in_time(&*policy, || piece("x", false), exchange());
            match result {
                Ok(Decision::Body(BodyDecision::Replace(bytes))) => assert!(allowed && bytes.len() == size),
                Err(fault) => {
                    assert!(!allowed && fault.message.contains("it was refused: too-large"), "{fault}")
                }
                other => panic!("{other:?}"),
            }
        }
    });
}

#[test]
fn an_instance_that_says_it_failed_goes_on() {
    in_time(|| {
        let sandbox = Sandbox::new(SandboxOptions { instances_max: 1, ..SandboxOptions::default() }).unwrap();
        for isolation in [Isolation::Worker, Isolation::Exchange] {
            let component = sandbox.compile(MISBEHAVE, isolation).unwrap().component;
            let json = r#"{"request-head":"fail","response-head":"reply"}"#;
            let config = portcullis_model::PolicyConfig { isolation, ..config("failing", json) };
            let policy = sandbox.configure(&component, &config, &BTreeMap::new()).unwrap().worker();
            // There is no place for another instance.
            for _ in 0..100 {
                let (exchange, result) = run(&*policy, Hook::RequestHead, exchange());
                let fault = result.unwrap_err();
                assert_eq!(
                    (fault.kind, &*fault.message),
                    (FaultKind::Failed, "told to fail in request-head")
                );
                let (_, result) = run(&*policy, Hook::ResponseHead, exchange);
                assert!(matches!(result, Ok(Decision::Reply(_))), "{result:?}");
            }
        }
    });
}

#[test]
fn shows_the_panic_and_the_backtrace() {
    both(|| {
        let policy = policy(MISBEHAVE, &config("panicking", r#"{"request-head":"panic"}"#));
        let (_, result) = run(&*policy, Hook::RequestHead, exchange());
        let message = result.unwrap_err().message;
        assert!(message.contains("misbehave.rs:"), "the place: {message}");
        assert!(message.contains("; in "), "the backtrace: {message}");
        assert!(message.contains("misbehave::act"), "with names: {message}");
        assert!(!message.contains('\n') && !message.contains("RUST_BACKTRACE"), "one line: {message}");
    });
}

#[test]
fn counts_faults_and_calls() {
    both(|| {
        let policy = policy(MISBEHAVE, &config("counted", r#"{"request-head":"trap"}"#));
        for hook in [Hook::RequestHead, Hook::RequestHead, Hook::ResponseHead] {
            drop(run(&*policy, hook, exchange()));
        }
        let read = || {
            let report = super::SANDBOX.metrics();
            report.policies.into_iter().find(|report| &*report.policy == "counted").unwrap()
        };
        let factory = policy.factory().clone();
        for _ in 0..2 {
            assert_eq!(read().calls, [("on-request-head", 2), ("on-response-head", 1)]);
            assert_eq!(read().faults, [("on-request-head", FaultKind::Trap, 2)]);
        }
        drop(policy);
        assert_eq!(
            read().calls,
            [("on-request-head", 2), ("on-response-head", 1)],
            "they outlive the worker"
        );
        drop(factory);
        let alive = super::SANDBOX.metrics().policies;
        assert!(alive.iter().all(|report| &*report.policy != "counted"), "and end with the policy");
    });
}

#[test]
fn forgives_memory_that_was_refused_in_an_earlier_call() {
    both(|| {
        // A leak of more than the limit aborts; one that fits does not, and the next fault is not about memory.
        let json = r#"{"request-head":"leak 1000000","response-head":"trap"}"#;
        let policy = policy(MISBEHAVE, &config("leaking", json));
        for _ in 0..100 {
            let (_, result) = run(&*policy, Hook::RequestHead, exchange());
            assert!(
                matches!(result, Ok(Decision::Next)),
                "a leaking instance is replaced in time: {result:?}"
            );
        }
        let (_, result) = run(&*policy, Hook::ResponseHead, exchange());
        assert_eq!(result.unwrap_err().kind, FaultKind::Trap);
    });
}

#[test]
fn refuses_a_configuration_that_faults() {
    both(|| {
        for (deed, kind) in
            [("loop", FaultKind::Deadline), ("panic", FaultKind::Trap), ("memory", FaultKind::Memory)]
        {
            let mut config = config("unconfigurable", &format!("{{\"configure\":\"{deed}\"}}"));
            config.limits.configure_deadline = Duration::from_millis(50);
            match factory(MISBEHAVE, &config) {
                Err(ConfigureError::Failed { kind: found, .. }) => assert_eq!(found, kind),
                other => panic!("{deed}: {other:?}"),
            }
        }
        let error =
            factory(MISBEHAVE, &config("early", r#"{"configure":"method"}"#)).unwrap_err().to_string();
        assert!(error.contains("no exchange at hand in `configure`"), "{error}");
        let error =
            factory(ALL_HOOKS, &config("picky", r#"{"refuse":"I want cake"}"#)).unwrap_err().to_string();
        assert_eq!(error, "policy `picky` refuses its configuration: I want cake");
    });
}

#[test]
fn refuses_a_memory_limit_that_the_component_does_not_fit_in() {
    both(|| {
        let mut config = config("cramped", "{}");
        config.limits.memory_bytes = 64 << 10;
        let error = factory(MISBEHAVE, &config).unwrap_err();
        assert!(matches!(error, ConfigureError::Failed { kind: FaultKind::Memory, .. }), "{error}");
    });
}

#[test]
fn refuses_more_instances_than_there_may_be() {
    in_time(|| {
        let sandbox = Sandbox::new(SandboxOptions { instances_max: 1, ..SandboxOptions::default() }).unwrap();
        let component = sandbox.compile(HOOK_COST, Isolation::Worker).unwrap().component;
        let secrets = BTreeMap::new();
        let first = sandbox.configure(&component, &config("first", "{}"), &secrets).unwrap();
        assert_eq!(sandbox.metrics().instances, 1);
        let second = sandbox.configure(&component, &config("second", "{}"), &secrets);
        match second {
            Err(ConfigureError::Failed { kind: FaultKind::Exhausted, message, .. }) => {
                assert!(message.contains("all 1 instances"), "{message}");
            }
            other => panic!("{other:?}"),
        }
        // A worker that found no place still has its policy: it fails for as long as there is none, and then no more.
        let (one, two) = (first.clone().worker(), first.worker());
        let (exchange, result) = run(&*two, Hook::RequestHead, exchange());
        assert_eq!(result.unwrap_err().kind, FaultKind::Exhausted);
        drop(one);
        let (_, result) = run(&*two, Hook::RequestHead, exchange);
        assert!(result.is_ok(), "{result:?}");
    });
}

#[test]
fn denies_or_goes_on_as_the_failure_mode_says() {
    both(|| {
        use portcullis_model::FailureMode;
        for (mode, denied) in [(FailureMode::Deny, true), (FailureMode::Allow, false)] {
            let mut config = config("in a chain", r#"{"request-head":"loop"}"#);
            config.on_error = mode;
            for config in [on_fibers(config.clone()), config] {
                let after = policy(ALL_HOOKS, &super::config("after", "{}"));
                let chain = PolicyChain::new(vec![policy(MISBEHAVE, &config), after], 1 << 20);
                match block_on(chain.request_head(exchange())) {
                    HeadOutcome::Replied(replied) => {
                        assert!(denied);
                        assert_eq!((replied.reply.status, replied.at), (500, 0));
                        assert_eq!(replied.fault.unwrap().kind, FaultKind::Deadline);
                        assert_eq!(replied.exchange.attributes.get("seen"), None);
                    }
                    HeadOutcome::Permitted(exchange) => {
                        assert!(!denied);
                        assert_eq!(exchange.attributes.get("seen"), Some("request-head"));
                    }
                }
            }
        }
    });
}

/// A policy whose `configure` does `body`; `import` is in front of it.
fn configures(import: &str, body: &str) -> Vec<u8> {
    let text = format!(
        r#"(component
            {import}
            (core module $m
                (import "" "f" (func $f))
                (memory (export "memory") 8)
                (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024))
                (func (export "configure") (param i32 i32) (result i32) {body} (i32.const 16))
                (func (export "tick") (result i32) (i32.const 16)))
            (core instance $m (instantiate $m (with "" (instance (export "f" (func $imported))))))
            (type $configure-type (func (param "config" string) (result (result (error string)))))
            (func $configure (type $configure-type)
                (canon lift (core func $m "configure") (memory $m "memory") (realloc (func $m "realloc"))))
            (type $tick-type (func (result (result (error string)))))
            (func $tick (type $tick-type) (canon lift (core func $m "tick") (memory $m "memory")))
            (instance $lifecycle (export "configure" (func $configure)))
            (instance $ticking (export "on-tick" (func $tick)))
            (export "portcullis:policy/lifecycle@0.2.1" (instance $lifecycle))
            (export "portcullis:policy/tick@0.2.1" (instance $ticking)))"#
    );
    wat::parse_str(&text).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn what_is_told_of_faults_has_a_bound_of_bytes() {
    let failure = Failure::new(FaultKind::Trap, "\u{1b}\u{2028}x".repeat(100_000));
    assert!(failure.message.len() < 5000 && !failure.message.contains(char::is_control));

    let sandbox = Sandbox::new(SandboxOptions::default()).unwrap();
    let refused = |component: &[u8]| {
        let component = sandbox.compile(component, Isolation::Exchange).unwrap().component;
        match sandbox.configure(&component, &config("telling", "{}"), &BTreeMap::new()) {
            Ok(_) => panic!("it does not fail"),
            Err(error) => error.to_string(),
        }
    };
    // The names of functions that it does not have.
    let name = "a".repeat(60_000);
    let import = format!(
        r#"(import "wasi:random/odd@0.2.0" (instance $odd (export "{name}" (func))))
           (core func $imported (canon lower (func $odd "{name}")))"#
    );
    let told = refused(&configures(&import, "(call $f)"));
    assert!(told.len() < 5000 && told.contains("it called `wasi:random/odd#aaa"), "{told:.5000}");
    // And what it says itself: 300,000 bytes that are escaped.
    let import = r#"(core module $none (func (export "f"))) (core instance $none (instantiate $none))
        (alias core export $none "f" (core func $imported))"#;
    let err = "(i32.store8 (i32.const 16) (i32.const 1)) (i32.store (i32.const 20) (i32.const 65536))
        (i32.store (i32.const 24) (i32.const 300000))";
    let told = refused(&configures(import, err));
    assert!(told.len() < 5000 && told.contains("refuses its configuration"), "{told:.5000}");

    // All workers together have the bytes of a second; another second may begin meanwhile.
    let factory = factory(MISBEHAVE, &config("telling much", "{}")).unwrap();
    let told = (0..1000).filter(|_| factory.may_log(4096)).count() * 4096;
    assert!((65_536..=2 * 65_536).contains(&told), "{told}");
}
