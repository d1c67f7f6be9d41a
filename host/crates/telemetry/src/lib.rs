//! What the gateway reports: its log, the access log, metrics.
//!
//! Nothing here makes a worker's thread wait for a disk or a reader: lines go through bounded queues to threads that
//! write them, and lines that do not fit are dropped and counted. A gateway that waits for its log would be down.
#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test may panic"))]

mod access;
mod cache_result;
mod caches;
mod encoding_result;
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
mod timestamp;

pub use access::{AccessLog, AccessLogError, AccessLogWriter};
pub use cache_result::CacheResult;
pub use caches::{CacheFigures, CacheReport, DiskFigures, PurgeFigures};
pub use encoding_result::{EncodingReport, EncodingResult, PlainReason};
pub use endpoints::EndpointMetrics;
pub use exposition::{Exposition, MetricKind};
pub use fault_side::FaultSide;
pub use logging::{InitError, LogFormat, check_levels, flush, init, lost_log_lines};
pub use metrics::{Metrics, RouteMetrics, UpstreamMetrics};
pub use policies::RoutePolicyMetrics;
pub use record::AccessRecord;
pub use timestamp::rfc3339;
