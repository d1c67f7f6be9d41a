//! Rate limits by the generic cell rate algorithm (ITU-T I.371), in a table of fixed size.
//!
//! A bucket is one moment: its theoretical arrival time (TAT), at which it will be full again. A request of cost 1
//! moves the TAT on by the emission interval `per / requests`, and is allowed while the TAT stays within `burst +
//! 1` intervals of now. That is exact (no window edges at which twice the rate passes) and needs no background
//! work.
//!
//! The table is set-associative: a key's hash names a set of [`WAYS`] slots, and only that set is locked, for some
//! 20 ns. An atomic per bucket would not do, because a look-up that misses must choose and overwrite a slot while no
//! other thread uses it. A check takes 60 to 75 ns, and 115 ns if two threads do nothing but check the same key (five
//! million checks each, release build).
//!
//! **Under a flood of distinct keys** a set runs full. Then the bucket that will be full soonest is evicted: one
//! that is full already loses nothing, and of the others the one that was used least in proportion to its quota
//! loses least. So a flood of keys that are used once each evicts its own buckets before any that is near its
//! limit. The hash is keyed with a secret seed, so clients cannot find keys that meet in one set.

use std::sync::{Arc, MutexGuard, OnceLock};
use std::time::Duration;

use portcullis_model::Lock;

use crate::{nanos, siphash};

/// Slots in a set. Ten with their lock fill four cache lines.
const WAYS: usize = 10;

/// The most buckets that a table has: they take 410 MiB.
const BUCKETS_LIMIT: usize = 1 << 24;

/// Times inside the table count in 2^-32 ns. An interval is rounded down to that unit, so that a rate is never tighter
/// than written and wider by less than one request in four thousand million.
const UNIT_BITS: u32 = 32;

/// The most that a TAT is ahead of now, and the most that a clock shows (292 years), so that a TAT fits in 96 bits.
const SPAN_MAX: u128 = 1 << 95;

/// The rate that requests are held to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// Requests in every `per`: one each `per / requests`. 0 allows none.
    pub requests: u32,
    /// The time for which `requests` counts. Zero allows none.
    pub per: Duration,
    /// Requests at once beyond the one that is due: an unused bucket allows `burst + 1` at one moment.
    pub burst: u32,
}

/// The result of one check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// Whether the request may pass. Only then were tokens taken.
    pub allowed: bool,
    /// The number of further requests of cost 1 that would be allowed now.
    pub remaining: u32,
    /// The time until the next request of this cost (of cost 1 if it was 0) will be allowed; zero if it would be
    /// now. A cost over `burst + 1` is never allowed, nor is any by a quota that allows none: [`Duration::MAX`].
    pub retry_after: Duration,
    /// The time until the bucket will be full again, if nothing more is taken.
    pub reset_after: Duration,
}

/// Buckets by key, shared by all workers, bounded in number.
pub struct RateLimiter {
    table: Arc<Table>,
    /// The table of another size that it replaces, until all buckets have moved out of it.
    before: Option<Arc<Table>>,
    seed: [u64; 2],
}

/// The sets of a table of one size.
struct Table {
    sets: Box<[Set]>,
    /// The table that its buckets move to.
    after: OnceLock<Arc<Self>>,
}

/// Aligned, so that two sets, which different workers lock, are not on one cache line.
#[derive(Default)]
#[repr(align(64))]
struct Set(Lock<Slots>);

#[derive(Default)]
struct Slots {
    slots: [Slot; WAYS],
    /// Whether its buckets have moved to the next table.
    moved: bool,
}

/// A bucket. A slot that was never used is a bucket of no known key that was full at time 0.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Slot {
    /// 96 bits of the key's hash: among a million buckets two share one with a chance of 6 in 10^18.
    /// The first word also says which set the bucket belongs to.
    key: u64,
    key_rest: u32,
    /// The fraction of the TAT, in 2^-32 ns.
    tat_fraction: u32,
    /// The TAT in whole nanoseconds.
    tat_nanos: u64,
}

impl RateLimiter {
    /// A table for `buckets_max` buckets (rounded up to a multiple of 10; 1 to 16,777,216). It takes 26 bytes for
    /// each at once, and never more. `seed` should be random and secret: a client that knows it can find keys that
    /// meet in one set.
    #[must_use]
    pub fn new(buckets_max: usize, seed: [u64; 2]) -> Self {
        Self { table: Arc::new(Table::new(sets_for(buckets_max))), before: None, seed }
    }

