use std::time::{Duration, Instant};

use super::{Batch, Clock, Mark, WAIT_MAX, Waiting};

fn batch(lines: &[(u64, &str)]) -> Batch {
    let mut batch = Batch::default();
    for (ended, line) in lines {
        batch.lines.extend_from_slice(line.as_bytes());
        batch.marks.push(Mark { ended: *ended, bytes: line.len() as u32 });
    }
    batch
}

fn take(waiting: &mut Waiting, until: u64) -> String {
    let mut out = Vec::new();
    waiting.take(until, usize::MAX, &mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn records_of_several_workers_come_in_the_order_of_their_ends() {
    let mut waiting = Waiting::default();
    waiting.push(batch(&[(1, "a1 "), (4, "a4 "), (9, "a9 ")]));
    waiting.push(batch(&[(2, "b2 "), (3, "b3 "), (8, "b8 ")]));
    waiting.push(batch(&[(10, "a10 ")]));
    assert_eq!(take(&mut waiting, 0), "");
    assert_eq!(take(&mut waiting, 4), "a1 b2 b3 a4 ");
    waiting.push(batch(&[(5, "c5 "), (12, "c12 ")]));
    assert_eq!(take(&mut waiting, 11), "c5 b8 a9 a10 ");
    assert!(!waiting.is_empty());
    assert_eq!(take(&mut waiting, u64::MAX), "c12 ");
    assert!(waiting.is_empty() && waiting.bytes == 0);
}

#[test]
fn what_is_taken_at_once_is_bounded_and_counted() {
    let mut waiting = Waiting::default();
    waiting.push(batch(&[(1, "one "), (2, "two "), (3, "three ")]));
    let mut out = Vec::new();
    assert_eq!(waiting.take(u64::MAX, 5, &mut out), 2);
    assert_eq!(out, b"one two ");
    out.clear();
    assert_eq!(waiting.take(u64::MAX, 5, &mut out), 1);
    assert_eq!(waiting.take(u64::MAX, 5, &mut out), 0);
}

#[test]
fn all_workers_must_have_said_that_nothing_older_comes() {
    let clock = Clock::new();
    let (one, other) = (clock.worker(), clock.worker());
    let later = Instant::now() + Duration::from_secs(3600);
    one.until(later);
    assert!(clock.handed_over() < clock.nanos(later), "the other has not said so");
    other.until(later + Duration::from_secs(1));
    assert_eq!(clock.handed_over(), clock.nanos(later));
    // A worker that is gone announces nothing more, and nothing follows from it.
    drop(one);
    assert_eq!(clock.handed_over(), clock.nanos(later + Duration::from_secs(1)));
    drop(other);
    assert_eq!(clock.handed_over(), u64::MAX);
}

#[test]
fn a_worker_that_says_nothing_is_not_waited_for_for_ever() {
    let clock = Clock::new();
    let _silent = clock.worker();
    let ended = clock.nanos(Instant::now());
    let give_up = Instant::now() + WAIT_MAX * 100;
    while clock.handed_over() < ended {
        assert!(Instant::now() < give_up, "it is still waited for");
        std::thread::yield_now();
    }
}
