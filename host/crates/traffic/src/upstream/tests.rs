use std::sync::Arc;
use std::time::Duration;

use portcullis_model::{
    Balance, Ejection, Endpoint, HostHeader, Origin, Upstream, UpstreamHttp2, UpstreamProtocol,
    UpstreamTimeouts,
};
use proptest::prelude::*;

use super::{Pick, UpstreamState};
use crate::Tried;

const SECOND: Duration = Duration::from_secs(1);
const START: Duration = Duration::from_secs(1000);

fn upstream(balance: Balance, endpoints: &[(&str, u32)]) -> Upstream {
    let endpoint = |(address, weight): &(&str, u32)| Endpoint { address: (*address).into(), weight: *weight };
    Upstream {
        name: "u".into(),
        endpoints: endpoints.iter().map(endpoint).collect(),
        balance,
        protocol: UpstreamProtocol::default(),
        tls: None,
        host: HostHeader::default(),
        hide_server: false,
        timeouts: UpstreamTimeouts::default(),
        ejection: Ejection::default(),
        idle_connections_max: 1,
        head_bytes_max: 1,
        replay_bytes_max: 0,
        http2: UpstreamHttp2::default(),
        origin: Origin::default(),
    }
}

fn state(balance: Balance, weights: &[u32]) -> UpstreamState {
    let names = ["a", "b", "c", "d", "e", "f"];
    let endpoints: Vec<(&str, u32)> = names.into_iter().zip(weights.iter().copied()).collect();
    UpstreamState::new(&upstream(balance, &endpoints))
}

fn pick(state: &UpstreamState, now: Duration) -> Pick {
    state.pick(now, &Tried::new()).unwrap()
}

fn indices(state: &UpstreamState, now: Duration, picks: usize) -> Vec<usize> {
    (0..picks).map(|_| pick(state, now).index).collect()
}

fn fail(state: &UpstreamState, index: usize, now: Duration) {
    state.record_failure(&state.endpoints()[index], now);
}

#[test]
fn an_ejected_endpoint_gets_nothing_then_one_probe_then_its_share() {
    let state = state(Balance::RoundRobin, &[1, 1, 1]);
    fail(&state, 1, START);
    assert!(!indices(&state, START + 9 * SECOND, 30).contains(&1));
    let probing = indices(&state, START + 10 * SECOND, 30);
    assert_eq!(probing.iter().filter(|index| **index == 1).count(), 1);
    state.endpoints()[1].record_success();
    let healthy = indices(&state, START + 11 * SECOND, 30);
    assert_eq!(healthy.iter().filter(|index| **index == 1).count(), 10);
}

#[test]
fn a_retry_goes_to_another_endpoint_until_all_were_tried() {
    for balance in [Balance::RoundRobin, Balance::LeastRequests] {
        let state = state(balance, &[1, 5, 1]);
        let mut tried = Tried::new();
        let mut seen = Vec::new();
        while let Some(pick) = state.pick(START, &tried) {
            tried.insert(pick.index);
            seen.push(pick.index);
        }
        seen.sort_unstable();
        assert_eq!(seen, [0, 1, 2]);
    }
}

#[test]
fn where_all_are_ejected_all_are_tried_by_their_weights() {
    for balance in [Balance::RoundRobin, Balance::LeastRequests] {
        let state = state(balance, &[2, 1]);
        fail(&state, 0, START);
        fail(&state, 1, START);
        let picks = indices(&state, START, 30);
        assert_eq!(picks.iter().filter(|index| **index == 0).count(), 20);
    }
}

#[test]
fn a_retry_prefers_a_healthy_endpoint_and_takes_an_ejected_one_last() {
    let state = state(Balance::RoundRobin, &[1, 1, 1]);
    fail(&state, 1, START);
    let mut tried = Tried::new();
    tried.insert(0);
    assert_eq!(state.pick(START, &tried).unwrap().index, 2);
    tried.insert(2);
    assert_eq!(state.pick(START, &tried).unwrap().index, 1);
}

#[test]
fn least_requests_fills_the_gaps() {
    let state = state(Balance::LeastRequests, &[1, 1, 1]);
    let mut held: Vec<Pick> = (0..9).map(|_| pick(&state, START)).collect();
    assert!(state.endpoints().iter().all(|endpoint| endpoint.in_flight() == 3));
    held.retain(|pick| pick.index != 1);
    assert_eq!(indices_held(&state, 3), [1, 1, 1]);
    drop(held);
    assert!(state.endpoints().iter().all(|endpoint| endpoint.in_flight() == 0));
}

