use super::{FileName, Index, Record, taken};
use crate::store::eviction::Heat;
use crate::store::purges::Names;

fn record(number: u64, ready: bool) -> Record {
    Record {
        name: FileName { key: u128::from(number), variant: 0 },
        names: Names { key: number, url: number + 1_000, tags: [number % 2 + 5_000].into() },
        url: format!("https://host/{number}").into_bytes().into(),
        stale_since: 0,
        heat: Heat::default(),
        ready,
        nonce: number,
    }
}

#[test]
fn finds_what_is_finished_and_purges_also_what_is_not() {
    let mut index = Index::new(1 << 20, 100);
    assert!(
        index.insert(record(1, true), 10)
            && index.insert(record(2, false), 10)
            && index.insert(record(3, true), 10)
    );
    assert_eq!((index.find(1).len(), index.find(2).len(), index.of_key(2).len()), (1, 0, 1));
    assert_eq!(
        (index.named(1_002).len(), index.named(5_001).len(), index.with_prefix(b"https://host/").len()),
        (1, 2, 3)
    );
    assert!(!index.insert(record(2, false), 10));
    index.get_mut(record(2, true).name).unwrap().ready = true;
    assert!(index.insert(record(2, true), 10) && index.find(2).len() == 1);
    assert!(index.remove(record(1, true).name) && !index.remove(record(1, true).name));
    assert_eq!((index.named(5_001).len(), index.size()), (1, (2, 2 * taken(10))));
}

#[test]
fn makes_room_before_a_file_is_written() {
    let mut index = Index::new(9 * 4096, 4);
    for number in 0..4 {
        assert_eq!(index.write(5_000), Some(vec![]));
        index.written(5_000);
        assert!(index.insert(record(number, true), 5_000) && index.evict_surplus().is_none());
    }
    assert_eq!(index.write(5_000).unwrap(), [record(0, true).name]);
    // What is not finished does not make room.
    assert!(index.write(10 * 4096).is_none());
    index.written(5_000);
    assert!(index.insert(record(9, true), 5_000) && index.insert(record(10, true), 5_000));
    assert!(index.evict_surplus().is_none_or(|_| index.size().0 <= 4));
}
