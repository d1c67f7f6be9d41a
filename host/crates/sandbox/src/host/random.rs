//! `random`: bytes from the operating system.

use portcullis_model::Capability;
use portcullis_services::random::{DrawError, draw};
use serde_json::{Value, json};
use wasmtime::Result as WasmResult;
use wasmtime::component::{HasSelf, Linker};

use super::recorded::{Answer, named_text};
use crate::component::bindings::portcullis::policy::random;
use crate::component::bindings::portcullis::policy::random::Error;
use crate::instance::state::State;

pub(super) fn link(linker: &mut Linker<State>) -> WasmResult<()> {
    random::add_to_linker::<State, HasSelf<State>>(linker, |state| state)
}

impl From<DrawError> for Error {
    fn from(error: DrawError) -> Self {
        match error {
            DrawError::TooMany => Self::TooMany,
            DrawError::Unavailable(why) => Self::Unavailable(why),
        }
    }
}

impl random::Host for State {
    fn bytes(&mut self, count: u32) -> WasmResult<Result<Vec<u8>, Error>> {
        self.require(Capability::Random)?;
        let describe = |count: &u32| json!({ "count": count });
        self.recorded("random.bytes", count, describe, |_, count| Ok(draw(count).map_err(Error::from)))
    }
}

impl Answer for Error {
    fn to_json(&self) -> Value {
        match self {
            Self::TooMany => json!("too-many"),
            Self::Unavailable(why) => json!({ "unavailable": why }),
            Self::Other(what) => json!({ "other": what }),
        }
    }

    fn from_json(value: &Value) -> Option<Self> {
        match value.as_str() {
            Some("too-many") => Some(Self::TooMany),
            Some(_) => None,
            None => named_text(value, "unavailable")
                .map(Self::Unavailable)
                .or_else(|| named_text(value, "other").map(Self::Other)),
        }
    }
}
