//! `endpoint`: changes of an upstream's endpoints.

use serde::{Deserialize, Serialize};

use crate::{Request, UpstreamStatus};

/// Asks for a change of an endpoint. The answer is what the upstream is then.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct EndpointRequest {
    /// The upstream.
    pub upstream: String,
    /// The endpoint, as `host:port`.
    pub address: String,
    /// What.
    pub act: EndpointAct,
    /// With `add` and `weight`: its share.
    #[serde(default)]
    pub weight: Option<u32>,
    /// With `add`: its priority.
    #[serde(default)]
    pub priority: Option<u8>,
}

impl Request for EndpointRequest {
    type Answer = UpstreamStatus;
    const NAME: &'static str = "endpoint";
    const CHANGES: bool = true;
}

/// What can be done to an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EndpointAct {
    /// It is used from now on.
    Add,
    /// It is not used any more.
    Remove,
    /// It takes no more exchanges.
    Drain,
    /// It takes exchanges again.
    Undrain,
    /// It has another share.
    Weight,
    /// It is as the configuration says.
    Reset,
}
