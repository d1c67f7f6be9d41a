//! The policy chain: what a policy sees of an exchange, what it decides, and the proof that a request was let through.
//!
//! The chain runs anything that implements [`Policy`]; that a policy is a sandboxed component is known to the
//! `sandbox` crate alone.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test may panic"))]

mod chain;
mod exchange;
#[cfg(test)]
mod fake;
mod fault_log;
mod gone;
pub mod outbound;
mod policy;
pub mod recorder;
mod rollout;

pub use chain::{BodyOutcome, BodySide, HeadOutcome, HeldBody, Permitted, PolicyChain, Replied};
pub use exchange::{Attributes, ClientInfo, Exchange, Phase, PolicySlot};
pub use gone::ClientGone;
pub use policy::{
    BodyDecision, Called, Decision, Fault, FaultKind, Hook, Hooks, Outcome, Policy, PolicyFactory, Reply,
    Returned, Watch, carry_over,
};
pub use rollout::{
    Act, ActError, Difference, Ending, Environment, Rollout, RolloutFactory, RolloutReport, Sample, Spawn,
    Standing, VersionLabel, VersionReport,
};
