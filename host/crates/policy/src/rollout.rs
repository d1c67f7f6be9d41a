//! Trying another version of a policy while the active one serves.
//!
//! A version is a [`PolicyFactory`](crate::PolicyFactory) of its own, with its own instances. [`RolloutFactory`] is the
//! policy that the chain sees in their place: it asks a [`Rollout`], which all workers share, which version an exchange
//! takes, keeps to that for all hooks of the exchange, and tells it what came of them. A policy without a candidate has no
//! such layer.
//!
//! `judge.rs` decides when a canary is taken back, `canary.rs` sends exchanges to it, `shadow.rs` runs a version beside the
//! active one, and `compare.rs` says in what the two differ.

mod apart;
mod canary;
mod compare;
mod factory;
mod judge;
mod meter;
mod shadow;
mod state;
mod stream;

#[cfg(test)]
mod tests;

pub use compare::{Difference, Sample};
pub use factory::{Environment, RolloutFactory, Spawn};
pub use state::{Act, ActError, Ending, Rollout, RolloutReport, Standing, VersionLabel, VersionReport};

pub(crate) use canary::Chosen;
