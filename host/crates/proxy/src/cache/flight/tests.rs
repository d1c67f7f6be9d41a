use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Wake;

use super::*;

const RULES: Collapse =
    Collapse { wait: Duration::from_secs(5), waiting_max: 2, pass: Duration::from_secs(10) };

#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn lead(flights: &Arc<Flights<u32>>, key: &[u8]) -> Lead<u32> {
    match flights.join(key, &RULES, true) {
        Joined::Lead(lead) => lead,
        other => panic!("{other:?}"),
    }
}

fn wait(flights: &Arc<Flights<u32>>, key: &[u8]) -> Wait<u32> {
    match flights.join(key, &RULES, true) {
        Joined::Wait(wait) => wait,
        other => panic!("{other:?}"),
    }
}

/// What a wait has come to, if it has.
fn outcome(wait: &mut Wait<u32>, woken: &Arc<Woken>) -> Option<Outcome<u32>> {
    let waker = Waker::from(woken.clone());
    match wait.poll(&mut Context::from_waker(&waker)) {
        Poll::Ready(outcome) => Some(outcome),
        Poll::Pending => None,
    }
}

#[tokio::test(start_paused = true)]
async fn all_that_wait_read_what_one_gets() {
    let (flights, woken) = (Arc::<Flights<u32>>::default(), Arc::<Woken>::default());
    let lead = lead(&flights, b"a");
    let mut waits = [wait(&flights, b"a"), wait(&flights, b"a")];
    assert!(waits.iter_mut().all(|wait| outcome(wait, &woken).is_none()));
    assert_eq!(lead.waiting(), 2);
    assert!(matches!(flights.join(b"a", &RULES, true), Joined::Alone(None)), "two may wait");
    assert!(matches!(flights.join(b"b", &RULES, true), Joined::Lead(_)), "another key is another flight");
    lead.end(Outcome::Read(7));
    assert_eq!(woken.0.load(Ordering::Relaxed), 2);
    for wait in &mut waits {
        assert!(matches!(outcome(wait, &woken), Some(Outcome::Read(7))));
    }
    assert!(matches!(flights.join(b"a", &RULES, true), Joined::Lead(_)));
}

#[tokio::test(start_paused = true)]
async fn a_lead_that_is_dropped_releases_those_that_wait() {
    let (flights, woken) = (Arc::<Flights<u32>>::default(), Arc::<Woken>::default());
    let lead = lead(&flights, b"a");
    let mut waiting = wait(&flights, b"a");
    assert!(outcome(&mut waiting, &woken).is_none());
    drop(lead);
    assert!(matches!(outcome(&mut waiting, &woken), Some(Outcome::Abandoned)));
    assert_eq!(woken.0.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_is_dropped_gives_its_place_back() {
    let flights = Arc::<Flights<u32>>::default();
    let lead = lead(&flights, b"a");
    let waits = [wait(&flights, b"a"), wait(&flights, b"a")];
    drop(waits);
    assert_eq!(lead.waiting(), 0);
    drop(wait(&flights, b"a"));
}

#[tokio::test(start_paused = true)]
async fn after_a_response_that_is_not_stored_none_waits_for_a_while() {
    let (flights, woken) = (Arc::<Flights<u32>>::default(), Arc::<Woken>::default());
    let lead = lead(&flights, b"a");
    let mut waiting = wait(&flights, b"a");
    lead.pass(Passing::NotStored, RULES.pass);
    assert!(matches!(outcome(&mut waiting, &woken), Some(Outcome::NotShared)));
    assert!(matches!(flights.join(b"a", &RULES, true), Joined::Alone(Some(Passing::NotStored))));
    tokio::time::advance(RULES.pass - Duration::from_millis(1)).await;
    assert!(matches!(flights.join(b"a", &RULES, true), Joined::Alone(Some(Passing::NotStored))));
    tokio::time::advance(Duration::from_millis(1)).await;
    assert!(matches!(flights.join(b"a", &RULES, true), Joined::Lead(_)));
}

#[tokio::test(start_paused = true)]
async fn what_is_remembered_of_responses_that_are_not_stored_is_bounded() {
    let flights = Arc::<Flights<u32>>::default();
    for number in 0..SHARDS * PASSES_MAX * 2 {
        lead(&flights, &number.to_le_bytes()).pass(Passing::TooLarge, RULES.pass);
    }
    assert!(flights.shards.iter().all(|shard| shard.lock().passes.len() <= PASSES_MAX));
    assert!(flights.shards.iter().all(|shard| shard.lock().flights.is_empty()));
}
