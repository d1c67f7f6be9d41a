//! Answers operators: the control socket of a running gateway, and the small web server of its metrics.
//!
//! All of it runs on the control runtime and none of it on a worker. The control socket speaks HTTP/1 with JSON over a
//! Unix domain socket, so that curl can be used in place of the command line. Each question is a [`Request`]: a type
//! that has its name and the type of its answer. The gateway implements [`Answers`] for it and registers it with
//! [`Requests::with`]; the command line sends it with [`ask`]. No other code depends on it.
//!
//! Access is limited in three ways: only the owner can write to the socket's folder, the socket's mode is 0600, and the
//! peer's user is compared with the gateway's.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test may panic"))]

mod cache;
mod client;
mod endpoint;
mod explain;
mod private_folder;
mod record;
mod reload;
mod request;
mod rollout;
mod server;
mod socket;
mod socket_path;
mod status;
mod web;

pub use cache::{
    CacheInspectAnswer, CacheInspectRequest, CacheListRequest, CacheNow, CachePurgeRequest, CachePurged,
    CacheStatus, CachedResponse,
};
pub use client::{AskError, ask, ask_known};
pub use endpoint::{EndpointAct, EndpointRequest};
pub use explain::ExplainRequest;
pub use record::{RecordAnswer, RecordEndRequest, RecordRequest};
pub use reload::{ReloadAnswer, ReloadRequest};
pub use request::{Answers, Refused, Request, Requests};
pub use rollout::{
    RolloutAct, RolloutActRequest, RolloutComparison, RolloutDifference, RolloutEnd, RolloutSample,
    RolloutStatus, RolloutVersion, RolloutsRequest,
};
pub use socket::{ControlSocket, SocketError, check_socket_folder};
pub use socket_path::Surroundings;
pub use status::{
    CheckStatus, EndpointStatus, FaultStatus, HookCount, InstanceStatus, LeftOutStatus, ListenerStatus,
    MemoryStatus, PolicyStatus, QuarantineStatus, RefusedStatus, RouteStatus, Status, StatusRequest,
    UnderWayStatus, UnroutedStatus, UpstreamLimitsStatus, UpstreamStatus,
};
pub use web::WebServer;

#[cfg(test)]
mod tests;
