//! The notes about one exchange that an operator asked about: each hook's decision, its edits, and its calls of the
//! host.
//!
//! The recorder travels in the exchange, so that all code that has the exchange can note in it: the chain notes
//! hooks, the sandbox host calls. It serves three: an explanation, whose calls change nothing ([`Effects::None`]), a
//! recording of a client's exchange, and a replay, whose calls are answered from a record. An exchange that has none
//! pays one look at a null pointer for each hook and each host call.

mod credential;
mod edit;

#[cfg(test)]
mod tests;

use std::any::Any;
use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use portcullis_http::{Fields, ResponseHead};
use portcullis_model::text::hex;
use portcullis_model::{FailureMode, Name, Version};
use serde_json::Value;

pub use credential::{
    is_credential, is_credential_parameter, is_credential_setting, is_mark, mark, names_credentials,
};
pub use edit::{Edit, Message};

use crate::decision::{BodyDecision, BodySplit, Decision, Fault, FaultKind};
use crate::hook::{Hook, Outcome};

/// Bytes of notes that a recorder keeps by default: some thousand calls.
const BYTES_MAX: usize = 4 << 20;
/// What the mark of an argument is called that is a credential and nothing else in the record.
pub const REMOVED_ARGUMENT: &str = "crypto";
/// What a note costs beside the text in it.
const NOTE_BYTES: usize = 64;

/// What host calls of the exchange do beside being noted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effects {
    /// What they always do.
    All,
    /// They answer as they would and change nothing: no quota is used up, nothing is stored, counted or logged.
    None,
}

/// What the clocks say in an exchange whose time stands still.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SimulatedTime {
    /// The time since 1970.
    pub wall: Duration,
    /// The time of the monotonic clock.
    pub monotonic: Duration,
}

/// Notes about one exchange.
pub struct Recorder {
    effects: Effects,
    time: Option<SimulatedTime>,
    hooks: Vec<HookRecord>,
    /// Of the hook that runs.
    calls: Vec<HostCall>,
    /// Fields and the like that the hook that runs has read and that are not what they were: see [`Self::removed`].
    reads: Vec<String>,
    /// The quarantine for which the hook that runs is not called.
    quarantine: Option<Quarantined>,
    removed: Vec<String>,
    script: Option<VecDeque<HostCall>>,
    /// The response as the first policy that saw it met it.
    response: Option<ResponseHead>,
    /// The version of each policy that has several, by position.
    versions: Vec<(usize, Version)>,
    bytes_left: usize,
    /// Notes that were left out because there was no room.
    left_out: usize,
    /// What host functions keep for the exchange, by policy.
    scratch: Vec<(usize, Box<dyn Any + Send>)>,
}

/// One hook that ran.
#[derive(Debug, Clone)]
pub struct HookRecord {
    /// The policy.
    pub policy: Name,
    /// Which of its versions: an exchange keeps to the one that its first hook took.
    pub version: Version,
    /// Its position in the chain.
    pub at: usize,
    /// The hook, by its WIT name.
    pub hook: String,
    /// What it was given beside the exchange.
    pub input: Input,
    /// The trailers that were at hand.
    pub trailers: Option<Box<Fields>>,
    /// What it decided.
    pub decided: Decided,
    /// What it changed in the exchange.
    pub edits: Vec<Edit>,
    /// What it asked of the host, in order.
    pub calls: Vec<HostCall>,
    /// The CPU time that it took, with the making of an instance if none was idle.
    pub cpu: Duration,
    /// What it read that a record does not have any more.
    pub removed_reads: Vec<String>,
    /// The quarantine for which it was not called at all.
    pub quarantine: Option<Quarantined>,
}

/// How it stood with a policy's quarantine when a hook was passed over for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quarantined {
    /// How long it had lasted.
    pub lasted: Duration,
    /// The time to the next probe; zero if the next call that counts is one.
    pub probe_in: Duration,
}

