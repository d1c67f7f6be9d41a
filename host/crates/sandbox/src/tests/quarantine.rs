//! Policies that keep failing.

use std::time::{Duration, Instant};

use portcullis_model::{PolicyConfig, QuarantineRule};
use portcullis_policy::{FaultKind, Hook, Outcome, Policy};
use portcullis_test_guests::MISBEHAVE;

use super::{both, config, exchange, factory, logged, on_fibers, piece, policy, run};
use crate::PolicyReport;

/// No test takes so long.
const FOREVER: Duration = Duration::from_secs(600);

/// Three faults within any time; a probe after `backoff`.
fn with_rule(mut config: PolicyConfig, backoff: Duration) -> PolicyConfig {
    config.quarantine = Some(QuarantineRule { faults: 3, window: FOREVER, backoff, backoff_max: FOREVER });
    config
}

/// Runs a hook in an exchange of its own, which asks for `deed`.
fn ask(policy: &dyn Policy, hook: Hook, deed: &str) -> Result<(), FaultKind> {
    let mut exchange = exchange();
    exchange.request.fields.append(b"x-deed", deed.as_bytes()).unwrap();
    run(policy, hook, exchange).1.map(drop).map_err(|fault| fault.kind)
}

fn head(policy: &dyn Policy, deed: &str) -> Result<(), FaultKind> {
    ask(policy, Hook::RequestHead, deed)
}

/// Asks until something else comes than that it is in quarantine.
fn probe(policy: &dyn Policy, deed: &str) -> Result<(), FaultKind> {
    let begun = Instant::now();
    loop {
        let told = head(policy, deed);
        if told != Err(FaultKind::Quarantined) {
            return told;
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "no probe is let through");
    }
}

fn report(name: &str) -> PolicyReport {
    let report = super::SANDBOX.metrics();
    report.policies.into_iter().find(|report| &*report.policy == name).unwrap()
}

const ASKED: &str =
    r#"{"request-head":"asked","request-body":"asked","response-head":"asked","completed":"asked"}"#;

#[test]
fn one_that_keeps_failing_is_not_called_any_more() {
    both(begins);
}

fn begins() {
    let plain = with_rule(config("failing", ASKED), FOREVER);
    for config in [on_fibers(plain.clone()), plain] {
        let factory = factory(MISBEHAVE, &config).unwrap();
        // Two workers count together.
        let (one, two) = (factory.clone().worker(), factory.worker());
        for worker in [&one, &two, &one] {
            assert_eq!(head(&**worker, "trap"), Err(FaultKind::Trap));
        }
        for worker in [&one, &two] {
            assert_eq!(head(&**worker, "next"), Err(FaultKind::Quarantined));
            assert_eq!(ask(&**worker, Hook::ResponseHead, "next"), Err(FaultKind::Quarantined));
            assert_eq!(ask(&**worker, piece("x", true), "next"), Err(FaultKind::Quarantined));
        }
        assert_eq!(ask(&*one, Hook::Completed(Outcome::default()), "next"), Err(FaultKind::Quarantined));
        let report = report(&config.name);
        assert_eq!(report.calls, [("on-request-head", 3)], "it was not called");
        let refused = ("on-request-head", FaultKind::Quarantined, 2);
        assert!(report.faults.contains(&refused), "{:?}", report.faults);
        assert!(report.quarantine.deciding.is_some() && report.quarantine.completed.is_none());
        let last = report.last_fault.unwrap();
        assert_eq!((last.hook, last.kind), ("on-request-head", FaultKind::Trap));
    }
}

#[test]
fn a_forerunner_that_ends_does_not_make_few_faults_look_like_many() {
    // One client in a hundred knows a request that makes it trap, and a reload comes in between.
    let config = with_rule(config("followed", ASKED), FOREVER);
    let before = policy(MISBEHAVE, &config);
    for _ in 0..500 {
        assert_eq!(head(&*before, "next"), Ok(()));
    }
    let policy = policy(MISBEHAVE, &config);
    assert_eq!(head(&*policy, "trap"), Err(FaultKind::Trap));
    drop(before);
    for _ in 0..2 {
        for _ in 0..100 {
            assert_eq!(head(&*policy, "next"), Ok(()));
        }
        assert_eq!(head(&*policy, "trap"), Err(FaultKind::Trap));
    }
    assert_eq!(head(&*policy, "next"), Ok(()), "three of two hundred are few");
    assert_eq!(report("followed").calls, [("on-request-head", 704)]);
}

#[test]
fn a_probe_decides_whether_it_is_called_again() {
    both(probes);
}

