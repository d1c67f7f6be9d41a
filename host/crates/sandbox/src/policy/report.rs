//! What the policies have counted, for the exporter of metrics.

use std::time::{Duration, SystemTime};

use portcullis_model::{Name, Version};
use portcullis_policy::FaultKind;
use portcullis_services::metrics::GuestMetric;
use portcullis_traffic::Standing;

/// A reading of all counters.
#[derive(Debug, Clone, PartialEq)]
pub struct SandboxReport {
    /// Instances that are alive.
    pub instances: u32,
    /// Instances that may be.
    pub instances_max: u32,
    /// Bytes of linear memory that they have.
    pub memory_bytes: u64,
    /// Bytes that they may have.
    pub memory_bytes_max: u64,
    /// By name; the policies that are alive. A policy's counts go on over reloads.
    pub policies: Vec<PolicyReport>,
}

/// What one policy has counted.
#[derive(Debug, Clone, PartialEq)]
pub struct PolicyReport {
    /// Its name.
    pub policy: Name,
    /// Instances that are alive, of the generation of it that is live.
    pub instances: u32,
    /// Calls by WIT name of the hook (`on-tick` too), those that were made at all.
    pub calls: Vec<(&'static str, u64)>,
    /// Faults by hook and kind.
    pub faults: Vec<(&'static str, FaultKind, u64)>,
    /// The newest of them, but for calls that the quarantine refused.
    pub last_fault: Option<LastFault>,
    /// CPU time of its calls.
    pub cpu: Duration,
    /// The most linear memory that one of its instances had after a call.
    pub memory_bytes_max: u64,
    /// The state of its quarantine.
    pub quarantine: Standings,
    /// What is under way, by version: the policy's own and, if one is tried, that of its canary.
    pub under_way: Vec<UnderWay>,
    /// How many times a quarantine has begun, a probe failed, and a quarantine ended.
    pub transitions: [(&'static str, u64); 3],
    /// The metrics that the policy made itself, in the order in which it did.
    pub guest: Vec<GuestMetric>,
}

/// What a version of a policy has under way over all workers, beside what it may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnderWay {
    /// Which of the policy's versions.
    pub version: Version,
    /// Hook calls that wait or may run long. Calls that end at once are not counted.
    pub hook_calls: u32,
    /// `limits.hook-calls`.
    pub hook_calls_max: u32,
    /// Requests of its own that are outstanding; `None` if it makes none.
    pub http_calls: Option<u32>,
    /// `limits.http-calls`.
    pub http_calls_max: u32,
}

/// The state of a policy's quarantine; `None` if it is called as usual.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Standings {
    /// Of the hooks that decide about an exchange.
    pub deciding: Option<Standing>,
    /// Of `on-completed`, which comes when all is over.
    pub completed: Option<Standing>,
}

/// A fault that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastFault {
    /// In which hook.
    pub hook: &'static str,
    /// What kind.
    pub kind: FaultKind,
    /// Why: the begin of it.
    pub message: String,
    /// When.
    pub at: SystemTime,
}
