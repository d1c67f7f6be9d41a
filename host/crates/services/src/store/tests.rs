use std::time::Duration;

use portcullis_model::StoreGrant;

use super::{Error, ScratchStore, Store};

const START: Duration = Duration::from_secs(1000);

fn store(entries_max: usize, bytes_max: usize) -> Store {
    let store = Store::default();
    store.provide(StoreGrant { entries_max, bytes_max });
    store
}

fn at(millis: u64) -> Duration {
    START + Duration::from_millis(millis)
}

const TTL: Option<Duration> = Some(Duration::from_millis(500));

#[test]
fn forgets_when_the_time_is_over() {
    let store = store(10, 1000);
    store.set("a", b"x".to_vec(), TTL, START).unwrap();
    assert_eq!(store.get("a", at(499)).unwrap(), Some(b"x".to_vec()));
    assert_eq!(store.get("a", at(500)).unwrap(), None);
    assert!(store.compare_and_set("a", None, b"y".to_vec(), None, at(500)).unwrap(), "as if it were absent");
    assert_eq!(store.increment("n", 1, TTL, START).unwrap(), 1);
    assert_eq!(store.increment("n", 1, TTL, at(400)).unwrap(), 2);
    assert_eq!(store.increment("n", 1, TTL, at(500)).unwrap(), 1, "its time counts from the first");
}

#[test]
fn keeps_to_its_quota_of_entries_and_bytes() {
    let store = store(2, 20);
    store.set("a", b"12345678".to_vec(), None, START).unwrap();
    assert!(matches!(store.set("b", vec![0; 11], None, START), Err(Error::Quota)), "9 + 12 > 20");
    store.set("b", vec![0; 10], None, START).unwrap();
    assert!(matches!(store.set("c", vec![], None, at(1000)), Err(Error::Quota)), "a third entry");
    assert!(matches!(store.set("a", vec![0; 9], None, at(2000)), Err(Error::Quota)), "a byte more");
    assert_eq!(store.get("a", START).unwrap(), Some(b"12345678".to_vec()), "as it was");
    store.set("a", Vec::new(), None, START).unwrap();
    store.set("b", vec![0; 18], None, START).unwrap();
    store.delete("b").unwrap();
    store.delete("b").unwrap();
    store.set("c", vec![0; 18], None, START).unwrap();
}

#[test]
fn makes_room_of_what_is_over() {
    let store = store(2, 1000);
    store.set("a", vec![], TTL, START).unwrap();
    store.set("b", vec![], TTL, START).unwrap();
    assert!(matches!(store.set("c", vec![], None, at(499)), Err(Error::Quota)));
    assert!(matches!(store.set("c", vec![], None, at(501)), Err(Error::Quota)), "looked a moment ago");
    store.set("c", vec![], None, at(600)).unwrap();
    store.increment("d", 1, None, at(600)).unwrap();
}

#[test]
fn counts_exactly_across_threads_and_stops_at_the_ends() {
    let store = store(10, 1000);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..10_000 {
                    store.increment("n", 1, None, START).unwrap();
                }
            });
        }
    });
    assert_eq!(store.get("n", START).unwrap(), Some(b"40000".to_vec()));
    assert_eq!(store.increment("n", i64::MAX, None, START).unwrap(), i64::MAX);
    assert_eq!(store.increment("m", i64::MIN, None, START).unwrap(), i64::MIN);
    assert_eq!(store.increment("m", -1, None, START).unwrap(), i64::MIN);
}

#[test]
fn exactly_one_thread_wins_a_comparison() {
    let store = store(10, 1000);
    let wins: usize = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| store.compare_and_set("a", None, b"x".to_vec(), None, START).unwrap()))
            .collect();
        threads.into_iter().map(|thread| usize::from(thread.join().unwrap())).sum()
    });
    assert_eq!(wins, 1);
}

#[test]
fn refuses_large_keys_and_values() {
    let store = store(10, 1 << 20);
    let key = "k".repeat(1025);
    assert!(matches!(store.get(&key, START), Err(Error::TooLarge)));
    assert!(matches!(store.set("k", vec![0; 65_537], None, START), Err(Error::TooLarge)));
    store.set(&key[..1024], vec![0; 65_536], None, START).unwrap();
    assert!(matches!(Store::default().set("k", vec![], None, START), Err(Error::Quota)), "not granted");
}

#[test]
fn lists_the_first_keys_of_a_prefix_in_order() {
    let store = store(20_000, 1 << 20);
    let list = |prefix: &str, now| store.list(prefix, now, &mut || Ok(())).unwrap();
    for at in (0..1500).rev() {
        store.set(&format!("a:{at:04}"), Vec::new(), None, START).unwrap();
    }
    for key in ["b:2", "a", "b:10", "b", "c"] {
        store.set(key, Vec::new(), TTL, START).unwrap();
    }
    assert_eq!(list("b:", START).unwrap(), ["b:10", "b:2"]);
    assert_eq!(list("b", START).unwrap(), ["b", "b:10", "b:2"]);
    assert_eq!(list("b", at(500)).unwrap(), [""; 0], "their time is over");
    assert_eq!(list("x", START).unwrap(), [""; 0]);
    let first: Vec<String> = (0..1000).map(|at| format!("a:{at:04}")).collect();
    assert_eq!(list("a:", START).unwrap(), first);
    assert_eq!(list("", START).unwrap().len(), 1000);
    assert_eq!(list(&"k".repeat(1025), START), Err(Error::TooLarge));
    let stopped = store.list("a:", START, &mut || Err(crate::OutOfTime { limit: START }));
    assert!(stopped.is_err(), "it asks for the time");
}

#[test]
fn a_copy_lists_what_an_exchange_changed_in_it() {
    let store = store(10, 1000);
    store.set("a:1", Vec::new(), None, START).unwrap();
    store.set("a:2", Vec::new(), None, START).unwrap();
    let mut copy = ScratchStore::of(&store);
    copy.touch(&store, "a:1").delete("a:1").unwrap();
    copy.touch(&store, "a:3").set("a:3", Vec::new(), None, START).unwrap();
    let before = store.list("a:", START, &mut || Ok(())).unwrap().unwrap();
    let listed = copy.touch_all(&store, &before);
    let listed = listed.list("a:", START, &mut || Ok(())).unwrap();
    assert_eq!(listed.unwrap(), ["a:2", "a:3"]);
    let real = store.list("a:", START, &mut || Ok(())).unwrap();
    assert_eq!(real.unwrap(), ["a:1", "a:2"]);
}
