//! Policies that keep failing.

use std::time::{Duration, Instant};

use portcullis_model::{FailureMode, PolicyConfig, QuarantineRule};
use portcullis_policy::{Exchange, FaultKind, Hook, Outcome, Policy};
use portcullis_test_guests::MISBEHAVE;

use super::{both, config, exchange, factory, in_time, logged, on_fibers, piece, policy, run};
use crate::PolicyReport;

/// No test takes so long.
const FOREVER: Duration = Duration::from_secs(600);
/// Half of it has to pass between the first fault and the last one.
const WINDOW: Duration = Duration::from_millis(500);

/// Three faults within the window; a probe after `backoff`.
fn with_rule(mut config: PolicyConfig, backoff: Duration) -> PolicyConfig {
    config.quarantine = Some(QuarantineRule { faults: 3, window: WINDOW, backoff, backoff_max: FOREVER });
    config
}

fn asking(deed: &str) -> Box<Exchange> {
    let mut exchange = exchange();
    exchange.request.fields.append(b"x-deed", deed.as_bytes()).unwrap();
    exchange
}

/// Runs a hook in an exchange of its own, which asks for `deed`.
fn ask(policy: &dyn Policy, hook: Hook, deed: &str) -> Result<(), FaultKind> {
    run(policy, hook, asking(deed)).1.map(drop).map_err(|fault| fault.kind)
}

fn head(policy: &dyn Policy, deed: &str) -> Result<(), FaultKind> {
    ask(policy, Hook::RequestHead, deed)
}

/// Asks until it is not called any more; gives how many times it was.
fn begin(hook: impl Fn() -> Result<(), FaultKind>) -> u64 {
    let begun = Instant::now();
    for failed in 0.. {
        match hook() {
            // On a busy machine a trap can come behind the deadline.
            Err(FaultKind::Trap | FaultKind::Deadline) => {}
            Err(FaultKind::Quarantined) => return failed,
            other => panic!("{other:?}"),
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "it is still called");
    }
    0
}

/// For longer than a window.
fn for_long(mut deed: impl FnMut()) {
    let begun = Instant::now();
    while begun.elapsed() < WINDOW * 2 {
        deed();
    }
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
        let turn = std::cell::Cell::new(0);
        let failed = begin(|| {
            turn.set(turn.get() + 1);
            head(if turn.get() % 2 == 0 { &*two } else { &*one }, "trap")
        });
        for worker in [&one, &two] {
            assert_eq!(head(&**worker, "next"), Err(FaultKind::Quarantined));
            assert_eq!(ask(&**worker, Hook::ResponseHead, "next"), Err(FaultKind::Quarantined));
            assert_eq!(ask(&**worker, piece("x", true), "next"), Err(FaultKind::Quarantined));
        }
        assert_eq!(ask(&*one, Hook::Completed(Outcome::default()), "next"), Err(FaultKind::Quarantined));
        let report = report(&config.name);
        assert_eq!(report.calls, [("on-request-head", failed)], "it was not called");
        let refused = ("on-request-head", FaultKind::Quarantined, 3);
        assert!(report.faults.contains(&refused), "{:?}", report.faults);
        assert!(report.quarantine.deciding.is_some() && report.quarantine.completed.is_none());
        let last = report.last_fault.unwrap();
        assert_eq!((last.hook, last.kind), ("on-request-head", FaultKind::Trap));
    }
}

#[test]
fn a_predecessor_counts_neither_for_it_nor_against_it() {
    in_time(|| {
        let config = with_rule(config("followed", ASKED), FOREVER);
        let before = policy(MISBEHAVE, &config);
        for _ in 0..100 {
            assert_eq!(head(&*before, "next"), Ok(()));
        }
        let followed = policy(MISBEHAVE, &config);
        begin(|| head(&*followed, "trap"));
        // One client knows a request that makes it trap, and the predecessor ends meanwhile.
        let followed = policy(MISBEHAVE, &config);
        let mut before = Some(before);
        for_long(|| {
            assert_eq!(head(&*followed, "next"), Ok(()));
            assert_eq!(head(&*followed, "trap"), Err(FaultKind::Trap));
            before = None;
        });
    });
}

#[test]
fn a_probe_decides_whether_it_is_called_again() {
    both(probes);
}

