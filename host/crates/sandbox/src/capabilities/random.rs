//! `random`: bytes from the operating system.

use portcullis_model::Capability;
use serde_json::{Value, json};
use wasmtime::Result as WasmResult;
use wasmtime::component::{HasSelf, Linker};

use super::noted::Answer;
use crate::bindings::portcullis::policy::random;
use crate::bindings::portcullis::policy::random::Error;
use crate::state::State;

/// What one call may ask for.
const BYTES_MAX: u32 = 4096;

/// The operating system gives no random bytes.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the operating system gives no random bytes: {0}")]
pub(crate) struct NoRandom(String);

/// `count` random bytes.
pub(crate) fn bytes(count: usize) -> Result<Vec<u8>, NoRandom> {
    let mut bytes = vec![0; count];
    fill(&mut bytes)?;
    Ok(bytes)
}

/// Fills `bytes` with random ones.
pub(crate) fn fill(bytes: &mut [u8]) -> Result<(), NoRandom> {
    getrandom::fill(bytes).map_err(|error| NoRandom(error.to_string()))
}

pub(super) fn link(linker: &mut Linker<State>) -> WasmResult<()> {
    random::add_to_linker::<State, HasSelf<State>>(linker, |state| state)
}

/// What a policy asks for.
fn draw(count: u32) -> Result<Vec<u8>, Error> {
    if count > BYTES_MAX {
        return Err(Error::TooMany);
    }
    bytes(count as usize).map_err(|NoRandom(why)| Error::Unavailable(why))
}

impl random::Host for State {
    fn bytes(&mut self, count: u32) -> WasmResult<Result<Vec<u8>, Error>> {
        self.require(Capability::Random)?;
        let describe = |count: &u32| json!({ "count": count });
        self.noted("random.bytes", count, describe, |_, count| Ok(draw(count)))
    }
}

impl Answer for Error {
    fn to_json(&self) -> Value {
        match self {
            Self::TooMany => json!("too-many"),
            Self::Unavailable(why) => json!({ "unavailable": why }),
        }
    }

    fn from_json(value: &Value) -> Option<Self> {
        match value.as_str() {
            Some("too-many") => Some(Self::TooMany),
            Some(_) => None,
            None => Some(Self::Unavailable(value.get("unavailable")?.as_str()?.to_owned())),
        }
    }
}
