//! `explain`: what would happen to a request in the running gateway.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::Request;

/// Asks what would happen to a request. Nothing does: no upstream is called, and policies have no effects.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default)]
pub struct ExplainRequest {
    /// The head of the request, as a client would send it over HTTP/1.1, with the empty line at its end.
    pub head: String,
    /// Whether it comes over TLS.
    pub tls: bool,
    /// The name that the client asks for in TLS.
    pub server_name: Option<String>,
    /// The address of the client.
    pub peer: IpAddr,
    /// The listener that it comes to; without one the first that has, or has not, TLS.
    pub listener: Option<String>,
}

impl Default for ExplainRequest {
    fn default() -> Self {
        Self {
            head: String::new(),
            tls: false,
            server_name: None,
            peer: IpAddr::V4(Ipv4Addr::LOCALHOST),
            listener: None,
        }
    }
}

impl Request for ExplainRequest {
    /// What `portcullis explain --json` prints.
    type Answer = serde_json::Value;
    const NAME: &'static str = "explain";
    const CHANGES: bool = false;
    /// Policies run, each within its deadline, perhaps after one that was asked for before.
    const TIMEOUT: Duration = Duration::from_secs(60);
}
