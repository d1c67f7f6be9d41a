//! The rules of a shared cache (RFC 9111): what may be stored, which stored response answers a request, and when it has
//! to be validated first.

mod directives;

pub use directives::{MaxStale, RequestDirectives, ResponseDirectives, SECONDS_MAX};