    /// Returns whether a table for `buckets_max` buckets would have the size of this one.
    #[must_use]
    pub fn fits(&self, buckets_max: usize) -> bool {
        sets_for(buckets_max) == self.table.sets.len()
    }

    /// Returns a table of another size that replaces this one. Buckets move to it with the first check that needs
    /// one of their set, and the others by [`move_buckets`](Self::move_buckets). No check is lost or counted twice,
    /// whichever of the two tables it was made on: a set is moved as a whole under its lock, and a check that finds
    /// it moved follows it. If they do not all fit, those that will be full soonest are dropped.
    #[must_use]
    pub fn resized(&self, buckets_max: usize) -> Self {
        // Only one table is ever moved out of.
        self.move_buckets(|| true);
        let table = Arc::new(Table::new(sets_for(buckets_max)));
        let table = self.table.after.get_or_init(|| table).clone();
        Self { table, before: Some(self.table.clone()), seed: self.seed }
    }

    /// Moves the buckets that are still in the table that this one replaces, while `go_on` returns true. Returns
    /// whether all have moved. Other threads may check meanwhile. Not for a worker's thread: a large table takes a
    /// second.
    pub fn move_buckets(&self, go_on: impl Fn() -> bool) -> bool {
        let Some(before) = &self.before else { return true };
        before.sets.iter().all(|set| {
            set.lock().move_to(&self.table);
            go_on()
        })
    }

    /// Returns the same table without the one that it replaced, which [`move_buckets`](Self::move_buckets) has emptied.
    #[must_use]
    pub fn settled(&self) -> Self {
        self.move_buckets(|| true);
        Self { table: self.table.clone(), before: None, seed: self.seed }
    }

    /// Returns whether buckets may still move to it.
    #[must_use]
    pub fn is_moving(&self) -> bool {
        self.before.is_some()
    }

    /// The number of buckets that the table has room for.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.table.sets.len() * WAYS
    }

    /// Takes `cost` from the bucket of `key`, or nothing if that would break `quota`. `now` is the time since a fixed
    /// origin. A cost of 0 takes nothing, is always allowed, and returns the state of the bucket.
    ///
    /// Exact with any number of threads: each check happens wholly before or wholly after each other one of its
    /// key. The same key may have another quota later (after a reload): what was taken stays taken, up to the new
    /// quota's burst. If two threads check with times in the wrong order, the later time counts for what was taken
    /// before.
    pub fn check(&self, key: &[u8], quota: Quota, cost: u32, now: Duration) -> Verdict {
        let Some(rule) = Rule::new(quota) else { return Verdict::never(cost == 0) };
        let now = units(now);
        let [first, second] = siphash::hash128(self.seed, key);
        let (key, key_rest) = (first, second as u32);
        self.with_set(key, |slots| {
            let found = slots.iter_mut().find(|slot| slot.key == key && slot.key_rest == key_rest);
            let tat = found.as_ref().map_or(0, |slot| slot.tat());
            let (tat, verdict) = rule.apply(tat, cost, now);
            // A refused key without a bucket needs none, and a bucket that is full needs no slot.
            if verdict.allowed && cost > 0 {
                let slot = match found {
                    Some(slot) => slot,
                    None => Slot::victim(slots),
                };
                *slot = Slot::new(key, key_rest, tat);
            }
            verdict
        })
    }

    /// Returns what [`Self::check`] would return now, after one that took `taken`. Takes nothing.
    #[must_use]
    pub fn peek(&self, key: &[u8], quota: Quota, taken: u32, cost: u32, now: Duration) -> Verdict {
        let Some(rule) = Rule::new(quota) else { return Verdict::never(cost == 0) };
        let [first, second] = siphash::hash128(self.seed, key);
        let tat = self.with_set(first, |slots| {
            let found = slots.iter().find(|slot| slot.key == first && slot.key_rest == second as u32);
            found.map_or(0, Slot::tat)
        });
        let (tat, _) = rule.apply(tat, taken, units(now));
        rule.apply(tat, cost, units(now)).1
    }

    /// Runs `work` on the locked set that has the bucket of `key`.
    fn with_set<T>(&self, key: u64, work: impl FnOnce(&mut [Slot; WAYS]) -> T) -> T {
        if let Some(before) = &self.before {
            before.set_of(key).lock().move_to(&self.table);
        }
        let mut table = &self.table;
        loop {
            let mut set = table.set_of(key).lock();
            match table.after.get().filter(|_| set.moved) {
                // A check on the replaced table follows the buckets.
                Some(after) => table = after,
                None => return work(&mut set.slots),
            }
        }
    }
}

