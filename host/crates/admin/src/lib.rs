//! What answers an operator: the control socket of a running gateway, and the small web server that its metrics use.
//!
//! All of it runs on the control runtime and none of it on a worker. The control socket speaks HTTP/1 with JSON over
//! a Unix domain socket, so that curl does where the command line does not. What can be asked is a [`Request`] each:
//! a type of its own that says what it is called and what the answer is. The gateway implements [`Answers`] for it
//! and names it with [`Requests::with`]; the command line asks it with [`ask`]. Nothing else has to know of it.
//!
//! Who may ask is settled three times over: the socket's folder can be written by its owner alone, the socket's mode
//! is 0600, and the peer's user is compared with the gateway's.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test may panic"))]

mod client;
mod explain;
mod folder;
mod place;
mod record;
mod reload;
mod request;
mod rollout;
mod server;
mod socket;
mod status;
mod web;

pub use client::{AskError, ask, ask_known};
pub use explain::ExplainRequest;
pub use place::Surroundings;
pub use record::{RecordAnswer, RecordEndRequest, RecordRequest};
pub use reload::{ReloadAnswer, ReloadRequest};
pub use request::{Answers, Refused, Request, Requests};
pub use rollout::{
    RolloutAct, RolloutActRequest, RolloutComparison, RolloutDifference, RolloutEnd, RolloutSample,
    RolloutStatus, RolloutVersion, RolloutsRequest,
};
pub use socket::{ControlSocket, SocketError, check_socket_folder};
pub use status::{
    EndpointStatus, FaultStatus, HookCount, InstanceStatus, LeftOutStatus, ListenerStatus, MemoryStatus,
    PolicyStatus, QuarantineStatus, RefusedStatus, RouteStatus, Status, StatusRequest, UnderWayStatus,
    UnroutedStatus, UpstreamStatus,
};
pub use web::WebServer;

#[cfg(test)]
mod tests;
