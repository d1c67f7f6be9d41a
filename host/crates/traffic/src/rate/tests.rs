use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use proptest::prelude::*;

use super::{Quota, RateLimiter, Set, WAYS};

const SECOND: Duration = Duration::from_secs(1);
const MS: Duration = Duration::from_millis(1);
/// Not 0: a process has run for a while.
const START: Duration = Duration::from_secs(1000);

fn quota(requests: u32, per: Duration, burst: u32) -> Quota {
    Quota { requests, per, burst }
}

fn limiter() -> RateLimiter {
    RateLimiter::new(1000, [1, 2])
}

fn allowed_at(limiter: &RateLimiter, key: &[u8], quota: Quota, now: Duration, tries: u32) -> u32 {
    (0..tries).map(|_| u32::from(limiter.check(key, quota, 1, now).allowed)).sum()
}

#[test]
fn a_new_bucket_allows_the_due_request_and_the_burst_at_once() {
    for burst in [0, 1, 50] {
        assert_eq!(allowed_at(&limiter(), b"a", quota(100, SECOND, burst), START, 200), burst + 1);
    }
}

#[test]
fn another_request_is_allowed_exactly_one_interval_later() {
    let (limiter, quota) = (limiter(), quota(100, SECOND, 0));
    assert!(limiter.check(b"a", quota, 1, START).allowed);
    let early = limiter.check(b"a", quota, 1, START + 10 * MS - Duration::from_nanos(1));
    assert!(!early.allowed);
    assert_eq!(early.retry_after, Duration::from_nanos(1));
    assert!(limiter.check(b"a", quota, 1, START + 10 * MS).allowed);
}

#[test]
fn an_interval_that_is_no_whole_nanosecond_adds_up_to_the_period() {
    let (limiter, quota) = (limiter(), quota(3, SECOND, 2));
    for second in 0..1000 {
        // As new at the whole second, and not before.
        assert_eq!(limiter.check(b"a", quota, 0, START + second * SECOND).remaining, 3);
        assert_eq!(allowed_at(&limiter, b"a", quota, START + second * SECOND, 5), 3);
        let before = START + (second + 1) * SECOND - Duration::from_nanos(1);
        assert_eq!(limiter.check(b"a", quota, 0, before).remaining, 2);
    }
}

#[test]
fn the_verdict_tells_what_is_left_and_when_more_comes() {
    let (limiter, quota) = (limiter(), quota(10, SECOND, 2));
    let fresh = limiter.check(b"a", quota, 0, START);
    assert_eq!((fresh.allowed, fresh.remaining), (true, 3));
    assert_eq!((fresh.retry_after, fresh.reset_after), (Duration::ZERO, Duration::ZERO));
    for (remaining, retry_ms, reset_ms) in [(2, 0, 100), (1, 0, 200), (0, 100, 300)] {
        let verdict = limiter.check(b"a", quota, 1, START);
        assert_eq!((verdict.allowed, verdict.remaining), (true, remaining));
        assert_eq!((verdict.retry_after, verdict.reset_after), (retry_ms * MS, reset_ms * MS));
    }
    let denied = limiter.check(b"a", quota, 1, START + 40 * MS);
    assert_eq!((denied.allowed, denied.remaining), (false, 0));
    assert_eq!((denied.retry_after, denied.reset_after), (60 * MS, 260 * MS));
}

#[test]
fn a_denied_request_and_a_cost_of_zero_take_nothing() {
    let (limiter, quota) = (limiter(), quota(10, SECOND, 0));
    assert!(limiter.check(b"a", quota, 1, START).allowed);
    for _ in 0..100 {
        assert!(!limiter.check(b"a", quota, 1, START).allowed);
        assert!(limiter.check(b"a", quota, 0, START).allowed);
    }
    assert!(limiter.check(b"a", quota, 1, START + 100 * MS).allowed);
}

#[test]
fn a_cost_is_taken_whole_or_not_at_all() {
    let (limiter, quota) = (limiter(), quota(10, SECOND, 9));
    assert!(limiter.check(b"a", quota, 7, START).allowed);
    let denied = limiter.check(b"a", quota, 4, START);
    assert_eq!((denied.allowed, denied.remaining, denied.retry_after), (false, 3, 100 * MS));
    assert!(limiter.check(b"a", quota, 3, START).allowed);
}

