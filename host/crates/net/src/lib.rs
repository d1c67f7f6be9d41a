//! Sockets: listeners, the accept loop, TLS on both sides, connections to endpoints, and drain.
//!
//! Everything that uses rustls is here; the other crates see [`Stream`], [`TlsInfo`] and opaque contexts. A worker is
//! one tokio current-thread runtime with a `LocalSet`; things that are made for each worker say so.
#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test may panic"))]

mod accept;
mod certificate;
mod connect;
mod count;
mod der;
mod descriptors;
mod drain;
mod listen;
mod log_limit;
#[cfg(feature = "memory")]
mod memory;
mod resolve;
mod server_verifier;
mod state;
mod stream;
mod tasks;
mod tls_client;
mod tls_error;
mod tls_server;

#[cfg(test)]
mod testing;

pub use accept::{AcceptSettings, Accepted, accept_loop};
pub use certificate::{CertificateError, CertificateWarning, certificate_names};
pub use connect::{ConnectError, ConnectErrorKind, Connected, Connector};
pub use count::{ConnectionCount, ConnectionPermit};
pub use descriptors::{DescriptorShares, descriptors_are_short, streams_max};
pub use drain::{Drain, DrainSignal};
pub use listen::{BACKLOG, BindError, bind, bind_beside, overlap};
#[cfg(feature = "memory")]
pub use memory::{Dialled, MemoryStream};
pub use state::ListenerState;
pub use stream::Stream;
pub use tasks::Tasks;
pub use tls_client::{SystemRoots, TlsClientError, UpstreamTlsContext, check_authorities};
pub use tls_server::{Alpn, ServerTls, TlsInfo, TlsServerError};
