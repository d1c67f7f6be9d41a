//! The host functions that a policy must be granted, a file for each capability.
//!
//! A component that imports one without the grant does not load. The functions look again, so that a mistake there would
//! not be enough.

mod clock;
mod crypto;
mod http_client;
mod log;
mod matchers;
mod metrics;
mod noted;
mod random;
mod rate_limit;
mod secrets;
mod store;

use portcullis_model::Capability;
use wasmtime::component::Linker;
use wasmtime::{Result, bail};

use crate::state::State;

/// Defines the functions of all capabilities.
pub(crate) fn link(linker: &mut Linker<State>) -> Result<()> {
    log::link(linker)?;
    clock::link(linker)?;
    random::link(linker)?;
    metrics::link(linker)?;
    secrets::link(linker)?;
    rate_limit::link(linker)?;
    store::link(linker)?;
    crypto::link(linker)?;
    matchers::link(linker)?;
    http_client::link(linker)
}

impl State {
    /// Traps where the capability was not granted.
    fn require(&self, capability: Capability) -> Result<()> {
        if self.policy.grants.allows(capability) {
            return Ok(());
        }
        bail!("`{}` was not granted", capability.name())
    }
}