#[test]
fn what_can_never_be_allowed_says_so() {
    let over = limiter().check(b"a", quota(10, SECOND, 4), 6, START);
    assert_eq!((over.allowed, over.retry_after), (false, Duration::MAX));
    for nothing in [quota(0, SECOND, 100), quota(10, Duration::ZERO, 100)] {
        let verdict = limiter().check(b"a", nothing, 1, START);
        assert_eq!((verdict.allowed, verdict.remaining, verdict.retry_after), (false, 0, Duration::MAX));
    }
}

#[test]
fn keys_do_not_share_buckets() {
    let (limiter, quota) = (RateLimiter::new(100_000, [7, 8]), quota(1, SECOND, 0));
    for key in 0..1000_u32 {
        assert!(limiter.check(&key.to_be_bytes(), quota, 1, START).allowed, "key {key}");
    }
}

#[test]
fn a_clock_that_seems_to_run_back_gives_nothing_away() {
    let (limiter, quota) = (limiter(), quota(10, SECOND, 0));
    assert!(limiter.check(b"a", quota, 1, START + SECOND).allowed);
    assert!(!limiter.check(b"a", quota, 1, START).allowed);
}

#[test]
fn a_tighter_quota_holds_at_once_and_does_not_inherit_a_long_wait() {
    let limiter = limiter();
    assert_eq!(allowed_at(&limiter, b"a", quota(1, SECOND, 999), START, 2000), 1000);
    let denied = limiter.check(b"a", quota(1, SECOND, 4), 1, START);
    assert_eq!((denied.allowed, denied.retry_after), (false, SECOND));
}

#[test]
fn extremes_neither_overflow_nor_panic() {
    let extremes = [
        quota(u32::MAX, Duration::from_nanos(1), u32::MAX),
        quota(1, Duration::MAX, u32::MAX),
        quota(u32::MAX, Duration::MAX, 0),
        quota(1, Duration::from_nanos(1), 0),
    ];
    for quota in extremes {
        for now in [Duration::ZERO, START, Duration::MAX] {
            let limiter = limiter();
            assert!(limiter.check(b"a", quota, 1, now).allowed, "{quota:?} at {now:?}");
            limiter.check(b"a", quota, u32::MAX, now);
        }
    }
}

#[test]
fn threads_together_get_exactly_what_one_would() {
    const THREADS: u32 = 8;
    let (limiter, quota, allowed) = (limiter(), quota(1000, SECOND, 499), AtomicU32::new(0));
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                // A frozen clock, then one that every thread moves on by ten intervals.
                let now = allowed_at(&limiter, b"a", quota, START, 1000);
                let later = allowed_at(&limiter, b"a", quota, START + 10 * MS, 1000);
                allowed.fetch_add(now + later, Ordering::Relaxed);
            });
        }
    });
    assert_eq!(allowed.into_inner(), 500 + 10);
}

#[test]
fn a_set_fits_in_four_cache_lines() {
    assert_eq!(size_of::<Set>(), 256);
    assert_eq!(RateLimiter::new(0, [0, 0]).capacity(), WAYS);
    assert_eq!(RateLimiter::new(WAYS + 1, [0, 0]).capacity(), 2 * WAYS);
    assert!(RateLimiter::new(usize::MAX / 2, [0, 0]).capacity() <= (1 << 24) + WAYS);
}

#[test]
fn a_flood_of_keys_does_not_free_a_client_that_is_at_its_limit() {
    let (limiter, quota) = (RateLimiter::new(100, [3, 4]), quota(1, SECOND, 9));
    assert_eq!(allowed_at(&limiter, b"heavy", quota, START, 20), 10);
    for key in 0..100_000_u32 {
        limiter.check(&key.to_be_bytes(), quota, 1, START);
    }
    assert!(!limiter.check(b"heavy", quota, 1, START).allowed);
}

