//! Rewrites components without running them: takes the code of a configured image apart from its state, so that it is
//! compiled once ([`split`]), adds to an image what its instances are wiped with ([`wipe`]), finds the one module that
//! most components consist of ([`single`]), and has it look at the time ([`looks`]).
//!
//! What comes in is a stranger's plugin. It was validated before, but whatever it is, nothing here panics: what cannot
//! be rewritten is an error, and the sandbox then takes a slower way.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test may panic"))]

#[cfg(test)]
extern crate self as portcullis_rewrite;

#[cfg(test)]
mod invariants;
pub mod looks;
pub mod single;
pub mod split;
#[cfg(test)]
mod tests;
pub mod wipe;
