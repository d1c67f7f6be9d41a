use std::time::Duration;

use portcullis_model::{Balance, Share};
use proptest::prelude::*;

use super::{Begin, Failure, Next, Retries, SAME_ENDPOINT_MAX, backoff};
use crate::endpoints::testing::{chance, listed, upstream};
use crate::{Choice, Endpoint, EndpointId, Endpoints, RetryBudget};

const NOW: Duration = Duration::from_secs(1000);

/// Begins an attempt without a budget.
fn begin(retries: &mut Retries) {
    assert_eq!(retries.begin(true, None, NOW), Begin::Allowed);
}

fn id() -> EndpointId {
    Endpoint::new("a".into(), None).id()
}

#[test]
fn what_may_have_been_acted_on_is_never_sent_again() {
    for (unprocessed, maybe_stale, idempotent, expected) in [
        (false, false, false, Failure::Final),
        (false, false, true, Failure::Final),
        (false, true, false, Failure::Final),
        (false, true, true, Failure::Connection),
        (true, false, false, Failure::Connection),
    ] {
        let failure = Failure::of_closed(unprocessed, maybe_stale, idempotent);
        assert_eq!(failure, expected, "{unprocessed} {maybe_stale} {idempotent}");
    }
    let mut retries = Retries::new(3, false);
    begin(&mut retries);
    assert_eq!(retries.after(id(), Failure::Final), Next::Nothing);
}

#[test]
fn a_connection_that_failed_is_followed_by_a_new_one_to_the_same_endpoint() {
    let (mut retries, endpoint) = (Retries::new(3, false), id());
    begin(&mut retries);
    assert_eq!(retries.attempts(), 1);
    assert!(!retries.needs_new_connection());
    for _ in 0..SAME_ENDPOINT_MAX {
        assert_eq!(retries.after(endpoint, Failure::Connection), Next::SameEndpoint);
        assert!(retries.needs_new_connection());
    }
    assert!(retries.tried().is_empty());
    assert_eq!(retries.after(endpoint, Failure::Connection), Next::OtherEndpoint);
    assert!(retries.tried().contains(endpoint));
    begin(&mut retries);
    assert_eq!(retries.attempts(), 2);
    assert!(!retries.needs_new_connection(), "the next endpoint's connections have not failed");
}

#[test]
fn the_addresses_of_a_name_are_tried_before_another_endpoint() {
    let (mut retries, endpoint) = (Retries::new(2, false), id());
    begin(&mut retries);
    assert_eq!(retries.after(endpoint, Failure::Unsent { other_address: true }), Next::SameEndpoint);
    assert!(!retries.needs_new_connection(), "an idle connection to another address will do");
    assert_eq!(retries.after(endpoint, Failure::Unsent { other_address: false }), Next::OtherEndpoint);
}

#[test]
fn there_is_always_one_attempt_and_never_more_than_allowed() {
    for attempts_max in [0, 1, 4] {
        let mut retries = Retries::new(attempts_max, false);
        while retries.begin(true, None, NOW) == Begin::Allowed {
            retries.after(id(), Failure::Unsent { other_address: false });
        }
        assert_eq!(retries.attempts(), attempts_max.max(1));
    }
}

#[test]
fn a_budget_allows_every_first_attempt_and_few_retries() {
    let budget = RetryBudget::new(Share::of_hundredths(1000));
    while budget.take(NOW) {}
    let mut retried = 0;
    for _ in 0..100 {
        let mut retries = Retries::new(2, false);
        let first = retries.begin(true, Some(&budget), NOW);
        assert_eq!(first, Begin::Allowed, "a first attempt is not a retry");
        assert_eq!(retries.after(id(), Failure::Unsent { other_address: false }), Next::OtherEndpoint);
        match retries.begin(true, Some(&budget), NOW) {
            Begin::Allowed => retried += 1,
            next => assert_eq!(next, Begin::OverBudget),
        }
    }
    assert_eq!(retried, 10);
}

#[test]
fn a_retry_without_another_endpoint_takes_nothing_from_the_budget() {
    let budget = RetryBudget::new(Share::ALL);
    for _ in 0..1000 {
        let mut retries = Retries::new(3, false);
        assert_eq!(retries.begin(true, Some(&budget), NOW), Begin::Allowed);
        retries.after(id(), Failure::Unsent { other_address: false });
        assert_eq!(retries.begin(false, Some(&budget), NOW), Begin::NoneLeft);
    }
    assert!((0..100).all(|_| budget.take(NOW)));
}

#[test]
fn an_endpoint_that_replaces_a_failed_one_meanwhile_is_tried() {
    let endpoints = Endpoints::new(&upstream(Balance::RoundRobin, &[("a", 1)]));
    let mut retries = Retries::new(3, false);
    begin(&mut retries);
    let failed = endpoints.current().members()[0].endpoint.id();
    retries.after(failed, Failure::Unsent { other_address: false });
    assert!(!endpoints.has_untried(retries.tried()));
    endpoints.replace(&listed(&[("b", 1)]), NOW);
    assert!(endpoints.has_untried(retries.tried()));
    begin(&mut retries);
}

