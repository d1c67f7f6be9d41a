//! Calls that are given up half-way, as when a client goes away: each time at another wait, until a call has no more of
//! them. Nothing of them is left, and the next call is made.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use portcullis_model::{Isolation, QuarantineRule};
use portcullis_policy::{Called, Exchange, FaultKind, Policy, Returned};

use super::calls::until;
use super::faults::{HOOKS, hook};
use super::injected::{Alone, alone, asking, call, modes};
use super::{block_on, both};

/// More waits and more calls than any of these has.
const MANY: u32 = 10_000;
/// As good as without one.
const LONG: Duration = Duration::from_secs(5);

type Call = Pin<Box<dyn Future<Output = Returned>>>;

/// A call that is not over at once.
fn begin(policy: &dyn Policy, name: &str, exchange: Box<Exchange>) -> Call {
    match policy.call(hook(name), exchange) {
        Called::Waiting(call) => call,
        Called::Ready(_, result) => panic!("it is over: {result:?}"),
    }
}

/// Polls a call, each time when it is woken, until it has waited this often. Returns its result if it ended before.
fn wait(call: &mut Call, times: u32) -> Option<Returned> {
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(woken.clone());
    for time in 1..=times {
        if let Poll::Ready(ended) = call.as_mut().poll(&mut Context::from_waker(&waker)) {
            return Some(ended);
        }
        if time < times {
            until(|| woken.0.swap(false, Ordering::SeqCst));
        }
    }
    None
}

#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Gives a call up at its first wait, another one at its second, and so on until one ends before; how many waits that
/// one had.
fn give_up_at_each_wait(begin: impl Fn() -> Call, mut after: impl FnMut()) -> u32 {
    for times in 1..MANY {
        let mut call = begin();
        if let Some((_, result)) = wait(&mut call, times) {
            assert!(result.is_ok(), "{result:?}");
            return times - 1;
        }
        drop(call);
        after();
    }
    panic!("it waits without end");
}

/// The same of calls that do not end by themselves: at each of the first waits.
fn give_up_at_first_waits(begin: impl Fn() -> Call, mut after: impl FnMut()) {
    for times in 1..=5 {
        let mut call = begin();
        assert!(wait(&mut call, times).is_none(), "it has no end");
        drop(call);
        after();
    }
}

/// How many calls of it may be under way at once.
fn places(policy: &dyn Policy, deed: &str) -> usize {
    let mut under_way = Vec::new();
    for _ in 0..MANY {
        let mut call = begin(policy, "request-head", asking(deed));
        match wait(&mut call, 1) {
            None => under_way.push(call),
            Some((_, Err(fault))) => {
                assert_eq!(fault.kind, FaultKind::Exhausted, "{fault}");
                return under_way.len();
            }
            // No tick met it.
            Some((_, Ok(_))) => {}
        }
    }
    panic!("there is no end of places");
}

/// Waits until a call that was given up has left nothing, and checks that the next one is made. On the worker's thread
/// there is nothing to wait for; the thread beside it is through with what was given up a little later.
fn check_rest(alone: &Alone, policy: &dyn Policy, name: &str, at_rest: (u32, u64)) {
    until(|| {
        let (exchange, result) = call(policy, name, asking("nothing"));
        let crowded = result.is_err_and(|fault| {
            assert_eq!(fault.kind, FaultKind::Exhausted, "{fault}");
            true
        });
        drop(exchange);
        let alive = alone.alive();
        !crowded && alone.awaited() == 0 && alive.0 <= at_rest.0 && alive.1 <= at_rest.1
    });
}

#[test]
fn at_each_wait_of_each_hook() {
    both(|| {
        let mut alone = alone();
        for (guest, mut config) in modes("given up", "{}").into_iter().skip(1) {
            config.limits.deadline = LONG;
            let component = alone.component(guest, config.isolation);
            let policy = alone.policy(&component, &config);
            drop(call(&*policy, "completed", asking("nothing")));
            let at_rest = alone.alive();
            let begin = |name, deed| begin(&*policy, name, asking(deed));
            let check = |name| check_rest(&alone, &*policy, name, at_rest);
            let at_first = places(&*policy, "loop");
            // They yield at the ticks that meet them.
            for name in HOOKS {
                give_up_at_first_waits(|| begin(name, "loop"), || check(name));
            }
            if policy.factory().name().contains("waiting") {
                // And here for a server.
                for name in HOOKS {
                    for deed in super::host_calls::WAITS {
                        let waits = give_up_at_each_wait(|| begin(name, deed), || check(name));
                        assert!(waits >= 3, "{deed}: {waits}");
                    }
                }
            }
            assert_eq!(places(&*policy, "loop"), at_first, "places for calls");
            check("completed");
            // One that ends by itself may have run long, and is then called beside the worker.
            for name in HOOKS {
                give_up_at_each_wait(|| begin(name, "work"), || check(name));
            }
        }
    });
}

