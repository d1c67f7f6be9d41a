//! Tests of the real binary over real sockets. See [`harness`] for what a test is written with.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod access_log;
mod balancing;
mod bodies;
mod cli;
mod compiling;
mod demo;
mod diff;
mod drain;
mod edge;
mod exchange;
mod explain;
mod failures;
mod faults;
mod forwarding;
mod h2_answers;
mod h2_attacks;
mod harness;
mod hooks;
mod http1;
mod http2;
mod http_client;
mod limits;
mod malformed;
mod metrics;
mod nginx;
mod promotion;
mod quarantine;
mod recording;
mod registry;
mod registry_access;
mod reload;
mod rollouts;
mod routes;
mod setup;
mod shipped_policies;
mod signatures;
mod soak;
mod status;
mod streaming;
mod swaps;
mod timeouts;
mod tls;
mod upgrade;
mod watching;
