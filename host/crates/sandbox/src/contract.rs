//! What the contract in wit/ is called.

/// The package.
pub const PACKAGE: &str = "portcullis:policy";
/// Its version, and the newest that a component may have been built for.
pub const VERSION: &str = "0.2.1";
/// The digest of its interfaces, which `cargo xtask record-contract` writes.
pub const DIGEST: &str = include_str!("../../../../wit/digest").trim_ascii();
