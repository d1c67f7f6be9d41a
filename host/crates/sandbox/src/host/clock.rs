//! `clock`: the wall clock and a monotonic one.

use portcullis_model::Capability;
use portcullis_services::clock as clocks;
use serde_json::json;
use wasmtime::Result;
use wasmtime::component::{HasSelf, Linker};

use crate::component::bindings::portcullis::policy::clock;
use crate::instance::state::State;

pub(super) fn link(linker: &mut Linker<State>) -> Result<()> {
    clock::add_to_linker::<State, HasSelf<State>>(linker, |state| state)
}

impl clock::Host for State {
    fn now_ms(&mut self) -> Result<u64> {
        self.require(Capability::Clock)?;
        let now = |_: &mut Self, ()| Ok(u64::try_from(clocks::wall().as_millis()).unwrap_or(u64::MAX));
        self.recorded("clock.now-ms", (), |()| json!({}), now)
    }

    fn monotonic_us(&mut self) -> Result<u64> {
        self.require(Capability::Clock)?;
        let now = |_: &mut Self, ()| Ok(u64::try_from(clocks::monotonic().as_micros()).unwrap_or(u64::MAX));
        self.recorded("clock.monotonic-us", (), |()| json!({}), now)
    }
}
