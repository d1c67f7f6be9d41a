use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::prelude::*;

use super::{PERIOD_MAX, RoundRobin};
use crate::{Endpoint, EndpointId};

fn turns(weights: &[u32]) -> RoundRobin {
    RoundRobin::new(weights.iter().map(|weight| (Endpoint::new("a".into(), None).id(), *weight)))
}

fn count(turns: &RoundRobin, endpoints: usize, picks: usize, eligible: impl Fn(usize) -> bool) -> Vec<usize> {
    let mut counts = vec![0; endpoints];
    for _ in 0..picks {
        counts[turns.next(&eligible).unwrap()] += 1;
    }
    counts
}

#[test]
fn takes_turns_in_the_order_of_nginx() {
    let turns = turns(&[5, 1, 1]);
    let order: Vec<usize> = (0..14).map(|_| turns.next(|_| true).unwrap()).collect();
    assert_eq!(order, [0, 0, 1, 0, 2, 0, 0, 0, 0, 1, 0, 2, 0, 0]);
}

#[test]
fn common_factors_do_not_make_runs() {
    let turns = turns(&[1000, 1000]);
    let order: Vec<usize> = (0..4).map(|_| turns.next(|_| true).unwrap()).collect();
    assert_eq!(order, [0, 1, 0, 1]);
}

#[test]
fn no_endpoint_is_chosen_if_none_is_eligible() {
    assert_eq!(turns(&[]).next(|_| true), None);
    assert_eq!(turns(&[3]).next(|_| false), None);
    assert_eq!(turns(&[3, 2]).next(|_| false), None);
}

#[test]
fn turns_of_one_that_is_left_out_are_shared_by_all_others() {
    // The neighbour of the one that is left out must not get all of them.
    assert_eq!(count(&turns(&[1, 1, 1]), 3, 600, |at| at != 1), [300, 0, 300]);
    assert_eq!(count(&turns(&[3, 2, 1]), 3, 600, |at| at != 0), [0, 400, 200]);
}

#[test]
fn threads_together_keep_to_the_weights() {
    let (turns, weights) = (turns(&[7, 2, 1]), [7, 2, 1]);
    let counts: [AtomicUsize; 3] = Default::default();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..2500 {
                    counts[turns.next(|_| true).unwrap()].fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    assert_eq!(counts.map(AtomicUsize::into_inner), weights.map(|weight| weight * 1000));
}

#[test]
fn a_period_that_would_be_too_long_is_scaled_down() {
    let weights: Vec<u32> = (0..1000).map(|at| 1 + at % 997).collect();
    let turns = turns(&weights);
    assert!(turns.order.len() as u64 <= PERIOD_MAX + 1000);
    let counts = count(&turns, weights.len(), turns.order.len(), |_| true);
    assert!(counts.iter().all(|count| *count > 0));
    let sum: u32 = weights.iter().sum();
    let ideal = 997.0 * turns.order.len() as f64 / f64::from(sum);
    assert!((counts[996] as f64 - ideal).abs() < 2.0, "{} turns, where {ideal} are due", counts[996]);
}

#[test]
fn many_equal_endpoints_need_no_scaling() {
    let turns = turns(&vec![3; 100_000]);
    assert_eq!(turns.order.len(), 100_000);
    assert_eq!(turns.next(|_| true), Some(0));
    assert_eq!(turns.next(|_| true), Some(1));
}

/// Takes `count` turns among those of `endpoints` that are not `left_out`, and returns the ids.
fn ids(
    turns: &RoundRobin,
    endpoints: &[(EndpointId, u32)],
    count: usize,
    left_out: Option<EndpointId>,
) -> Vec<EndpointId> {
    let eligible = |at: usize| Some(endpoints[at].0) != left_out;
    (0..count).map(|_| endpoints[turns.next(eligible).unwrap()].0).collect()
}

proptest! {
    #[test]
    fn another_order_of_the_same_endpoints_changes_no_turn(
        weights in proptest::collection::vec(1..9_u32, 2..7),
        rotated in 0..7_usize,
        taken in 0..40_usize,
    ) {
        let endpoints: Vec<_> = weights.iter().map(|weight| (Endpoint::new("a".into(), None).id(), *weight)).collect();
        let mut moved = endpoints.clone();
        moved.rotate_left(rotated % endpoints.len());
        let left_out = Some(endpoints[0].0);
        let [old, steady] = [(), ()].map(|()| RoundRobin::new(endpoints.iter().copied()));
        ids(&old, &endpoints, taken, left_out);
        ids(&steady, &endpoints, taken, left_out);
        let new = RoundRobin::new(moved.iter().copied());
        new.continue_from(&old);
        for left_out in [None, left_out] {
            prop_assert_eq!(ids(&new, &moved, 20, left_out), ids(&steady, &endpoints, 20, left_out));
        }
    }

    #[test]
    fn every_period_gives_everyone_its_weight(weights in proptest::collection::vec(1..60_u32, 1..8)) {
        let turns = turns(&weights);
        let expected: Vec<usize> = weights.iter().map(|weight| *weight as usize).collect();
        let total = expected.iter().sum();
        for _ in 0..3 {
            prop_assert_eq!(&count(&turns, weights.len(), total, |_| true), &expected);
        }
    }

    #[test]
    fn any_stretch_is_within_one_turn_of_its_share_for_two(weights in proptest::collection::vec(1..60_u32, 2..3)) {
        let turns = turns(&weights);
        let total = f64::from(weights.iter().sum::<u32>());
        let mut counts = [0.0; 2];
        for taken in 1..=200 {
            counts[turns.next(|_| true).unwrap()] += 1.0;
            for (count, weight) in counts.iter().zip(&weights) {
                let share = f64::from(taken) * f64::from(*weight) / total;
                prop_assert!((count - share).abs() < 1.0, "{} of {}, where {} are due", count, taken, share);
            }
        }
    }

    #[test]
    fn those_that_remain_keep_their_proportions(
        weights in proptest::collection::vec(1..20_u32, 2..6),
        left_out in any::<prop::sample::Index>(),
    ) {
        let left_out = left_out.index(weights.len());
        let remaining = weights.iter().sum::<u32>() - weights[left_out];
        let total = weights.iter().sum::<u32>();
        // So many periods that the turns of the one that is left out divide evenly.
        let counts = count(&turns(&weights), weights.len(), (total * remaining) as usize, |at| at != left_out);
        for (at, weight) in weights.iter().enumerate() {
            let due = if at == left_out { 0 } else { (weight * total) as usize };
            // A common factor of the weights can leave the last spare round open by one turn each.
            prop_assert_eq!(counts[at], due);
        }
    }
}
