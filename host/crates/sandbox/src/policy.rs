//! A configured policy: what it is made of and may use, what is counted of it, and whether it is called.

pub(crate) mod context;
pub(crate) mod factory;
pub(crate) mod places;
pub(crate) mod policy_services;
pub(crate) mod quarantine;
pub(crate) mod report;
pub(crate) mod shared;
pub(crate) mod shares;