/// Returns the number of sets of a table for so many buckets.
fn sets_for(buckets_max: usize) -> usize {
    buckets_max.clamp(1, BUCKETS_LIMIT).div_ceil(WAYS)
}

impl Table {
    fn new(sets: usize) -> Self {
        Self { sets: (0..sets).map(|_| Set::default()).collect(), after: OnceLock::new() }
    }

    fn set_of(&self, key: u64) -> &Set {
        // The upper half of a product maps 64 bits evenly onto any number of sets.
        let at = (u128::from(key) * self.sets.len() as u128) >> 64;
        &self.sets[at as usize]
    }
}

impl std::fmt::Debug for RateLimiter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Neither the seed nor what clients do belongs in a log.
        f.debug_struct("RateLimiter").field("capacity", &self.capacity()).finish_non_exhaustive()
    }
}

impl Set {
    fn lock(&self) -> MutexGuard<'_, Slots> {
        // Nothing under the lock panics; and a slot is whole at every moment.
        self.0.lock()
    }
}

impl Slots {
    /// Moves its buckets to `table`, once. The set stays locked meanwhile. A thread locks a set only while it holds
    /// none of the same table or of a later one, so that no two threads wait for each other.
    fn move_to(&mut self, table: &Table) {
        if std::mem::replace(&mut self.moved, true) {
            return;
        }
        for slot in std::mem::take(&mut self.slots).into_iter().filter(|slot| slot.tat() > 0) {
            let mut target = table.set_of(slot.key).lock();
            let victim = Slot::victim(&mut target.slots);
            if victim.tat() < slot.tat() {
                *victim = slot;
            }
        }
    }
}

impl Slot {
    fn new(key: u64, key_rest: u32, tat: u128) -> Self {
        // Below 2^96: see `SPAN_MAX`.
        Self { key, key_rest, tat_nanos: (tat >> UNIT_BITS) as u64, tat_fraction: tat as u32 }
    }

    fn tat(&self) -> u128 {
        u128::from(self.tat_nanos) << UNIT_BITS | u128::from(self.tat_fraction)
    }

    /// Returns the slot that is overwritten: that of the bucket that will be full soonest.
    fn victim(slots: &mut [Self; WAYS]) -> &mut Self {
        let at = (1..WAYS).fold(0, |least, at| if slots[at].tat() < slots[least].tat() { at } else { least });
        &mut slots[at]
    }
}

/// A quota in the table's units.
struct Rule {
    /// `per / requests`: at least 1, below 2^95.
    interval: u128,
    /// How far a TAT may be ahead of now: `burst + 1` intervals, at most [`SPAN_MAX`].
    limit: u128,
}

impl Rule {
    /// Returns `None` if the quota allows nothing.
    fn new(quota: Quota) -> Option<Self> {
        let per = (u128::from(nanos(quota.per)) << UNIT_BITS).min(SPAN_MAX - 1);
        // `per` is zero or at least 2^32, so that the interval is not rounded to zero.
        let interval = per.checked_div(u128::from(quota.requests)).filter(|interval| *interval > 0)?;
        let limit = (interval * (u128::from(quota.burst) + 1)).min(SPAN_MAX);
        Some(Self { interval, limit })
    }

    /// Returns the bucket's new TAT and the result.
    fn apply(&self, tat: u128, cost: u32, now: u128) -> (u128, Verdict) {
        let end = now + self.limit;
        // A bucket that a wider quota left further ahead is empty under this one.
        let before = tat.clamp(now, end);
        let after = before + self.interval * u128::from(cost);
        let allowed = after <= end;
        let tat = if allowed { after } else { before };
        let next = self.interval * u128::from(cost.max(1));
        let retry_after =
            if next > self.limit { Duration::MAX } else { duration_up((tat + next).saturating_sub(end)) };
        let remaining = u32::try_from((end - tat) / self.interval).unwrap_or(u32::MAX);
        (tat, Verdict { allowed, remaining, retry_after, reset_after: duration_up(tat - now) })
    }
}

impl Verdict {
    fn never(allowed: bool) -> Self {
        Self { allowed, remaining: 0, retry_after: Duration::MAX, reset_after: Duration::ZERO }
    }
}

/// Returns a moment in the table's units.
fn units(now: Duration) -> u128 {
    u128::from(nanos(now)).saturating_mul(1 << UNIT_BITS).min(SPAN_MAX - 1)
}

/// Returns a duration, rounded up to whole nanoseconds so that a caller that waits for it is not too early.
fn duration_up(units: u128) -> Duration {
    Duration::from_nanos(u64::try_from(units.div_ceil(1 << UNIT_BITS)).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests;