/// What a hook is given beside the exchange.
#[derive(Debug, Clone)]
pub enum Input {
    /// Nothing.
    None,
    /// A piece of a body.
    Piece {
        /// The bytes.
        chunk: Bytes,
        /// Whether it is the last.
        last: bool,
        /// Whether the policy had let some of the body go before.
        begun: bool,
    },
    /// How the exchange ended.
    Outcome(Outcome),
}

/// What a hook decided.
#[derive(Debug, Clone)]
pub enum Decided {
    /// Go on.
    Next,
    /// Answer the client with this.
    Reply {
        /// The status.
        status: u16,
        /// The fields.
        fields: Fields,
        /// The body.
        body: Bytes,
    },
    /// The piece of body goes on as it is.
    Forward,
    /// This goes on in its place.
    Replace(Bytes),
    /// The piece is kept.
    Hold,
    /// Some of it goes on, and some is kept.
    Split(BodySplit),
    /// It failed.
    Fault {
        /// What sort of failure it is.
        kind: FaultKind,
        /// Why.
        message: String,
        /// What that means for the exchange.
        mode: FailureMode,
    },
}

/// One call of a host function.
#[derive(Debug, Clone, PartialEq)]
pub struct HostCall {
    /// `interface.function`, by their WIT names.
    pub function: String,
    /// Its arguments, by name.
    pub arguments: Value,
    /// What the guest received.
    pub result: Value,
    /// Of a replay: whether the record answered. If it has no such call, the host did.
    pub from_record: bool,
}

impl HostCall {
    /// Returns whether it is a call of `function` with `arguments`. An argument of the record that was removed is
    /// whatever it is now.
    #[must_use]
    pub fn asks_the_same(&self, function: &str, arguments: &Value) -> bool {
        self.function == function && same_arguments(&self.arguments, arguments)
    }
}

/// Returns whether the arguments of a call in a record are those that another call has. One that was removed from the
/// record is whatever it is now.
#[must_use]
pub fn same_arguments(recorded: &Value, now: &Value) -> bool {
    match (recorded, now) {
        (Value::Object(recorded), Value::Object(now)) => {
            recorded.len() == now.len()
                && recorded.iter().all(|(name, recorded)| {
                    *recorded == mark(REMOVED_ARGUMENT) || now.get(name) == Some(recorded)
                })
        }
        (recorded, now) => recorded == now,
    }
}

impl Recorder {
    /// Notes what happens.
    #[must_use]
    pub fn new(effects: Effects) -> Self {
        Self {
            effects,
            time: None,
            hooks: Vec::new(),
            calls: Vec::new(),
            reads: Vec::new(),
            quarantine: None,
            removed: Vec::new(),
            script: None,
            response: None,
            versions: Vec::new(),
            bytes_left: BYTES_MAX,
            left_out: 0,
            scratch: Vec::new(),
        }
    }

    /// With another bound on what it keeps.
    #[must_use]
    pub fn with_bytes_max(self, bytes_max: usize) -> Self {
        Self { bytes_left: bytes_max, ..self }
    }

    /// With a time that stands still: what policies ask of clocks, stores and quotas is answered by it.
    #[must_use]
    pub fn at(self, time: SimulatedTime) -> Self {
        Self { time: Some(time), ..self }
    }

    /// Returns the time that stands still; `None` if it passes.
    #[must_use]
    pub fn time(&self) -> Option<SimulatedTime> {
        self.time
    }

    /// Of a replay: these are not what they were when the record was made. The notes name hooks that read one of them.
    #[must_use]
    pub fn with_removed(self, removed: Vec<String>) -> Self {
        Self { removed, ..self }
    }

    /// Of a replay: host calls of the next hook are answered by these.
    pub fn answer_by(&mut self, calls: Vec<HostCall>) {
        self.script = Some(calls.into());
    }

    /// Returns whether this is a replay, in a process of its own.
    #[must_use]
    pub fn is_replay(&self) -> bool {
        self.script.is_some()
    }

