//! The host functions of the contract: a file for each capability, and those of the exchange at hand, which need no
//! grant.
//!
//! A component that imports one without the grant does not load. The functions look again, so that a mistake there
//! would not be enough.

mod body;
mod cache;
mod cache_purge;
mod clock;
mod connection;
mod crypto;
mod exchange;
pub(crate) mod head;
mod http_client;
mod log;
mod matchers;
mod metrics;
mod outcome;
mod random;
mod rate_limit;
mod recorded;
mod reply;
pub(crate) mod request;
mod response;
mod secrets;
mod store;
mod trailers;

use portcullis_model::Capability;
use wasmtime::component::Linker;
use wasmtime::{Result, bail};

use crate::instance::state::State;

/// Defines all functions.
pub(crate) fn link(linker: &mut Linker<State>) -> Result<()> {
    head::link(linker)?;
    log::link(linker)?;
    clock::link(linker)?;
    random::link(linker)?;
    metrics::link(linker)?;
    secrets::link(linker)?;
    rate_limit::link(linker)?;
    store::link(linker)?;
    crypto::link(linker)?;
    matchers::link(linker)?;
    http_client::link(linker)?;
    cache_purge::link(linker)
}

impl State {
    /// Traps if the capability was not granted.
    fn require(&self, capability: Capability) -> Result<()> {
        if self.policy.grants.allows(capability) {
            return Ok(());
        }
        bail!("`{}` was not granted", capability.name())
    }
}
