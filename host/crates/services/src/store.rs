//! A key-value store that a policy's instances on all workers share. Bounded, and exact across threads: each
//! operation happens under the lock of its key's shard.

#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::collections::btree_map::{BTreeMap, Entry as MapEntry};
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::ops::Bound;
use std::sync::MutexGuard;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use portcullis_model::{Lock, StoreGrant};

use crate::{CheckTime, OutOfTime};

/// Locks: so many that workers seldom meet at one.
const SHARDS: usize = 32;
const KEY_BYTES_MAX: usize = 1 << 10;
const VALUE_BYTES_MAX: usize = 64 << 10;
/// Keys that one call lists.
const LISTED_MAX: usize = 1000;
/// Between two looks for entries whose time is over.
const SWEEP_PAUSE: Duration = Duration::from_millis(100);
/// Entries that one call looks at, about a millisecond's worth, and the pause before the next one looks at more. A
/// store of the default size is looked through at once.
const SWEEP_ENTRIES: usize = 10_000;
const SWEEP_PART_PAUSE: Duration = Duration::from_millis(10);

/// Why nothing was read or written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Error {
    /// The key or the value is too large.
    TooLarge,
    /// The policy's quota of entries or bytes is used up.
    Quota,
    /// The value is not a number that [`Store::increment`] wrote.
    NotANumber,
}

/// The store of a policy.
#[derive(Default)]
pub struct Store {
    shards: [Lock<BTreeMap<Box<str>, Entry>>; SHARDS],
    hasher: RandomState,
    entries: AtomicUsize,
    bytes: AtomicUsize,
    /// When it may next be looked for entries whose time is over, in milliseconds.
    sweep_due: AtomicU64,
    /// The shard at which that begins.
    sweep_at: AtomicUsize,
    // Zero until granted.
    entries_max: AtomicUsize,
    bytes_max: AtomicUsize,
}

struct Entry {
    value: Kept,
    expires: Option<Duration>,
}

#[derive(Clone, PartialEq, Eq)]
enum Kept {
    Bytes(Vec<u8>),
    /// Written by `increment`.
    Number(i64),
}

impl Kept {
    fn into_bytes(self) -> Vec<u8> {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Number(number) => number.to_string().into_bytes(),
        }
    }

    /// A number counts as its digits' most, so that adding to it never breaks the quota.
    fn size(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::Number(_) => 20,
        }
    }
}

impl Entry {
    fn is_over(&self, now: Duration) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }
}

type Shard<'a> = MutexGuard<'a, BTreeMap<Box<str>, Entry>>;

impl Store {
    /// Gives a store that has no limits yet its limits.
    pub fn provide(&self, grant: StoreGrant) {
        if self.entries_max.load(Ordering::Relaxed) == 0 {
            self.adjust(grant);
        }
    }

    /// Sets the limits. What is beyond smaller ones stays until its time is over; nothing is added meanwhile.
    pub fn adjust(&self, grant: StoreGrant) {
        self.entries_max.store(grant.entries_max, Ordering::Relaxed);
        self.bytes_max.store(grant.bytes_max, Ordering::Relaxed);
    }

