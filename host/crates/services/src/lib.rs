//! What policies may ask of the gateway, as plain Rust: the store, rate-limit buckets, keys and signatures, sets of
//! patterns and networks, metrics, the limits of a log. No engine is known here. The sandbox has one thin file for each
//! capability, which checks the grant and converts between the contract's types and these.
//!
//! Everything here is shared by the workers of a policy, and whatever can take long takes a [`CheckTime`], so that a
//! call ends at its deadline.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test may panic"))]

pub mod clock;
pub mod cpu_time;
pub mod crypto;
pub mod log_window;
pub mod matchers;
pub mod metrics;
mod numbered;
pub mod random;
pub mod rate_limit;
pub mod store;

pub use cpu_time::{CheckTime, OutOfTime};
