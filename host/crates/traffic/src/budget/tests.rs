use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use portcullis_model::Share;
use proptest::prelude::*;

use super::{RESERVE, RetryBudget, TOKENS_MAX};

const START: Duration = Duration::from_secs(1000);

fn budget(percent: u32) -> RetryBudget {
    RetryBudget::new(Share::of_hundredths(percent * 100))
}

/// How many of `count` retries are allowed at one moment.
fn taken(budget: &RetryBudget, count: u64, now: Duration) -> u64 {
    (0..count).filter(|_| budget.take(now)).count() as u64
}

#[test]
fn a_burst_is_allowed_and_then_only_the_reserve() {
    let budget = budget(20);
    assert_eq!(taken(&budget, 1000, START), TOKENS_MAX);
    assert_eq!(taken(&budget, 1000, START + Duration::from_millis(99)), 0);
    assert_eq!(taken(&budget, 1000, START + Duration::from_millis(100)), 1);
    assert_eq!(taken(&budget, 1000, START + Duration::from_millis(1100)), RESERVE);
    assert_eq!(
        taken(&budget, 1000, START + Duration::from_secs(3600)),
        TOKENS_MAX,
        "no more than a burst is saved"
    );
}

#[test]
fn in_an_outage_under_load_the_share_of_the_requests_is_tried_again() {
    let budget = budget(20);
    taken(&budget, TOKENS_MAX, START);
    let allowed = (0..10_000).filter(|_| {
        budget.record_request();
        // All requests fail at once, and each would be tried twice more.
        budget.take(START) | budget.take(START)
    });
    assert_eq!(allowed.count(), 2000);
}

#[test]
fn a_clock_that_seems_to_run_back_adds_nothing() {
    let budget = budget(1);
    taken(&budget, TOKENS_MAX, START);
    assert!(!budget.take(START - Duration::from_secs(5)));
    assert!(!budget.take(START));
    assert!(budget.take(START + Duration::from_millis(100)));
}

#[test]
fn threads_together_get_what_one_would() {
    let (budget, allowed) = (budget(50), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..1000 {
                    budget.record_request();
                    allowed.fetch_add(taken(&budget, 2, START), Ordering::Relaxed);
                }
            });
        }
    });
    // Requests that found the bucket full added nothing.
    let allowed = allowed.into_inner();
    assert!((2000..=2000 + TOKENS_MAX).contains(&allowed), "{allowed}");
}

proptest! {
    #[test]
    fn never_more_than_the_budget_in_any_stretch_of_time(
        percent in 1..=100_u32,
        steps in proptest::collection::vec((0..2000_u64, 0..40_u64, 0..40_u64), 1..60),
    ) {
        let budget = budget(percent);
        let mut now = START;
        // Each step: when it was, what had been requested by then, and what had been allowed.
        let (mut requested, mut allowed) = (0, 0);
        let mut past = vec![(now, 0, 0)];
        for (pause, requests, retries) in steps {
            now += Duration::from_millis(pause);
            (0..requests).for_each(|_| budget.record_request());
            requested += requests;
            allowed += taken(&budget, retries, now);
            for (then, requested_then, allowed_then) in &past {
                let elapsed = (now - *then).as_secs_f64();
                let share = (requested - requested_then) as f64 * f64::from(percent) / 100.0;
                let most = TOKENS_MAX as f64 + elapsed * RESERVE as f64 + share;
                prop_assert!((allowed - allowed_then) as f64 <= most + 1e-6);
            }
            past.push((now, requested, allowed));
        }
    }
}
