mod panic;

use std::sync::Arc;
use std::time::Duration;

use portcullis_model::{Balance, Ejection, HashKey, Share, Upstream};
use proptest::prelude::*;

use super::{Choice, NoPick, Pick};
use crate::endpoints::testing::{chance, listed, upstream};
use crate::{Endpoint, Endpoints, Key, Tried};

const SECOND: Duration = Duration::from_secs(1);
const START: Duration = Duration::from_secs(1000);

fn state(balance: Balance, weights: &[u32]) -> Endpoints {
    let names = ["a", "b", "c", "d", "e", "f"];
    let endpoints: Vec<(&str, u32)> = names.into_iter().zip(weights.iter().copied()).collect();
    Endpoints::new(&upstream(balance, &endpoints))
}

fn by_hash(load_max: Option<Share>) -> Balance {
    Balance::Hash { key: HashKey::Client, load_max }
}

fn pick(state: &Endpoints, now: Duration) -> Pick {
    state.pick(&Choice { now, tried: &Tried::new(), key: None, chance: &chance }).unwrap()
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
    endpoint(state, at).health().record_failure(&Ejection::default(), now, || true)
}

#[test]
fn an_ejected_endpoint_gets_nothing_then_one_probe_then_its_share() {
    let state = state(Balance::RoundRobin, &[1, 1, 1]);
    fail(&state, 1, START);
    assert!(!positions(&state, START + 9 * SECOND, 30).contains(&1));
    let probing = positions(&state, START + 10 * SECOND, 30);
    assert_eq!(probing.iter().filter(|at| **at == 1).count(), 1);
    endpoint(&state, 1).record_answer(START, || START);
    let healthy = positions(&state, START + 11 * SECOND, 30);
    assert_eq!(healthy.iter().filter(|at| **at == 1).count(), 10);
}