fn probes() {
    let config = with_rule(config("recovering", ASKED), Duration::from_millis(20));
    let policy = policy(MISBEHAVE, &config);
    let log = logged(|| {
        begin(|| head(&*policy, "trap"));
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
    in_time(|| {
        let policy = policy(MISBEHAVE, &with_rule(config("failing late", ASKED), FOREVER));
        let completed = || Hook::Completed(Outcome::default());
        begin(|| ask(&*policy, completed(), "trap"));
        assert_eq!(ask(&*policy, completed(), "next"), Err(FaultKind::Quarantined));
        assert_eq!(head(&*policy, "next"), Ok(()));
        let standings = report("failing late").quarantine;
        assert!(standings.deciding.is_none() && standings.completed.is_some());
    });
}

#[test]
fn a_few_that_know_how_do_not_turn_it_off_for_the_rest() {
    in_time(|| {
        let policy = policy(MISBEHAVE, &with_rule(config("provoked", ASKED), FOREVER));
        // In bursts, and all the time.
        for_long(|| {
            assert_eq!(head(&*policy, "next"), Ok(()));
            for _ in 0..20 {
                assert_eq!(head(&*policy, "trap"), Err(FaultKind::Trap));
            }
        });
        for_long(|| {
            let completed = || Hook::Completed(Outcome::default());
            assert_eq!(ask(&*policy, completed(), "next"), Ok(()));
            assert_eq!(ask(&*policy, completed(), "trap"), Err(FaultKind::Trap));
        });
        // A body that it has seen to its end is a success, however many fail.
        for_long(|| {
            assert_eq!(ask(&*policy, piece("x", true), "next"), Ok(()));
            assert_eq!(ask(&*policy, piece("x", false), "trap"), Err(FaultKind::Trap));
        });
        // The pieces of one before that are none.
        begin_bodies(&*policy);
    });
}

fn begin_bodies(policy: &dyn Policy) {
    begin(|| {
        for _ in 0..5 {
            ask(policy, piece("x", false), "next")?;
        }
        ask(policy, piece("x", false), "trap")
    });
}

#[test]
fn a_client_for_whom_it_did_not_fail_is_let_through() {
    in_time(|| {
        let policy = policy(MISBEHAVE, &with_rule(config("hostage", ASKED), FOREVER));
        begin(|| head(&*policy, "trap"));
        let mut other = asking("next");
        other.client.address = [198, 51, 100, 7].into();
        assert!(run(&*policy, Hook::RequestHead, other).1.is_ok());
        assert_eq!(head(&*policy, "next"), Ok(()), "with that it is over");
    });
}

#[test]
fn one_that_lets_pass_what_it_fails_on_is_always_asked() {
    in_time(|| {
        let mut config = with_rule(config("open", ASKED), FOREVER);
        config.on_error = FailureMode::Allow;
        let policy = policy(MISBEHAVE, &config);
        for hook in [|| Hook::RequestHead, || Hook::ResponseHead, || piece("x", true)] {
            for_long(|| assert_eq!(ask(&*policy, hook(), "trap"), Err(FaultKind::Trap)));
        }
        // What it hears of the end decides about nothing.
        begin(|| ask(&*policy, Hook::Completed(Outcome::default()), "trap"));
        assert_eq!(head(&*policy, "trap"), Err(FaultKind::Trap));
        assert_eq!(report("open").quarantine.deciding, None);
    });
}

#[test]
fn what_is_not_its_doing_does_not_count() {
    in_time(|| {
        let mut config = on_fibers(with_rule(config("crowded", ASKED), FOREVER));
        config.limits.instances = Some(1);
        config.limits.deadline = Duration::from_secs(5);
        let policy = policy(MISBEHAVE, &config);
        // One is under way, and there is no instance for another.
        let portcullis_policy::Called::Waiting(mut first) = policy.call(Hook::RequestHead, asking("loop"))
        else {
            panic!("it does not yield")
        };
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(first.as_mut().poll(&mut context).is_pending());
        for_long(|| assert_eq!(head(&*policy, "next"), Err(FaultKind::Exhausted)));
        drop(first);
        assert_eq!(head(&*policy, "next"), Ok(()));
    });
}

#[test]
fn a_changed_policy_starts_clean() {
    in_time(|| {
        let config = with_rule(config("mended", ASKED), FOREVER);
        let old = policy(MISBEHAVE, &config);
        begin(|| head(&*old, "trap"));
        let new = policy(MISBEHAVE, &config);
        assert_eq!(head(&*new, "next"), Ok(()));
        assert_eq!(head(&*old, "next"), Err(FaultKind::Quarantined));
        assert_eq!(report("mended").quarantine.deciding, None, "what is told is of the one that is live");
    });
}

#[test]
fn one_that_shall_be_called_whatever_happens_is() {
    in_time(|| {
        let policy = policy(MISBEHAVE, &config("stubborn", ASKED));
        for_long(|| assert_eq!(head(&*policy, "trap"), Err(FaultKind::Trap)));
    });
}
