//! `random`: bytes from the operating system.

use portcullis_model::Capability;
use serde_json::json;
use wasmtime::component::{HasSelf, Linker};
use wasmtime::{Result, ensure, format_err};

use crate::bindings::portcullis::policy::random;
use crate::state::State;

/// What one call may ask for.
const BYTES_MAX: u32 = 4096;

/// `count` random bytes.
pub(crate) fn bytes(count: usize) -> Result<Vec<u8>> {
    let mut bytes = vec![0; count];
    fill(&mut bytes)?;
    Ok(bytes)
}

/// Fills `bytes` with random ones.
pub(crate) fn fill(bytes: &mut [u8]) -> Result<()> {
    getrandom::fill(bytes).map_err(|error| format_err!("the operating system gives no random bytes: {error}"))
}

pub(super) fn link(linker: &mut Linker<State>) -> Result<()> {
    random::add_to_linker::<State, HasSelf<State>>(linker, |state| state)
}

impl random::Host for State {
    fn bytes(&mut self, count: u32) -> Result<Vec<u8>> {
        self.require(Capability::Random)?;
        ensure!(count <= BYTES_MAX, "it asked for {count} random bytes; a call gives at most {BYTES_MAX}");
        let draw = |_: &mut Self, count: u32| bytes(count as usize);
        self.noted("random.bytes", count, |count| json!({ "count": count }), draw)
    }
}
