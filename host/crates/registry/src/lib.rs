//! Plugins from registries: what an image is, the store on disk, the client that fills it, and signatures.
//!
//! Everything from a registry, a store or a signature file is checked before it is used: content by the digest that was
//! requested, the digest by the configuration or its lock file, and signatures by a key that the configuration names.
//! An image is checked from its pinned manifest to the component's bytes each time it is read, so a store that was
//! tampered with is no worse than an empty one.
//!
//! Calls may block: on the disk, and on a registry if the store lacks something.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test may panic"))]

mod address;
mod auth;
mod client;
mod credentials;
mod environment;
mod error;
mod image;
mod layer;
mod manifest;
mod proxy;
mod registries;
mod signature;
mod store;
mod url;

pub use environment::Environment;
pub use error::{Error, Unverified};
pub use image::Image;
pub use layer::{LayerFormat, component};
pub use registries::Registries;
pub use signature::{SignerError, check_key, verify_file};
pub use store::{Memory, Store, StoreError};

use portcullis_model::ContentDigest;
use sha2::{Digest as _, Sha256};

/// Bytes of a component, and of the layer that contains it: one with CPython has 40 MiB.
pub const COMPONENT_BYTES_MAX: u64 = 256 << 20;

/// Returns the digest of `bytes`.
#[must_use]
pub fn digest(bytes: &[u8]) -> ContentDigest {
    ContentDigest::new(Sha256::digest(bytes).into())
}
