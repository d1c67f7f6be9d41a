//! `store`: the key-value store that a policy's instances on all workers share.

use std::time::Duration;

use portcullis_model::Capability;
use portcullis_policy::recorder::bytes_to_json;
use portcullis_services::store::{self as store_service, ScratchStore, Store};
use serde_json::{Value, json};
use wasmtime::Result as WasmResult;
use wasmtime::component::{HasSelf, Linker};

use super::recorded::{Answer, named_text};
use crate::component::bindings::portcullis::policy::store;
use crate::component::bindings::portcullis::policy::store::Error;
use crate::instance::state::State;

pub(super) fn link(linker: &mut Linker<State>) -> WasmResult<()> {
    store::add_to_linker::<State, HasSelf<State>>(linker, |state| state)
}

impl From<store_service::Error> for Error {
    fn from(error: store_service::Error) -> Self {
        match error {
            store_service::Error::TooLarge => Self::TooLarge,
            store_service::Error::Quota => Self::Quota,
            store_service::Error::NotANumber => Self::NotANumber,
        }
    }
}

impl State {
    /// Lists keys of the store, or of the copy that an exchange without effects has.
    fn list_keys(&mut self, prefix: &str) -> WasmResult<Result<Vec<String>, Error>> {
        let now = self.monotonic();
        let policy = self.policy.clone();
        let store = &policy.shared.store;
        if self.has_effects() {
            let listed = store.list(prefix, now, &mut || self.budget.check())?;
            return Ok(listed.map_err(Error::from));
        }
        let before = store.list(prefix, now, &mut || self.budget.check())?;
        let Some(copy) = self.scratch(|| ScratchStore::of(store)) else {
            return Ok(Err(Error::Unavailable("there is no copy of it for this exchange".to_owned())));
        };
        let copy = copy.touch_all(store, &before.unwrap_or_default());
        // It has at most twice as many keys as were listed, so its time need not be checked.
        Ok(copy.list(prefix, now, &mut || Ok(()))?.map_err(Error::from))
    }

    /// Does something to `key` in the store, or in a copy that lives as long as the exchange if that must have no
    /// effects.
    fn with_store<T>(
        &mut self,
        key: &str,
        work: impl FnOnce(&Store, Duration) -> Result<T, store_service::Error>,
    ) -> WasmResult<Result<T, Error>> {
        let now = self.monotonic();
        if self.has_effects() {
            return Ok(work(&self.policy.shared.store, now).map_err(Error::from));
        }
        let shared = self.policy.shared.clone();
        let Some(copy) = self.scratch(|| ScratchStore::of(&shared.store)) else {
            return Ok(Err(Error::Unavailable("there is no copy of it for this exchange".to_owned())));
        };
        Ok(work(copy.touch(&shared.store, key), now).map_err(Error::from))
    }
}

impl Answer for Error {
    fn to_json(&self) -> Value {
        match self {
            Self::Unavailable(reason) => json!({ "unavailable": reason }),
            Self::TooLarge => json!("too-large"),
            Self::Quota => json!("quota"),
            Self::NotANumber => json!("not-a-number"),
            Self::Other(what) => json!({ "other": what }),
        }
    }

    fn from_json(value: &Value) -> Option<Self> {
        match value.as_str() {
            Some("too-large") => Some(Self::TooLarge),
            Some("quota") => Some(Self::Quota),
            Some("not-a-number") => Some(Self::NotANumber),
            Some(_) => None,
            None => named_text(value, "unavailable")
                .map(Self::Unavailable)
                .or_else(|| named_text(value, "other").map(Self::Other)),
        }
    }
}

fn ttl(millis: Option<u64>) -> Option<Duration> {
    millis.map(Duration::from_millis)
}

impl store::Host for State {
    fn get(&mut self, key: String) -> WasmResult<Result<Option<Vec<u8>>, Error>> {
        self.require(Capability::Store)?;
        let describe = |key: &String| json!({ "key": key });
        self.recorded("store.get", key, describe, |state, key| {
            state.with_store(&key, |store, now| store.get(&key, now))
        })
    }

    fn set(&mut self, key: String, value: Vec<u8>, ttl_ms: Option<u64>) -> WasmResult<Result<(), Error>> {
        self.require(Capability::Store)?;
        let describe = |(key, value, ttl): &(String, Vec<u8>, Option<u64>)| json!({ "key": key, "value": bytes_to_json(value), "ttl-ms": ttl });
        self.recorded("store.set", (key, value, ttl_ms), describe, |state, (key, value, ttl_ms)| {
            state.with_store(&key, |store, now| store.set(&key, value, ttl(ttl_ms), now))
        })
    }

    fn compare_and_set(
        &mut self,
        key: String,
        expected: Option<Vec<u8>>,
        value: Vec<u8>,
        ttl_ms: Option<u64>,
    ) -> WasmResult<Result<bool, Error>> {
        self.require(Capability::Store)?;
        type Arguments = (String, Option<Vec<u8>>, Vec<u8>, Option<u64>);
        let describe = |(key, expected, value, ttl): &Arguments| {
            let expected = expected.as_deref().map(bytes_to_json);
            json!({ "key": key, "expected": expected, "value": bytes_to_json(value), "ttl-ms": ttl })
        };
        let arguments: Arguments = (key, expected, value, ttl_ms);
        self.recorded(
            "store.compare-and-set",
            arguments,
            describe,
            |state, (key, expected, value, ttl_ms)| {
                state.with_store(&key, |store, now| {
                    store.compare_and_set(&key, expected.as_deref(), value, ttl(ttl_ms), now)
                })
            },
        )
    }

    fn increment(&mut self, key: String, by: i64, ttl_ms: Option<u64>) -> WasmResult<Result<i64, Error>> {
        self.require(Capability::Store)?;
        let describe =
            |(key, by, ttl): &(String, i64, Option<u64>)| json!({ "key": key, "by": by, "ttl-ms": ttl });
        self.recorded("store.increment", (key, by, ttl_ms), describe, |state, (key, by, ttl_ms)| {
            state.with_store(&key, |store, now| store.increment(&key, by, ttl(ttl_ms), now))
        })
    }

    fn delete(&mut self, key: String) -> WasmResult<Result<(), Error>> {
        self.require(Capability::Store)?;
        let describe = |key: &String| json!({ "key": key });
        self.recorded("store.delete", key, describe, |state, key| {
            state.with_store(&key, |store, _| store.delete(&key))
        })
    }

    fn list(&mut self, prefix: String) -> WasmResult<Result<Vec<String>, Error>> {
        self.require(Capability::Store)?;
        let describe = |prefix: &String| json!({ "prefix": prefix });
        self.recorded("store.list", prefix, describe, |state, prefix| state.list_keys(&prefix))
    }
}
