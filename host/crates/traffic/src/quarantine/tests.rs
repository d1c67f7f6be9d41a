use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use portcullis_model::QuarantineRule;
use proptest::prelude::*;

use super::{Probe, Quarantine, Standing, Transition};

const SECOND: Duration = Duration::from_secs(1);
const START: Duration = Duration::from_secs(1000);
const TICK: Duration = Duration::from_nanos(1);

fn rule() -> QuarantineRule {
    QuarantineRule { faults: 3, window: 10 * SECOND, backoff: SECOND, backoff_max: 5 * SECOND }
}

fn client(number: u32) -> IpAddr {
    IpAddr::V4(Ipv4Addr::from_bits(0x7f00_0001 + number))
}

/// A policy with two hooks, and what it is asked. Time passes as a test says.
struct Policy {
    quarantine: Quarantine,
    now: Duration,
    succeeded: u64,
}

impl Policy {
    fn new(rule: QuarantineRule) -> Self {
        Self { quarantine: Quarantine::new(rule, 2), now: START, succeeded: 0 }
    }

    /// One whose quarantine has just begun, for the faults of `client(0)`.
    fn begun() -> Self {
        let mut policy = Self::new(rule());
        policy.fails_for_a_while(0);
        assert!(policy.quarantine.lasts());
        policy
    }

    fn wait(&mut self, time: Duration) {
        self.now += time;
    }

    fn succeeds(&mut self, times: u64) {
        self.succeeded += times;
    }

    fn fails(&self, of: u32) -> Option<Transition> {
        self.quarantine.fault(0, client(of), self.succeeded, self.now)
    }

    /// Three faults of a client, the last of them a second after the first.
    fn fails_for_a_while(&mut self, of: u32) -> Option<Transition> {
        assert_eq!((self.fails(of), self.fails(of)), (None, None));
        self.wait(SECOND);
        self.fails(of)
    }

    fn probe(&self, of: u32) -> Option<Probe> {
        self.quarantine.probe(client(of), self.now)
    }

    fn probed(&self, probe: Option<Probe>, succeeded: bool) -> Option<Transition> {
        self.quarantine.probed(probe.expect("a probe was let through"), succeeded, self.now)
    }
}

#[test]
fn begins_when_all_calls_fail_for_a_second() {
    let mut policy = Policy::new(rule());
    policy.fails(0);
    policy.wait(SECOND - TICK);
    for _ in 0..100 {
        assert_eq!(policy.fails(0), None, "a burst shows nothing");
    }
    policy.wait(TICK);
    assert_eq!(policy.fails(0), Some(Transition::Begun { probe_in: SECOND }));
    assert!(policy.quarantine.lasts());
    assert_eq!(policy.fails(0), None, "one that was under way");
}

#[test]
fn faults_have_to_be_within_the_window() {
    let mut policy = Policy::new(rule());
    for _ in 0..10 {
        // Three in a little more than a window.
        assert_eq!(policy.fails(0), None);
        policy.wait(5 * SECOND + 600 * Duration::from_millis(1));
    }
    let mut policy = Policy::new(rule());
    policy.fails(0);
    policy.wait(4 * SECOND);
    policy.fails(0);
    policy.wait(4 * SECOND);
    assert!(policy.fails(0).is_some());
}

#[test]
fn a_client_alone_does_not_begin_it_while_calls_of_others_succeed() {
    // In a burst, pipelined, at once again, and for minutes: the only thing that counts is that others fare well.
    for (burst, pause) in [(6, 900), (1, 100), (500, 10), (1000, 1000)] {
        let mut policy = Policy::new(rule());
        for _ in 0..600 {
            policy.succeeds(1);
            for _ in 0..burst {
                assert_eq!(policy.fails(0), None, "{burst} each {pause} ms");
            }
            policy.wait(Duration::from_millis(pause));
        }
    }
}

#[test]
fn a_success_is_enough_for_a_window() {
    let mut policy = Policy::new(rule());
    policy.succeeds(1);
    for _ in 0..9 {
        assert_eq!(policy.fails(0), None);
        policy.wait(SECOND);
    }
    policy.wait(2 * SECOND);
    assert!(policy.fails(0).is_some(), "a window later nothing has succeeded");
}

#[test]
fn faults_of_many_clients_begin_it_though_a_few_calls_succeed() {
    for (clients, succeed, begins) in [(3, 3, true), (3, 4, false), (2, 1, false), (100, 100, true)] {
        let mut policy = Policy::new(rule());
        policy.succeeds(succeed);
        policy.fails(0);
        policy.wait(SECOND);
        // However many times each fails.
        let begun = (0..1000).any(|at| policy.fails(at % clients).is_some());
        assert_eq!(begun, begins, "{clients} clients, {succeed} calls succeed");
    }
}

