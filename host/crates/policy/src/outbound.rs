//! Requests that policies send: what the crate that runs policies needs of the one that has connections.

use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use portcullis_http::{RequestHead, ResponseHead};
use portcullis_model::HttpGrant;

/// A request of a policy's own. The code that makes it has checked it against the grant.
#[derive(Debug, Clone)]
pub struct OutboundRequest {
    /// The grant that covers it: its server, and which addresses that server may have.
    pub grant: HttpGrant,
    /// Method, authority, target and fields, valid and without framing.
    pub head: RequestHead,
    /// The body.
    pub body: Bytes,
    /// The limit of time for all of it.
    pub timeout: Duration,
    /// Bytes that the response's body may have.
    pub response_bytes_max: usize,
}

/// The answer, without hop-by-hop fields and framing.
#[derive(Debug, Clone, Default)]
pub struct OutboundResponse {
    /// Status and fields.
    pub head: ResponseHead,
    /// The body.
    pub body: Bytes,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OutboundError {
    /// Its address may not be connected to.
    #[error("not allowed: {0}")]
    NotAllowed(String),
    /// As many calls are under way as there may be, or no worker sends them.
    #[error("too many calls are under way")]
    Busy,
    /// The timeout has passed.
    #[error("the time is over")]
    Timeout,
    /// There is no connection.
    #[error("cannot connect: {0}")]
    Connect(String),
    /// The server broke the protocol, or closed the connection.
    #[error("the server broke the protocol: {0}")]
    Protocol(String),
    /// The answer is too large.
    #[error("the answer is too large")]
    TooLarge,
}

/// An answer that is on its way. Dropping it cancels the call.
pub type Outgoing = Pin<Box<dyn Future<Output = Result<OutboundResponse, OutboundError>> + Send>>;

/// Sends requests of policies.
pub trait Outbound: Send + Sync + std::fmt::Debug {
    /// Sends one. May be called on any thread; the future needs no runtime.
    fn send(&self, request: OutboundRequest) -> Outgoing;
}

impl OutboundRequest {
    /// Returns host and port to connect to; an IPv6 address in brackets.
    #[must_use]
    pub fn address(&self) -> String {
        let HttpGrant { host, port, .. } = &self.grant;
        if host.parse::<IpAddr>().is_ok_and(|address| address.is_ipv6()) {
            format!("[{host}]:{port}")
        } else {
            format!("{host}:{port}")
        }
    }
}
