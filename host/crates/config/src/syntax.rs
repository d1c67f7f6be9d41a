//! From text to tables whose values are known to have the right form, and the small languages that values are written
//! in.

pub(crate) mod authority;
pub(crate) mod check;
pub(crate) mod keys;
pub(crate) mod network;
pub(crate) mod pattern;
pub(crate) mod reference;
pub(crate) mod shape;
pub(crate) mod suggest;
pub(crate) mod template;
pub(crate) mod tree;
pub(crate) mod units;
pub(crate) mod unseen_fields;
pub(crate) mod view;
