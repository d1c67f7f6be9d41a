//! `store`: a key-value store that a policy's instances on all workers share. Bounded, and exact across threads: each
//! operation happens under the lock of its key's shard.

#[cfg(test)]
mod tests;

use std::collections::hash_map::{Entry as MapEntry, RandomState};
use std::collections::{HashMap, HashSet};
use std::hash::BuildHasher;
use std::sync::MutexGuard;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use portcullis_model::{Capability, Lock, StoreGrant};
use portcullis_policy::recorder::bytes_to_json;
use serde_json::{Value, json};
use wasmtime::Result as WasmResult;
use wasmtime::component::{HasSelf, Linker};

use super::clock;
use super::noted::Answer;
use crate::bindings::portcullis::policy::store;
use crate::bindings::portcullis::policy::store::Error;
use crate::state::State;

/// Locks: so many that workers seldom meet at one.
const SHARDS: usize = 32;
const KEY_BYTES_MAX: usize = 1 << 10;
const VALUE_BYTES_MAX: usize = 64 << 10;
/// Between two looks for entries whose time is over.
const SWEEP_PAUSE: Duration = Duration::from_millis(100);
/// Entries that one call looks at, about a millisecond's worth, and the pause before the next one looks at more. A store of
/// the default size is looked through at once.
const SWEEP_ENTRIES: usize = 10_000;
const SWEEP_PART_PAUSE: Duration = Duration::from_millis(10);

/// The store of a policy.
#[derive(Default)]
pub(crate) struct Store {
    shards: [Lock<HashMap<Box<str>, Entry>>; SHARDS],
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

type Shard<'a> = MutexGuard<'a, HashMap<Box<str>, Entry>>;

impl Store {
    /// Gives a store that has no limits yet its limits.
    pub(crate) fn provide(&self, grant: StoreGrant) {
        if self.entries_max.load(Ordering::Relaxed) == 0 {
            self.adjust(grant);
        }
    }

    /// Sets the limits. What is beyond smaller ones stays until its time is over; nothing is added meanwhile.
    pub(crate) fn adjust(&self, grant: StoreGrant) {
        self.entries_max.store(grant.entries_max, Ordering::Relaxed);
        self.bytes_max.store(grant.bytes_max, Ordering::Relaxed);
    }

    pub(crate) fn get(&self, key: &str, now: Duration) -> Result<Option<Vec<u8>>, Error> {
        check(key, &[])?;
        let shard = self.shard(key);
        let entry = shard.get(key).filter(|entry| !entry.is_over(now));
        Ok(entry.map(|entry| entry.value.clone().into_bytes()))
    }

    pub(crate) fn set(
        &self,
        key: &str,
        value: Vec<u8>,
        ttl: Option<Duration>,
        now: Duration,
    ) -> Result<(), Error> {
        check(key, &value)?;
        let mut value = Kept::Bytes(value);
        self.with_room(now, || self.put(&mut self.shard(key), key, &mut value, after(now, ttl)))
    }

