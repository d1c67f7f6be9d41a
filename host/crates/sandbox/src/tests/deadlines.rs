//! What runs without end, wherever a policy runs: it is stopped at its deadline, and what comes after it is called.

use std::time::Duration;

use portcullis_model::Isolation;
use portcullis_policy::FaultKind;

use super::calls::until;
use super::faults::{HOOKS, hook};
use super::injected::{alone, asking, call, modes};
use super::{both, run};
use crate::ConfigureError;

#[test]
fn in_each_hook() {
    both(|| {
        let mut alone = alone();
        for (guest, config) in modes("endless", "{}") {
            let component = alone.component(guest, config.isolation);
            let policy = alone.policy(&component, &config);
            for name in HOOKS {
                let (exchange, result) = run(&*policy, hook(name), asking("loop"));
                let fault = result.unwrap_err();
                assert_eq!((fault.kind, fault.hook), (FaultKind::Deadline, &*format!("on-{name}")));
                assert_eq!(exchange.request.target(), "/a/b?q=1");
                let mut exchange = exchange;
                assert!(exchange.request.fields.set(b"x-do", b"nothing").is_ok());
                let (_, result) = call(&*policy, "response-head", exchange);
                assert!(result.is_ok(), "after {name}: {result:?}");
            }
        }
    });
}

#[test]
fn in_configure() {
    both(|| {
        let mut alone = alone();
        for (guest, mut config) in modes("endlessly configured", r#"{"configure":"loop"}"#) {
            config.limits.configure_deadline = Duration::from_millis(30);
            let component = alone.component(guest, config.isolation);
            match alone.configure(&component, &config) {
                Err(ConfigureError::Failed { kind: FaultKind::Deadline, message, .. }) => {
                    assert!(message.contains("more than its 30ms of CPU time"), "{message}");
                }
                other => panic!("{other:?}"),
            }
            assert_eq!(alone.alive(), (0, 0));
        }
    });
}

#[test]
fn while_a_new_instance_is_configured() {
    both(|| {
        let mut alone = alone();
        // With what it prints it has no image, so that it is configured for each exchange.
        let json = r#"{"configure":"loop-armed","print":"yes"}"#;
        for (guest, mut config) in modes("endlessly configured anew", json) {
            config.limits.configure_deadline = Duration::from_millis(30);
            let component = alone.component(guest, config.isolation);
            let policy = alone.policy(&component, &config);
            let mut exchange = asking("nothing");
            assert!(call(&*policy, "request-head", asking("arm")).1.is_ok());
            if config.isolation == Isolation::Worker {
                drop(run(&*policy, hook("request-head"), asking("trap")));
            }
            let (back, result) = run(&*policy, hook("request-head"), exchange);
            exchange = back;
            let fault = result.unwrap_err();
            assert_eq!(fault.kind, FaultKind::Deadline, "{fault}");
            assert!(fault.message.contains("a new instance could not be made: "), "{fault}");
            assert_eq!(alone.alive(), (0, 0));
            // The next one is no trouble, but for the time that it takes on a busy machine.
            let (_, result) = call(&*policy, "request-head", exchange);
            assert!(result.is_ok(), "{result:?}");
        }
    });
}

#[test]
fn in_on_tick() {
    both(|| {
        let mut alone = alone();
        for (guest, mut config) in modes("endless ticks", r#"{"tick":"loop"}"#) {
            config.tick = Duration::from_millis(10);
            let component = alone.component(guest, config.isolation);
            let policy = alone.policy(&component, &config);
            // The first, and one after it.
            until(|| {
                let faults = alone.report(&*policy).faults;
                faults.iter().any(|(hook, kind, count)| {
                    (*hook, *kind) == ("on-tick", FaultKind::Deadline) && *count >= 2
                })
            });
            assert_eq!(alone.report(&*policy).faults.len(), 1);
        }
    });
}
