//! Runs policies as WebAssembly components. The only crate that knows wasmtime.
//!
//! [`inspect()`] reads what a component is without compiling it. A [`Sandbox`] compiles components, and configures them
//! to policies, which the `policy` crate's chain runs by their trait. What a guest does is bounded in time, memory and
//! what it may ask of the gateway; whatever it returns is treated as what a client sends.
//!
//! The way of a call: `run/worker.rs` takes an instance from its pool or makes one from a configured image
//! (`component/image.rs`, and the crate `rewrite`), `instance.rs` calls the hook in it with the exchange moved into the
//! store, `instance/at_hand.rs` has what it decides, and `instance/fault.rs` says what went wrong if something did.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test may panic"))]

mod component;
mod contract;
mod direct;
mod engine;
mod error;
mod host;
mod inject;
mod instance;
mod options;
mod policy;
mod run;
mod runtime;
mod sandbox;
mod wasi;

pub use component::anatomy::{Anatomy, dissect};
pub use component::inspect::{ComponentInfo, MANIFEST_SECTION, Manifest, inspect};
pub use component::{Compiled, PolicyComponent};
pub use contract::{DIGEST as CONTRACT_DIGEST, PACKAGE as CONTRACT_PACKAGE, VERSION as CONTRACT_VERSION};
pub use error::{ConfigureError, InspectError, SandboxError};
pub use options::{Compiler, SandboxOptions};
pub use policy::report::{LastFault, PolicyReport, SandboxReport, Standings, UnderWay};
pub use portcullis_services::clock::monotonic;
pub use portcullis_services::metrics::{GuestMetric, GuestValue};
pub use portcullis_traffic::Standing;
pub use sandbox::Sandbox;

#[cfg(test)]
mod tests;