#[test]
fn a_retry_goes_to_another_endpoint_until_all_were_tried() {
    for balance in [Balance::RoundRobin, Balance::LeastRequests, Balance::PeakEwma, Balance::Random] {
        let state = state(balance, &[1, 5, 1]);
        let mut tried = Tried::new();
        let mut seen = Vec::new();
        while let Ok(pick) = state.pick(&Choice { now: START, tried: &tried, key: None, chance: &chance }) {
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
    let first = state.pick(&Choice { now: START, tried: &tried, key: None, chance: &chance }).unwrap();
    assert_eq!(position(&state, &first), 2);
    tried.insert(first.endpoint().id());
    let second = state.pick(&Choice { now: START, tried: &tried, key: None, chance: &chance }).unwrap();
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
    quick.endpoint().record_answer(START, || START);
    assert!(slow.has_answered_others());
    assert!(!pick(&state, START).has_answered_others(), "it counts from when it was chosen");
}

/// The position that a key goes to.
fn hashed(state: &Endpoints, key: u32, tried: &Tried, now: Duration) -> usize {
    let key = Some(Key::of(&key.to_be_bytes()));
    assert_eq!(state.current().peek(now, key).is_some(), !state.current().members().is_empty());
    position(state, &state.pick(&Choice { now, tried, key, chance: &chance }).unwrap())
}

#[test]
fn a_key_stays_at_its_endpoint_whatever_happens_to_the_others() {
    let state = state(by_hash(None), &[1, 1, 2]);
    let homes: Vec<usize> = (0..300).map(|key| hashed(&state, key, &Tried::new(), START)).collect();
    for at in 0..3 {
        assert!(homes.iter().filter(|home| **home == at).count() > 30, "{homes:?}");
    }
    assert!(fail(&state, 1, START));
    for (key, home) in (0..300).zip(&homes) {
        let now = hashed(&state, key, &Tried::new(), START);
        assert!(now != 1 && (now == *home || *home == 1), "{key}: from {home} to {now}");
    }
    endpoint(&state, 1).record_answer(START, || START);
    let again: Vec<usize> = (0..300).map(|key| hashed(&state, key, &Tried::new(), START)).collect();
    assert_eq!(again, homes, "when it is back, so are its keys");
}

#[test]
fn a_retry_of_a_key_goes_to_the_same_second_endpoint() {
    let state = state(by_hash(None), &[1, 1, 1]);
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
    let state = state(by_hash(None), &[1, 3, 1]);
    for key in 0..50_u32 {
        let seen = state.current().peek(START, Some(Key::of(&key.to_be_bytes())));
        assert_eq!(seen, Some(hashed(&state, key, &Tried::new(), START)));
    }
}

#[test]
fn a_key_decides_however_the_upstream_balances() {
    let hashes = state(by_hash(None), &[1, 1, 2]);
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

/// A set of many endpoints, each with a weight, and rules.
fn many(balance: Balance, weights: &[u32], slow_start: Duration) -> Endpoints {
    let names: Vec<String> = (0..weights.len()).map(|at| format!("10.0.0.{at}:80")).collect();
    let endpoints: Vec<(&str, u32)> = names.iter().map(String::as_str).zip(weights.iter().copied()).collect();
    Endpoints::new(&Upstream { slow_start, ..upstream(balance, &endpoints) })
}

/// How often each endpoint is chosen by requests that end at once.
fn shares(state: &Endpoints, now: Duration, picks: u32) -> Vec<u32> {
    let mut counts = vec![0; state.current().members().len()];
    for _ in 0..picks {
        counts[position(state, &pick(state, now))] += 1;
    }
    counts
}

#[test]
fn random_keeps_to_the_weights_and_to_those_that_may_be_chosen() {
    let state = many(Balance::Random, &[1, 2, 5, 2], Duration::ZERO);
    for (count, due) in shares(&state, START, 10_000).iter().zip([1000, 2000, 5000, 2000_u32]) {
        assert!(count.abs_diff(due) < 200, "{count} for {due}");
    }
    // Most draws fall on the one that is left out.
    assert!(fail(&state, 2, START));
    for (count, due) in shares(&state, START, 10_000).iter().zip([2000, 4000, 0, 4000_u32]) {
        assert!(count.abs_diff(due) < 250 && (due > 0 || *count == 0), "{count} for {due}");
    }
}

#[test]
fn of_many_endpoints_the_better_of_two_holds_loads_close_together() {
    let state = many(Balance::LeastRequests, &[1; 100], Duration::ZERO);
    let held: Vec<Pick> = (0..2000).map(|_| pick(&state, START)).collect();
    let loads = counts(&state);
    // By chance alone the largest of 100 loads of 20 is 32 and more.
    assert!(loads.iter().all(|load| (16..=24).contains(load)), "{loads:?}");
    drop(held);
    assert_eq!(counts(&state), [0; 100]);
}

#[test]
fn peak_ewma_prefers_the_quick_and_comes_back_to_the_slow() {
    let state = many(Balance::PeakEwma, &[1; 4], Duration::ZERO);
    let (mut now, mut counts) = (START, [0_u32; 4]);
    for _ in 0..2000 {
        let pick = pick(&state, now);
        let at = position(&state, &pick);
        counts[at] += 1;
        now += Duration::from_millis(if at == 3 { 200 } else { 10 });
        pick.record_latency(now);
    }
    assert!(counts[3] > 0 && counts[3] < 100, "{counts:?}");
    assert!(counts[..3].iter().all(|count| *count > 400), "{counts:?}");
    // It has recovered, which is noticed by and by.
    for _ in 0..3 {
        counts = [0; 4];
        for _ in 0..4000 {
            let pick = pick(&state, now);
            counts[position(&state, &pick)] += 1;
            now += Duration::from_millis(10);
            pick.record_latency(now);
        }
    }
    assert!(counts.iter().all(|count| *count > 700), "{counts:?}");
}

#[test]
fn peak_ewma_gives_an_endpoint_without_an_answer_one_request_at_a_time() {
    let state = many(Balance::PeakEwma, &[1; 2], Duration::ZERO);
    let held: Vec<Pick> = (0..2).map(|_| pick(&state, START)).collect();
    assert_eq!(counts(&state), [1, 1]);
    held[0].record_latency(START + SECOND);
    let known = position(&state, &held[0]);
    let more: Vec<usize> =
        (0..10).map(|_| pick(&state, START + SECOND)).map(|pick| position(&state, &pick)).collect();
    assert!(more.iter().all(|at| *at == known), "{more:?}");
}

#[test]
fn backups_are_used_while_no_endpoint_before_them_can_be() {
    for balance in
        [Balance::RoundRobin, Balance::LeastRequests, Balance::PeakEwma, Balance::Random, by_hash(None)]
    {
        let mut config = upstream(balance.clone(), &[("spare", 1), ("a", 1), ("b", 1), ("last", 1)]);
        for (endpoint, priority) in config.endpoints.iter_mut().zip([1, 0, 0, 9]) {
            endpoint.priority = priority;
        }
        let state = Endpoints::new(&config);
        let of = |now| {
            let mut names: Vec<String> = (0..40_u32)
                .map(|key| {
                    let key = matches!(balance, Balance::Hash { .. }).then(|| Key::of(&key.to_be_bytes()));
                    let choice = Choice { now, tried: &Tried::new(), key, chance: &chance };
                    state.pick(&choice).unwrap().endpoint().address().to_string()
                })
                .collect();
            names.sort();
            names.dedup();
            names.join(" ")
        };
        // Listed first, it comes last: the order is that of the priorities.
        assert_eq!(of(START), "a b", "{balance:?}");
        assert!(fail(&state, 0, START));
        assert_eq!(of(START), "b", "{balance:?}");
        assert!(fail(&state, 1, START));
        assert_eq!(of(START), "spare", "{balance:?}");
        assert!(fail(&state, 2, START));
        assert_eq!(of(START), "last", "{balance:?}");
        assert!(fail(&state, 3, START));
        assert_eq!(of(START), "a b", "{balance:?}: if all are left out, the first are tried");
        endpoint(&state, 1).record_answer(START, || START);
        assert_eq!(of(START), "b", "{balance:?}");
    }
}

#[test]
fn a_retry_goes_to_a_backup_once_those_before_it_were_tried() {
    let mut config = upstream(Balance::RoundRobin, &[("a", 1), ("b", 1), ("spare", 1)]);
    config.endpoints[2].priority = 1;
    let state = Endpoints::new(&config);
    let (mut tried, mut seen) = (Tried::new(), Vec::new());
    while let Ok(pick) = state.pick(&Choice { now: START, tried: &tried, key: None, chance: &chance }) {
        tried.insert(pick.endpoint().id());
        seen.push(position(&state, &pick));
    }
    assert_eq!(seen, [0, 1, 2]);
}

#[test]
fn the_share_of_an_endpoint_grows_after_it_was_added_or_let_back_in() {
    for balance in [Balance::RoundRobin, Balance::Random] {
        let state = many(balance.clone(), &[1, 1], 100 * SECOND);
        let share = |at: usize, now: Duration| shares(&state, now, 6000)[at];
        assert!(share(1, START).abs_diff(3000) < 200, "{balance:?}: those of the start have theirs at once");
        let added = [("10.0.0.0:80", 1), ("10.0.0.1:80", 1), ("new", 1)];
        state.replace(&listed(&added), START);
        for (age, due) in [(0, 200), (5, 200), (50, 1000), (90, 1800), (100, 2000), (1000, 2000_u32)] {
            let share = share(2, START + age * SECOND);
            assert!(share.abs_diff(due) < due / 5 + 50, "{balance:?} after {age} s: {share} for {due}");
        }
        let now = START + 2000 * SECOND;
        assert!(fail(&state, 0, now));
        assert!(endpoint(&state, 0).record_answer(now, || now));
        for (age, due) in [(0, 200), (50, 1000), (100, 2000_u32)] {
            let share = share(0, now + age * SECOND);
            assert!(share.abs_diff(due) < due / 5 + 50, "{balance:?} back for {age} s: {share} for {due}");
        }
    }
}

#[test]
fn an_endpoint_that_was_added_gets_a_part_of_the_load_by_least_requests() {
    let state = many(Balance::LeastRequests, &[1, 1], 100 * SECOND);
    let mut held: Vec<Pick> = (0..100).map(|_| pick(&state, START)).collect();
    state.replace(&listed(&[("10.0.0.0:80", 1), ("10.0.0.1:80", 1), ("new", 1)]), START);
    held.extend((0..20).map(|_| pick(&state, START)));
    let loads = counts(&state);
    assert!(loads[2] <= 6 && loads[2] > 0, "a tenth of the load of the others: {loads:?}");
    held.extend((0..180).map(|_| pick(&state, START + 100 * SECOND)));
    assert_eq!(counts(&state), [100, 100, 100]);
}

#[test]
fn a_set_of_new_endpoints_alone_starts_at_once() {
    let state = many(Balance::RoundRobin, &[1], 100 * SECOND);
    state.replace(&listed(&[("new", 1), ("newer", 1)]), START);
    assert_eq!(shares(&state, START, 10), [5, 5]);
}

#[test]
fn keys_of_one_endpoint_spread_over_others_if_loads_are_bounded() {
    let load_max = Share::of_hundredths(12_500);
    let state = state(by_hash(Some(load_max)), &[1, 1, 1, 1]);
    let key = Some(Key::of(b"popular"));
    let pick = || state.pick(&Choice { now: START, tried: &Tried::new(), key, chance: &chance }).unwrap();
    let held: Vec<Pick> = (0..100).map(|_| pick()).collect();
    let loads = counts(&state);
    // A quarter of all, and a quarter of that more, rounded up.
    assert!(loads.iter().all(|load| *load <= 32) && loads.iter().sum::<u32>() == 100, "{loads:?}");
    assert_eq!(
        loads.iter().filter(|load| **load >= 31).count(),
        3,
        "the next one is taken when one is full: {loads:?}"
    );
    drop(held);
    let home = position(&state, &pick());
    assert_eq!(state.current().peek(START, key), Some(home));
    assert!((0..10).all(|_| position(&state, &pick()) == home), "without load it goes home");
}

#[test]
fn workers_together_keep_the_bound_of_loads() {
    let state = state(by_hash(Some(Share::of_hundredths(15_000))), &[1, 1, 2]);
    let key = Some(Key::of(b"popular"));
    let held: Vec<Pick> = std::thread::scope(|scope| {
        let pick = || state.pick(&Choice { now: START, tried: &Tried::new(), key, chance: &|| 0 }).unwrap();
        let workers: Vec<_> =
            (0..4).map(|_| scope.spawn(move || (0..100).map(|_| pick()).collect::<Vec<_>>())).collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    });
    for (load, weight) in counts(&state).into_iter().zip([1, 1, 2]) {
        // 400 / 4 * 1.5, and one for each worker that lost its race four times.
        assert!(load <= 150 * weight + 4, "{load}");
    }
    drop(held);
    assert_eq!(counts(&state), [0; 3]);
}

proptest! {
    #[test]
    fn loads_stay_within_their_bound_whatever_the_keys(
        weights in proptest::collection::vec(1..10_u32, 2..7),
        keys in proptest::collection::vec(any::<u8>(), 1..200),
        more in 1..100_u32,
    ) {
        let hundredths = 10_000 + 100 * more;
        let state = state(by_hash(Some(Share::of_hundredths(hundredths))), &weights[..weights.len().min(6)]);
        let sum: u32 = weights.iter().sum();
        let mut held = Vec::new();
        for key in keys {
            let key = Some(Key::of(&[key]));
            held.push(state.pick(&Choice { now: START, tried: &Tried::new(), key, chance: &chance }).unwrap());
            let total = u64::from(u32::try_from(held.len()).unwrap());
            for (load, weight) in counts(&state).into_iter().zip(&weights) {
                let bound = (total * u64::from(*weight) * u64::from(hundredths)).div_ceil(u64::from(sum) * 10_000);
                prop_assert!(u64::from(load) <= bound.max(1), "{} of {} for {:?}", load, bound, weights);
            }
        }
    }

    #[test]
    fn only_keys_of_a_removed_endpoint_move_whatever_the_weights(
        weights in proptest::collection::vec(1..4_u32, 2..6),
        removed in any::<prop::sample::Index>(),
    ) {
        let names = ["a", "b", "c", "d", "e"];
        let all: Vec<(&str, u32)> = names.into_iter().zip(weights).collect();
        let state = Endpoints::new(&upstream(by_hash(None), &all));
        let address = |key: u32| {
            let key = Some(Key::of(&key.to_be_bytes()));
            let choice = Choice { now: START, tried: &Tried::new(), key, chance: &chance };
            state.pick(&choice).unwrap().endpoint().address().to_string()
        };
        let before: Vec<String> = (0..100).map(address).collect();
        let mut rest = all.clone();
        let (gone, _) = rest.remove(removed.index(all.len()));
        state.replace(&listed(&rest), START);
        for (key, before) in (0..100).zip(&before) {
            prop_assert!(before == gone || address(key) == *before);
        }
        state.replace(&listed(&all), START);
        let after: Vec<String> = (0..100).map(address).collect();
        prop_assert_eq!(after, before);
    }
}

#[test]
fn no_endpoint_has_more_than_it_may_have_and_backups_take_none_of_it() {
    let names = [("a", 1), ("b", 1), ("spare", 1)];
    for balance in
        [Balance::RoundRobin, Balance::LeastRequests, Balance::PeakEwma, Balance::Random, by_hash(None)]
    {
        let mut config = upstream(balance.clone(), &names);
        config.endpoints[2].priority = 1;
        config.limits.endpoint_requests_max = Some(3);
        let state = Endpoints::new(&config);
        let key = matches!(balance, Balance::Hash { .. }).then(Key::default);
        let pick = |tried: &Tried| state.pick(&Choice { now: START, tried, key, chance: &chance });
        let none = Tried::new();
        let mut held: Vec<Pick> = (0..6).map(|_| pick(&none).unwrap()).collect();
        assert_eq!((counts(&state), pick(&none).err()), (vec![3, 3, 0], Some(NoPick::Full)), "{balance:?}");
        // What was tried is not only full.
        let mut tried = Tried::new();
        tried.insert(endpoint(&state, 0).id());
        assert_eq!(pick(&tried).err(), Some(NoPick::Full));
        tried.insert(endpoint(&state, 1).id());
        drop(pick(&tried).unwrap());
        tried.insert(endpoint(&state, 2).id());
        assert_eq!(pick(&tried).err(), Some(NoPick::NoneLeft));
        // One that is left out is no reason to wait.
        assert!(fail(&state, 0, START) && fail(&state, 1, START));
        held.extend((0..3).map(|_| pick(&none).unwrap()));
        assert_eq!((counts(&state), pick(&none).err()), (vec![3, 3, 3], Some(NoPick::Full)), "{balance:?}");
        drop(held);
        assert_eq!(counts(&state), [0, 0, 0]);
    }
}
