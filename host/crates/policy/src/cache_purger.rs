//! Purges of caches that policies ask for: what the crate that has the caches offers to the one that runs policies.

use std::future::Future;
use std::pin::Pin;

use portcullis_model::Name;

/// A purge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PurgeRequest {
    /// The policy that asks.
    pub policy: Name,
    /// The caches that it may purge, all of which are meant.
    pub caches: Vec<Name>,
    /// What is to go.
    pub what: Purged,
    /// Whether the responses are kept as stale ones.
    pub soft: bool,
}

/// What is to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Purged {
    /// A URL.
    Url(String),
    /// What URLs begin with.
    Prefix(String),
    /// A tag.
    Tag(String),
}

/// Why a purge was not done, or does not last.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PurgeError {
    /// It is no URL or no tag.
    #[error("{0}")]
    Invalid(String),
    /// Too many purges of the policy wait.
    #[error("too many purges wait")]
    Busy,
    /// It counts, but a disk did not write it down.
    #[error("a disk did not write it down")]
    NotLasting,
}

/// A purge that is under way: returns how many responses it met. Dropping it does not end the purge.
pub type Purging = Pin<Box<dyn Future<Output = Result<u64, PurgeError>> + Send>>;

/// Carries out purges.
pub trait CachePurger: Send + Sync + std::fmt::Debug {
    /// Begins one. May be called on any thread; the future needs no runtime, and is ready once the purge counts for
    /// each request that begins from then on.
    fn purge(&self, request: PurgeRequest) -> Purging;
}
