//! The files of a configuration.

pub(crate) mod include;
pub(crate) mod read;
pub(crate) mod source;
