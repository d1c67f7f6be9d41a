use std::net::SocketAddr;
use std::sync::Arc;

use tokio::time::{Duration, Instant};

use super::{Addresses, FAILED_FOR};

fn address(last: u8) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, last], 80))
}

fn known(lasts: &[u8]) -> Addresses {
    let addresses = Addresses::of("app.test:80".into());
    addresses.update(&lasts.iter().map(|last| address(*last)).collect::<Arc<[_]>>());
    addresses
}

fn turns(addresses: &Addresses, count: usize) -> Vec<SocketAddr> {
    let mut turns: Vec<_> = (0..count).filter_map(|_| addresses.next()).collect();
    turns.sort();
    turns
}

#[test]
fn each_address_of_a_name_has_its_turn() {
    let addresses = known(&[1, 2, 3]);
    assert_eq!(turns(&addresses, 6), [1, 1, 2, 2, 3, 3].map(address));
    assert_eq!(Addresses::of("127.0.0.1:80".into()).next(), None, "an address is not a name");
    assert_eq!(Addresses::of("app.test:80".into()).next(), None, "not looked up yet");
}

#[test]
fn one_that_failed_is_passed_over_for_a_while() {
    let addresses = known(&[1, 2, 3]);
    assert!(addresses.mark_failed(address(2)));
    assert_eq!(turns(&addresses, 4), [1, 1, 3, 3].map(address));
    let later = || Instant::now() + FAILED_FOR + Duration::from_millis(1);
    let mut turns_later: Vec<_> = (0..3).filter_map(|_| addresses.next_at(later)).collect();
    turns_later.sort();
    assert_eq!(turns_later, [1, 2, 3].map(address));
    addresses.mark_failed(address(2));
    addresses.mark_answered(address(2));
    assert_eq!(turns(&addresses, 3), [1, 2, 3].map(address), "it answers again");
}

#[test]
fn if_all_have_failed_none_is_passed_over() {
    let addresses = known(&[1, 2]);
    assert!(addresses.mark_failed(address(1)));
    assert!(!addresses.mark_failed(address(2)), "there is none left");
    assert_eq!(turns(&addresses, 4), [1, 1, 2, 2].map(address));
    assert!(!known(&[1]).mark_failed(address(1)), "the only one");
    assert!(!known(&[1, 2]).mark_failed(address(3)), "an address of others");
}

#[test]
fn connects_in_turn_with_those_that_failed_last() {
    let addresses = known(&[1, 2, 3]);
    let found = [1, 2, 3].map(address);
    assert_eq!(addresses.order(&found, Some(address(2))), [2, 3, 1].map(address));
    addresses.mark_failed(address(3));
    assert_eq!(addresses.order(&found, Some(address(2))), [2, 1, 3].map(address));
    assert_eq!(addresses.order(&found, Some(address(3))), [3, 1, 2].map(address), "it was asked for");
    assert_eq!(addresses.order(&found[..1], None), [address(1)]);
}

#[test]
fn a_connection_to_an_address_that_is_gone_serves_no_more() {
    let addresses = known(&[1, 2]);
    assert!(addresses.includes(Some(address(1))) && addresses.includes(None));
    addresses.update(&Arc::from([address(2)]));
    assert!(!addresses.includes(Some(address(1))) && addresses.includes(Some(address(2))));
    assert!(Addresses::of("app.test:80".into()).includes(Some(address(1))), "nothing is known");
}
