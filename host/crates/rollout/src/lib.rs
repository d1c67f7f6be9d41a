//! Tries another version of a policy while the active one serves.
//!
//! A version is a [`PolicyFactory`](portcullis_policy::PolicyFactory) of its own, with its own instances.
//! [`RolloutFactory`] is the policy that the chain sees in their place. It asks a [`Rollout`], which all workers
//! share, which version an exchange takes, keeps to that for all hooks of the exchange, and reports the outcome to
//! it. A policy without a candidate has no such layer.
//!
//! `judge.rs` decides when a canary is aborted, `canary.rs` sends exchanges to it, `shadow.rs` runs a version beside
//! the active one, and `compare.rs` says how the two differ.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test may panic"))]

mod canary;
mod choice;
mod compare;
mod detached;
mod factory;
mod follow;
mod judge;
mod meter;
mod pair;
mod shadow;
mod side;
mod state;
mod stream;
mod track;
mod workers;

#[cfg(test)]
mod tests;

pub use compare::{Difference, Sample};
pub use factory::{Environment, RolloutFactory};
pub use pair::Spawn;
pub use state::{Act, ActError, Ending, Rollout, RolloutReport, Standing, VersionLabel, VersionReport};
