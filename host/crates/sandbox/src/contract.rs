//! What the contract in wit/ is called.

/// The package.
pub(crate) const PACKAGE: &str = "portcullis:policy";
/// Its version, and the newest that a component may have been built for.
pub(crate) const VERSION: &str = "0.2.0";
/// The digest of its interfaces, which `cargo xtask record-contract` writes.
pub(crate) const DIGEST: &str = include_str!("../../../../wit/digest").trim_ascii();