fn indices_held(state: &UpstreamState, picks: usize) -> Vec<usize> {
    let held: Vec<Pick> = (0..picks).map(|_| pick(state, START)).collect();
    held.iter().map(|pick| pick.index).collect()
}

#[test]
fn ties_are_shared_by_weight() {
    let state = state(Balance::LeastRequests, &[2, 1, 1]);
    let picks = indices(&state, START, 40);
    let count = |wanted: usize| picks.iter().filter(|index| **index == wanted).count();
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
    let counts: Vec<u32> = state.endpoints().iter().map(|endpoint| endpoint.in_flight()).collect();
    assert_eq!(counts.iter().sum::<u32>(), 400);
    // A claim that lost its race four times may stand one too high for each worker.
    assert!(counts.iter().all(|count| count.abs_diff(100) <= 4), "{counts:?}");
    drop(held);
    assert!(state.endpoints().iter().all(|endpoint| endpoint.in_flight() == 0));
}

#[test]
fn a_reload_keeps_the_state_of_addresses_that_stay() {
    let old = UpstreamState::new(&upstream(Balance::RoundRobin, &[("a", 1), ("b", 1)]));
    fail(&old, 1, START);
    let exchange = pick(&old, START);
    assert_eq!(exchange.index, 0);
    let new =
        UpstreamState::rebuild(&old, &upstream(Balance::LeastRequests, &[("c", 1), ("b", 9), ("a", 1)]));
    assert!(Arc::ptr_eq(&old.endpoints()[0], &new.endpoints()[2]));
    assert!(Arc::ptr_eq(&old.endpoints()[1], &new.endpoints()[1]));
    assert_eq!(new.endpoints()[2].in_flight(), 1);
    assert!(new.endpoints()[1].is_ejected() && !new.endpoints()[0].is_ejected());
    drop(exchange);
    assert_eq!(new.endpoints()[2].in_flight(), 0);
}

#[test]
fn turns_go_on_over_a_reload() {
    let model = upstream(Balance::RoundRobin, &[("a", 1), ("b", 1), ("c", 1)]);
    let mut state = UpstreamState::new(&model);
    let mut picks = Vec::new();
    for _ in 0..6 {
        picks.push(pick(&state, START).index);
        state = UpstreamState::rebuild(&state, &model);
    }
    assert_eq!(picks, [0, 1, 2, 0, 1, 2]);
}

proptest! {
    #[test]
    fn least_requests_holds_loads_in_proportion(weights in proptest::collection::vec(1..10_u32, 2..6)) {
        let state = state(Balance::LeastRequests, &weights);
        let total: u32 = weights.iter().sum();
        let held: Vec<Pick> = (0..total * 3).map(|_| pick(&state, START)).collect();
        let counts: Vec<u32> = state.endpoints().iter().map(|endpoint| endpoint.in_flight()).collect();
        let due: Vec<u32> = weights.iter().map(|weight| weight * 3).collect();
        prop_assert_eq!(counts, due);
        drop(held);
    }
}

#[test]
fn a_look_names_the_next_endpoint_and_takes_no_turn() {
    for balance in [Balance::RoundRobin, Balance::LeastRequests] {
        let state = state(balance, &[3, 1, 2]);
        let mut held = Vec::new();
        for turn in 0..20 {
            let seen = state.peek(START);
            assert_eq!(seen, state.peek(START), "{balance:?}: a second look");
            let picked = pick(&state, START);
            assert_eq!(seen, Some(picked.index), "{balance:?}: turn {turn}");
            if turn % 3 == 0 {
                held.push(picked);
            }
        }
    }
}

#[test]
fn a_look_passes_over_what_is_left_out_and_admits_no_probe() {
    let state = state(Balance::RoundRobin, &[1, 1]);
    let endpoint = state.endpoints()[0].clone();
    assert!(state.record_failure(&endpoint, START));
    for _ in 0..4 {
        assert_eq!(state.peek(START), Some(1));
        assert_eq!(pick(&state, START).index, 1);
    }
    let later = START + 60 * SECOND;
    while state.peek(later) != Some(0) {
        drop(pick(&state, later));
    }
    assert!(endpoint.is_available(later), "the probe is still to be had");
    assert!(state.record_failure(&state.endpoints()[1].clone(), later));
    assert!(state.peek(START).is_some(), "where all are left out, one is tried");
}

#[test]
fn an_endpoint_is_known_to_have_answered_others() {
    let state = state(Balance::RoundRobin, &[1]);
    let (slow, quick) = (pick(&state, START), pick(&state, START));
    assert!(!slow.has_answered_others());
    quick.endpoint().record_success();
    assert!(slow.has_answered_others());
    assert!(!pick(&state, START).has_answered_others(), "it counts from when it was chosen");
}
