//! `rollout`: the state of versions that are tried, and actions on them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::Request;

/// Asks for the state of the versions that are tried.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct RolloutsRequest {
    /// Of this policy only.
    pub policy: Option<String>,
}

impl Request for RolloutsRequest {
    type Answer = Vec<RolloutStatus>;
    const NAME: &'static str = "rollouts";
    const CHANGES: bool = false;
}

/// Asks for an action on a rollout.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RolloutActRequest {
    /// The policy.
    pub policy: String,
    /// What.
    pub act: RolloutAct,
    /// The reason, for the log and for later requests.
    #[serde(default)]
    pub reason: Option<String>,
    /// Whether the command that asks also writes it into the config.
    #[serde(default)]
    pub written: bool,
}

impl Request for RolloutActRequest {
    type Answer = RolloutStatus;
    const NAME: &'static str = "rollout";
    const CHANGES: bool = true;
}

/// What can be done to a rollout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RolloutAct {
    /// All exchanges take the candidate.
    Promote,
    /// None do.
    Abort,
    /// Those do that the configuration says.
    Resume,
}

/// The state of a version that is tried.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RolloutStatus {
    /// The policy.
    pub policy: String,
    /// `canary` or `shadow`.
    pub candidate: String,
    /// Which exchanges it gets while it runs, in words.
    pub gets: String,
    /// `running`, `aborted` or `promoted`.
    pub state: String,
    /// Seconds since the rollout began: since the configuration has had it as it is.
    pub age_s: u64,
    /// Why it is not running.
    pub ended: Option<RolloutEnd>,
    /// The place of the policy in the config: a file and a line.
    pub origin: String,
    /// Keys of the candidate's table that say something else than the policy's: what has to be moved to make it the
    /// policy's.
    pub differing_keys: Vec<String>,
    /// A digest of all that the configuration that runs says of the policy.
    pub fingerprint: String,
    /// The active version, and then the candidate.
    pub versions: Vec<RolloutVersion>,
    /// Of a shadow: what it did differently.
    pub comparison: Option<RolloutComparison>,
}

/// Why a rollout is not running.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RolloutEnd {
    /// Seconds since then.
    pub age_s: u64,
    /// Why.
    pub reason: String,
    /// Whether the gateway decided it.
    pub automatic: bool,
}

/// What one version has done since the rollout began.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RolloutVersion {
    /// `active`, `canary` or `shadow`.
    pub version: String,
    /// The source of its component.
    pub plugin: String,
    /// SHA-256 of the component.
    pub digest: String,
    /// Exchanges that took it; of a shadow, that it saw.
    pub exchanges: u64,
    /// Those of them in which it failed.
    pub faulted: u64,
    /// Faults by kind.
    pub faults: BTreeMap<String, u64>,
    /// Exchanges that it answered in place of the upstream.
    pub replies: u64,
    /// Hook calls.
    pub calls: u64,
    /// CPU time of an exchange in the mean, in microseconds.
    pub cpu_us: f64,
    /// Time of an exchange in it in the mean, waiting included, in microseconds.
    pub latency_us: f64,
}

/// What a shadow did differently.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RolloutComparison {
    /// Hooks that were compared.
    pub compared: u64,
    /// Those that differed.
    pub differing: u64,
    /// Exchanges that it did not see, because it was with too many.
    pub skipped: u64,
    /// Exchanges that it did not see to their end, because their bodies came faster than it ran.
    pub left_behind: u64,
    /// Requests of its own (`http-client`) that it was refused, because it must have no effect.
    pub refused_requests: u64,
    /// How many hooks differed in what.
    pub kinds: BTreeMap<String, u64>,
    /// The newest of them, the oldest first.
    pub samples: Vec<RolloutSample>,
}

/// A hook in which a shadow did something else.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RolloutSample {
    /// Seconds since then.
    pub age_s: u64,
    /// The exchange, as in the access log.
    pub trace_id: String,
    /// Its route.
    pub route: String,
    /// The hook.
    pub hook: String,
    /// The request's method.
    pub method: String,
    /// In what.
    pub differences: Vec<RolloutDifference>,
}

/// One thing that two versions did differently.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RolloutDifference {
    /// What sort of thing.
    pub kind: String,
    /// Which of them, if there are several.
    pub name: Option<String>,
    /// What the active version made of it.
    pub active: String,
    /// What the candidate did.
    pub candidate: String,
}
