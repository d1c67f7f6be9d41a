//! What the gateway tells: its log, the access log, metrics.
//!
//! Nothing here waits for a disk or a reader on a worker's thread: lines go through bounded queues to threads that write
//! them, and what does not fit is dropped and counted, because a gateway that stands still for its log is down.
#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test may panic"))]

mod access;
mod endpoints;
mod escape;
mod exposition;
mod fault_side;
mod limit;
mod logging;
mod metrics;
mod order;
mod policies;
mod record;
mod sink;
mod stamp;

pub use access::{AccessLog, AccessLogError, AccessLogWriter};
pub use endpoints::EndpointMetrics;
pub use exposition::{Exposition, MetricKind};
pub use fault_side::FaultSide;
pub use logging::{InitError, LogFormat, check_levels, flush, init, lost_log_lines};
pub use metrics::{Metrics, RouteMetrics, UpstreamMetrics};
pub use policies::RoutePolicyMetrics;
pub use record::AccessRecord;
pub use stamp::rfc3339;