#[test]
fn at_each_wait_while_a_new_instance_is_configured() {
    both(|| {
        let mut alone = alone();
        // With what it prints it has no image, so that it is configured for each exchange.
        for deed in ["loop-armed", "work-armed"] {
            let json = format!(r#"{{"configure":"{deed}","print":"yes"}}"#);
            for (guest, config) in modes(&format!("given up in {deed}"), &json) {
                let component = alone.component(guest, config.isolation);
                let policy = alone.policy(&component, &config);
                drop(call(&*policy, "completed", asking("nothing")));
                let at_rest = alone.alive();
                let begin = || {
                    assert!(call(&*policy, "request-head", asking("arm")).1.is_ok());
                    // The instance that there is, if there is one, is gone after this.
                    let trapped = match config.isolation {
                        Isolation::Worker => call(&*policy, "request-head", asking("trap")).1,
                        Isolation::Exchange => Ok(()),
                    };
                    assert_eq!(trapped.is_err(), config.isolation == Isolation::Worker);
                    assert_eq!(alone.alive(), (0, 0));
                    begin(&*policy, "request-head", asking("nothing"))
                };
                let check = || check_rest(&alone, &*policy, "response-head", at_rest);
                if deed == "loop-armed" {
                    give_up_at_first_waits(begin, check);
                } else {
                    give_up_at_each_wait(begin, check);
                }
            }
        }
    });
}

#[test]
fn while_another_one_makes_the_instance() {
    super::ISOLATION.set(Isolation::Worker);
    let mut alone = alone();
    let [(guest, mut config), ..] = modes("waiting for a turn", r#"{"configure":"loop-armed"}"#);
    config.limits.configure_deadline = Duration::from_secs(60);
    let component = alone.component(guest, config.isolation);
    // Who is given up: the one that waits for its turn, or the one whose turn it is.
    for waiting_goes in [true, false] {
        let policy = alone.policy(&component, &config);
        drop(call(&*policy, "request-head", asking("arm")));
        drop(call(&*policy, "request-head", asking("trap")));
        assert_eq!(alone.alive(), (0, 0));
        let mut first = begin(&*policy, "request-head", asking("nothing"));
        assert!(wait(&mut first, 2).is_none(), "its configure has no end");
        let mut second = begin(&*policy, "request-head", asking("nothing"));
        assert!(wait(&mut second, 1).is_none(), "it has to wait");
        assert_eq!(alone.alive().0, 1);
        if waiting_goes {
            drop(second);
            assert!(wait(&mut first, 1).is_none());
            drop(first);
            assert_eq!(alone.alive(), (0, 0));
        } else {
            drop(first);
            assert_eq!(alone.alive(), (0, 0));
            let (_, result) = block_on(second);
            assert!(result.is_ok(), "it is its turn now: {result:?}");
        }
        let (_, result) = call(&*policy, "request-head", asking("nothing"));
        assert!(result.is_ok(), "{result:?}");
        assert_eq!(alone.alive().0, 1);
    }
}

#[test]
fn while_it_runs_beside_the_worker() {
    both(|| {
        let mut alone = alone();
        for (guest, config) in modes("given up aside", "{}") {
            let component = alone.component(guest, config.isolation);
            let policy = alone.policy(&component, &config);
            drop(call(&*policy, "completed", asking("nothing")));
            let at_rest = alone.alive();
            let (_, result) = super::run(&*policy, hook("request-head"), asking("loop"));
            assert_eq!(result.unwrap_err().kind, FaultKind::Deadline);
            let at_first = places(&*policy, "loop");
            check_rest(&alone, &*policy, "response-body", at_rest);
            for name in HOOKS {
                let mut given_up = begin(&*policy, name, asking("loop"));
                assert!(wait(&mut given_up, 1).is_none(), "it is on its way");
                drop(given_up);
            }
            check_rest(&alone, &*policy, "response-body", at_rest);
            assert_eq!(places(&*policy, "loop"), at_first);
        }
    });
}

#[test]
fn while_it_is_a_probe() {
    both(|| {
        let mut alone = alone();
        for (guest, mut config) in modes("given up as a probe", "{}").into_iter().skip(1) {
            config.limits.deadline = LONG;
            config.quarantine = Some(QuarantineRule {
                faults: 3,
                window: Duration::from_millis(500),
                backoff: Duration::from_millis(20),
                backoff_max: Duration::from_millis(20),
            });
            let component = alone.component(guest, config.isolation);
            let policy = alone.policy(&component, &config);
            let standing = || alone.report(&*policy).quarantine.deciding;
            // It begins when faults have come for a while.
            until(|| {
                drop(call(&*policy, "request-head", asking("trap")));
                standing().is_some()
            });
            for _ in 0..3 {
                // Those before it are refused.
                let mut probe = None;
                until(|| {
                    probe = match policy.call(hook("request-head"), asking("loop")) {
                        Called::Waiting(call) => Some(call),
                        Called::Ready(_, result) => {
                            assert_eq!(result.unwrap_err().kind, FaultKind::Quarantined);
                            None
                        }
                    };
                    probe.is_some()
                });
                assert!(wait(probe.as_mut().unwrap(), 2).is_none());
                drop(probe);
                assert!(standing().is_some(), "it has told nothing");
            }
            until(|| call(&*policy, "request-head", asking("nothing")).1.is_ok());
            assert_eq!(standing(), None, "another one has");
            assert_eq!(alone.report(&*policy).transitions, [("begun", 1), ("probe-failed", 0), ("ended", 1)]);
        }
    });
}
