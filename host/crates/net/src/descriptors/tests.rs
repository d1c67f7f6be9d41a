use std::pin::pin;
use std::task::{Context, Waker};

use super::{DescriptorShares, Places};

#[test]
fn half_of_what_is_left_is_for_upstreams() {
    let check = |files, own, clients, streams| {
        assert_eq!(DescriptorShares::of(files, own), DescriptorShares { clients, streams }, "{files} {own}");
    };
    check(1024, 64, 480, 60);
    check(64, 34, 15, 1);
    check(1_048_576, 64, 524_256, 65_532);
    check(u64::MAX, 64, u32::MAX, u32::MAX / 8);
    // There has to be one, or no connection would ever be accepted.
    check(10, 64, 1, 1);
}

#[test]
fn those_that_wait_get_their_places_in_turn() {
    let places: &'static Places = Box::leak(Box::new(Places::new()));
    places.bound(2);
    let (first, second) = (places.take().unwrap(), places.take().unwrap());
    assert!(places.take().is_none());
    let mut cx = Context::from_waker(Waker::noop());
    let (mut waiting, mut behind) = (pin!(places.wait()), pin!(places.wait()));
    assert!(waiting.as_mut().poll(&mut cx).is_pending());
    assert!(behind.as_mut().poll(&mut cx).is_pending());
    drop(first);
    // It is not for one that has not waited, nor for one that came later.
    assert!(places.take().is_none());
    assert!(behind.as_mut().poll(&mut cx).is_pending());
    let mut third = None;
    assert!(waiting.as_mut().poll(&mut cx).map(|place| third = Some(place)).is_ready());
    drop((second, third));
    assert!(behind.as_mut().poll(&mut cx).is_ready());
    assert!(places.take().is_some() && places.take().is_some());
}
