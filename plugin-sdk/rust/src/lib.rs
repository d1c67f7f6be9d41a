//! Write policies for the Portcullis gateway in Rust.
//!
//! A policy is a plain struct with the hooks that it has. [`#[policy]`](macro@policy) makes a component of it,
//! [`#[derive(Config)]`](Config) types its settings, and [`testing`] runs it natively.
//!
//! ```
//! use std::collections::BTreeMap;
//! use portcullis_sdk::prelude::*;
//!
//! /// Lets requests through that carry a known key.
//! #[derive(Config)]
//! struct ApiKey {
//!     /// The field that carries the key.
//!     #[config(default = "x-api-key")]
//!     header: String,
//!     /// The keys, and who each belongs to.
//!     keys: BTreeMap<String, String>,
//! }
//!
//! #[policy(name = "api-key", description = "Lets requests through that carry a known key.")]
//! impl ApiKey {
//!     fn configure(settings: Self) -> Self {
//!         settings
//!     }
//!
//!     fn on_request_head(&self, request: &mut Request, exchange: &mut Exchange) -> Result<(), Stop> {
//!         let key = request.header(&self.header).unwrap_or_default();
//!         let name = self.keys.get(&key).ok_or_else(|| Reply::new(401).text("a known key is needed\n"))?;
//!         exchange.set_attribute("api-key.name", name)?;
//!         request.remove_header(&self.header)?;
//!         Ok(())
//!     }
//! }
//!
//! // Natively, in a test:
//! use portcullis_sdk::testing::MockGateway;
//!
//! let gateway = MockGateway::new();
//! let mut policy = gateway.configure::<ApiKey>(r#"{"keys": {"k1": "alice"}}"#)?;
//! let mut exchange = gateway.exchange("GET", "/").header("x-api-key", "k1");
//! assert_eq!(exchange.request_head(&mut policy), Decision::Next);
//! assert_eq!(exchange.attribute_value("api-key.name").as_deref(), Some("alice"));
//! assert_eq!(exchange.request_header("x-api-key"), None);
//! # Ok::<(), String>(())
//! ```
//!
//! # Hooks
//!
//! Each is optional; one that is not there costs nothing. Each takes `&self` or `&mut self`, and of the arguments below
//! those that it wants, in any order. The gateway's own description of each is in the contract, `wit/hooks.wit`.
//!
//! | hook | arguments | returns |
//! |---|---|---|
//! | `configure(settings)`, without `self` | any type that derives [`Config`] | `Self`, or `Result<Self, impl Display>` |
//! | `on_request_head` | `&mut Request`, `&mut Exchange` | [`IntoDecision`] |
//! | `on_request_body` | [`Chunk`], `&mut Trailers`, `&mut Request`, `&mut Exchange` | [`IntoBodyDecision`] |
//! | `on_response_head` | `&mut Response`, `&Request`, `&mut Exchange` | [`IntoDecision`] |
//! | `on_response_body` | [`Chunk`], `&mut Trailers`, `&mut Response`, `&Request`, `&mut Exchange` | [`IntoBodyDecision`] |
//! | `on_completed` | `&Outcome`, `&Trailers`, `&Response`, `&Request`, `&mut Exchange` | nothing, or a `Result` of it |
//! | `on_tick` | none | nothing, or a `Result` of it |
//!
//! # Capabilities
//!
//! [`log`], [`clock`], [`random`], [`metrics`], [`secrets`], [`rate_limit`], [`store`], [`crypto`], [`matchers`],
//! [`http_client`] and [`cache_purge`] are modules of functions. The component imports those that it calls and no
//! others, and each must be granted in the gateway's config. [`cache`] needs no grant.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test may panic"))]

// The macros name this crate as other crates do.
#[cfg(test)]
extern crate self as portcullis_sdk;

#[cfg(target_family = "wasm")]
#[allow(
    unsafe_code,
    missing_debug_implementations,
    unreachable_pub,
    unused_lifetimes,
    rust_2018_idioms,
    clippy::all,
    clippy::mem_forget,
    clippy::allow_attributes_without_reason,
    clippy::use_self,
    clippy::uninlined_format_args,
    reason = "generated"
)]
#[doc(hidden)]
pub mod bindings;
pub mod cache;
pub mod cache_purge;
pub mod clock;
pub mod config;
pub mod crypto;
mod exchange;
#[cfg(target_family = "wasm")]
mod export;
mod host;
pub mod http_client;
pub mod log;
mod manifest;
pub mod matchers;
pub mod metrics;
mod mistakes;
mod policy;
mod query;
pub mod random;
pub mod rate_limit;
mod request;
mod response;
pub mod secrets;
pub mod store;
#[cfg(not(target_family = "wasm"))]
pub mod testing;
mod trailers;
mod types;

pub use config::{ConfigSchema, FileText};
pub use exchange::Exchange;
pub use manifest::Manifest;
pub use mistakes::Mistakes;
pub use policy::{IntoConfigured, Policy};
pub use portcullis_sdk_macros::{Config, policy};
pub use request::Request;
pub use response::Response;
pub use trailers::Trailers;
pub use types::{
    BodyDecision, Chunk, Decision, Field, FieldBytes, IntoBodyDecision, IntoDecision, Outcome, Refused,
    Reply, Stop,
};

/// All that a policy usually needs: `use portcullis_sdk::prelude::*;`.
pub mod prelude {
    pub use crate::{
        BodyDecision, Chunk, Config, Decision, Exchange, FileText, Outcome, Refused, Reply, Request,
        Response, Stop, Trailers, policy,
    };
}

/// For the code that the macros write.
#[doc(hidden)]
pub mod __private {
    pub use serde;

    pub use crate::manifest::Manifest;
    pub use crate::policy::settings;

    #[cfg(target_family = "wasm")]
    pub mod export {
        pub use crate::export::Instance;
    }

    #[cfg(target_family = "wasm")]
    pub use crate::bindings;
}

#[cfg(test)]
mod tests;
