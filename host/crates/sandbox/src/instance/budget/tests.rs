use std::sync::Arc;
use std::time::{Duration, Instant};

use portcullis_services::cpu_time::thread_cpu_time;
use wasmtime::UpdateDeadline;

use super::{Budget, Length};
use crate::engine::ticker::{Ticker, TickerThread};

const MS: Duration = Duration::from_millis(1);

fn budget() -> (TickerThread, Budget) {
    let ticker = TickerThread::start(Vec::new()).unwrap();
    let budget = Budget::new(ticker.ticker().clone());
    (ticker, budget)
}

/// Uses so much CPU time.
fn burn(time: Duration) {
    let until = thread_cpu_time() + time;
    while thread_cpu_time() < until {}
}

/// Lets time pass that is not used, until there were so many ticks more.
fn rest(ticker: &TickerThread, ticks: u64) {
    let until = ticker.ticker().ticks() + ticks;
    while ticker.ticker().ticks() < until {
        ticker.ticker().touch();
        std::thread::park_timeout(MS);
    }
}

#[test]
fn what_was_used_before_the_first_look_counts() {
    let (ticker, mut budget) = budget();
    budget.start(20 * MS, false);
    burn(21 * MS);
    rest(&ticker, 1);
    assert!(budget.check().is_ok(), "its longest stretch is not held against it");
    burn(21 * MS);
    rest(&ticker, 1);
    assert!(budget.check().is_err());
    assert!(budget.finish() >= 42 * MS);
    assert_eq!(budget.length(), Length::Long);
}

/// What a hypervisor takes of a thread's time looks to the thread as if it had used it.
#[test]
fn one_stretch_of_any_length_ends_no_call_and_is_charged() {
    for yields in [false, true] {
        let (ticker, mut budget) = budget();
        // Between each two looks the thread may be stopped on a busy machine, so the limit is far beyond what it burns.
        budget.start(200 * MS, yields);
        for stretch in [MS, 300 * MS, MS, MS] {
            burn(stretch);
            rest(&ticker, 1);
            assert!(budget.check().is_ok(), "yields: {yields}");
        }
        assert!(budget.finish() >= 303 * MS);
    }
}

#[test]
fn a_call_of_two_long_stretches_is_long() {
    for yields in [false, true] {
        let (ticker, mut budget) = budget();
        budget.start(Duration::from_secs(60), yields);
        for _ in 0..2 {
            burn(2 * MS);
            rest(&ticker, 1);
            assert!(budget.check().is_ok());
        }
        budget.finish();
        assert_eq!(budget.length(), Length::Long, "yields: {yields}");
    }
}

#[test]
fn the_length_of_a_call_is_judged_without_its_longest_stretch() {
    let (_ticker, mut budget) = budget();
    for (spent, longest, length) in [
        (Duration::from_micros(999), Duration::ZERO, Length::Short),
        (MS, Duration::from_micros(1), Length::Doubtful),
        (35 * MS, 35 * MS, Length::Doubtful),
        (3 * MS, 2 * MS, Length::Long),
    ] {
        (budget.spent, budget.longest) = (spent, longest);
        assert_eq!(budget.length(), length, "{spent:?} {longest:?}");
    }
}

#[test]
fn the_longest_of_the_turns_that_ended_by_themselves_ends_no_call_either() {
    let (ticker, mut budget) = budget();
    budget.start(200 * MS, true);
    let turns = budget.turns();
    for stretch in [MS, 300 * MS, MS] {
        let begun = Instant::now();
        turns.resume(begun);
        burn(stretch);
        assert!(turns.pause(begun.elapsed()));
    }
    turns.resume(Instant::now());
    burn(MS);
    rest(&ticker, 1);
    assert!(budget.check().is_ok());
    burn(300 * MS);
    rest(&ticker, 1);
    assert!(budget.check().is_err(), "a second one does");
}

#[test]
fn a_call_that_runs_on_is_ended_by_what_it_uses_beside_its_longest_stretch() {
    let (_ticker, mut budget) = budget();
    budget.start(20 * MS, false);
    while budget.check().is_ok() {}
    // Read before `finish`, which counts what comes after the last look.
    let (used, longest) = (budget.used, budget.longest);
    assert!(used - longest >= 20 * MS, "{used:?} {longest:?}");
    // The look before the last one found less than the limit, and between the two there was at most the longest
    // stretch.
    assert!(used < 20 * MS + 2 * longest, "{used:?} {longest:?}");
}

