use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use portcullis_model::{Balance, Ejection};
use proptest::prelude::*;

use super::Endpoints;
use super::testing::{chance, listed, upstream};
use crate::{Choice, Endpoint, Member, Pick, Tried};

const START: Duration = Duration::from_secs(1000);

fn endpoints(list: &[(&str, u32)]) -> Endpoints {
    Endpoints::new(&upstream(Balance::RoundRobin, list))
}

fn pick(endpoints: &Endpoints) -> Pick {
    endpoints.pick(&Choice { now: START, tried: &Tried::new(), key: None, chance: &chance }).unwrap()
}

fn named(endpoints: &Endpoints, address: &str) -> Arc<Endpoint> {
    let set = endpoints.current();
    let found = set.members().iter().find(|member| &**member.endpoint.address() == address);
    found.unwrap().endpoint.clone()
}

/// The addresses that take the next turns.
fn turns(endpoints: &Endpoints, count: usize) -> String {
    (0..count).map(|_| pick(endpoints).endpoint().address().to_string()).collect()
}

#[test]
fn an_address_that_stays_is_the_same_endpoint_with_its_counts_and_health() {
    let endpoints = endpoints(&[("a", 1), ("b", 1)]);
    let (a, b) = (named(&endpoints, "a"), named(&endpoints, "b"));
    b.health().record_failure(&Ejection::default(), START, || true);
    let exchange = pick(&endpoints);
    assert_eq!(exchange.endpoint().id(), a.id());
    endpoints.replace(&listed(&[("c", 1), ("b", 9), ("a", 1)]), START);
    assert!(Arc::ptr_eq(&a, &named(&endpoints, "a")) && Arc::ptr_eq(&b, &named(&endpoints, "b")));
    assert_eq!(endpoints.current().healthy(), 2, "b is still left out");
    assert!(named(&endpoints, "b").health().is_ejected());
    assert_eq!(a.in_flight(), 1);
    drop(exchange);
    assert_eq!(a.in_flight(), 0);
}

#[test]
fn a_reload_with_other_rules_keeps_endpoints_that_were_replaced_meanwhile() {
    let old = endpoints(&[("a", 1)]);
    old.replace(&listed(&[("a", 1), ("b", 1)]), START);
    let b = named(&old, "b");
    let new = Endpoints::rebuild(&old, &upstream(Balance::LeastRequests, &[("b", 1), ("c", 1)]), START);
    assert!(Arc::ptr_eq(&b, &named(&new, "b")));
    assert_eq!(old.current().members().len(), 2, "exchanges of the old generation choose as before");
}

#[test]
fn a_removed_endpoint_takes_no_more_exchanges_and_finishes_those_that_it_has() {
    let endpoints = endpoints(&[("a", 1), ("b", 1)]);
    let exchange = pick(&endpoints);
    let a = exchange.endpoint().clone();
    endpoints.replace(&listed(&[("b", 1)]), START);
    assert!(!endpoints.current().contains(a.id()));
    assert_eq!(turns(&endpoints, 4), "bbbb");
    assert_eq!(a.in_flight(), 1, "it is under way");
    a.record_answer(START, || START);
    drop(exchange);
    assert_eq!(a.in_flight(), 0);
    endpoints.replace(&listed(&[("a", 1), ("b", 1)]), START);
    assert_ne!(named(&endpoints, "a").id(), a.id(), "what comes back is another endpoint");
}

#[test]
fn an_address_that_is_listed_twice_is_one_endpoint_with_both_weights() {
    let endpoints = endpoints(&[("a", 1)]);
    endpoints.replace(&listed(&[("a", 2), ("b", 1), ("a", 1)]), START);
    let weights: Vec<u32> = endpoints.current().members().iter().map(|member| member.weight).collect();
    assert_eq!(weights, [3, 1]);
}

#[test]
fn an_empty_set_has_no_choice_until_it_is_replaced() {
    let endpoints = endpoints(&[("a", 1)]);
    endpoints.replace(&[], START);
    assert!(
        endpoints.pick(&Choice { now: START, tried: &Tried::new(), key: None, chance: &chance }).is_err()
    );
    assert_eq!(endpoints.current().peek(START, None), None);
    endpoints.replace(&listed(&[("b", 1)]), START);
    assert_eq!(turns(&endpoints, 2), "bb");
}

#[test]
fn turns_continue_over_a_reload_in_another_order() {
    let list = [("a", 1), ("b", 1), ("c", 1)];
    let mut endpoints = endpoints(&list);
    let mut seen = String::new();
    for moved in 0..6 {
        seen += &turns(&endpoints, 1);
        let mut list = list;
        list.rotate_left(moved % 3);
        endpoints = Endpoints::rebuild(&endpoints, &upstream(Balance::RoundRobin, &list), START);
    }
    assert_eq!(seen, "abcabc");
}

#[test]
fn workers_choose_while_the_set_is_replaced_and_no_exchange_is_lost() {
    let endpoints = Endpoints::new(&upstream(Balance::LeastRequests, &[("a", 1), ("b", 1), ("c", 1)]));
    let lists = [listed(&[("b", 1), ("a", 1)]), listed(&[("a", 3), ("c", 1), ("b", 1)]), listed(&[("a", 1)])];
    let done = AtomicBool::new(false);
    let a = named(&endpoints, "a");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for turn in 0..500 {
                endpoints.replace(&lists[turn % lists.len()], START);
            }
            done.store(true, Ordering::Release);
        });
        for _ in 0..2 {
            scope.spawn(|| {
                while !done.load(Ordering::Acquire) {
                    let held: Vec<Pick> = (0..8).map(|_| pick(&endpoints)).collect();
                    assert!(held.iter().all(|pick| pick.endpoint().in_flight() > 0));
                }
            });
        }
    });
    assert!(Arc::ptr_eq(&a, &named(&endpoints, "a")), "it was in every set");
    assert!(endpoints.current().members().iter().all(|member| member.endpoint.in_flight() == 0));
}

proptest! {
    #[test]
    fn any_series_of_sets_keeps_what_stays(
        lists in proptest::collection::vec(proptest::collection::btree_map(0..6_u8, 1..5_u32, 0..6), 1..8),
    ) {
        let endpoints = endpoints(&[]);
        let mut before = BTreeMap::new();
        for list in lists {
            let names: Vec<(String, u32)> = list.into_iter().map(|(name, weight)| (name.to_string(), weight)).collect();
            let list: Vec<(&str, u32)> = names.iter().map(|(name, weight)| (name.as_str(), *weight)).collect();
            endpoints.replace(&listed(&list), START);
            let set = endpoints.current();
            let now: BTreeMap<_, _> =
                set.members().iter().map(|Member { endpoint, .. }| (endpoint.address().clone(), endpoint.id())).collect();
            prop_assert_eq!(now.len(), list.len());
            for (address, id) in &now {
                match before.get(address) {
                    Some(known) => prop_assert_eq!(known, id),
                    None => prop_assert!(before.values().all(|known| known < id), "an id was used before"),
                }
            }
            // A period of turns has each endpoint as often as its weight says.
            let sum: u32 = list.iter().map(|(_, weight)| weight).sum();
            let mut counts: BTreeMap<String, u32> = BTreeMap::new();
            for _ in 0..sum {
                *counts.entry(pick(&endpoints).endpoint().address().to_string()).or_default() += 1;
            }
            prop_assert_eq!(counts, names.into_iter().collect::<BTreeMap<_, _>>());
            before = now;
        }
    }
}
