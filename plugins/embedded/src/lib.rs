//! The policies that ship with the gateway, as components. They are built from source with the SDK like anybody's, and
//! nothing about them is privileged but that they need no file.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test may panic"))]

/// The names of the shipped policies, for `plugin = "builtin:NAME"`, in order.
pub const NAMES: [&str; 6] = ["api-key", "external-auth", "headers", "ip-filter", "jwt", "rate-limit"];

const API_KEY: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/portcullis_plugin_api_key.wasm"));
const EXTERNAL_AUTH: &[u8] =
    include_bytes!(concat!(env!("OUT_DIR"), "/portcullis_plugin_external_auth.wasm"));
const HEADERS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/portcullis_plugin_headers.wasm"));
const IP_FILTER: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/portcullis_plugin_ip_filter.wasm"));
const JWT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/portcullis_plugin_jwt.wasm"));
const RATE_LIMIT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/portcullis_plugin_rate_limit.wasm"));

/// The policy that the demo runs behind `/live/*`: `examples/live-policy` as it was when the gateway was built.
pub const LIVE_DEMO: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/portcullis_example_live.wasm"));

/// The component of a shipped policy. `None` if there is none of that name.
#[must_use]
pub fn builtin(name: &str) -> Option<&'static [u8]> {
    match name {
        "api-key" => Some(API_KEY),
        "external-auth" => Some(EXTERNAL_AUTH),
        "headers" => Some(HEADERS),
        "ip-filter" => Some(IP_FILTER),
        "jwt" => Some(JWT),
        "rate-limit" => Some(RATE_LIMIT),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