#[test]
fn buckets_that_are_as_new_make_place_first() {
    // One set, so that its content is known.
    let (limiter, slow, quick) =
        (RateLimiter::new(WAYS, [5, 6]), quota(1, 10 * SECOND, 0), quota(1, SECOND, 0));
    for key in 0..WAYS as u8 - 1 {
        assert!(limiter.check(&[key], slow, 1, START).allowed);
    }
    assert!(limiter.check(b"quick", quick, 1, START).allowed);
    assert!(limiter.check(b"newcomer", slow, 1, START + 2 * SECOND).allowed);
    for key in 0..WAYS as u8 - 1 {
        assert!(!limiter.check(&[key], slow, 1, START + 3 * SECOND).allowed, "{key} was forgotten");
    }
}

#[test]
fn a_resized_table_keeps_its_buckets() {
    let (small, quota) = (RateLimiter::new(2000, [9, 9]), quota(1, SECOND, 0));
    for key in 0..500_u32 {
        assert!(small.check(&key.to_be_bytes(), quota, 1, START).allowed);
    }
    let grown = small.resized(20_000).settled();
    let shrunk = grown.resized(2000).settled();
    // Who still has an older one finds them as well.
    for limiter in [small, grown, shrunk] {
        for key in 0..500_u32 {
            assert!(!limiter.check(&key.to_be_bytes(), quota, 1, START).allowed, "key {key} was forgotten");
        }
    }
}

#[test]
fn a_table_that_shrinks_too_far_keeps_the_buckets_that_were_used_most() {
    let (large, quota) = (RateLimiter::new(1000, [9, 9]), quota(1, SECOND, 9));
    assert_eq!(allowed_at(&large, b"heavy", quota, START, 10), 10);
    for key in 0..500_u32 {
        large.check(&key.to_be_bytes(), quota, 1, START);
    }
    let tiny = large.resized(1).settled();
    assert_eq!(tiny.capacity(), WAYS);
    assert!(!tiny.check(b"heavy", quota, 1, START).allowed);
}

#[test]
fn a_table_fits_what_it_was_made_for_and_no_other_size() {
    for buckets_max in [0, 1, 9, 10, 11, 65_536, 16_000_000, 16_000_001, 1 << 24, usize::MAX] {
        if buckets_max <= 65_536 {
            assert!(RateLimiter::new(buckets_max, [0, 0]).fits(buckets_max), "{buckets_max}");
        }
        assert_eq!(super::sets_for(buckets_max), super::sets_for(super::sets_for(buckets_max) * WAYS));
    }
    let table = RateLimiter::new(100, [0, 0]);
    assert!(!table.fits(90) && table.fits(91) && table.fits(100) && !table.fits(101));
}

#[test]
fn tokens_that_are_taken_while_buckets_move_are_neither_lost_nor_counted_twice() {
    const KEYS: u32 = 200;
    const EACH: u32 = 8;
    let quota = quota(1, SECOND, EACH - 1);
    let first = RateLimiter::new(1000, [3, 3]);
    let second = std::sync::OnceLock::new();
    let allowed: Vec<AtomicU32> = (0..KEYS).map(|_| AtomicU32::new(0)).collect();
    std::thread::scope(|scope| {
        for worker in 0..4 {
            let (first, second, allowed) = (&first, &second, &allowed);
            scope.spawn(move || {
                for round in 0..6 {
                    for key in 0..KEYS {
                        // One stays with the first table, as a call that began before it was replaced does.
                        let newest = second.get().filter(|_| worker > 0).unwrap_or(first);
                        let passes = newest.check(&key.to_be_bytes(), quota, 1, START).allowed;
                        allowed[key as usize].fetch_add(u32::from(passes), Ordering::Relaxed);
                    }
                    if worker == 1 && round == 0 {
                        second.get_or_init(|| first.resized(5000));
                    } else if worker == 1 && round == 1 {
                        assert!(second.get().is_some_and(|second| second.move_buckets(|| true)));
                    }
                }
            });
        }
    });
    for (key, allowed) in allowed.iter().enumerate() {
        assert_eq!(allowed.load(Ordering::Relaxed), EACH, "key {key}");
    }
}

#[test]
fn moving_can_be_stopped_and_goes_on_with_the_next_check() {
    let (first, quota) = (RateLimiter::new(1000, [9, 9]), quota(1, SECOND, 0));
    for key in 0..100_u32 {
        assert!(first.check(&key.to_be_bytes(), quota, 1, START).allowed);
    }
    let second = first.resized(5000);
    assert!(!second.move_buckets(|| false));
    for key in 0..100_u32 {
        assert!(!second.peek(&key.to_be_bytes(), quota, 0, 1, START).allowed, "key {key} was forgotten");
        assert!(!second.check(&key.to_be_bytes(), quota, 1, START).allowed, "key {key} was forgotten");
    }
}

