//! `clock`: the wall clock and a monotonic one.

use std::time::Duration;

use portcullis_model::Capability;
use portcullis_policy::recorder::SimulatedTime;
use portcullis_services::clock as clocks;
use serde_json::json;
use wasmtime::Result;
use wasmtime::component::{HasSelf, Linker};

use crate::component::bindings::portcullis::policy::clock;
use crate::instance::state::State;

pub(super) fn link(linker: &mut Linker<State>) -> Result<()> {
    clock::add_to_linker::<State, HasSelf<State>>(linker, |state| state)
}

impl State {
    /// Returns the time of the monotonic clock, which a test may have stopped.
    pub(crate) fn monotonic(&self) -> Duration {
        self.simulated_time().map_or_else(clocks::monotonic, |time| time.monotonic)
    }

    /// Returns the time since 1970, which a test may have stopped.
    pub(crate) fn wall(&self) -> Duration {
        self.simulated_time().map_or_else(clocks::wall, |time| time.wall)
    }

    /// Returns the time that a test has stopped; `None` if it passes.
    pub(crate) fn simulated_time(&self) -> Option<SimulatedTime> {
        self.exchange.as_deref()?.recorder.as_deref()?.time()
    }
}

impl clock::Host for State {
    fn now_ms(&mut self) -> Result<u64> {
        self.require(Capability::Clock)?;
        let now = |state: &mut Self, ()| Ok(u64::try_from(state.wall().as_millis()).unwrap_or(u64::MAX));
        self.recorded("clock.now-ms", (), |()| json!({}), now)
    }

    fn monotonic_us(&mut self) -> Result<u64> {
        self.require(Capability::Clock)?;
        let now = |state: &mut Self, ()| Ok(u64::try_from(state.monotonic().as_micros()).unwrap_or(u64::MAX));
        self.recorded("clock.monotonic-us", (), |()| json!({}), now)
    }
}
