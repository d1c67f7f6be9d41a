//! `matchers`: sets of patterns and networks that are compiled once, and a reader of JSON.

mod json;
mod networks;
mod patterns;

#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::sync::Arc;

use aws_lc_rs::digest::{Context, SHA256};
use portcullis_model::Capability;
use portcullis_policy::recorder::bytes_to_json;
use serde_json::{Value, json};
use wasmtime::Result as WasmResult;
use wasmtime::component::{HasSelf, Linker};

use self::networks::Networks;
use self::patterns::Patterns;
use super::numbered::{Content, Numbered, Room};
use crate::bindings::portcullis::policy::matchers;
use crate::bindings::portcullis::policy::matchers::{Error, JsonError, JsonValue, MakeError};
use crate::bindings::portcullis::policy::types::IpAddress;
use crate::state::{Stage, State};

/// Sets of each kind that a policy may have, and the bytes that they may take.
const ROOM: Room = Room { count: 64, bytes: 32 << 20 };
/// Bytes of a text that is compared with patterns, and of a JSON document.
const TEXT_BYTES_MAX: usize = 1 << 20;

/// The sets of a policy.
#[derive(Default)]
pub(crate) struct Matchers {
    patterns: Numbered<Patterns>,
    networks: Numbered<Networks>,
}

pub(super) fn link(linker: &mut Linker<State>) -> WasmResult<()> {
    matchers::add_to_linker::<State, HasSelf<State>>(linker, |state| state)
}

impl Matchers {
    fn make_patterns(&self, patterns: &[String]) -> Result<u32, MakeError> {
        let made = self.patterns.number(content(patterns), ROOM, || {
            let made = Patterns::compile(patterns)?;
            let bytes = made.bytes();
            Ok((made, bytes))
        })?;
        made.ok_or(MakeError::TooMany)
    }

    fn make_networks(&self, text: &str) -> Result<u32, MakeError> {
        let made = self.networks.number(content(&[text]), ROOM, || {
            let made = Networks::read(text)?;
            let bytes = made.bytes();
            Ok((made, bytes))
        })?;
        made.ok_or(MakeError::TooMany)
    }

    fn patterns(&self, set: u32, text: &[u8]) -> Result<Arc<Patterns>, Error> {
        let patterns = self.patterns.get(set).ok_or(Error::NoSet)?;
        if text.len() > TEXT_BYTES_MAX { Err(Error::TooLarge) } else { Ok(patterns) }
    }

    fn is_match(&self, set: u32, text: &[u8]) -> Result<bool, Error> {
        self.patterns(set, text)?.is_match(text)
    }

    fn matches(&self, set: u32, text: &[u8]) -> Result<Vec<u32>, Error> {
        self.patterns(set, text)?.matches(text)
    }

    fn find(&self, set: u32, address: IpAddr) -> Result<Option<u32>, Error> {
        Ok(self.networks.get(set).ok_or(Error::NoSet)?.find(address))
    }
}

/// Each part with its length before it, so that no two lists can be written alike.
fn content<T: AsRef<str>>(parts: &[T]) -> Content {
    let mut context = Context::new(&SHA256);
    for part in parts {
        let part = part.as_ref().as_bytes();
        context.update(&part.len().to_le_bytes());
        context.update(part);
    }
    let mut content = Content::default();
    content.copy_from_slice(context.finish().as_ref());
    content
}

fn address(address: IpAddress) -> IpAddr {
    match address {
        IpAddress::Ipv4((a, b, c, d)) => IpAddr::from([a, b, c, d]),
        IpAddress::Ipv6((a, b, c, d, e, f, g, h)) => IpAddr::from([a, b, c, d, e, f, g, h]),
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
            Stage::Configure | Stage::Tick => Ok(()),
            _ => Err(MakeError::NotNow),
        }
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
    }
}

impl matchers::Host for State {
    fn make_regex_set(&mut self, patterns: Vec<String>) -> WasmResult<Result<u32, MakeError>> {
        let matchers = self.matchers()?;
        Ok(self.may_compile().and_then(|()| matchers.make_patterns(&patterns)))
    }

    fn is_match(&mut self, set: u32, text: Vec<u8>) -> WasmResult<Result<bool, Error>> {
        self.matchers()?;
        self.observed("matchers.is-match", (set, text), describe_text, told, |state, (set, text)| {
            Ok(state.matchers()?.is_match(set, &text))
        })
    }

    fn matches(&mut self, set: u32, text: Vec<u8>) -> WasmResult<Result<Vec<u32>, Error>> {
        self.matchers()?;
        self.observed("matchers.matches", (set, text), describe_text, told, |state, (set, text)| {
            Ok(state.matchers()?.matches(set, &text))
        })
    }

    fn make_network_set(&mut self, networks: String) -> WasmResult<Result<u32, MakeError>> {
        let matchers = self.matchers()?;
        Ok(self.may_compile().and_then(|()| matchers.make_networks(&networks)))
    }

    fn find_network(&mut self, set: u32, of: IpAddress) -> WasmResult<Result<Option<u32>, Error>> {
        self.matchers()?;
        let describe = |(set, of): &(u32, IpAddr)| json!({ "set": set, "address": of.to_string() });
        self.observed("matchers.find-network", (set, address(of)), describe, told, |state, (set, of)| {
            Ok(state.matchers()?.find(set, of))
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
            |state, (document, pointers)| json::read(&document, &pointers, &mut || state.budget.check()),
        )
    }
}
