//! The gateway's functions: in a component they are its imports, natively they are answered by the mock of
//! [`crate::testing`]. Both sides have the same functions.

#[cfg(target_family = "wasm")]
mod wasm;
#[cfg(target_family = "wasm")]
pub(crate) use wasm::*;

#[cfg(not(target_family = "wasm"))]
mod native;
#[cfg(not(target_family = "wasm"))]
pub(crate) use native::*;