#[test]
fn who_has_a_network_is_one_client() {
    let in_network = |network: u16, host: u16| Ipv6Addr::new(0x2001, 0xdb8, 0, network, 0, 0, 0, host);
    let run = |address: &dyn Fn(u16) -> IpAddr| {
        let quarantine = Quarantine::new(rule(), 1);
        // As many calls succeed as clients fail, if each address were one.
        (0..3).any(|at| {
            quarantine.fault(0, address(at), 1, START).is_some()
                || quarantine.fault(0, address(at), 1, START + SECOND).is_some()
        })
    };
    assert!(!run(&|at| in_network(1, at).into()), "addresses of one network");
    assert!(run(&|at| in_network(at, 1).into()), "three networks");
    assert!(run(&|at| Ipv4Addr::new(192, 0, 2, u8::try_from(at).unwrap()).into()));
    let mapped = Ipv4Addr::LOCALHOST.to_ipv6_mapped();
    assert!(!run(&|at| if at == 0 { mapped.into() } else { client(0) }), "the same address");
}

#[test]
fn faults_of_different_hooks_are_told_apart() {
    let mut policy = Policy::new(rule());
    let mut both = || {
        let [first, second] = [0, 1].map(|hook| policy.quarantine.fault(hook, client(0), 0, policy.now));
        policy.now += SECOND / 2;
        (first, second)
    };
    assert_eq!([both(), both()], [(None, None), (None, None)]);
    assert!(both().0.is_some());
    assert_eq!(policy.quarantine.fault(2, client(0), 0, policy.now), None, "there is no such hook");
}

#[test]
fn what_a_predecessor_did_counts_for_nothing() {
    let mut policy = Policy::new(rule());
    policy.succeeds(1_000_000);
    policy.quarantine.ignore(0, policy.succeeded);
    assert!(policy.fails_for_a_while(0).is_some());
}

#[test]
fn one_probe_at_a_time_after_the_back_off() {
    let mut policy = Policy::begun();
    policy.wait(SECOND - TICK);
    assert_eq!(policy.probe(0), None);
    policy.wait(TICK);
    let first = policy.probe(0);
    assert_eq!(policy.probe(0), None, "a second one");
    // Nothing was heard of the first for another back-off.
    policy.wait(SECOND);
    let second = policy.probe(0);
    assert_ne!(first, second);
    // What the first has to say at last is bad, and too late.
    assert_eq!(policy.probed(first, false), None);
    assert_eq!(policy.probed(second, false), Some(Transition::ProbeFailed { probe_in: 2 * SECOND }));
}

#[test]
fn a_probe_that_fails_doubles_the_back_off_up_to_a_bound() {
    let mut policy = Policy::begun();
    policy.wait(SECOND);
    for expected in [2, 4, 5, 5] {
        let failed = policy.probed(policy.probe(0), false);
        assert_eq!(failed, Some(Transition::ProbeFailed { probe_in: expected * SECOND }));
        policy.wait(expected * SECOND - TICK);
        assert_eq!(policy.probe(0), None);
        policy.wait(TICK);
    }
}

#[test]
fn a_probe_that_succeeds_ends_it() {
    let mut policy = Policy::begun();
    policy.wait(3 * SECOND);
    assert_eq!(policy.probed(policy.probe(0), true), Some(Transition::Ended { lasted: 3 * SECOND }));
    assert!(!policy.quarantine.lasts());
    assert_eq!((policy.probe(0), policy.quarantine.standing(policy.now)), (None, None));
    // From here on it counts anew, and the next one is no harder than the first.
    assert_eq!(policy.fails_for_a_while(0), Some(Transition::Begun { probe_in: SECOND }));
}

#[test]
fn who_brought_it_about_does_not_keep_others_out() {
    let policy = Policy::begun();
    // Another client is let through at once, and it is over.
    assert_eq!(policy.probe(0), None);
    assert_eq!(policy.probed(policy.probe(1), true), Some(Transition::Ended { lasted: Duration::ZERO }));

    let mut policy = Policy::begun();
    for of in 1..=3 {
        let probe = policy.probe(of);
        assert_eq!(policy.probe(of), None, "one at a time");
        // It does not make others wait longer.
        assert_eq!(policy.probed(probe, false), None);
        assert_eq!(policy.probe(of), None, "it has failed");
    }
    assert_eq!(policy.probe(4), None, "where it fails for all, not each of them has to wait for it");
    policy.wait(SECOND);
    let regular = policy.probe(0);
    assert_eq!(policy.probed(regular, false), Some(Transition::ProbeFailed { probe_in: 2 * SECOND }));
    // Until the next one some more.
    assert!(policy.probe(4).is_some());
}

