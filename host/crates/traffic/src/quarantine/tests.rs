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

fn quarantine() -> Quarantine {
    Quarantine::new(rule(), 2)
}

/// One that has begun at [`START`].
fn begun() -> Quarantine {
    let quarantine = quarantine();
    for asked in 1..=3 {
        quarantine.fault(0, asked, START);
    }
    assert!(quarantine.lasts());
    quarantine
}

fn probe(quarantine: &Quarantine, now: Duration) -> Probe {
    quarantine.probe(now).expect("a probe is due")
}

#[test]
fn begins_with_so_many_faults_within_the_window() {
    let quarantine = quarantine();
    assert_eq!(quarantine.fault(0, 1, START), None);
    assert_eq!(quarantine.fault(0, 2, START + 5 * SECOND), None);
    // The first is a moment too old.
    assert_eq!(quarantine.fault(0, 3, START + 10 * SECOND + TICK), None);
    assert!(!quarantine.lasts());
    let begun = quarantine.fault(0, 4, START + 15 * SECOND);
    assert_eq!(begun, Some(Transition::Begun { probe_in: SECOND }));
    assert!(quarantine.lasts());
    assert_eq!(quarantine.fault(0, 5, START + 15 * SECOND), None, "one that was under way");
}

#[test]
fn faults_that_are_less_than_half_do_not_begin_it() {
    for (asked, begins) in
        [([1, 4, 6], true), ([1, 4, 7], false), ([10, 11, 15], true), ([10, 11, 16], false)]
    {
        let quarantine = quarantine();
        let last = asked.map(|asked| quarantine.fault(0, asked, START))[2];
        assert_eq!(last.is_some(), begins, "{asked:?}");
    }
}

#[test]
fn faults_of_different_hooks_are_told_apart() {
    let quarantine = quarantine();
    for asked in 1..=2 {
        assert_eq!(quarantine.fault(0, asked, START), None);
        assert_eq!(quarantine.fault(1, asked, START), None);
    }
    assert_eq!(quarantine.fault(2, 3, START), None, "there is no such hook");
    assert!(quarantine.fault(1, 3, START).is_some());
}

#[test]
fn one_probe_at_a_time_after_the_back_off() {
    let quarantine = begun();
    assert_eq!(quarantine.probe(START + SECOND - TICK), None);
    let first = probe(&quarantine, START + SECOND);
    assert_eq!(quarantine.probe(START + SECOND), None, "a second one");
    // Nothing was heard of the first for another back-off.
    let second = probe(&quarantine, START + 2 * SECOND);
    assert_ne!(first, second);
    // What the first has to say at last is bad, and too late.
    assert_eq!(quarantine.probed(first, false, START + 2 * SECOND), None);
    let failed = quarantine.probed(second, false, START + 2 * SECOND);
    assert_eq!(failed, Some(Transition::ProbeFailed { probe_in: 2 * SECOND }));
}

#[test]
fn a_probe_that_fails_doubles_the_back_off_up_to_a_bound() {
    let quarantine = begun();
    let mut now = START + SECOND;
    for expected in [2, 4, 5, 5] {
        let probe = probe(&quarantine, now);
        let failed = quarantine.probed(probe, false, now);
        assert_eq!(failed, Some(Transition::ProbeFailed { probe_in: expected * SECOND }));
        assert_eq!(quarantine.probe(now + expected * SECOND - TICK), None);
        now += expected * SECOND;
    }
}

#[test]
fn a_probe_that_succeeds_ends_it() {
    let quarantine = begun();
    let now = START + 3 * SECOND;
    let probe = probe(&quarantine, now);
    assert_eq!(quarantine.probed(probe, true, now), Some(Transition::Ended { lasted: 3 * SECOND }));
    assert!(!quarantine.lasts());
    assert_eq!((quarantine.probe(now), quarantine.standing(now)), (None, None));
    // From here on it counts anew.
    assert_eq!(quarantine.fault(0, 4, now), None);
    assert_eq!(quarantine.fault(0, 5, now), None);
    assert!(quarantine.fault(0, 6, now).is_some());
}

#[test]
fn one_that_begins_again_soon_goes_on_with_its_back_off() {
    for (later, expected) in [(10 * SECOND - TICK, 2), (10 * SECOND, 1)] {
        let quarantine = begun();
        let ended = START + SECOND;
        let probe = probe(&quarantine, ended);
        quarantine.probed(probe, true, ended);
        let again = [4, 5, 6].map(|asked| quarantine.fault(0, asked, ended + later))[2];
        assert_eq!(again, Some(Transition::Begun { probe_in: expected * SECOND }));
    }
}

#[test]
fn says_how_it_stands() {
    let quarantine = begun();
    let standing = quarantine.standing(START + SECOND / 4);
    assert_eq!(standing, Some(Standing { lasted: SECOND / 4, probe_in: SECOND * 3 / 4 }));
    let due = quarantine.standing(START + 4 * SECOND).unwrap();
    assert_eq!(due.probe_in, Duration::ZERO);
}

#[test]
fn of_many_threads_one_gets_the_probe() {
    let quarantine = Arc::new(begun());
    for round in 1..50 {
        let probes = Arc::new(AtomicU32::new(0));
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let (quarantine, probes) = (quarantine.clone(), probes.clone());
                std::thread::spawn(move || {
                    let probed = quarantine.probe(START + round * SECOND);
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
    /// It is called, and fails or not.
    Call { fails: bool },
    /// The same, and nothing is ever heard of it.
    Lost,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..3000_u64).prop_map(Step::Wait),
        any::<bool>().prop_map(|fails| Step::Call { fails }),
        Just(Step::Lost),
    ]
}

proptest! {
    /// Whatever happens: it begins exactly when the last faults say so by the rule; while it lasts, calls get through one
    /// in a back-off at most; it ends with a success and nothing else.
    #[test]
    fn keeps_to_its_rule(steps in prop::collection::vec(step(), 0..200)) {
        let (quarantine, rule) = (quarantine(), rule());
        let (mut now, mut asked) = (START, 0_u64);
        let mut faults: Vec<(Duration, u64)> = Vec::new();
        let mut let_through: Option<Duration> = None;
        for step in steps {
            let fails = match step {
                Step::Wait(millis) => {
                    now += Duration::from_millis(millis);
                    continue;
                }
                Step::Call { fails } => Some(fails),
                Step::Lost => None,
            };
            if quarantine.lasts() {
                let Some(probe) = quarantine.probe(now) else {
                    prop_assert!(quarantine.standing(now).unwrap().probe_in > Duration::ZERO);
                    continue;
                };
                if let Some(before) = let_through.replace(now) {
                    prop_assert!(now - before >= rule.backoff);
                }
                asked += 1;
                if let Some(fails) = fails {
                    let transition = quarantine.probed(probe, !fails, now);
                    prop_assert_eq!(matches!(transition, Some(Transition::Ended { .. })), !fails);
                    prop_assert_eq!(quarantine.lasts(), fails);
                }
            } else {
                asked += 1;
                if fails != Some(true) {
                    continue;
                }
                faults.push((now, asked));
                let begins = quarantine.fault(0, asked, now).is_some();
                let last = faults.len().checked_sub(rule.faults).map(|first| faults[first]);
                let expected = last.is_some_and(|(at, before)| {
                    now - at <= rule.window && asked - before < 2 * rule.faults as u64
                });
                prop_assert_eq!(begins, expected);
                if begins {
                    faults.clear();
                    let_through = None;
                }
            }
        }
    }
}
