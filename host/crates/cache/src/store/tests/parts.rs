//! Parts of bodies: read while they grow, and put together.

use std::task::{Context, Waker};

use bytes::Bytes;
use proptest::prelude::*;

use super::tools::{content, filled, key, new_entry, read_all, store};

fn bytes(range: std::ops::Range<usize>) -> Bytes {
    range.map(|at| (at % 251) as u8).collect::<Vec<_>>().into()
}

#[test]
fn a_part_is_read_while_the_body_grows() {
    let store = store();
    let mut fill = store.begin(store.ticket(), new_entry(&key("/a"), b"", 1, &[], Some(1000))).unwrap();
    let body = fill.entry().body().clone();
    assert!(body.read_range(0..1001).is_none());
    let (mut before, mut across, mut behind) = (
        body.read_range(0..10).unwrap(),
        body.read_range(400..600).unwrap(),
        body.read_range(900..1000).unwrap(),
    );
    let mut cx = Context::from_waker(Waker::noop());
    assert!(behind.poll_next(&mut cx).is_pending());
    fill.append(&bytes(0..500));
    assert_eq!(body.written(), 500);
    assert!(before.poll_next(&mut cx).is_ready() && across.poll_next(&mut cx).is_ready());
    assert_eq!((before.remaining(), across.remaining()), (Some(0), Some(100)));
    assert!(behind.poll_next(&mut cx).is_pending() && across.poll_next(&mut cx).is_pending());
    let first = body.read_range(450..460).unwrap();
    fill.append(&bytes(500..1000));
    fill.commit().unwrap();
    assert_eq!(read_all(before).unwrap(), b"");
    assert_eq!(read_all(across).unwrap(), bytes(500..600));
    assert_eq!(read_all(behind).unwrap(), bytes(900..1000));
    assert_eq!(read_all(first).unwrap(), bytes(450..460));
}

#[test]
fn a_reader_of_what_is_not_there_yet_sees_it_fail_and_holds_no_writer_up() {
    let store = store();
    let mut fill = store.begin(store.ticket(), new_entry(&key("/a"), b"", 1, &[], Some(1000))).unwrap();
    let behind = fill.entry().body().read_range(900..1000).unwrap();
    fill.append(&bytes(0..500));
    fill.stop_storing();
    let mut cx = Context::from_waker(Waker::noop());
    assert!(fill.poll_room(&mut cx).is_ready());
    drop(fill);
    assert!(read_all(behind).is_err());
}

proptest! {
    /// Parts put together are the bytes that they are parts of, and whole blocks of them are not copied.
    #[test]
    fn parts_are_put_together(
        length in 1..200_000_usize,
        cut in (0..200_000_usize, 0..200_000_usize),
        piece in 1..100_000_usize,
    ) {
        let store = store();
        let (from, to) = (cut.0.min(cut.1).min(length), cut.0.max(cut.1).min(length));
        let old = {
            let new = new_entry(&key("/old"), b"", 1, &[], Some(length as u64));
            let mut fill = store.begin(store.ticket(), new).unwrap();
            for start in (0..length).step_by(piece) {
                fill.append(&bytes(start..(start + piece).min(length)));
            }
            fill.commit().unwrap()
        };
        let mut fill =
            store.begin(store.ticket(), new_entry(&key("/new"), b"", 2, &[], Some(length as u64))).unwrap();
        let reader = fill.entry().body().read_range(from as u64..length as u64).unwrap();
        prop_assert!(fill.append_part(old.body(), 0..from as u64));
        fill.append(&bytes(from..to));
        prop_assert!(fill.append_part(old.body(), to as u64..length as u64));
        prop_assert!(!fill.append_part(old.body(), 0..length as u64 + 1));
        let new = fill.commit().unwrap();
        prop_assert_eq!(content(&new), bytes(0..length));
        prop_assert_eq!(read_all(reader).unwrap(), bytes(from..length));
        drop(old);
        store.forget(&store.find(key("/old").bytes()).unwrap().hit(0).unwrap());
        prop_assert_eq!(content(&new), bytes(0..length));
        drop(new);
        store.forget(&store.find(key("/new").bytes()).unwrap().hit(0).unwrap());
        // All that was counted, for one body or both, is given back.
        let empty = super::tools::store().stats().bytes;
        prop_assert_eq!(store.stats().bytes, empty);
    }
}

#[test]
fn a_part_that_is_too_large_together_is_not_stored() {
    let store = store();
    let old = filled(&store, &key("/a"), b"", 1, &[], &[1; 600 << 10]);
    let mut fill = store.begin(store.ticket(), new_entry(&key("/b"), b"", 2, &[], None)).unwrap();
    fill.append(&vec![2; 600 << 10].into());
    assert!(fill.append_part(old.body(), 0..600 << 10));
    assert!(!fill.stored() && store.find(key("/b").bytes()).is_none());
}
