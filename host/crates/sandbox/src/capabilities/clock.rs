//! `clock`: the wall clock and a monotonic one.

use std::sync::LazyLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use portcullis_model::Capability;
use serde_json::json;
use wasmtime::Result;
use wasmtime::component::{HasSelf, Linker};

use crate::bindings::portcullis::policy::clock;
use crate::state::State;

/// The moment that all monotonic times of the process count from, so that what is shared outlives reloads.
static ORIGIN: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Time since some fixed moment.
pub(crate) fn monotonic() -> Duration {
    ORIGIN.elapsed()
}

/// Time since 1970; zero where the clock is before that.
pub(crate) fn wall() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

pub(super) fn link(linker: &mut Linker<State>) -> Result<()> {
    clock::add_to_linker::<State, HasSelf<State>>(linker, |state| state)
}

impl clock::Host for State {
    fn now_ms(&mut self) -> Result<u64> {
        self.require(Capability::Clock)?;
        let now = |_: &mut Self, ()| Ok(u64::try_from(wall().as_millis()).unwrap_or(u64::MAX));
        self.noted("clock.now-ms", (), |()| json!({}), now)
    }

    fn monotonic_us(&mut self) -> Result<u64> {
        self.require(Capability::Clock)?;
        let now = |_: &mut Self, ()| Ok(u64::try_from(monotonic().as_micros()).unwrap_or(u64::MAX));
        self.noted("clock.monotonic-us", (), |()| json!({}), now)
    }
}
