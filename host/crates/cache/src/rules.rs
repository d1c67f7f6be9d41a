//! The rules of a shared cache (RFC 9111): what may be stored, which stored response answers a request, and when it has
//! to be validated first.
//!
//! The way of a request: [`Request::read`], then [`select`] among what is stored, then [`StoredHead::verdict`]. A
//! response that may be used goes through [`StoredHead::answer`] and [`StoredHead::write`]. One that has to be
//! validated writes its conditions into the request ([`StoredHead::write_conditions`]); [`StoredHead::freshen`] takes a
//! 304, [`storable`] any other response, and [`StoredHead::usable_on_error`] decides if no response comes.

mod answer;
mod cache_status;
mod codec;
mod directives;
mod freshness;
mod invalidation;
mod partial;
mod request;
mod reuse;
mod settings;
#[cfg(test)]
mod simulation;
mod stored;
mod storing;
mod structured;
mod tags;
#[cfg(test)]
mod testing;
mod time;
mod validation;
mod vary;

pub use answer::{Answer, Part};
pub use cache_status::{CacheStatus, Fwd};
pub use codec::DecodeError;
pub use directives::SECONDS_MAX;
pub use freshness::depends_on_client;
pub use invalidation::{invalidated, invalidates};
pub use partial::{Combined, Piece, combine};
pub use request::{Access, Request, WhyBypass};
pub use reuse::{Verdict, WhyValidate, is_failure, select};
pub use settings::{Cookies, Heuristic, Settings, VaryRules};
pub use stored::{Span, StoredHead};
pub use storing::{WhyNot, storable};
pub use tags::tags;
pub use time::{Exchanged, Time};
pub use validation::{Freshened, HeadEffect, remove_conditions};