    /// Returns the value of a key, or `None` if it has none or the time of it is over.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn get(&self, key: &str, now: Duration) -> Result<Option<Vec<u8>>, Error> {
        check(key, &[])?;
        let shard = self.shard(key);
        let entry = shard.get(key).filter(|entry| !entry.is_over(now));
        Ok(entry.map(|entry| entry.value.clone().into_bytes()))
    }

    /// Sets a key, for `ttl` if it is given.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn set(&self, key: &str, value: Vec<u8>, ttl: Option<Duration>, now: Duration) -> Result<(), Error> {
        check(key, &value)?;
        let mut value = Kept::Bytes(value);
        self.with_room(now, || self.put(&mut self.shard(key), key, &mut value, after(now, ttl)))
    }

    /// Sets a key if its value is `expected`, and returns whether it was.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn compare_and_set(
        &self,
        key: &str,
        expected: Option<&[u8]>,
        value: Vec<u8>,
        ttl: Option<Duration>,
        now: Duration,
    ) -> Result<bool, Error> {
        check(key, &value)?;
        let mut value = Kept::Bytes(value);
        self.with_room(now, || {
            let mut shard = self.shard(key);
            let found = shard.get(key).filter(|entry| !entry.is_over(now));
            let found = found.map(|entry| entry.value.clone().into_bytes());
            if found.as_deref() != expected {
                return Ok(false);
            }
            self.put(&mut shard, key, &mut value, after(now, ttl)).map(|()| true)
        })
    }

    /// Adds to a number and returns the sum. A key without a value counts from zero.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn increment(&self, key: &str, by: i64, ttl: Option<Duration>, now: Duration) -> Result<i64, Error> {
        check(key, &[])?;
        self.with_room(now, || {
            let mut shard = self.shard(key);
            match shard.get_mut(key).filter(|entry| !entry.is_over(now)) {
                Some(Entry { value: Kept::Number(number), .. }) => {
                    *number = number.saturating_add(by);
                    Ok(*number)
                }
                Some(_) => Err(Error::NotANumber),
                None => self.put(&mut shard, key, &mut Kept::Number(by), after(now, ttl)).map(|()| by),
            }
        })
    }

    /// Removes a key.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn delete(&self, key: &str) -> Result<(), Error> {
        check(key, &[])?;
        let mut shard = self.shard(key);
        if let Some((key, entry)) = shard.remove_entry(key) {
            self.release(&key, &entry);
        }
        Ok(())
    }

    /// Returns the first keys, at most [`LISTED_MAX`], that begin with `prefix`, in order.
    ///
    /// # Errors
    /// When the call runs out of time, as one may that goes through many entries whose time is over; within that, see
    /// [`Error`].
    pub fn list(
        &self,
        prefix: &str,
        now: Duration,
        check_time: CheckTime<'_>,
    ) -> Result<Result<Vec<String>, Error>, OutOfTime> {
        if let Err(error) = check(prefix, &[]) {
            return Ok(Err(error));
        }
        let mut keys: Vec<String> = Vec::new();
        for shard in &self.shards {
            check_time()?;
            let shard = shard.lock();
            let last = keys.get(LISTED_MAX - 1).cloned();
            let from = shard.range::<str, _>((Bound::Included(prefix), Bound::Unbounded));
            let of_prefix = from.take_while(|(key, _)| {
                key.starts_with(prefix) && last.as_deref().is_none_or(|last| ***key < *last)
            });
            let here = of_prefix.filter(|(_, entry)| !entry.is_over(now)).take(LISTED_MAX);
            keys.extend(here.map(|(key, _)| String::from(&**key)));
            keys.sort_unstable();
            keys.truncate(LISTED_MAX);
        }
        Ok(Ok(keys))
    }

    /// Takes a value and puts it in place, if the quota has room for it.
    fn put(
        &self,
        shard: &mut Shard<'_>,
        key: &str,
        value: &mut Kept,
        expires: Option<Duration>,
    ) -> Result<(), Error> {
        let size = key.len() + value.size();
        let mut entry = || Entry { value: std::mem::replace(value, Kept::Number(0)), expires };
        match shard.entry(key.into()) {
            MapEntry::Occupied(mut slot) => {
                let old = key.len() + slot.get().value.size();
                if size > old {
                    reserve(&self.bytes, size - old, &self.bytes_max)?;
                } else {
                    self.bytes.fetch_sub(old - size, Ordering::Relaxed);
                }
                slot.insert(entry());
            }
            MapEntry::Vacant(slot) => {
                reserve(&self.entries, 1, &self.entries_max)?;
                if let Err(error) = reserve(&self.bytes, size, &self.bytes_max) {
                    self.entries.fetch_sub(1, Ordering::Relaxed);
                    return Err(error);
                }
                slot.insert(entry());
            }
        }
        Ok(())
    }

    /// Tries once more after what is over was removed. Entries are removed then alone: between two of these the quota
    /// bounds them.
    fn with_room<T>(&self, now: Duration, mut attempt: impl FnMut() -> Result<T, Error>) -> Result<T, Error> {
        match attempt() {
            Err(Error::Quota) if self.remove_over(now) => attempt(),
            result => result,
        }
    }

    /// Removes entries whose time is over, and returns whether there were any. Not more often than every
    /// [`SWEEP_PAUSE`], and of a large store a part each time: a policy that writes to a full store must not keep the
    /// worker busy looking through it.
    fn remove_over(&self, now: Duration) -> bool {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let due = self.sweep_due.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |due| {
            (due <= millis(now)).then_some(millis(now + SWEEP_PAUSE))
        });
        if due.is_err() {
            return false;
        }
        let (mut any, mut looked_at) = (false, 0);
        let begin = self.sweep_at.load(Ordering::Relaxed);
        for at in (0..SHARDS).map(|step| (begin + step) % SHARDS) {
            if looked_at >= SWEEP_ENTRIES {
                self.sweep_at.store(at, Ordering::Relaxed);
                self.sweep_due.store(millis(now + SWEEP_PART_PAUSE), Ordering::Relaxed);
                break;
            }
            let mut shard = lock(&self.shards[at]);
            looked_at += shard.len();
            shard.retain(|key, entry| {
                let over = entry.is_over(now);
                if over {
                    self.release(key, entry);
                    any = true;
                }
                !over
            });
        }
        any
    }

    fn release(&self, key: &str, entry: &Entry) {
        self.entries.fetch_sub(1, Ordering::Relaxed);
        self.bytes.fetch_sub(key.len() + entry.value.size(), Ordering::Relaxed);
    }

    fn shard(&self, key: &str) -> Shard<'_> {
        let at = self.hasher.hash_one(key) as usize % SHARDS;
        lock(&self.shards[at])
    }
}