    /// Returns whether host calls may change anything beyond the exchange.
    #[must_use]
    pub fn has_effects(&self) -> bool {
        self.effects == Effects::All
    }

    /// Returns the hooks that ran so far, in order.
    #[must_use]
    pub fn hooks(&self) -> &[HookRecord] {
        &self.hooks
    }

    /// Returns the response as it was before the first policy saw it.
    #[must_use]
    pub fn response(&self) -> Option<&ResponseHead> {
        self.response.as_ref()
    }

    /// Returns how many notes were left out because there was no room.
    #[must_use]
    pub fn left_out(&self) -> usize {
        self.left_out
    }

    /// Returns the hooks that ran, and ends the notes.
    #[must_use]
    pub fn into_hooks(self) -> Vec<HookRecord> {
        self.hooks
    }

    /// Returns what the record answers to a call of the hook that runs; `None` if it has no such call, and outside of a
    /// replay.
    ///
    /// The calls are gone through in order; one that comes out of order is answered as well, by the first such call
    /// that has not been answered yet.
    pub fn answer(&mut self, function: &str, arguments: &Value) -> Option<Value> {
        let script = self.script.as_mut()?;
        let at = script.iter().position(|call| call.asks_the_same(function, arguments))?;
        script.remove(at).map(|call| call.result)
    }

    /// Notes a host call.
    pub fn note(&mut self, function: &str, arguments: Value, result: Value, from_record: bool) {
        if self.take_room(weight(&arguments) + weight(&result) + function.len()) {
            let function = function.to_owned();
            self.calls.push(HostCall { function, arguments, result, from_record });
        }
    }

    /// Notes that the hook that runs reads something, such as `request.header x-api-key`.
    pub fn note_read(&mut self, what: &str) {
        if self.removed.iter().any(|removed| removed == what) && !self.reads.iter().any(|read| read == what) {
            self.reads.push(what.to_owned());
        }
    }

    /// The same for all of what begins with `prefix`, as a hook reads that asks for all fields.
    pub fn note_reads(&mut self, prefix: &str) {
        let read: Vec<String> =
            self.removed.iter().filter(|removed| removed.starts_with(prefix)).cloned().collect();
        read.iter().for_each(|what| self.note_read(what));
    }

    /// Notes that the hook that runs is passed over, as its policy is in quarantine.
    pub fn note_quarantine(&mut self, quarantine: Quarantined) {
        self.quarantine = Some(quarantine);
    }

    /// Returns what a host function keeps for the exchange and the policy at that position; `make` makes it at first.
    pub fn scratch<T: Any + Send>(&mut self, at: usize, make: impl FnOnce() -> T) -> Option<&mut T> {
        let found = self.scratch.iter().position(|(of, kept)| *of == at && kept.is::<T>());
        let found = found.unwrap_or_else(|| {
            self.scratch.push((at, Box::new(make())));
            self.scratch.len() - 1
        });
        self.scratch.get_mut(found)?.1.downcast_mut()
    }

    /// Notes the response before a policy has seen it.
    pub(crate) fn note_response(&mut self, response: &ResponseHead) {
        if self.response.is_none() && self.take_room(response.fields.size()) {
            self.response = Some(response.clone());
        }
    }

    /// Notes the version of the policy at a position that this exchange takes.
    pub fn note_version(&mut self, at: usize, version: Version) {
        self.versions.push((at, version));
    }

    /// Returns the version of the policy at a position that this exchange takes.
    pub(crate) fn version(&self, at: usize) -> Version {
        self.versions.iter().find(|(of, _)| *of == at).map(|(_, version)| *version).unwrap_or_default()
    }

    /// Returns what the hook that has just run has left in the recorder, and forgets it.
    pub(crate) fn take_hook(&mut self) -> (Vec<HostCall>, Vec<String>, Option<Quarantined>) {
        (std::mem::take(&mut self.calls), std::mem::take(&mut self.reads), self.quarantine.take())
    }

