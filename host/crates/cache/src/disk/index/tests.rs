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
        added: 0,
        nonce: number,
        changes: 0,
        open: None,
    }
}

#[test]
fn finds_what_is_finished_and_purges_also_what_is_not() {
    let mut index = Index::new(1 << 20, 100, 3);
    assert!(
        index.insert(record(1, true), 10)
            && index.insert(record(2, false), 10)
            && index.insert(record(3, true), 10)
    );
    assert_eq!((index.find(1).len(), index.find(2).len(), index.of_key(2).len()), (1, 0, 1));
    assert_eq!(
        (index.named(1_002).len(), index.named(5_001).len(), index.with_prefix(b"https://host/", 0).0.len()),
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
    let mut index = Index::new(9 * 4096, 4, 3);
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

#[test]
fn a_key_has_a_bounded_number_of_variants() {
    let mut index = Index::new(1 << 20, 100, 3);
    let variant = |number| FileName { key: 7, variant: number };
    for number in [5, 1, 9, 3, 0] {
        assert!(index.insert(Record { name: variant(number), ..record(7, true) }, 10));
        let surplus = index.surplus_variant(7);
        assert_eq!(
            surplus,
            [None, Some(variant(5)), Some(variant(1))][index.added.saturating_sub(3).min(2) as usize]
        );
    }
    assert_eq!(index.of_key(7), [variant(0), variant(3), variant(9)]);
    assert_eq!(index.surplus_variant(8), None);
}

#[test]
fn a_prefix_is_searched_in_steps() {
    let mut index = Index::new(1 << 40, 10_000, 3);
    for number in 0..9_000 {
        index.insert(record(number, true), 10);
    }
    let (mut found, mut from) = (0, Some(0));
    let mut steps = 0;
    while let Some(at) = from {
        let (names, next) = index.with_prefix(b"https://host/1", at);
        (found, from, steps) = (found + names.len(), next, steps + 1);
    }
    assert_eq!((found, steps), (1_111, 3));
}
