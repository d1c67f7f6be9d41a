//! HTTP without I/O: heads, fields, path normalisation, forwarding fields, framing and the HTTP/1 codec.
//!
//! Everything here is a function over bytes. It never waits, never reads a clock and never panics on what a peer sent.

mod fields;
mod head;
mod known;

pub use fields::{FieldError, Fields, is_field_value, is_token};
pub use head::{RequestHead, ResponseHead, Scheme, Version};
pub use known::Known;