#[test]
fn time_in_which_the_thread_was_off_its_core_does_not() {
    let (ticker, mut budget) = budget();
    budget.start(50 * MS, false);
    // Far more than the limit, of which nothing is used.
    rest(&ticker, 100);
    assert!(budget.check().is_ok());
    let used = budget.finish();
    assert!(used < 50 * MS, "{used:?}");
}

#[test]
fn a_call_that_nothing_looked_at_is_charged_what_it_used() {
    let (ticker, mut budget) = budget();
    budget.start(MS, false);
    burn(30 * MS);
    let used = budget.finish();
    assert!(used >= 30 * MS, "{used:?}");
    budget.start(MS, false);
    rest(&ticker, 100);
    let used = budget.finish();
    assert!(used < 50 * MS, "{used:?}");
}

#[test]
fn turns_of_a_fiber_count_and_what_is_between_them_does_not() {
    let (ticker, mut budget) = budget();
    budget.start(40 * MS, true);
    let turns = budget.turns();
    for _ in 0..3 {
        let begun = Instant::now();
        turns.resume(begun);
        burn(5 * MS);
        // It waits for something.
        assert!(turns.pause(begun.elapsed()));
        burn(20 * MS);
        rest(&ticker, 30);
    }
    turns.resume(Instant::now());
    assert!(budget.check().is_ok(), "three turns of 5 ms");
    burn(26 * MS);
    rest(&ticker, 1);
    assert!(budget.check().is_ok(), "one more, of 26 ms, is the longest stretch");
    burn(40 * MS);
    rest(&ticker, 1);
    assert!(budget.check().is_err(), "and one of 40 ms");
    assert!(budget.finish() >= 81 * MS);
}

#[test]
fn a_look_that_is_not_on_the_way_back_leaves_the_turn_owed() {
    let (ticker, mut budget) = budget();
    budget.start(Duration::from_secs(10), true);
    let turns = budget.turns();
    let begun = Instant::now();
    turns.resume(begun);
    rest(&ticker, 2);
    assert!(budget.check().is_ok());
    assert!(budget.is_due().unwrap(), "others have waited for longer than a tick");
    assert!(!turns.pause(begun.elapsed()), "it gave way");
    turns.resume(Instant::now());
    rest(&ticker, 2);
    assert!(budget.check().is_ok());
    assert!(turns.pause(begun.elapsed()), "it waits for something, and has not given way");
}

/// A short call, of which there are many thousand a second, leaves ticks long. One that a tick meets when it has run
/// for a while makes them short, and so does one that ended before, and one on a fiber: so a call that runs on has one
/// long stretch at most.
#[test]
fn calls_that_are_long_or_may_be_make_ticks_short() {
    let ticker = Arc::new(Ticker::by_hand());
    let mut budget = Budget::new(ticker.clone());
    budget.start(10_000 * MS, false);
    assert!(!ticker.tick_by_hand());
    burn(MS);
    assert!(budget.check().is_ok());
    assert!(ticker.tick_by_hand(), "it was met by a tick");
    budget.finish();
    ticker.tick_by_hand();

    budget.start(10_000 * MS, false);
    burn(2 * MS);
    budget.finish();
    assert!(ticker.tick_by_hand(), "it ended before a tick met it");

    budget.start(10_000 * MS, true);
    assert!(ticker.tick_by_hand(), "it is on a fiber");
    budget.turns().pause(Duration::ZERO);
    budget.turns().resume(Instant::now());
    assert!(ticker.tick_by_hand(), "it goes on");
}

/// The host calls a guest for memory by a plain call, also if what it is for runs on a fiber: nothing can pause there.
#[test]
fn a_tick_that_meets_a_call_for_memory_pauses_nothing_and_leaves_the_turn_owed() {
    let (ticker, mut budget) = budget();
    budget.start(10_000 * MS, true);
    rest(&ticker, 1);
    assert!(matches!(budget.on_epoch(false).unwrap(), UpdateDeadline::Continue(1)));
    assert!(matches!(budget.on_epoch(true).unwrap(), UpdateDeadline::Yield(1)), "the turn is still owed");

    budget.start(Duration::ZERO, true);
    for stretch in [MS, MS] {
        burn(stretch);
        rest(&ticker, 1);
        // The first look leaves out the longest stretch.
        let _looked = budget.on_epoch(false);
    }
    rest(&ticker, 1);
    assert!(budget.on_epoch(false).is_err(), "the deadline holds there as well");
}
