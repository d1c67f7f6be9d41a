use std::sync::Arc;
use std::time::Duration;

use portcullis_model::{Balance, Ejection, HashKey};
use proptest::prelude::*;

use super::{Choice, Key, Pick};
use crate::endpoints::testing::upstream;
use crate::{Endpoint, Endpoints, Tried};

const SECOND: Duration = Duration::from_secs(1);
const START: Duration = Duration::from_secs(1000);

fn state(balance: Balance, weights: &[u32]) -> Endpoints {
    let names = ["a", "b", "c", "d", "e", "f"];
    let endpoints: Vec<(&str, u32)> = names.into_iter().zip(weights.iter().copied()).collect();
    Endpoints::new(&upstream(balance, &endpoints))
}

fn pick(state: &Endpoints, now: Duration) -> Pick {
    state.pick(&Choice { now, tried: &Tried::new(), key: None }).unwrap()
}

/// The endpoint at a position.
fn endpoint(state: &Endpoints, at: usize) -> Arc<Endpoint> {
    state.current().members()[at].endpoint.clone()
}

/// The position of the endpoint that was chosen.
fn position(state: &Endpoints, pick: &Pick) -> usize {
    let set = state.current();
    set.members().iter().position(|member| Arc::ptr_eq(&member.endpoint, pick.endpoint())).unwrap()
}

fn positions(state: &Endpoints, now: Duration, picks: usize) -> Vec<usize> {
    (0..picks).map(|_| position(state, &pick(state, now))).collect()
}

fn counts(state: &Endpoints) -> Vec<u32> {
    state.current().members().iter().map(|member| member.endpoint.in_flight()).collect()
}

fn fail(state: &Endpoints, at: usize, now: Duration) -> bool {
    endpoint(state, at).health().record_failure(&Ejection::default(), now)
}

#[test]
fn an_ejected_endpoint_gets_nothing_then_one_probe_then_its_share() {
    let state = state(Balance::RoundRobin, &[1, 1, 1]);
    fail(&state, 1, START);
    assert!(!positions(&state, START + 9 * SECOND, 30).contains(&1));
    let probing = positions(&state, START + 10 * SECOND, 30);
    assert_eq!(probing.iter().filter(|at| **at == 1).count(), 1);
    endpoint(&state, 1).record_answer();
    let healthy = positions(&state, START + 11 * SECOND, 30);
    assert_eq!(healthy.iter().filter(|at| **at == 1).count(), 10);
}

#[test]
fn a_retry_goes_to_another_endpoint_until_all_were_tried() {
    for balance in [Balance::RoundRobin, Balance::LeastRequests] {
        let state = state(balance, &[1, 5, 1]);
        let mut tried = Tried::new();
        let mut seen = Vec::new();
        while let Some(pick) = state.pick(&Choice { now: START, tried: &tried, key: None }) {
            tried.insert(pick.endpoint().id());
            seen.push(position(&state, &pick));
        }
        seen.sort_unstable();
        assert_eq!(seen, [0, 1, 2]);
    }
}

#[test]
fn if_all_are_ejected_all_are_tried_by_their_weights() {
    for balance in [Balance::RoundRobin, Balance::LeastRequests] {
        let state = state(balance, &[2, 1]);
        fail(&state, 0, START);
        fail(&state, 1, START);
        let picks = positions(&state, START, 30);
        assert_eq!(picks.iter().filter(|at| **at == 0).count(), 20);
    }
}

#[test]
fn a_retry_prefers_a_healthy_endpoint_and_takes_an_ejected_one_last() {
    let state = state(Balance::RoundRobin, &[1, 1, 1]);
    fail(&state, 1, START);
    let mut tried = Tried::new();
    tried.insert(endpoint(&state, 0).id());
    let first = state.pick(&Choice { now: START, tried: &tried, key: None }).unwrap();
    assert_eq!(position(&state, &first), 2);
    tried.insert(first.endpoint().id());
    let second = state.pick(&Choice { now: START, tried: &tried, key: None }).unwrap();
    assert_eq!(position(&state, &second), 1);
}

#[test]
fn least_requests_fills_the_gaps() {
    let state = state(Balance::LeastRequests, &[1, 1, 1]);
    let mut held: Vec<Pick> = (0..9).map(|_| pick(&state, START)).collect();
    assert_eq!(counts(&state), [3, 3, 3]);
    held.retain(|pick| position(&state, pick) != 1);
    let filling: Vec<Pick> = (0..3).map(|_| pick(&state, START)).collect();
    assert!(filling.iter().all(|pick| position(&state, pick) == 1));
    drop((held, filling));
    assert_eq!(counts(&state), [0, 0, 0]);
}

#[test]
fn ties_are_shared_by_weight() {
    let state = state(Balance::LeastRequests, &[2, 1, 1]);
    let picks = positions(&state, START, 40);
    let count = |wanted: usize| picks.iter().filter(|at| **at == wanted).count();
    assert_eq!([count(0), count(1), count(2)], [20, 10, 10]);
}

#[test]
fn workers_together_leave_no_gap() {
    let state = state(Balance::LeastRequests, &[1, 1, 1, 1]);
    let held: Vec<Pick> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| (0..100).map(|_| pick(&state, START)).collect::<Vec<_>>()))
            .collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    });
    let held_counts = counts(&state);
    assert_eq!(held_counts.iter().sum::<u32>(), 400);
    // A claim that lost its race four times may stand one too high for each worker.
    assert!(held_counts.iter().all(|count| count.abs_diff(100) <= 4), "{held_counts:?}");
    drop(held);
    assert_eq!(counts(&state), [0; 4]);
}

