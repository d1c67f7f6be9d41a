//! `matchers`: sets of patterns and networks that are compiled once, and a reader of JSON.

use std::net::IpAddr;

use portcullis_model::Capability;
use portcullis_model::text::cut;
use portcullis_policy::HookKind;
use portcullis_policy::recorder::bytes_to_json;
use portcullis_services::matchers::{self as service, Matchers, read_json};
use serde_json::{Value, json};
use wasmtime::Result as WasmResult;
use wasmtime::component::{HasSelf, Linker};

use crate::component::bindings::portcullis::policy::matchers;
use crate::component::bindings::portcullis::policy::matchers::{Error, JsonError, JsonValue, MakeError};
use crate::instance::stage::Stage;
use crate::instance::state::State;

/// An address has at most 45 characters; longer texts are cut in notes.
const ADDRESS_BYTES_MAX: usize = 64;

pub(super) fn link(linker: &mut Linker<State>) -> WasmResult<()> {
    matchers::add_to_linker::<State, HasSelf<State>>(linker, |state| state)
}

impl From<service::MakeError> for MakeError {
    fn from(error: service::MakeError) -> Self {
        match error {
            service::MakeError::Malformed(why) => Self::Malformed(why),
            service::MakeError::TooLarge => Self::TooLarge,
            service::MakeError::TooMany => Self::TooMany,
            service::MakeError::NoSet => Self::NoSet,
        }
    }
}

impl From<service::Error> for Error {
    fn from(error: service::Error) -> Self {
        match error {
            service::Error::NoSet => Self::NoSet,
            service::Error::TooLarge => Self::TooLarge,
            service::Error::TooCostly => Self::TooCostly,
        }
    }
}

impl From<service::JsonError> for JsonError {
    fn from(error: service::JsonError) -> Self {
        match error {
            service::JsonError::Malformed(why) => Self::Malformed(why),
            service::JsonError::InvalidPointer(pointer) => Self::InvalidPointer(pointer),
            service::JsonError::TooLarge => Self::TooLarge,
        }
    }
}

impl From<service::JsonValue> for JsonValue {
    fn from(value: service::JsonValue) -> Self {
        match value {
            service::JsonValue::Null => Self::Null,
            service::JsonValue::Boolean(value) => Self::Boolean(value),
            service::JsonValue::Number(value) => Self::Number(value),
            service::JsonValue::Text(value) => Self::Text(value),
            service::JsonValue::Items(value) => Self::Items(value),
            service::JsonValue::Members(value) => Self::Members(value),
        }
    }
}

impl State {
    fn matchers(&self) -> WasmResult<&Matchers> {
        self.require(Capability::Matchers)?;
        Ok(&self.policy.matchers)
    }

    /// Compiling may take some ten milliseconds, for which no exchange shall wait.
    fn may_compile(&self) -> Result<(), MakeError> {
        match self.stage {
            Stage::Configure | Stage::Hook(HookKind::Tick) => Ok(()),
            _ => Err(MakeError::NotNow),
        }
    }

    /// Forgets a set, which other exchanges use as well.
    fn forget(&mut self, function: &'static str, set: u32, forget: fn(&Matchers, u32)) -> WasmResult<()> {
        self.matchers()?;
        let describe = |set: &u32| json!({ "set": set });
        self.recorded(function, set, describe, |state, set| {
            if state.has_effects() {
                forget(state.matchers()?, set);
            }
            Ok(())
        })
    }
}

fn describe_text((set, text): &(u32, Vec<u8>)) -> Value {
    json!({ "set": set, "text": bytes_to_json(text) })
}

fn told<T: serde::Serialize>(result: &Result<T, Error>) -> Value {
    match result {
        Ok(found) => json!({ "ok": found }),
        Err(Error::NoSet) => json!({ "err": "no-set" }),
        Err(Error::TooLarge) => json!({ "err": "too-large" }),
        Err(Error::TooCostly) => json!({ "err": "too-costly" }),
        Err(Error::InvalidAddress) => json!({ "err": "invalid-address" }),
        Err(Error::Other(what)) => json!({ "err": { "other": what } }),
    }
}

