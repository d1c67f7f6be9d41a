//! Tests of the real binary over real sockets. See [`harness`] for what a test is written with.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod cli;
mod demo;
mod faults;
mod harness;
mod hooks;
mod metrics;
mod setup;
mod shipped_policies;
mod watching;