    fn take_room(&mut self, bytes: usize) -> bool {
        match self.bytes_left.checked_sub(bytes + NOTE_BYTES) {
            Some(left) => {
                self.bytes_left = left;
                true
            }
            None => {
                self.left_out += 1;
                false
            }
        }
    }

    pub(crate) fn note_hook(&mut self, record: HookRecord) {
        let body = |bytes: &Bytes| bytes.len();
        let input = match &record.input {
            Input::Piece { chunk, .. } => body(chunk),
            Input::None | Input::Outcome(_) => 0,
        };
        let decided = match &record.decided {
            Decided::Reply { fields, body: bytes, .. } => fields.size() + body(bytes),
            Decided::Replace(bytes) => body(bytes),
            Decided::Split(split) => body(&split.passed),
            Decided::Fault { message, .. } => message.len(),
            Decided::Next | Decided::Forward | Decided::Hold => 0,
        };
        let edits: usize = record.edits.iter().map(Edit::size).sum();
        let trailers = record.trailers.as_ref().map_or(0, |trailers| trailers.size());
        if self.take_room(input + trailers + decided + edits) {
            self.hooks.push(record);
        }
    }
}

impl std::fmt::Debug for Recorder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // What clients sent does not belong into a log.
        f.debug_struct("Recorder")
            .field("effects", &self.effects)
            .field("hooks", &self.hooks.len())
            .finish_non_exhaustive()
    }
}

impl Input {
    pub(crate) fn of(hook: &Hook, begun: bool) -> Self {
        match hook {
            Hook::RequestHead | Hook::ResponseHead => Self::None,
            Hook::RequestBody { chunk, last } | Hook::ResponseBody { chunk, last } => {
                Self::Piece { chunk: chunk.clone(), last: *last, begun }
            }
            Hook::Completed(outcome) => Self::Outcome(outcome.clone()),
        }
    }
}

impl Decided {
    pub(crate) fn of(result: &Result<Decision, Fault>, mode: FailureMode) -> Self {
        match result {
            Ok(Decision::Next) => Self::Next,
            Ok(Decision::Reply(reply)) => {
                Self::Reply { status: reply.status, fields: reply.fields.clone(), body: reply.body.clone() }
            }
            Ok(Decision::Body(BodyDecision::Forward)) => Self::Forward,
            Ok(Decision::Body(BodyDecision::Replace(bytes))) => Self::Replace(bytes.clone()),
            Ok(Decision::Body(BodyDecision::Hold)) => Self::Hold,
            Ok(Decision::Body(BodyDecision::Split(split))) => Self::Split(split.clone()),
            Err(fault) => Self::Fault { kind: fault.kind, message: fault.message.clone(), mode },
        }
    }
}

/// Returns about how many bytes a value takes.
fn weight(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 8,
        Value::String(text) => text.len() + 24,
        Value::Array(values) => 24 + values.iter().map(weight).sum::<usize>(),
        Value::Object(values) => {
            24 + values.iter().map(|(key, value)| key.len() + 24 + weight(value)).sum::<usize>()
        }
    }
}

/// Returns bytes as text if they are text, else as `{ "hex": "…" }`.
#[must_use]
pub fn bytes_to_json(bytes: &[u8]) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) => Value::from(text),
        Err(_) => serde_json::json!({ "hex": hex(bytes) }),
    }
}

/// Returns the bytes that [`bytes_to_json`] has written, or `None` of any other value.
#[must_use]
pub fn bytes_from_json(value: &Value) -> Option<Vec<u8>> {
    if let Some(text) = value.as_str() {
        return Some(text.as_bytes().to_vec());
    }
    let digits = value.get("hex")?.as_str()?.as_bytes();
    let digit = |digit: &u8| char::from(*digit).to_digit(16);
    let pairs = digits.chunks(2).map(|pair| match pair {
        [high, low] => u8::try_from(digit(high)? << 4 | digit(low)?).ok(),
        _ => None,
    });
    pairs.collect()
}
