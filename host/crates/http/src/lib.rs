//! HTTP without I/O: heads, fields, path normalisation, forwarding fields, framing and the HTTP/1 codec.
//!
//! Everything here is a function over bytes. It never waits, never reads a clock and never panics on what a peer sent.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test may panic"))]

mod authority;
mod condition;
mod cookie;
mod date;
mod fields;
mod forwarded;
pub mod h1;
pub mod h2;
mod head;
mod hop;
mod identity;
mod known;
mod path;
pub mod proxy_protocol;
mod range;
mod selection;
mod status;

pub use authority::validate_authority;
pub use date::{http_date, parse_http_date};
pub use fields::{FieldError, Fields, is_field_value, is_token};
pub use forwarded::rewrite_forwarding_fields;
pub use head::{RequestHead, ResponseHead, Scheme, Version};
pub use hop::{
    has_underscore, is_forbidden_trailer, is_gateway_owned, is_hop_by_hop, strip_request_hop_by_hop,
    strip_request_trailers, strip_response_hop_by_hop, strip_response_trailers,
};
pub use identity::is_identity;
pub use known::Known;
pub use path::{
    EncodedSlash, PathError, PathReading, has_encoded_slash, normalize_path, read_path, set_client_target,
    set_request_target,
};
pub use range::{FirstByte, Requested, byte_range, first_byte};
pub use selection::{
    Selection, Validators, is_strong_match, is_weak_match, list_elements, select_representation,
};
pub use status::reason_phrase;
