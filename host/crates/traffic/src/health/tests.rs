use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use portcullis_model::Ejection;

use super::Health;

const SECOND: Duration = Duration::from_secs(1);
const START: Duration = Duration::from_secs(1000);
const TICK: Duration = Duration::from_nanos(1);

fn ejection(failures: u32) -> Ejection {
    Ejection { failures, duration: 10 * SECOND, duration_max: 10 * SECOND, ..Ejection::default() }
}

#[test]
fn is_left_out_after_that_many_failures_in_a_row() {
    let (health, ejection) = (Health::default(), ejection(3));
    assert!(!health.record_failure(&ejection, START, || true));
    assert!(!health.record_failure(&ejection, START, || true));
    assert!(!health.record_success(START, || START));
    assert!(!health.record_failure(&ejection, START, || true));
    assert!(!health.record_failure(&ejection, START, || true));
    assert!(health.is_available(START));
    assert!(health.record_failure(&ejection, START, || true), "the third in a row");
    assert!(health.is_ejected() && !health.is_available(START));
    assert!(!health.record_failure(&ejection, START, || true), "it was left out before");
}

#[test]
fn what_was_asked_before_lets_nothing_back_in_that_does_worse_than_the_others() {
    let (health, ejection) = (Health::default(), ejection(3));
    assert!(health.eject(&ejection, START));
    assert!(!health.record_success(START - TICK, || START + SECOND), "it was under way");
    assert!(health.is_ejected());
    let due = START + 10 * SECOND;
    assert!(health.admit(&ejection, due));
    assert!(!health.record_success(START - TICK, || due), "it was under way still, beside the probe");
    assert!(health.record_success(due, || due + TICK), "the probe");
    // Failures in a row are another matter: whatever it answers says that it is there.
    for _ in 0..3 {
        health.record_failure(&ejection, due, || true);
    }
    assert!(health.is_ejected() && health.record_success(START, || due));
}

#[test]
fn zero_failures_never_eject() {
    let health = Health::default();
    for _ in 0..100 {
        assert!(!health.record_failure(&ejection(0), START, || true));
    }
    assert!(health.is_available(START));
}

#[test]
fn one_probe_at_a_time_after_the_ejection() {
    let (health, ejection) = (Health::default(), ejection(1));
    health.record_failure(&ejection, START, || true);
    let due = START + 10 * SECOND;
    assert!(!health.is_available(due - TICK) && !health.admit(&ejection, due - TICK));
    assert!(health.is_available(due));
    assert!(health.admit(&ejection, due), "the probe");
    assert!(!health.is_available(due) && !health.admit(&ejection, due), "a second one");
    // Nothing was heard of the probe.
    assert!(health.admit(&ejection, due + 10 * SECOND));
}

#[test]
fn a_probe_that_is_answered_lets_it_back_in() {
    let (health, ejection) = (Health::default(), ejection(1));
    health.record_failure(&ejection, START, || true);
    assert!(health.admit(&ejection, START + 10 * SECOND));
    assert!(health.record_success(START, || START));
    assert!(!health.is_ejected() && health.admit(&ejection, START + 10 * SECOND));
}

#[test]
fn a_probe_that_fails_leaves_it_out_for_another_duration() {
    let (health, ejection) = (Health::default(), ejection(3));
    for _ in 0..3 {
        health.record_failure(&ejection, START, || true);
    }
    assert!(health.admit(&ejection, START + 10 * SECOND));
    health.record_failure(&ejection, START + 12 * SECOND, || true);
    assert!(!health.is_available(START + 22 * SECOND - TICK));
    assert!(health.is_available(START + 22 * SECOND));
}

#[test]
fn of_many_workers_one_takes_the_probe() {
    let (health, ejection, probes) = (Health::default(), ejection(1), AtomicU32::new(0));
    health.record_failure(&ejection, START, || true);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..100 {
                    probes.fetch_add(
                        u32::from(health.admit(&ejection, START + 10 * SECOND)),
                        Ordering::Relaxed,
                    );
                }
            });
        }
    });
    assert_eq!(probes.into_inner(), 1);
}

#[test]
fn says_since_when_and_why_it_is_left_out_and_again_each_minute() {
    let (health, ejection) = (Health::default(), ejection(1));
    assert_eq!(health.left_out(), None);
    assert!(health.record_failure(&ejection, START, || true));
    assert_eq!(health.record_reason("refused", true, START), None);
    let left_out = health.left_out().unwrap();
    assert_eq!((left_out.since, left_out.reason.as_str()), (START, "refused"));
    assert_eq!(health.record_reason("timed out", false, START + 59 * SECOND), None);
    assert_eq!(health.left_out().unwrap().reason, "timed out");
    assert_eq!(health.record_reason("refused", false, START + 60 * SECOND), Some(60 * SECOND));
    assert_eq!(health.record_reason("refused", false, START + 119 * SECOND), None);
    assert_eq!(health.record_reason("refused", false, START + 120 * SECOND), Some(120 * SECOND));
    health.record_success(START, || START);
    assert_eq!(health.left_out(), None);
    assert!(health.record_failure(&ejection, START + 200 * SECOND, || true));
    assert_eq!(health.record_reason("refused", true, START + 200 * SECOND), None, "a time of its own");
    assert_eq!(health.left_out().unwrap().since, START + 200 * SECOND);
}

#[test]
fn each_time_in_a_row_is_twice_as_long_up_to_the_longest() {
    let ejection = Ejection { duration_max: 35 * SECOND, ..ejection(1) };
    let health = Health::default();
    let mut now = START;
    assert!(health.record_failure(&ejection, now, || true));
    for lasts in [10, 20, 35, 35] {
        assert_eq!(health.ejected_for(&ejection), lasts * SECOND);
        now += lasts * SECOND;
        assert!(
            !health.admit(&ejection, now - TICK) && health.admit(&ejection, now),
            "the probe after {lasts} s"
        );
        // What began before the endpoint was left out says nothing new.
        health.record_failure(&ejection, now, || true);
        health.record_failure(&ejection, now, || true);
    }
    now += 35 * SECOND;
    assert!(health.admit(&ejection, now) && health.record_success(now, || now));
    // Again within as long as it was left out: it goes on where it was.
    assert!(health.record_failure(&ejection, now + 34 * SECOND, || true));
    assert_eq!(health.ejected_for(&ejection), 35 * SECOND);
    now += 100 * SECOND;
    assert!(health.admit(&ejection, now) && health.record_success(now, || now));
    assert!(health.record_failure(&ejection, now + 35 * SECOND, || true));
    assert_eq!(health.ejected_for(&ejection), 10 * SECOND, "after a while it begins anew");
}

#[test]
fn what_may_not_be_left_out_is_not() {
    let (health, ejection) = (Health::default(), ejection(2));
    health.record_failure(&ejection, START, || panic!("it is the first of two"));
    assert!(!health.record_failure(&ejection, START, || false) && !health.is_ejected());
    assert!(health.record_failure(&ejection, START, || true), "as soon as it may be");
    assert!(!health.eject(&ejection, START), "it is left out already");
}