#[test]
fn one_client_costs_others_nothing_whenever_they_come() {
    // It fails as often as it can, for an hour, and takes each probe that it gets. Another one comes now and then.
    for pause in [3, 20, 300] {
        let mut policy = Policy::new(rule());
        let mut refused = 0;
        for at in 0..3600 {
            for _ in 0..10 {
                if policy.quarantine.lasts() {
                    let probe = policy.probe(0);
                    if probe.is_some() {
                        policy.probed(probe, false);
                    }
                } else {
                    policy.fails(0);
                }
                policy.wait(SECOND / 10);
            }
            if at % pause > 0 {
                continue;
            }
            if policy.quarantine.lasts() {
                let probe = policy.probe(1);
                refused += u32::from(probe.is_none());
                if probe.is_some() {
                    policy.probed(probe, true);
                }
            }
            policy.succeeds(1);
        }
        assert_eq!(refused, 0, "asked every {pause} s");
    }
}

#[test]
fn says_how_it_stands() {
    let policy = Policy::begun();
    let begun = policy.now;
    let standing = policy.quarantine.standing(begun + SECOND / 4);
    assert_eq!(standing, Some(Standing { lasted: SECOND / 4, probe_in: SECOND * 3 / 4 }));
    let due = policy.quarantine.standing(begun + 4 * SECOND).unwrap();
    assert_eq!(due.probe_in, Duration::ZERO);
}

#[test]
fn of_many_threads_one_gets_the_probe() {
    let policy = Policy::begun();
    let (quarantine, begun) = (Arc::new(policy.quarantine), policy.now);
    for round in 1..50 {
        let probes = Arc::new(AtomicU32::new(0));
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let (quarantine, probes) = (quarantine.clone(), probes.clone());
                std::thread::spawn(move || {
                    let probed = quarantine.probe(client(0), begun + round * SECOND);
                    probes.fetch_add(u32::from(probed.is_some()), Ordering::Relaxed);
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(probes.load(Ordering::Relaxed), 1);
    }
}

/// What happens to a policy.
#[derive(Debug, Clone, Copy)]
enum Step {
    /// Time passes, in milliseconds.
    Wait(u64),
    /// A client calls it, and it fails or not.
    Call { of: u32, fails: bool },
    /// The same, and nothing is ever heard of it.
    Lost { of: u32 },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..3000_u64).prop_map(Step::Wait),
        (0..6_u32, any::<bool>()).prop_map(|(of, fails)| Step::Call { of, fails }),
        (0..6_u32).prop_map(|of| Step::Lost { of }),
    ]
}

proptest! {
    /// Whatever happens: it does not begin while more calls of a window succeed than clients fail, nor for one
    /// client while any does; while it lasts, of each client calls get through one in a back-off at most; it ends
    /// with a success and nothing else.
    #[test]
    fn keeps_to_its_rule(steps in prop::collection::vec(step(), 0..300)) {
        let (mut policy, rule) = (Policy::new(rule()), rule());
        let mut calls: Vec<(Duration, u32, bool)> = Vec::new();
        let mut let_through: std::collections::HashMap<u32, Duration> = Default::default();
        for step in steps {
            let (of, fails) = match step {
                Step::Wait(millis) => {
                    policy.wait(Duration::from_millis(millis));
                    continue;
                }
                Step::Call { of, fails } => (of, Some(fails)),
                Step::Lost { of } => (of, None),
            };
            let now = policy.now;
            if policy.quarantine.lasts() {
                let Some(probe) = policy.probe(of) else { continue };
                if let Some(before) = let_through.insert(of, now) {
                    prop_assert!(now - before >= rule.backoff || probe.regular.is_some());
                }
                if let Some(fails) = fails {
                    let transition = policy.quarantine.probed(probe, !fails, now);
                    prop_assert_eq!(matches!(transition, Some(Transition::Ended { .. })), !fails);
                    prop_assert_eq!(policy.quarantine.lasts(), fails);
                }
                continue;
            }
            let Some(fails) = fails else { continue };
            calls.push((now, of, fails));
            if !fails {
                policy.succeeds(1);
                continue;
            }
            if policy.fails(of).is_none() {
                continue;
            }
            // What is certainly in the window: its oldest part grows old as a whole.
            let inside: Vec<_> =
                calls.iter().filter(|(at, ..)| now - *at <= rule.window * 9 / 10).collect();
            let succeeded = inside.iter().filter(|(.., fails)| !fails).count();
            let mut failing: Vec<u32> = calls
                .iter()
                .filter(|(at, _, fails)| *fails && now - *at <= rule.window)
                .map(|(_, of, _)| *of)
                .collect();
            prop_assert!(failing.len() >= rule.faults);
            failing.sort_unstable();
            failing.dedup();
            prop_assert!(succeeded == 0 || (failing.len() >= rule.faults && succeeded <= failing.len()));
            calls.clear();
            let_through.clear();
        }
    }
}
