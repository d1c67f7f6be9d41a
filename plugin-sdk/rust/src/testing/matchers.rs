//! Sets of the mock, which are read as plainly as can be, and its reader of JSON.

use std::net::IpAddr;

use ipnet::IpNet;
use regex::bytes::{RegexSet, RegexSetBuilder};
use serde_json::Value;

use crate::matchers::{Error, JsonError, JsonValue, MakeError};

/// The sets that were made.
#[derive(Debug, Clone, Default)]
pub(crate) struct Matchers {
    patterns: Sets<RegexSet>,
    networks: Sets<Vec<IpNet>>,
}

/// What each set was made of, and what is in its place now. A number is the place of one, plus one; of one that was
/// forgotten the place is empty.
#[derive(Debug, Clone)]
struct Sets<T>(Vec<Option<(Vec<String>, T)>>);

impl<T> Default for Sets<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Sets<T> {
    fn number(&mut self, text: Vec<String>, set: T) -> Result<u32, MakeError> {
        let same =
            |made: &Option<(Vec<String>, T)>| made.as_ref().is_some_and(|(made_of, _)| *made_of == text);
        let at = self.0.iter().position(same);
        if at.is_none() && self.0.iter().flatten().count() >= 64 {
            return Err(MakeError::TooMany);
        }
        let at = at.unwrap_or_else(|| {
            self.0.push(Some((text, set)));
            self.0.len() - 1
        });
        Ok(at as u32 + 1)
    }

    fn place(&mut self, number: u32) -> Option<&mut Option<(Vec<String>, T)>> {
        (number as usize).checked_sub(1).and_then(|at| self.0.get_mut(at))
    }

    fn replace(&mut self, number: u32, new: T) -> Result<(), MakeError> {
        let (_, set) = self.place(number).and_then(Option::as_mut).ok_or(MakeError::NoSet)?;
        *set = new;
        Ok(())
    }

    fn forget(&mut self, number: u32) {
        if let Some(place) = self.place(number) {
            *place = None;
        }
    }

    fn get(&self, number: u32) -> Result<&T, Error> {
        let place = (number as usize).checked_sub(1).and_then(|at| self.0.get(at));
        place.and_then(Option::as_ref).map(|(_, set)| set).ok_or(Error::NoSet)
    }
}

fn check_size(text: &[u8]) -> Result<(), Error> {
    if text.len() > 1 << 20 { Err(Error::TooLarge) } else { Ok(()) }
}

fn compile(patterns: &[&str]) -> Result<RegexSet, MakeError> {
    RegexSetBuilder::new(patterns).unicode(false).build().map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => MakeError::TooLarge,
        error => MakeError::Malformed(error.to_string()),
    })
}

fn read(text: &str) -> Result<Vec<IpNet>, MakeError> {
    let mut networks = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default().trim();
        if line.is_empty() {
            continue;
        }
        let network = line.parse::<IpAddr>().map(IpNet::from).ok().or_else(|| line.parse().ok());
        let network = network.filter(|network: &IpNet| network.trunc() == *network);
        let malformed = || MakeError::Malformed(format!("line {}: `{line}` is no network", at + 1));
        networks.push(network.ok_or_else(malformed)?);
    }
    Ok(networks)
}

impl Matchers {
    pub(crate) fn make_regex_set(&mut self, patterns: &[&str]) -> Result<u32, MakeError> {
        let set = compile(patterns)?;
        self.patterns.number(patterns.iter().map(|pattern| (*pattern).to_owned()).collect(), set)
    }

    pub(crate) fn replace_regex_set(&mut self, set: u32, patterns: &[&str]) -> Result<(), MakeError> {
        self.patterns.replace(set, compile(patterns)?)
    }

    pub(crate) fn forget_regex_set(&mut self, set: u32) {
        self.patterns.forget(set);
    }

    pub(crate) fn matches(&self, set: u32, text: &[u8]) -> Result<Vec<u32>, Error> {
        let set = self.patterns.get(set)?;
        check_size(text)?;
        Ok(set.matches(text).into_iter().map(|at| at as u32).collect())
    }

    pub(crate) fn make_network_set(&mut self, text: &str) -> Result<u32, MakeError> {
        let set = read(text)?;
        self.networks.number(vec![text.to_owned()], set)
    }

    pub(crate) fn replace_network_set(&mut self, set: u32, text: &str) -> Result<(), MakeError> {
        self.networks.replace(set, read(text)?)
    }

    pub(crate) fn forget_network_set(&mut self, set: u32) {
        self.networks.forget(set);
    }

    pub(crate) fn find_network(&self, set: u32, address: IpAddr) -> Result<Option<u32>, Error> {
        let address = address.to_canonical();
        let having = self.networks.get(set)?.iter().enumerate().filter(|(_, net)| net.contains(&address));
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