impl matchers::Host for State {
    fn make_regex_set(&mut self, patterns: Vec<String>) -> WasmResult<Result<u32, MakeError>> {
        let matchers = self.matchers()?;
        Ok(self.may_compile().and_then(|()| Ok(matchers.make_patterns(&patterns)?)))
    }

    fn replace_regex_set(&mut self, set: u32, patterns: Vec<String>) -> WasmResult<Result<(), MakeError>> {
        let matchers = self.matchers()?;
        Ok(self.may_compile().and_then(|()| Ok(matchers.replace_patterns(set, &patterns)?)))
    }

    fn forget_regex_set(&mut self, set: u32) -> WasmResult<()> {
        self.forget("matchers.forget-regex-set", set, Matchers::forget_patterns)
    }

    fn is_match(&mut self, set: u32, text: Vec<u8>) -> WasmResult<Result<bool, Error>> {
        self.matchers()?;
        self.observed("matchers.is-match", (set, text), describe_text, told, |state, (set, text)| {
            Ok(state.matchers()?.is_match(set, &text).map_err(Error::from))
        })
    }

    fn matches(&mut self, set: u32, text: Vec<u8>) -> WasmResult<Result<Vec<u32>, Error>> {
        self.matchers()?;
        self.observed("matchers.matches", (set, text), describe_text, told, |state, (set, text)| {
            Ok(state.matchers()?.matches(set, &text).map_err(Error::from))
        })
    }

    fn make_network_set(&mut self, networks: String) -> WasmResult<Result<u32, MakeError>> {
        let matchers = self.matchers()?;
        Ok(self.may_compile().and_then(|()| Ok(matchers.make_networks(&networks)?)))
    }

    fn replace_network_set(&mut self, set: u32, networks: String) -> WasmResult<Result<(), MakeError>> {
        let matchers = self.matchers()?;
        Ok(self.may_compile().and_then(|()| Ok(matchers.replace_networks(set, &networks)?)))
    }

    fn forget_network_set(&mut self, set: u32) -> WasmResult<()> {
        self.forget("matchers.forget-network-set", set, Matchers::forget_networks)
    }

    fn find_network(&mut self, set: u32, address: String) -> WasmResult<Result<Option<u32>, Error>> {
        self.matchers()?;
        let describe =
            |(set, of): &(u32, String)| json!({ "set": set, "address": cut(of, ADDRESS_BYTES_MAX) });
        self.observed("matchers.find-network", (set, address), describe, told, |state, (set, of)| {
            let Ok(address) = of.parse() else { return Ok(Err(Error::InvalidAddress)) };
            Ok(state.matchers()?.find(set, address).map_err(Error::from))
        })
    }

    fn find_client(&mut self, set: u32) -> WasmResult<Result<Option<u32>, Error>> {
        self.matchers()?;
        let client = self.exchange()?.client.address;
        let describe = |(set, of): &(u32, IpAddr)| json!({ "set": set, "address": of.to_string() });
        self.observed("matchers.find-client", (set, client), describe, told, |state, (set, client)| {
            Ok(state.matchers()?.find(set, client).map_err(Error::from))
        })
    }

    fn read_json(
        &mut self,
        document: Vec<u8>,
        pointers: Vec<String>,
    ) -> WasmResult<Result<Vec<Option<JsonValue>>, JsonError>> {
        self.require(Capability::Matchers)?;
        let describe = |(document, pointers): &(Vec<u8>, Vec<String>)| json!({ "document": bytes_to_json(document), "pointers": pointers });
        let told = |read: &Result<Vec<Option<JsonValue>>, JsonError>| match read {
            Ok(values) => json!({ "found": values.iter().map(Option::is_some).collect::<Vec<_>>() }),
            Err(error) => json!({ "err": format!("{error:?}") }),
        };
        self.observed(
            "matchers.read-json",
            (document, pointers),
            describe,
            told,
            |state, (document, pointers)| {
                let read = read_json(&document, &pointers, &mut || state.budget.check())?;
                let value = |value: Option<service::JsonValue>| value.map(JsonValue::from);
                Ok(read.map(|values| values.into_iter().map(value).collect()).map_err(JsonError::from))
            },
        )
    }
}
