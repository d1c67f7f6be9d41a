use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;

use super::super::budget::{Budget, Reservation};
use super::super::growing::{MemoryReader, ReadError};
use super::{MemoryBody, Writer};

fn poll(reader: &mut MemoryReader) -> Poll<Option<Result<Bytes, ReadError>>> {
    reader.poll_next(&mut Context::from_waker(Waker::noop()))
}

fn next(reader: &mut MemoryReader) -> Vec<u8> {
    match poll(reader) {
        Poll::Ready(Some(Ok(bytes))) => bytes.to_vec(),
        other => panic!("{other:?}"),
    }
}

fn room(writer: &mut Writer) -> Poll<bool> {
    writer.poll_room(&mut Context::from_waker(Waker::noop()))
}

fn piece(byte: u8, bytes: usize) -> Bytes {
    vec![byte; bytes].into()
}

/// A writer of a body of at most 100,000 bytes, with a window of 4,000.
fn writer(announced: Option<u64>) -> Writer {
    Writer::new(MemoryBody::new(announced), 100_000, 4_000)
}

fn enough(budget: &Arc<Budget>) -> impl Fn(u64) -> Option<Reservation> {
    |bytes| budget.reserve(bytes)
}

#[test]
fn readers_go_at_their_own_pace_and_later_ones_begin_at_the_start() {
    let budget = Budget::new(1 << 20);
    let mut writer = writer(None);
    let mut first = writer.body.read().unwrap();
    assert!(poll(&mut first).is_pending());
    writer.append(&piece(1, 10), enough(&budget));
    assert_eq!(next(&mut first), [1; 10]);
    assert!(poll(&mut first).is_pending());
    writer.append(&piece(2, 5), enough(&budget));
    let mut second = writer.body.read().unwrap();
    assert_eq!(next(&mut second).len(), 15);
    let body = Arc::clone(&writer.body);
    assert_eq!(body.len(), None);
    assert!(writer.complete(true));
    assert_eq!((body.len(), body.whole().unwrap().len()), (Some(15), 1));
    assert_eq!(next(&mut first), [2; 5]);
    assert!(matches!((poll(&mut first), poll(&mut second)), (Poll::Ready(None), Poll::Ready(None))));
}

#[test]
fn what_is_not_used_of_the_last_block_is_given_back() {
    let budget = Budget::new(1 << 20);
    let mut writer = writer(None);
    for _ in 0..70 {
        writer.append(&piece(0, 1_000), enough(&budget));
    }
    let body = Arc::clone(&writer.body);
    assert!(writer.complete(true));
    let blocks = body.whole().unwrap().len() as u64;
    assert_eq!(budget.used(), 70_000 + blocks * super::BLOCK_COST as u64);
    assert!(blocks < 8);
    drop(body);
    assert_eq!(budget.used(), 0);
}

#[test]
fn a_failed_body_fails_all_readers_and_refuses_new_ones() {
    let budget = Budget::new(1 << 20);
    let mut writer = writer(Some(20));
    let mut reader = writer.body.read().unwrap();
    writer.append(&piece(1, 10), enough(&budget));
    let body = Arc::clone(&writer.body);
    drop(writer);
    assert!(matches!(poll(&mut reader), Poll::Ready(Some(Err(ReadError::Aborted)))));
    assert!(body.read().is_none());
    assert_eq!(budget.used(), 0);
}

#[test]
fn what_is_too_large_is_passed_on_to_those_who_read_it() {
    let budget = Budget::new(1 << 20);
    let mut writer = writer(None);
    let (mut fast, mut slow) = (writer.body.read().unwrap(), writer.body.read().unwrap());
    writer.append(&piece(1, 60_000), enough(&budget));
    assert_eq!(next(&mut fast).len(), 60_000);
    writer.append(&piece(2, 60_000), enough(&budget));
    assert!(writer.passes_on());
    // What was stored is still there for the slow one, and counted. The fast one has to read before more is written.
    assert!(budget.used() >= 60_000);
    assert!(room(&mut writer).is_pending());
    while poll(&mut fast).is_ready() {}
    assert_eq!(room(&mut writer), Poll::Ready(true));
    assert_eq!(next(&mut slow), [1; 60_000]);
    while poll(&mut slow).is_ready() {}
    writer.append(&piece(3, 1_000), enough(&budget));
    assert!(writer.body.read().is_none());
    assert_eq!((next(&mut fast), next(&mut slow)), (vec![3; 1_000], vec![3; 1_000]));
    assert_eq!(budget.used(), 0);
    drop((fast, slow));
    assert_eq!(room(&mut writer), Poll::Ready(false));
    assert!(!writer.complete(true));
}

#[test]
fn a_slow_reader_of_what_is_not_stored_fails_and_slows_no_other() {
    let budget = Budget::new(0);
    let mut writer = writer(None);
    let (mut fast, mut slow) = (writer.body.read().unwrap(), writer.body.read().unwrap());
    let mut read = 0;
    for _ in 0..100 {
        assert_eq!(room(&mut writer), Poll::Ready(true));
        writer.append(&piece(1, 100), enough(&budget));
        read += next(&mut fast).len();
        assert!(
            writer.body.growing.lock().pieces.iter().map(|piece| piece.bytes.len()).sum::<usize>() <= 5_000
        );
    }
    assert_eq!(read, 10_000);
    assert!(matches!(poll(&mut slow), Poll::Ready(Some(Err(ReadError::Lagged)))));
    writer.complete(true);
    assert!(matches!(poll(&mut fast), Poll::Ready(None)));
}

#[test]
fn the_writer_is_woken_when_a_reader_has_read_or_left() {
    struct Count(std::sync::atomic::AtomicUsize);
    impl std::task::Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        }
    }
    let budget = Budget::new(0);
    let mut writer = writer(None);
    let mut reader = writer.body.read().unwrap();
    writer.append(&piece(1, 10_000), enough(&budget));
    let count = Arc::new(Count(0.into()));
    let waker = Waker::from(Arc::clone(&count));
    assert!(writer.poll_room(&mut Context::from_waker(&waker)).is_pending());
    next(&mut reader);
    assert_eq!(count.0.load(std::sync::atomic::Ordering::SeqCst), 1);
    writer.append(&piece(1, 10_000), enough(&budget));
    assert!(writer.poll_room(&mut Context::from_waker(&waker)).is_pending());
    drop(reader);
    assert_eq!(count.0.load(std::sync::atomic::Ordering::SeqCst), 2);
}
