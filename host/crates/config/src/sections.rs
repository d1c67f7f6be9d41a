//! The parts of the model, each made from its section of the file.

pub(crate) mod cache;
pub(crate) mod compress;
pub(crate) mod covered_hosts;
pub(crate) mod field_match;
pub(crate) mod host_header;
pub(crate) mod listener;
pub(crate) mod listening;
pub(crate) mod policy;
pub(crate) mod registry;
pub(crate) mod route;
pub(crate) mod secret;
pub(crate) mod server;
pub(crate) mod signer;
pub(crate) mod upstream;
