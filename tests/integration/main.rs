//! Tests of the real binary over real sockets. See [`harness`] for what a test is written with.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod bodies;
mod cli;
mod demo;
mod edge;
mod exchange;
mod faults;
mod harness;
mod hooks;
mod http1;
mod http2;
mod metrics;
mod reload;
mod setup;
mod shipped_policies;
mod timeouts;
mod watching;