proptest! {
    #[test]
    fn least_requests_holds_loads_in_proportion(weights in proptest::collection::vec(1..10_u32, 2..6)) {
        let state = state(Balance::LeastRequests, &weights);
        let total: u32 = weights.iter().sum();
        let held: Vec<Pick> = (0..total * 3).map(|_| pick(&state, START)).collect();
        let due: Vec<u32> = weights.iter().map(|weight| weight * 3).collect();
        prop_assert_eq!(counts(&state), due);
        drop(held);
    }
}

#[test]
fn a_peek_names_the_next_endpoint_and_takes_no_turn() {
    for balance in [Balance::RoundRobin, Balance::LeastRequests] {
        let state = state(balance.clone(), &[3, 1, 2]);
        let mut held = Vec::new();
        for turn in 0..20 {
            let seen = state.current().peek(START, None);
            assert_eq!(seen, state.current().peek(START, None), "{balance:?}: a second peek");
            let picked = pick(&state, START);
            assert_eq!(seen, Some(position(&state, &picked)), "{balance:?}: turn {turn}");
            if turn % 3 == 0 {
                held.push(picked);
            }
        }
    }
}

#[test]
fn a_peek_passes_over_what_is_left_out_and_takes_no_probe() {
    let state = state(Balance::RoundRobin, &[1, 1]);
    let set = state.current();
    assert!(fail(&state, 0, START));
    for _ in 0..4 {
        assert_eq!(set.peek(START, None), Some(1));
        assert_eq!(position(&state, &pick(&state, START)), 1);
    }
    let later = START + 60 * SECOND;
    while set.peek(later, None) != Some(0) {
        drop(pick(&state, later));
    }
    assert!(endpoint(&state, 0).health().is_available(later), "the probe was taken");
    assert!(fail(&state, 1, later));
    assert!(set.peek(START, None).is_some(), "if all are left out, one is tried");
}

#[test]
fn an_endpoint_is_known_to_have_answered_others() {
    let state = state(Balance::RoundRobin, &[1]);
    let (slow, quick) = (pick(&state, START), pick(&state, START));
    assert!(!slow.has_answered_others());
    quick.endpoint().record_answer();
    assert!(slow.has_answered_others());
    assert!(!pick(&state, START).has_answered_others(), "it counts from when it was chosen");
}

/// The position that a key goes to.
fn hashed(state: &Endpoints, key: u32, tried: &Tried, now: Duration) -> usize {
    let key = Some(Key::of(&key.to_be_bytes()));
    assert_eq!(state.current().peek(now, key).is_some(), !state.current().members().is_empty());
    position(state, &state.pick(&Choice { now, tried, key }).unwrap())
}

#[test]
fn a_key_stays_at_its_endpoint_whatever_happens_to_the_others() {
    let state = state(Balance::Hash(HashKey::Client), &[1, 1, 2]);
    let homes: Vec<usize> = (0..300).map(|key| hashed(&state, key, &Tried::new(), START)).collect();
    for at in 0..3 {
        assert!(homes.iter().filter(|home| **home == at).count() > 30, "{homes:?}");
    }
    assert!(fail(&state, 1, START));
    for (key, home) in (0..300).zip(&homes) {
        let now = hashed(&state, key, &Tried::new(), START);
        assert!(now != 1 && (now == *home || *home == 1), "{key}: from {home} to {now}");
    }
    endpoint(&state, 1).record_answer();
    let again: Vec<usize> = (0..300).map(|key| hashed(&state, key, &Tried::new(), START)).collect();
    assert_eq!(again, homes, "when it is back, so are its keys");
}

#[test]
fn a_retry_of_a_key_goes_to_the_same_second_endpoint() {
    let state = state(Balance::Hash(HashKey::Path), &[1, 1, 1]);
    for key in 0..50 {
        let mut tried = Tried::new();
        tried.insert(endpoint(&state, hashed(&state, key, &tried, START)).id());
        let second = hashed(&state, key, &tried, START);
        assert_eq!(hashed(&state, key, &tried, START), second);
        assert!(!tried.contains(endpoint(&state, second).id()));
    }
}

#[test]
fn a_peek_names_the_endpoint_of_the_key() {
    let state = state(Balance::Hash(HashKey::Client), &[1, 3, 1]);
    for key in 0..50_u32 {
        let seen = state.current().peek(START, Some(Key::of(&key.to_be_bytes())));
        assert_eq!(seen, Some(hashed(&state, key, &Tried::new(), START)));
    }
}

#[test]
fn a_key_decides_however_the_upstream_balances() {
    let hashes = state(Balance::Hash(HashKey::Client), &[1, 1, 2]);
    for balance in [Balance::RoundRobin, Balance::LeastRequests] {
        let other = state(balance, &[1, 1, 2]);
        for key in 0..50 {
            let home = hashed(&hashes, key, &Tried::new(), START);
            for _ in 0..3 {
                assert_eq!(hashed(&other, key, &Tried::new(), START), home);
            }
        }
        // Requests without one go on in turn.
        assert!(positions(&other, START, 8).contains(&0));
    }
}
