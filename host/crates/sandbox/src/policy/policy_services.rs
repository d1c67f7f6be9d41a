//! What a policy may use of the gateway: its grants and limits, and the services that the host functions act on.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock};

use portcullis_model::{Grants, Name, ResourceLimits, Secret, Version};
use portcullis_policy::cache_purger::CachePurger;
use portcullis_policy::outbound::Outbound;
use portcullis_services::crypto::{Keys, LeftOutKeys};
use portcullis_services::log_window::LogWindow;
use portcullis_services::matchers::Matchers;
use portcullis_traffic::Permits;

use crate::policy::shared::PolicyShared;

/// What the instances of one version of a policy share, and all that a host function needs to know of it.
pub(crate) struct PolicyServices {
    pub(crate) name: Name,
    /// Which of the policy's versions it is.
    pub(crate) version: Version,
    pub(crate) grants: Grants,
    /// The secrets that were granted, and no others.
    pub(crate) secrets: BTreeMap<Name, Secret>,
    pub(crate) limits: ResourceLimits,
    /// Whether hooks run on fibers, because one of its imports waits or they may take long. Then nothing of it runs but
    /// on a fiber.
    pub(crate) yields: bool,
    /// Made by its instances, mostly while they were configured, and valid in all of them.
    pub(crate) keys: Keys,
    /// The keys of key sets that could not be used.
    pub(crate) left_out: LeftOutKeys,
    pub(crate) matchers: Matchers,
    /// What belongs to the policy's name.
    pub(crate) shared: Arc<PolicyShared>,
    /// Its requests that are outstanding.
    pub(crate) http_calls: Permits,
    /// Requests of its own that it was refused, because a shadow must have no effect.
    pub(crate) refused_requests: Arc<AtomicU64>,
    /// What sends its requests; empty until the gateway has it.
    pub(crate) outbound: Arc<OnceLock<Arc<dyn Outbound>>>,
    pub(crate) log_window: LogWindow,
    /// How often it has purged in the current second.
    pub(crate) purge_window: LogWindow,
    /// What carries out its purges; empty until the gateway has it.
    pub(crate) purger: Arc<OnceLock<Arc<dyn CachePurger>>>,
}
