//! Sets of the mock, which are read as plainly as can be, and its reader of JSON.

use std::net::IpAddr;

use ipnet::IpNet;
use regex::bytes::{RegexSet, RegexSetBuilder};
use serde_json::Value;

use crate::matchers::{Error, JsonError, JsonValue, MakeError};

/// The sets that were made; a number is the place of one, plus one.
#[derive(Debug, Default)]
pub(crate) struct Matchers {
    patterns: Vec<RegexSet>,
    networks: Vec<Vec<IpNet>>,
}

/// Returns the number of the item that equals `new`, after appending it if there is none, counted from one.
fn number<T>(list: &mut Vec<T>, new: T, same: impl Fn(&T, &T) -> bool) -> Result<u32, MakeError> {
    let at = list.iter().position(|old| same(old, &new));
    if at.is_none() && list.len() >= 64 {
        return Err(MakeError::TooMany);
    }
    let at = at.unwrap_or_else(|| {
        list.push(new);
        list.len() - 1
    });
    Ok(at as u32 + 1)
}

fn get<T>(list: &[T], number: u32) -> Result<&T, Error> {
    (number as usize).checked_sub(1).and_then(|at| list.get(at)).ok_or(Error::NoSet)
}

fn check_size(text: &[u8]) -> Result<(), Error> {
    if text.len() > 1 << 20 { Err(Error::TooLarge) } else { Ok(()) }
}

impl Matchers {
    pub(crate) fn make_regex_set(&mut self, patterns: &[&str]) -> Result<u32, MakeError> {
        let set = RegexSetBuilder::new(patterns).unicode(false).build();
        let set = set.map_err(|error| match error {
            regex::Error::CompiledTooBig(_) => MakeError::TooLarge,
            error => MakeError::Malformed(error.to_string()),
        })?;
        number(&mut self.patterns, set, |a, b| a.patterns() == b.patterns())
    }

    pub(crate) fn matches(&self, set: u32, text: &[u8]) -> Result<Vec<u32>, Error> {
        let set = get(&self.patterns, set)?;
        check_size(text)?;
        Ok(set.matches(text).into_iter().map(|at| at as u32).collect())
    }

    pub(crate) fn make_network_set(&mut self, text: &str) -> Result<u32, MakeError> {
        let mut networks = Vec::new();
        for (at, line) in text.lines().enumerate() {
            let line = line.split('#').next().unwrap_or_default().trim();
            if line.is_empty() {
                continue;
            }
            let network = line.parse::<IpAddr>().map(IpNet::from).ok().or_else(|| line.parse().ok());
            let network = network.filter(|network: &IpNet| network.trunc() == *network);
            networks.push(
                network.ok_or_else(|| {
                    MakeError::Malformed(format!("line {}: `{line}` is no network", at + 1))
                })?,
            );
        }
        number(&mut self.networks, networks, |a, b| a == b)
    }

    pub(crate) fn find_network(&self, set: u32, address: IpAddr) -> Result<Option<u32>, Error> {
        let address = address.to_canonical();
        let having = get(&self.networks, set)?.iter().enumerate().filter(|(_, net)| net.contains(&address));
        let smallest = having.min_by_key(|(at, net)| (u8::MAX - net.prefix_len(), *at));
        Ok(smallest.map(|(at, _)| at as u32))
    }
}

pub(crate) fn read_json(document: &[u8], pointers: &[&str]) -> Result<Vec<Option<JsonValue>>, JsonError> {
    if document.len() > 1 << 20 || pointers.len() > 64 {
        return Err(JsonError::TooLarge);
    }
    let document: Value =
        serde_json::from_slice(document).map_err(|error| JsonError::Malformed(error.to_string()))?;
    let read = |pointer: &&str| {
        if !pointer.is_empty() && !pointer.starts_with('/') {
            return Err(JsonError::InvalidPointer((*pointer).to_owned()));
        }
        Ok(document.pointer(pointer).map(|value| match value {
            Value::Null => JsonValue::Null,
            Value::Bool(value) => JsonValue::Boolean(*value),
            Value::Number(number) => JsonValue::Number(number.to_string()),
            Value::String(text) => JsonValue::Text(text.clone()),
            Value::Array(_) => JsonValue::Items(value.to_string()),
            Value::Object(_) => JsonValue::Members(value.to_string()),
        }))
    };
    pointers.iter().map(read).collect()
}
