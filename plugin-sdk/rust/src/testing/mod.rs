//! Runs policies natively, without a Wasm toolchain, against a gateway and exchanges that a test makes up.
//!
//! ```
//! use portcullis_sdk::prelude::*;
//! use portcullis_sdk::testing::{MockExchange, MockGateway};
//!
//! #[derive(Default)]
//! struct Greeter;
//!
//! #[policy(name = "greeter", description = "Greets.")]
//! impl Greeter {
//!     fn on_request_head(&self, request: &Request) -> Decision {
//!         match request.path().as_str() {
//!             "/hello" => Decision::Reply(Reply::new(200).text("hello\n")),
//!             _ => Decision::Next,
//!         }
//!     }
//! }
//!
//! let gateway = MockGateway::new();
//! let mut greeter = gateway.configure::<Greeter>("{}")?;
//! assert_eq!(gateway.exchange("GET", "/").request_head(&mut greeter), Decision::Next);
//! assert_ne!(gateway.exchange("GET", "/hello").request_head(&mut greeter), Decision::Next);
//! # Ok::<(), String>(())
//! ```
//!
//! The mock keeps the contract's rules if a policy can run into them: which fields are forbidden, what is read-only in
//! which hook, how large a head, attributes, state and a body that is held may be, and which replies can be sent. As in
//! the gateway, each exchange has an instance of the policy of its own: see [`Configured`]. The mock has no grants: a
//! component that is not granted a capability that it imports does not load.

pub(crate) mod cache;
mod configured;
pub(crate) mod crypto;
mod exchange;
pub(crate) mod fields;
mod gateway;
pub(crate) mod matchers;
pub(crate) mod piece;
pub(crate) mod state;

pub use configured::Configured;
pub use exchange::MockExchange;
pub use gateway::MockGateway;
