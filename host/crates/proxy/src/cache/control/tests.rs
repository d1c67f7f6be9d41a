use std::pin::pin;
use std::task::{Context, Poll, Waker};

use super::queue::Queue;
use super::{CacheControl, CachePurger, PurgeError, PurgeRequest, Purged, WAITING_MAX};

#[test]
fn policies_take_turns() {
    let mut queue = Queue::default();
    for (policy, job) in [("a", 1), ("a", 2), ("a", 3), ("b", 4), ("c", 5), ("b", 6)] {
        queue.push(policy.into(), job);
    }
    let order: Vec<i32> = std::iter::from_fn(|| queue.pop()).collect();
    assert_eq!(order, [1, 4, 5, 2, 6, 3]);
    assert!(queue.is_empty());
}

fn request(policy: &str, what: Purged) -> PurgeRequest {
    PurgeRequest { policy: policy.into(), caches: vec!["c".into()], what, soft: false }
}

#[test]
fn the_purges_of_a_policy_that_wait_are_bounded() {
    let control = CacheControl::default();
    for _ in 0..WAITING_MAX {
        assert!(control.0.enter(&"a".into()));
    }
    assert!(!control.0.enter(&"a".into()));
    // Another policy has places of its own.
    assert!(control.0.enter(&"b".into()));
    control.0.leave(&"a".into());
    assert!(control.0.enter(&"a".into()));
    let mut refused = pin!(control.purge(request("a", Purged::Tag("t".to_owned()))));
    let polled = refused.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    assert_eq!(polled, Poll::Ready(Err(PurgeError::Busy)));
    for _ in 0..WAITING_MAX {
        control.0.leave(&"a".into());
    }
    control.0.leave(&"b".into());
    assert!(control.0.waiting.lock().is_empty());
}

#[tokio::test]
async fn what_is_no_url_is_refused_and_without_a_generation_nothing_is_met() {
    let control = CacheControl::default();
    for (what, expected) in [
        (Purged::Url("/a".to_owned()), None),
        (Purged::Url("a.test/*".to_owned()), None),
        (Purged::Prefix("ftp://a.test".to_owned()), None),
        (Purged::Prefix("a.test/*".to_owned()), Some(0)),
        (Purged::Tag("t".to_owned()), Some(0)),
    ] {
        let purged = control.purge(request("a", what.clone())).await;
        match expected {
            Some(met) => assert_eq!(purged, Ok(met), "{what:?}"),
            None => assert!(matches!(purged, Err(PurgeError::Invalid(_))), "{what:?}: {purged:?}"),
        }
    }
}
