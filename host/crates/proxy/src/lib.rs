//! The life of an exchange: accept, match, policies, forward, respond, record.
//!
//! [`Workers`] are the threads that serve traffic; a [`Snapshot`] is one generation of the configuration that they use.
//! Everything else is private. A request goes through `connection` → `h1::server` or `h2::server` → `exchange`, which
//! carries out what `plan` decides, → `target` → `h1::client` or `h2::client`, and back.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test may panic"))]

mod addresses;
mod body;
mod cache;
mod call;
mod coalesce;
mod compress;
mod connection;
mod decompress;
mod downstream;
mod endpoint;
mod error;
mod exchange;
mod exchange_info;
mod explain;
mod filter;
mod gate;
mod h1;
mod h2;
mod h2_pool;
mod https;
mod local;
mod outbound;
mod plan;
mod pool;
mod prefixed;
mod random;
mod receive;
mod record;
mod recording;
mod replay;
mod respond;
mod response_writer;
mod serve;
mod serve_connection;
mod slot;
mod snapshot;
mod table;
mod target;
#[cfg(test)]
mod testing;
mod timeouts;
mod timer;
mod tunnel;
mod tunnel_end;
mod upkeep;
mod upstream;
mod via;
mod watched;
mod worker;
mod worker_loop;
mod workers;

#[cfg(test)]
mod tests;

pub use cache::control::CacheControl;
pub use cache::foresee::Foreseen;
pub use cache::inspect::{CacheSummary, StoredView};
pub use cache::purge::Purging;
pub use cache::typed_url::{PurgeTarget, TypedUrl, UrlError};
pub use cache::view::CacheView;
pub use explain::{
    EncodingView, Ending, EndpointHealth, EndpointView, Explainer, Explanation, Question, RouteVerdict,
    TriedRoute, UpstreamView,
};
pub use outbound::OutboundClient;
pub use portcullis_cache::store::check_folder as check_cache_folder;
pub use portcullis_traffic::{Edit, EditError};
pub use recording::{Recorded, RecordingRequest, RecordingStream, Recordings, TooManyRecordings};
pub use snapshot::{Snapshot, SnapshotError, UpstreamState};
pub use workers::{DrainReport, Listening, StartError, Workers};
