//! Host calls of an exchange that has a recorder: noted there, answered from a record in a replay, and without effect
//! in an explanation.
//!
//! A host function that goes through [`State::recorded`] costs one check of a null pointer if there is no recorder.

use portcullis_policy::recorder::{Recorder, bytes_from_json, bytes_to_json};
use serde_json::{Value, json};
use wasmtime::Result;

use crate::instance::state::State;

/// What a host function gives back, as a record has it.
pub(crate) trait Answer: Sized {
    fn to_json(&self) -> Value;
    /// Returns `None` if a record has something else, as one that was edited may.
    fn from_json(value: &Value) -> Option<Self>;
}

impl State {
    /// The recorder of the exchange at hand.
    pub(crate) fn recorder(&mut self) -> Option<&mut Recorder> {
        self.exchange.as_deref_mut()?.recorder.as_deref_mut()
    }

    /// Whether the call at hand may change anything beyond the exchange.
    pub(crate) fn has_effects(&self) -> bool {
        self.exchange.as_deref().is_none_or(portcullis_policy::Exchange::has_effects)
    }

    /// Carries out a host call. `function` is `interface.function`, and `describe` names the arguments; both are for
    /// the recorder, if the exchange has one.
    #[inline]
    pub(crate) fn recorded<A, T: Answer>(
        &mut self,
        function: &'static str,
        arguments: A,
        describe: fn(&A) -> Value,
        call: impl FnOnce(&mut Self, A) -> Result<T>,
    ) -> Result<T> {
        if self.exchange.as_deref().is_none_or(|exchange| exchange.recorder.is_none()) {
            return call(self, arguments);
        }
        let described = describe(&arguments);
        self.record_slowly(function, described, |state| call(state, arguments))
    }

    /// The same for a call that depends on nothing but its arguments, what is in the exchange, and what the policy made
    /// when it was configured: it is noted, and carried out in a replay as well, for another version may have made
    /// something else.
    #[inline]
    pub(crate) fn observed<A, T>(
        &mut self,
        function: &'static str,
        arguments: A,
        describe: fn(&A) -> Value,
        tell: fn(&T) -> Value,
        call: impl FnOnce(&mut Self, A) -> Result<T>,
    ) -> Result<T> {
        if self.recorder().is_none() {
            return call(self, arguments);
        }
        let described = describe(&arguments);
        let answer = call(self, arguments)?;
        if let Some(recorder) = self.recorder() {
            recorder.note(function, described, tell(&answer), false);
        }
        Ok(answer)
    }

    #[cold]
    fn record_slowly<T: Answer>(
        &mut self,
        function: &'static str,
        arguments: Value,
        call: impl FnOnce(&mut Self) -> Result<T>,
    ) -> Result<T> {
        let recorded = self.recorder().and_then(|recorder| recorder.answer(function, &arguments));
        let recorded = recorded.as_ref().and_then(T::from_json);
        let from_record = recorded.is_some();
        if let Some(recorder) = self.recorder() {
            // The record may not have what this call gave.
            recorder.note_read(function);
        }
        let answer = match recorded {
            Some(answer) => answer,
            None => call(self)?,
        };
        if let Some(recorder) = self.recorder() {
            recorder.note(function, arguments, answer.to_json(), from_record);
        }
        Ok(answer)
    }

    /// Tells a replay that the hook reads something: what a record does not have any more cannot be judged by. Nothing,
    /// and costs one check, if the exchange has no recorder.
    #[inline]
    pub(crate) fn note_read(&mut self, what: &str, name: &str) {
        if let Some(recorder) = self.recorder() {
            recorder.note_read(&format!("{what}{}", name.to_ascii_lowercase()));
        }
    }

    /// The same for all that begins with `prefix`.
    #[inline]
    pub(crate) fn note_reads(&mut self, prefix: &str) {
        if let Some(recorder) = self.recorder() {
            recorder.note_reads(prefix);
        }
    }

    /// What the recorder keeps for the policy whose hook runs; `None` without a recorder.
    pub(crate) fn scratch<T: Send + 'static>(&mut self, make: impl FnOnce() -> T) -> Option<&mut T> {
        let exchange = self.exchange.as_deref_mut()?;
        exchange.recorder.as_mut()?.scratch(exchange.policy_at, make)
    }
}

