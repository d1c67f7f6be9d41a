use std::time::Duration;

use portcullis_model::{Outliers, Share};
use proptest::prelude::*;

use super::{Tally, Window, outliers};

fn rules(failures: Option<u32>, latency: Option<u32>) -> Outliers {
    let share = |percent: u32| Share::of_hundredths(percent * 100);
    Outliers {
        failures: failures.map(share),
        latency: latency.map(share),
        window: Duration::from_secs(10),
        requests_min: 50,
    }
}

/// 100 exchanges of which so many failed, each answered in so many milliseconds.
fn tally(failed: u32, ms: u64) -> Tally {
    Tally { exchanges: 100, failed, answered: 100, took: Duration::from_millis(100 * ms) }
}

fn positions(rules: &Outliers, tallies: &[Tally]) -> Vec<usize> {
    outliers(rules, tallies).into_iter().map(|(at, _)| at).collect()
}

#[test]
fn an_endpoint_that_fails_more_than_the_others_is_one() {
    let rules = rules(Some(20), None);
    assert_eq!(positions(&rules, &[tally(2, 5), tally(30, 5), tally(0, 5)]), [1]);
    assert!(positions(&rules, &[tally(2, 5), tally(20, 5), tally(0, 5)]).is_empty(), "not by enough");
    assert!(positions(&rules, &[tally(90, 5), tally(95, 5), tally(92, 5)]).is_empty(), "all fail alike");
    assert!(positions(&rules, &[tally(100, 5)]).is_empty(), "it is alone");
    // Two bad ones of three, the worse one first.
    assert_eq!(positions(&rules, &[tally(70, 5), tally(0, 5), tally(90, 5)]), [2, 0]);
    let (_, reason) = &outliers(&rules, &[tally(40, 5), tally(1, 5)])[0];
    assert_eq!(reason, "40 % of its requests fail, and 1 % of the others'");
}

#[test]
fn an_endpoint_that_is_slower_than_the_others_is_one() {
    let rules = rules(None, Some(300));
    assert_eq!(positions(&rules, &[tally(0, 20), tally(0, 20), tally(0, 80)]), [2]);
    assert!(positions(&rules, &[tally(0, 20), tally(0, 59)]).is_empty());
    assert!(positions(&rules, &[tally(0, 1), tally(0, 9)]).is_empty(), "less than noise");
    let (_, reason) = &outliers(&rules, &[tally(0, 200), tally(0, 10)])[0];
    assert_eq!(reason, "it answers in 200.0 ms on average, and the others in 10.0 ms");
}

#[test]
fn nothing_is_said_of_few_requests() {
    let few = Tally { exchanges: 49, failed: 49, ..Tally::default() };
    let rules = rules(Some(20), Some(300));
    assert!(positions(&rules, &[few, tally(0, 5)]).is_empty());
    assert!(positions(&rules, &[tally(100, 500), few]).is_empty());
}

#[test]
fn counts_of_threads_are_exact() {
    let window = Window::default();
    let mut seen = Tally::default();
    std::thread::scope(|scope| {
        for at in 0..4 {
            let window = &window;
            scope.spawn(move || {
                (0..1000)
                    .for_each(|turn| window.record((turn + at) % 4 == 0, Some(Duration::from_micros(3))));
            });
        }
        (0..50).for_each(|_| seen.add(&window.take()));
    });
    seen.add(&window.take());
    let expected =
        Tally { exchanges: 4000, failed: 1000, answered: 4000, took: Duration::from_micros(12_000) };
    assert_eq!(seen, expected);
}

proptest! {
    /// At least one endpoint is never an outlier, and none that does as well as the best of the others.
    #[test]
    fn one_is_always_left(
        tallies in proptest::collection::vec((0..=100_u32, 0..500_u64), 1..8),
        failures in 1..100_u32,
        latency in 101..1000_u32,
    ) {
        let tallies: Vec<Tally> = tallies.into_iter().map(|(failed, ms)| tally(failed, ms)).collect();
        for rules in [rules(Some(failures), None), rules(None, Some(latency))] {
            let found = positions(&rules, &tallies);
            prop_assert!(found.len() < tallies.len());
            let best = match rules.failures {
                Some(_) => (0..tallies.len()).min_by_key(|at| tallies[*at].failed),
                None => (0..tallies.len()).min_by_key(|at| tallies[*at].took),
            };
            prop_assert!(!found.contains(&best.unwrap()), "{found:?}");
        }
    }
}