fn lock(shard: &Lock<BTreeMap<Box<str>, Entry>>) -> Shard<'_> {
    shard.lock()
}

fn check(key: &str, value: &[u8]) -> Result<(), Error> {
    if key.len() > KEY_BYTES_MAX || value.len() > VALUE_BYTES_MAX { Err(Error::TooLarge) } else { Ok(()) }
}

fn after(now: Duration, ttl: Option<Duration>) -> Option<Duration> {
    ttl.map(|ttl| now.saturating_add(ttl))
}

/// Adds to a sum that has a bound.
fn reserve(sum: &AtomicUsize, more: usize, max: &AtomicUsize) -> Result<(), Error> {
    let max = max.load(Ordering::Relaxed);
    let added = sum.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |sum| {
        sum.checked_add(more).filter(|sum| *sum <= max)
    });
    added.map(drop).map_err(|_| Error::Quota)
}

/// A store that an exchange without effects reads and writes in place of the policy's: entries are copied as it touches
/// them.
pub struct ScratchStore {
    store: Store,
    touched: HashSet<Box<str>>,
}

impl ScratchStore {
    /// Returns one that is as full as `store` and has its limits.
    #[must_use]
    pub fn of(store: &Store) -> Self {
        let load = |number: &AtomicUsize| AtomicUsize::new(number.load(Ordering::Relaxed));
        let copy = Store {
            entries: load(&store.entries),
            bytes: load(&store.bytes),
            entries_max: load(&store.entries_max),
            bytes_max: load(&store.bytes_max),
            ..Store::default()
        };
        Self { store: copy, touched: HashSet::new() }
    }

    /// Returns the store to read and write `key` in, whose entry is copied from `store` the first time.
    pub fn touch(&mut self, store: &Store, key: &str) -> &Store {
        self.copy(store, key);
        &self.store
    }

    /// Returns the store to list keys in, after the entries of `keys`, which `store` lists, were copied.
    pub fn touch_all(&mut self, store: &Store, keys: &[String]) -> &Store {
        keys.iter().for_each(|key| self.copy(store, key));
        &self.store
    }

    fn copy(&mut self, store: &Store, key: &str) {
        // A key that is too long is in no store.
        if key.len() > KEY_BYTES_MAX || !self.touched.insert(key.into()) {
            return;
        }
        let entry = store.shard(key).get(key).map(|entry| Entry { value: entry.value.clone(), ..*entry });
        if let Some(entry) = entry {
            self.store.shard(key).insert(key.into(), entry);
        }
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("entries", &self.entries).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for ScratchStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ScratchStore").field("touched", &self.touched.len()).finish_non_exhaustive()
    }
}
