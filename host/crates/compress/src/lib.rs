//! Content codings, without I/O and without a runtime: which of them a response gets, what becomes of its head, and
//! streams that encode and decode within bounds.
//!
//! [`Asked`] is what a request says of codings, [`decide()`] the rule by which a response is encoded, [`Encoder`] and
//! [`Decoder`] do the work piece by piece, and a [`Pool`] bounds how many encoders there are.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test may panic"))]

mod accept;
mod asked;
mod brotli_stream;
mod decide;
mod decode;
mod encode;
mod head;
mod pool;

pub use accept::Accepted;
pub use asked::Asked;
pub use decide::{Why, decide};
pub use decode::{DecodeBounds, DecodeError, Decoder};
pub use encode::{EncodeError, Encoder};
pub use head::{mark_decoded, mark_encoded, mark_not_modified, mark_varying};
pub use pool::{Pool, Pooled};
