//! The HTTP cache: its rules (RFC 9111) as functions over values, and the stores that keep responses.
//!
//! The rules never wait, never read a clock and never panic on what a peer sent; time is a value that the caller gives.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test may panic"))]

mod disk;
mod memory;
pub mod rules;
pub mod store;
