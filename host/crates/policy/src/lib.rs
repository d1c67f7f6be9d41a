//! The policy chain: what a policy sees of an exchange, what it decides, and the proof that a request was let through.
//!
//! The chain runs anything that implements [`Policy`]: a sandboxed component (the `sandbox` crate), or several
//! versions of one (the `rollout` crate). Nothing here knows either.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test may panic"))]

mod attributes;
pub mod cache;
pub mod cache_purger;
mod chain;
mod changes;
mod client_gone;
mod decision;
mod exchange;
#[cfg(any(test, feature = "testing"))]
pub mod fake;
mod fault_log;
mod holding;
mod hook;
pub mod outbound;
mod policy;
mod recorded_call;
pub mod recorder;

pub use attributes::Attributes;
pub use chain::{BodyOutcome, HeadOutcome, HeldBody, Permitted, PolicyChain, Replied};
pub use client_gone::ClientGone;
pub use decision::{Again, BodyDecision, BodySplit, Decision, Fault, FaultKind, Reply};
pub use exchange::{ClientInfo, ClientTls, Exchange, PolicySlot};
pub use holding::{Holding, Passed};
pub use hook::{BodySide, Hook, HookKind, Hooks, Outcome};
pub use policy::{Called, Policy, PolicyFactory, Returned, Watch, Watcher, carry_over, find_version};
pub use recorded_call::call_recorded;