/// The text of a case that has one, such as `{ "malformed": "why" }`.
pub(super) fn named_text(value: &Value, name: &str) -> Option<String> {
    value.get(name)?.as_str().map(str::to_owned)
}

/// Keys, which `store.list` gives.
impl Answer for Vec<String> {
    fn to_json(&self) -> Value {
        json!(self)
    }

    fn from_json(value: &Value) -> Option<Self> {
        value.as_array()?.iter().map(String::from_json).collect()
    }
}

impl Answer for () {
    fn to_json(&self) -> Value {
        Value::Null
    }

    fn from_json(value: &Value) -> Option<Self> {
        value.is_null().then_some(())
    }
}

impl Answer for bool {
    fn to_json(&self) -> Value {
        json!(self)
    }

    fn from_json(value: &Value) -> Option<Self> {
        value.as_bool()
    }
}

impl Answer for u32 {
    fn to_json(&self) -> Value {
        json!(self)
    }

    fn from_json(value: &Value) -> Option<Self> {
        value.as_u64()?.try_into().ok()
    }
}

impl Answer for u64 {
    fn to_json(&self) -> Value {
        json!(self)
    }

    fn from_json(value: &Value) -> Option<Self> {
        value.as_u64()
    }
}

impl Answer for i64 {
    fn to_json(&self) -> Value {
        json!(self)
    }

    fn from_json(value: &Value) -> Option<Self> {
        value.as_i64()
    }
}

impl Answer for String {
    fn to_json(&self) -> Value {
        json!(self)
    }

    fn from_json(value: &Value) -> Option<Self> {
        value.as_str().map(str::to_owned)
    }
}

impl Answer for Vec<u8> {
    fn to_json(&self) -> Value {
        bytes_to_json(self)
    }

    fn from_json(value: &Value) -> Option<Self> {
        bytes_from_json(value)
    }
}

impl<T: Answer> Answer for Option<T> {
    fn to_json(&self) -> Value {
        // Wrapped, so that a record distinguishes nothing from a value that is written as null.
        self.as_ref().map_or(Value::Null, |some| json!([some.to_json()]))
    }

    fn from_json(value: &Value) -> Option<Self> {
        match value {
            Value::Null => Some(None),
            Value::Array(one) => match one.as_slice() {
                [some] => T::from_json(some).map(Some),
                _ => None,
            },
            _ => None,
        }
    }
}

impl<T: Answer, E: Answer> Answer for std::result::Result<T, E> {
    fn to_json(&self) -> Value {
        match self {
            Ok(value) => json!({ "ok": value.to_json() }),
            Err(error) => json!({ "err": error.to_json() }),
        }
    }

    fn from_json(value: &Value) -> Option<Self> {
        match (value.get("ok"), value.get("err")) {
            (Some(value), None) => T::from_json(value).map(Ok),
            (None, Some(error)) => E::from_json(error).map(Err),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::Answer;

    fn check<T: Answer + PartialEq + std::fmt::Debug>(value: T, written: serde_json::Value) {
        assert_eq!(value.to_json(), written);
        assert_eq!(T::from_json(&written), Some(value));
    }

    #[test]
    fn what_is_written_is_read_again() {
        check((), json!(null));
        check(u64::MAX, json!(u64::MAX));
        check(b"text".to_vec(), json!("text"));
        check(vec![0xff, 0x0a], json!({ "hex": "ff0a" }));
        check(Some(Vec::<u8>::new()), json!([""]));
        check(vec!["a".to_owned(), "b".to_owned()], json!(["a", "b"]));
        check(None::<Vec<u8>>, json!(null));
        check(Ok::<_, String>(true), json!({ "ok": true }));
        check(Err::<bool, _>("why".to_owned()), json!({ "err": "why" }));
    }

    #[test]
    fn what_a_record_has_otherwise_is_no_answer() {
        assert_eq!(u32::from_json(&json!(u64::MAX)), None);
        assert_eq!(Vec::<u8>::from_json(&json!({ "hex": "f" })), None);
        assert_eq!(Vec::<u8>::from_json(&json!({ "hex": "zz" })), None);
        assert_eq!(Option::<bool>::from_json(&json!([true, false])), None);
        assert_eq!(Result::<bool, String>::from_json(&json!({ "ok": true, "err": "both" })), None);
    }
}
