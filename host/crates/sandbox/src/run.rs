//! Runs hooks: on a worker or beside it, on a plain stack or a fiber, and `on-tick` on a thread of its own.

pub(crate) mod background;
pub(crate) mod block_on;
pub(crate) mod fiber;
pub(crate) mod tick;
pub(crate) mod trust;
pub(crate) mod worker;