    pub(crate) fn compare_and_set(
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

    pub(crate) fn increment(
        &self,
        key: &str,
        by: i64,
        ttl: Option<Duration>,
        now: Duration,
    ) -> Result<i64, Error> {
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

    pub(crate) fn delete(&self, key: &str) -> Result<(), Error> {
        check(key, &[])?;
        let mut shard = self.shard(key);
        if let Some((key, entry)) = shard.remove_entry(key) {
            self.release(&key, &entry);
        }
        Ok(())
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

    /// Removes entries whose time is over, and says whether there were any. Not more often than every [`SWEEP_PAUSE`], and of
    /// a large store a part each time: a policy that writes to a full store must not keep the worker busy looking through it.
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

fn lock(shard: &Lock<HashMap<Box<str>, Entry>>) -> Shard<'_> {
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

pub(super) fn link(linker: &mut Linker<State>) -> WasmResult<()> {
    store::add_to_linker::<State, HasSelf<State>>(linker, |state| state)
}

impl State {
    /// Does something to `key` in the store; where the exchange shall have no effects, to a copy of it that lives as long
    /// as the exchange.
    fn with_store<T>(
        &mut self,
        key: &str,
        work: impl FnOnce(&Store, Duration) -> Result<T, Error>,
    ) -> WasmResult<Result<T, Error>> {
        let now = clock::monotonic();
        if self.has_effects() {
            return Ok(work(&self.policy.shared.store, now));
        }
        let shared = self.policy.shared.clone();
        let Some(copy) = self.scratch(|| Copy::of(&shared.store)) else {
            return Ok(Err(Error::Unavailable("there is no copy of it for this exchange".to_owned())));
        };
        copy.touch(&shared.store, key);
        Ok(work(&copy.store, now))
    }
}

/// A store with which an exchange can do what it likes: entries are copied as it touches them.
struct Copy {
    store: Store,
    touched: HashSet<Box<str>>,
}

impl Copy {
    /// As full as `store` is, and with its limits.
    fn of(store: &Store) -> Self {
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

    fn touch(&mut self, store: &Store, key: &str) {
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

impl Answer for Error {
    fn to_json(&self) -> Value {
        match self {
            Self::Unavailable(reason) => json!({ "unavailable": reason }),
            Self::TooLarge => json!("too-large"),
            Self::Quota => json!("quota"),
            Self::NotANumber => json!("not-a-number"),
        }
    }

    fn from_json(value: &Value) -> Option<Self> {
        match value.as_str() {
            Some("too-large") => Some(Self::TooLarge),
            Some("quota") => Some(Self::Quota),
            Some("not-a-number") => Some(Self::NotANumber),
            Some(_) => None,
            None => Some(Self::Unavailable(value.get("unavailable")?.as_str()?.to_owned())),
        }
    }
}

fn ttl(millis: Option<u32>) -> Option<Duration> {
    millis.map(|millis| Duration::from_millis(millis.into()))
}

impl store::Host for State {
    fn get(&mut self, key: String) -> WasmResult<Result<Option<Vec<u8>>, Error>> {
        self.require(Capability::Store)?;
        let describe = |key: &String| json!({ "key": key });
        self.noted("store.get", key, describe, |state, key| {
            state.with_store(&key, |store, now| store.get(&key, now))
        })
    }

    fn set(&mut self, key: String, value: Vec<u8>, ttl_ms: Option<u32>) -> WasmResult<Result<(), Error>> {
        self.require(Capability::Store)?;
        let describe = |(key, value, ttl): &(String, Vec<u8>, Option<u32>)| json!({ "key": key, "value": bytes_to_json(value), "ttl-ms": ttl });
        self.noted("store.set", (key, value, ttl_ms), describe, |state, (key, value, ttl_ms)| {
            state.with_store(&key, |store, now| store.set(&key, value, ttl(ttl_ms), now))
        })
    }

    fn compare_and_set(
        &mut self,
        key: String,
        expected: Option<Vec<u8>>,
        value: Vec<u8>,
        ttl_ms: Option<u32>,
    ) -> WasmResult<Result<bool, Error>> {
        self.require(Capability::Store)?;
        type Arguments = (String, Option<Vec<u8>>, Vec<u8>, Option<u32>);
        let describe = |(key, expected, value, ttl): &Arguments| {
            let expected = expected.as_deref().map(bytes_to_json);
            json!({ "key": key, "expected": expected, "value": bytes_to_json(value), "ttl-ms": ttl })
        };
        let arguments: Arguments = (key, expected, value, ttl_ms);
        self.noted("store.compare-and-set", arguments, describe, |state, (key, expected, value, ttl_ms)| {
            state.with_store(&key, |store, now| {
                store.compare_and_set(&key, expected.as_deref(), value, ttl(ttl_ms), now)
            })
        })
    }

    fn increment(&mut self, key: String, by: i64, ttl_ms: Option<u32>) -> WasmResult<Result<i64, Error>> {
        self.require(Capability::Store)?;
        let describe =
            |(key, by, ttl): &(String, i64, Option<u32>)| json!({ "key": key, "by": by, "ttl-ms": ttl });
        self.noted("store.increment", (key, by, ttl_ms), describe, |state, (key, by, ttl_ms)| {
            state.with_store(&key, |store, now| store.increment(&key, by, ttl(ttl_ms), now))
        })
    }

    fn delete(&mut self, key: String) -> WasmResult<Result<(), Error>> {
        self.require(Capability::Store)?;
        let describe = |key: &String| json!({ "key": key });
        self.noted("store.delete", key, describe, |state, key| {
            state.with_store(&key, |store, _| store.delete(&key))
        })
    }
}