fn probes() {
    let config = with_rule(config("recovering", ASKED), Duration::from_millis(20));
    let policy = policy(MISBEHAVE, &config);
    let log = logged(|| {
        for _ in 0..3 {
            assert_eq!(head(&*policy, "trap"), Err(FaultKind::Trap));
        }
        for _ in 0..2 {
            assert_eq!(probe(&*policy, "trap"), Err(FaultKind::Trap));
            assert_eq!(head(&*policy, "next"), Err(FaultKind::Quarantined), "after the back-off only");
        }
        assert_eq!(probe(&*policy, "next"), Ok(()));
        assert_eq!(head(&*policy, "next"), Ok(()));
    });
    // A line when it began, one at each failed probe, one at the end, and none for what was refused.
    let states = ["begun", "probe-failed", "probe-failed", "ended"];
    let found: Vec<&str> =
        log.lines().filter_map(|line| line.split("state=\"").nth(1)?.split('"').next()).collect();
    assert_eq!(found, states, "{log}");
    assert_eq!(log.lines().count(), states.len(), "{log}");
    assert_eq!(report("recovering").transitions, [("begun", 1), ("probe-failed", 2), ("ended", 1)]);
    assert_eq!(report("recovering").quarantine.deciding, None);
}

#[test]
fn on_completed_is_in_a_quarantine_of_its_own() {
    let policy = policy(MISBEHAVE, &with_rule(config("failing late", ASKED), FOREVER));
    let completed = || Hook::Completed(Outcome::default());
    for _ in 0..3 {
        assert_eq!(ask(&*policy, completed(), "trap"), Err(FaultKind::Trap));
    }
    assert_eq!(ask(&*policy, completed(), "next"), Err(FaultKind::Quarantined));
    assert_eq!(head(&*policy, "next"), Ok(()));
    let standings = report("failing late").quarantine;
    assert!(standings.deciding.is_none() && standings.completed.is_some());
}

#[test]
fn a_few_that_know_how_do_not_turn_it_off_for_the_rest() {
    let policy = policy(MISBEHAVE, &with_rule(config("provoked", ASKED), FOREVER));
    for _ in 0..20 {
        assert_eq!(head(&*policy, "trap"), Err(FaultKind::Trap));
        for _ in 0..2 {
            assert_eq!(head(&*policy, "next"), Ok(()));
        }
    }
    // Of bodies those count that it is done with, however many pieces they have.
    for _ in 0..3 {
        for _ in 0..5 {
            assert_eq!(ask(&*policy, piece("x", false), "next"), Ok(()));
        }
        assert_eq!(ask(&*policy, piece("x", false), "trap"), Err(FaultKind::Trap));
    }
    assert_eq!(ask(&*policy, piece("x", false), "next"), Err(FaultKind::Quarantined));
}

#[test]
fn what_is_not_its_doing_does_not_count() {
    let mut config = on_fibers(with_rule(config("crowded", ASKED), FOREVER));
    config.limits.instances = Some(1);
    config.limits.deadline = Duration::from_secs(5);
    let policy = policy(MISBEHAVE, &config);
    // One is under way, and there is no instance for another.
    let mut exchange = exchange();
    exchange.request.fields.append(b"x-deed", b"loop").unwrap();
    let portcullis_policy::Called::Waiting(mut first) = policy.call(Hook::RequestHead, exchange) else {
        panic!("it does not yield")
    };
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(first.as_mut().poll(&mut context).is_pending());
    for _ in 0..5 {
        assert_eq!(head(&*policy, "next"), Err(FaultKind::Exhausted));
    }
    drop(first);
    assert_eq!(head(&*policy, "next"), Ok(()));
}

#[test]
fn a_changed_policy_starts_clean() {
    let config = with_rule(config("mended", ASKED), FOREVER);
    let old = policy(MISBEHAVE, &config);
    for _ in 0..3 {
        assert_eq!(head(&*old, "trap"), Err(FaultKind::Trap));
    }
    assert_eq!(head(&*old, "next"), Err(FaultKind::Quarantined));
    let new = policy(MISBEHAVE, &config);
    assert_eq!(head(&*new, "next"), Ok(()));
    assert_eq!(head(&*old, "next"), Err(FaultKind::Quarantined));
    assert_eq!(report("mended").quarantine.deciding, None, "what is told is of the one that is live");
}

#[test]
fn one_that_shall_be_called_whatever_happens_is() {
    let policy = policy(MISBEHAVE, &config("stubborn", ASKED));
    for _ in 0..20 {
        assert_eq!(head(&*policy, "trap"), Err(FaultKind::Trap));
    }
}
