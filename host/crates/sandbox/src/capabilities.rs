//! The host functions that a policy must be granted, a file for each capability.
//!
//! A component that imports one without the grant does not load. The functions look again, so that a mistake there would
//! not be enough.

pub(crate) mod clock;
pub(crate) mod crypto;
pub(crate) mod http_client;
pub(crate) mod log;
pub(crate) mod matchers;
pub(crate) mod metrics;
pub(crate) mod noted;
pub(crate) mod numbered;
pub(crate) mod random;
pub(crate) mod rate_limit;
pub(crate) mod secrets;
pub(crate) mod store;

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
