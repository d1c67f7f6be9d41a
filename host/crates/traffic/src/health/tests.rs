use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use portcullis_model::Ejection;

use super::EndpointState;

const SECOND: Duration = Duration::from_secs(1);
const START: Duration = Duration::from_secs(1000);
const TICK: Duration = Duration::from_nanos(1);

fn endpoint() -> EndpointState {
    EndpointState::new("10.0.0.1:80".into())
}

fn ejection(failures: u32) -> Ejection {
    Ejection { failures, duration: 10 * SECOND }
}

#[test]
fn is_left_out_after_that_many_failures_in_a_row() {
    let (endpoint, ejection) = (endpoint(), ejection(3));
    assert!(!endpoint.record_failure(&ejection, START));
    assert!(!endpoint.record_failure(&ejection, START));
    assert!(!endpoint.record_success());
    assert!(!endpoint.record_failure(&ejection, START));
    assert!(!endpoint.record_failure(&ejection, START));
    assert!(endpoint.is_available(START));
    assert!(endpoint.record_failure(&ejection, START), "the third in a row");
    assert!(endpoint.is_ejected() && !endpoint.is_available(START));
    assert!(!endpoint.record_failure(&ejection, START), "it was left out before");
}

#[test]
fn zero_failures_never_eject() {
    let endpoint = endpoint();
    for _ in 0..100 {
        assert!(!endpoint.record_failure(&ejection(0), START));
    }
    assert!(endpoint.is_available(START));
}

#[test]
fn one_probe_at_a_time_after_the_ejection() {
    let (endpoint, ejection) = (endpoint(), ejection(1));
    endpoint.record_failure(&ejection, START);
    let due = START + 10 * SECOND;
    assert!(!endpoint.is_available(due - TICK) && !endpoint.admit(&ejection, due - TICK));
    assert!(endpoint.is_available(due));
    assert!(endpoint.admit(&ejection, due), "the probe");
    assert!(!endpoint.is_available(due) && !endpoint.admit(&ejection, due), "a second one");
    // Nothing was heard of the probe.
    assert!(endpoint.admit(&ejection, due + 10 * SECOND));
}

#[test]
fn a_probe_that_is_answered_lets_it_back_in() {
    let (endpoint, ejection) = (endpoint(), ejection(1));
    endpoint.record_failure(&ejection, START);
    assert!(endpoint.admit(&ejection, START + 10 * SECOND));
    assert!(endpoint.record_success());
    assert!(!endpoint.is_ejected() && endpoint.admit(&ejection, START + 10 * SECOND));
}

#[test]
fn a_probe_that_fails_leaves_it_out_for_another_duration() {
    let (endpoint, ejection) = (endpoint(), ejection(3));
    for _ in 0..3 {
        endpoint.record_failure(&ejection, START);
    }
    assert!(endpoint.admit(&ejection, START + 10 * SECOND));
    endpoint.record_failure(&ejection, START + 12 * SECOND);
    assert!(!endpoint.is_available(START + 22 * SECOND - TICK));
    assert!(endpoint.is_available(START + 22 * SECOND));
}

#[test]
fn of_many_workers_one_takes_the_probe() {
    let (endpoint, ejection, probes) = (endpoint(), ejection(1), AtomicU32::new(0));
    endpoint.record_failure(&ejection, START);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..100 {
                    probes.fetch_add(
                        u32::from(endpoint.admit(&ejection, START + 10 * SECOND)),
                        Ordering::Relaxed,
                    );
                }
            });
        }
    });
    assert_eq!(probes.into_inner(), 1);
}

#[test]
fn an_exchange_counts_until_it_is_dropped() {
    let endpoint = Arc::new(endpoint());
    let first = endpoint.enter();
    let second = endpoint.claim(1).unwrap();
    assert!(endpoint.claim(1).is_none(), "the count is 2 by now");
    assert_eq!(endpoint.in_flight(), 2);
    drop((first, second));
    assert_eq!(endpoint.in_flight(), 0);
}

#[test]
fn says_since_when_and_why_it_is_left_out_and_again_each_minute() {
    let (endpoint, ejection) = (endpoint(), ejection(1));
    assert_eq!(endpoint.left_out(), None);
    assert!(endpoint.record_failure(&ejection, START));
    assert_eq!(endpoint.note("refused", true, START), None);
    let left_out = endpoint.left_out().unwrap();
    assert_eq!((left_out.since, left_out.reason.as_str()), (START, "refused"));
    assert_eq!(endpoint.note("timed out", false, START + 59 * SECOND), None);
    assert_eq!(endpoint.left_out().unwrap().reason, "timed out");
    assert_eq!(endpoint.note("refused", false, START + 60 * SECOND), Some(60 * SECOND));
    assert_eq!(endpoint.note("refused", false, START + 119 * SECOND), None);
    assert_eq!(endpoint.note("refused", false, START + 120 * SECOND), Some(120 * SECOND));
    endpoint.record_success();
    assert_eq!(endpoint.left_out(), None);
    assert!(endpoint.record_failure(&ejection, START + 200 * SECOND));
    assert_eq!(endpoint.note("refused", true, START + 200 * SECOND), None, "a time of its own");
    assert_eq!(endpoint.left_out().unwrap().since, START + 200 * SECOND);
}
