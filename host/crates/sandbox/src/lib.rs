//! Runs policies as WebAssembly components. The only crate that knows wasmtime.
//!
//! [`inspect()`] reads what a component is without compiling it. A [`Sandbox`] compiles components, and configures them to
//! policies, which the `policy` crate's chain runs by their trait. What a guest does is bounded in time, memory and
//! what it may ask of the gateway; whatever it returns is treated as what a client sends.
//!
//! The way of a call: `worker.rs` takes an instance from its pool or makes one from a configured image (`image.rs`,
//! `split.rs`), `instance.rs` calls the hook in it with the exchange moved into the store, `answer.rs` checks what came back, and `fault.rs` says what went wrong where something did.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test may panic"))]

mod answer;
mod background;
mod bindings;
mod block_on;
mod budget;
mod capabilities;
mod component;
mod context;
mod engine;
mod error;
mod factory;
mod fault;
mod fiber;
mod functions;
mod hooks;
mod host;
mod image;
mod inject;
mod inspect;
mod instance;
mod memory;
mod options;
mod output;
mod places;
mod policy_services;
mod quarantine;
mod refusal;
mod report;
mod returns;
mod runtime;
mod sandbox;
mod shared;
mod shares;
mod split;
mod stage;
mod state;
mod tick;
mod ticker;
mod wasi;
mod weigh;
mod wipe;
mod worker;

pub use component::{Compiled, PolicyComponent};
pub use error::{ConfigureError, InspectError, SandboxError};
pub use inspect::{ComponentInfo, Manifest, inspect};
pub use options::{Compiler, SandboxOptions};
pub use portcullis_services::metrics::{GuestMetric, GuestValue};
pub use portcullis_traffic::Standing;
pub use report::{LastFault, PolicyReport, SandboxReport, Standings, UnderWay};
pub use sandbox::Sandbox;

#[cfg(test)]
mod tests;