/// A bucket as a textbook has it: tokens as an exact fraction (in units of 1/per), filled continuously.
#[derive(Default)]
struct Tokens {
    /// (Tokens used up) × per, in nanoseconds × requests.
    used: u128,
    at: u128,
}

impl Tokens {
    fn check(&mut self, quota: Quota, cost: u32, now: Duration) -> bool {
        let (now, per) = (now.as_nanos(), quota.per.as_nanos());
        self.used = self.used.saturating_sub((now - self.at) * u128::from(quota.requests));
        self.at = now;
        let after = self.used + u128::from(cost) * per;
        let allowed = after <= (u128::from(quota.burst) + 1) * per;
        if allowed {
            self.used = after;
        }
        allowed
    }
}

proptest! {
    #[test]
    fn agrees_with_a_token_bucket(
        requests in 1..2000_u32,
        per_ms in 1..5000_u64,
        burst in 0..20_u32,
        steps in proptest::collection::vec((0..4_u8, 0..3_u32, 0..2_000_000_000_u64), 1..200),
    ) {
        let quota = quota(requests, Duration::from_millis(per_ms), burst);
        let limiter = RateLimiter::new(1000, [1, 1]);
        let mut model: HashMap<u8, Tokens> = HashMap::new();
        let mut now = START;
        for (key, cost, pause) in steps {
            // Pauses of the order of an interval, where the answers change.
            let interval = quota.per.as_nanos() as u64 / u64::from(requests);
            now += Duration::from_nanos(pause % (2 * interval + 2));
            let expected = model.entry(key).or_default().check(quota, cost, now);
            let verdict = limiter.check(&[key], quota, cost, now);
            prop_assert_eq!(verdict.allowed, expected);
            let at_retry = limiter.check(&[key], quota, 0, now + verdict.retry_after.min(SECOND * 10_000));
            prop_assert!(cost.max(1) > burst + 1 || at_retry.remaining >= cost.max(1));
        }
    }

    #[test]
    fn never_more_than_the_quota_in_any_stretch_of_time(
        requests in 1..100_u32,
        burst in 0..20_u32,
        pauses in proptest::collection::vec(0..50_000_000_u64, 1..300),
    ) {
        let quota = quota(requests, SECOND, burst);
        let limiter = limiter();
        let mut now = START;
        let mut passed = Vec::new();
        for pause in pauses {
            now += Duration::from_nanos(pause);
            if limiter.check(b"a", quota, 1, now).allowed {
                passed.push(now);
            }
        }
        for (first, start) in passed.iter().enumerate() {
            for (last, end) in passed.iter().enumerate().skip(first) {
                let most = (*end - *start).as_nanos() * u128::from(requests) / SECOND.as_nanos() + u128::from(burst) + 1;
                prop_assert!((last - first + 1) as u128 <= most);
            }
        }
    }
}

#[test]
fn a_look_takes_nothing_and_tells_what_a_check_would() {
    let limiter = RateLimiter::new(10, [1, 2]);
    let quota = Quota { requests: 1, per: SECOND, burst: 1 };
    assert_eq!(limiter.peek(b"a", quota, 1, 1, START).remaining, 0);
    assert!(!limiter.peek(b"a", quota, 2, 1, START).allowed);
    for _ in 0..5 {
        let seen = limiter.peek(b"a", quota, 0, 1, START);
        assert_eq!((seen.allowed, seen.remaining), (true, 1));
    }
    assert_eq!(limiter.peek(b"a", quota, 0, 1, START), limiter.check(b"a", quota, 1, START));
    assert_eq!(limiter.peek(b"a", quota, 0, 1, START), limiter.check(b"a", quota, 1, START));
    let refused = limiter.peek(b"a", quota, 0, 1, START);
    assert_eq!((refused.allowed, refused.retry_after), (false, SECOND));
    assert_eq!(refused, limiter.check(b"a", quota, 1, START));
    assert!(!limiter.peek(b"a", Quota { requests: 0, ..quota }, 0, 1, START).allowed);
}