fn failure() -> impl Strategy<Value = Failure> {
    prop_oneof![
        4 => Just(Failure::Connection),
        4 => any::<bool>().prop_map(|other_address| Failure::Unsent { other_address }),
        1 => Just(Failure::Final),
    ]
}

proptest! {
    /// A request against an upstream that always fails, as the proxy sends it.
    #[test]
    fn an_outage_costs_a_bounded_number_of_sends(
        attempts_max in 0..6_u32,
        endpoints in 1..6_usize,
        failures in proptest::collection::vec(failure(), 64),
    ) {
        let names = ["a", "b", "c", "d", "e"];
        let list: Vec<(&str, u32)> = names.into_iter().take(endpoints).map(|name| (name, 1)).collect();
        let endpoints = Endpoints::new(&upstream(Balance::RoundRobin, &list));
        let mut failures = failures.into_iter();
        let mut retries = Retries::new(attempts_max, false);
        let (mut asked, mut sends, mut ended) = (Vec::new(), 0, false);
        while !ended
            && retries.begin(endpoints.has_untried(retries.tried()), None, NOW) == Begin::Allowed
        {
            let choice = Choice { now: NOW, tried: retries.tried(), key: None, chance: &chance };
            let Ok(pick) = endpoints.pick(&choice) else { break };
            let id = pick.endpoint().id();
            prop_assert!(!asked.contains(&id), "an endpoint was tried twice");
            asked.push(id);
            loop {
                sends += 1;
                let failure = failures.next().unwrap();
                match retries.after(id, failure) {
                    Next::SameEndpoint => prop_assert_ne!(failure, Failure::Final),
                    Next::OtherEndpoint => break,
                    Next::Nothing => {
                        prop_assert_eq!(failure, Failure::Final);
                        ended = true;
                        break;
                    }
                }
            }
        }
        prop_assert!(asked.len() <= attempts_max.max(1) as usize && asked.len() <= list.len());
        prop_assert!(sends <= asked.len() * (1 + SAME_ENDPOINT_MAX as usize));
        prop_assert!(ended || asked.len() == list.len().min(attempts_max.max(1) as usize));
    }
}

#[test]
fn a_request_that_goes_round_asks_all_again_after_a_pause() {
    let (mut retries, a, b) = (Retries::new(4, true), id(), id());
    assert_eq!(retries.pause(true), None, "not before the first attempt");
    begin(&mut retries);
    assert!(retries.may_follow());
    assert_eq!(retries.after(a, Failure::Unsent { other_address: false }), Next::OtherEndpoint);
    assert_eq!(retries.pause(true), None, "nothing was sent, and another one is there");
    begin(&mut retries);
    assert_eq!(retries.after(b, Failure::Repeatable { paid: false }), Next::OtherEndpoint);
    assert!(retries.tried().contains(a) && retries.tried().contains(b));
    assert_eq!(retries.pause(false), Some(2));
    assert!(retries.tried().is_empty());
    begin(&mut retries);
    assert_eq!(retries.after(a, Failure::Repeatable { paid: false }), Next::OtherEndpoint);
    assert_eq!(retries.pause(true), Some(3), "it was sent");
    begin(&mut retries);
    assert!(!retries.may_follow(), "that was the last one");
    assert_eq!(retries.after(b, Failure::Repeatable { paid: false }), Next::OtherEndpoint);
    assert_eq!(retries.pause(true), None);
    assert_eq!(retries.begin(true, None, NOW), Begin::NoneLeft);
}

#[test]
fn a_retry_that_was_paid_for_takes_no_second_token() {
    let budget = RetryBudget::new(Share::of_hundredths(100));
    while budget.take(NOW) {}
    let mut retries = Retries::new(3, true);
    assert_eq!(retries.begin(true, Some(&budget), NOW), Begin::Allowed);
    assert_eq!(retries.after(id(), Failure::Repeatable { paid: true }), Next::OtherEndpoint);
    assert_eq!(retries.begin(true, Some(&budget), NOW), Begin::Allowed);
    assert_eq!(retries.after(id(), Failure::Repeatable { paid: false }), Next::OtherEndpoint);
    assert_eq!(retries.begin(true, Some(&budget), NOW), Begin::OverBudget);
}

proptest! {
    #[test]
    fn a_pause_is_a_part_of_a_delay_that_doubles(retry in 1..100_u32, chance in any::<u64>(), ms in 0..10_000_u64) {
        let (delay, most) = (Duration::from_millis(ms), Duration::from_secs(5));
        let pause = backoff(delay, most, retry, chance);
        prop_assert!(pause <= most && pause <= delay.saturating_mul(1 << (retry - 1).min(20)));
        let longest = backoff(delay, most, retry, u64::MAX);
        prop_assert!(longest >= pause && longest >= delay.min(most).mul_f64(0.99));
    }
}
