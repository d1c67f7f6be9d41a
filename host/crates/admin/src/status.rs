//! `status`: what runs, and its state.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::Request;

/// Asks what runs, and for its state.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct StatusRequest {}

impl Request for StatusRequest {
    type Answer = Status;
    const NAME: &'static str = "status";
    const CHANGES: bool = false;
}

/// What runs, and its state.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Status {
    /// The version of the gateway.
    pub version: String,
    /// Its process.
    pub pid: u32,
    /// The config file, as it was named when it started.
    pub config: String,
    /// The generation of the configuration that runs.
    pub generation: u64,
    /// Seconds since it started.
    pub uptime_s: u64,
    /// Seconds since this generation began.
    pub generation_age_s: u64,
    /// Why the config on disk does not run; absent if it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<RefusedStatus>,
    /// Worker threads.
    pub workers: usize,
    /// Policy instances over all policies.
    pub instances: InstanceStatus,
    /// Their linear memory.
    pub memory: MemoryStatus,
    /// Its addresses, by name.
    pub listeners: Vec<ListenerStatus>,
    /// Its routes, in the order in which they are tried.
    pub routes: Vec<RouteStatus>,
    /// Exchanges without a route: requests that were refused before the look-up, and those that match none.
    pub unrouted: UnroutedStatus,
    /// Its policies, by name.
    pub policies: Vec<PolicyStatus>,
    /// Its upstreams, by name.
    pub upstreams: Vec<UpstreamStatus>,
}

/// A configuration on disk that was refused.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RefusedStatus {
    /// How many mistakes it has.
    pub errors: usize,
    /// The first of them.
    pub first: String,
    /// Seconds since it was refused first.
    pub age_s: u64,
}

/// Policy instances.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct InstanceStatus {
    /// The number that are alive.
    pub alive: u32,
    /// The limit.
    pub max: u32,
}

/// Linear memory of policy instances.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MemoryStatus {
    /// The bytes in use.
    pub bytes: u64,
    /// The limit.
    pub bytes_max: u64,
}

/// A listener.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ListenerStatus {
    /// Its name.
    pub name: String,
    /// The address on which it listens, with the real port in place of port 0.
    pub address: String,
    /// Whether it speaks TLS.
    pub tls: bool,
    /// Connections that are open.
    pub connections: u32,
}

/// A route.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RouteStatus {
    /// Its name.
    pub name: String,
    /// Its policies, in order.
    pub policies: Vec<String>,
    /// The hosts that it takes; `*` is any.
    pub hosts: Vec<String>,
    /// The listeners that serve it; empty is all.
    pub listeners: Vec<String>,
    /// Whether it is served over TLS only.
    pub tls_required: bool,
    /// Exchanges that have ended.
    pub requests: u64,
    /// The same by status class: `2xx`, and `none` if the client received nothing.
    pub by_status: BTreeMap<String, u64>,
}

/// Exchanges without a route.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct UnroutedStatus {
    /// The number that have ended.
    pub requests: u64,
    /// The same by status class.
    pub by_status: BTreeMap<String, u64>,
}

/// A policy.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PolicyStatus {
    /// Its name.
    pub name: String,
    /// The source of its component.
    pub plugin: String,
    /// The name in the component's manifest; absent if it has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub component: Option<String>,
    /// The version there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// What its instances are shared by: `exchange` (nothing) or `worker`.
    pub isolation: String,
    /// Its instances that are alive.
    pub instances: u32,
    /// CPU seconds of its calls, since there has been a policy of that name.
    pub cpu_s: f64,
    /// The most linear memory that one of its instances had after a call.
    pub memory_bytes_max: u64,
    /// Outstanding calls, by version.
    pub under_way: Vec<UnderWayStatus>,
    /// Calls by hook, since there has been a policy of that name.
    pub calls: Vec<HookCount>,
    /// Faults by hook and kind, since there has been a policy of that name.
    pub faults: Vec<HookCount>,
    /// The newest fault, except calls that a quarantine refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_fault: Option<FaultStatus>,
    /// Its quarantine; absent if it is called as usual.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quarantine: Option<QuarantineStatus>,
    /// That of its `on-completed`, which refuses no exchange.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quarantine_completed: Option<QuarantineStatus>,
}

/// The outstanding calls of a version of a policy, over all workers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct UnderWayStatus {
    /// `active`, or `canary` for the one that is tried.
    pub version: String,
    /// Hook calls that wait or may run long.
    pub hook_calls: u32,
    /// That there may be.
    pub hook_calls_max: u32,
    /// Requests of its own that are outstanding; absent if its plugin makes none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http_calls: Option<u32>,
    /// That there may be.
    pub http_calls_max: u32,
}

/// A fault that happened.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct FaultStatus {
    /// In which hook.
    pub hook: String,
    /// What kind.
    pub kind: String,
    /// Why.
    pub message: String,
    /// When, in the format of RFC 3339.
    pub at: String,
    /// Seconds since then.
    pub age_s: u64,
}

/// A quarantine that lasts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct QuarantineStatus {
    /// Seconds for which it has lasted.
    pub lasted_s: f64,
    /// Seconds to the next probe; 0 if the next call is one.
    pub next_probe_s: f64,
}

/// A count of a hook.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HookCount {
    /// The hook, by its name in WIT.
    pub hook: String,
    /// Of faults: what kind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// How many.
    pub count: u64,
}

/// An upstream.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct UpstreamStatus {
    /// Its name.
    pub name: String,
    /// Its endpoints, by priority, and those of one priority in the order of the config.
    pub endpoints: Vec<EndpointStatus>,
    /// Those that it lists and that were removed by `portcullis endpoint`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub removed: Vec<String>,
    /// Whether so few of them are healthy that requests go to all.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub panic: bool,
    /// What its limits count, if it has any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limits: Option<UpstreamLimitsStatus>,
}

/// What the limits of an upstream count.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct UpstreamLimitsStatus {
    /// Requests under way.
    pub under_way: u32,
    /// As many may be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests_max: Option<u32>,
    /// As many may be at one endpoint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint_requests_max: Option<u32>,
    /// Requests that wait.
    pub waiting: u32,
    /// As many may wait.
    pub waiting_max: u32,
}

/// Why an endpoint is left out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LeftOutStatus {
    /// Seconds for which it has been.
    pub lasted_s: u64,
    /// What it did last.
    pub reason: String,
}

/// An endpoint.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct EndpointStatus {
    /// `host:port`, as configured.
    pub address: String,
    /// Its share; 0 if it is drained.
    pub weight: u32,
    /// Endpoints with a higher number are used while none with a lower one can be.
    pub priority: u8,
    /// How it was changed by `portcullis endpoint`: `added`, `drained` or `weight`; absent if it was not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub changed: Option<String>,
    /// How long it takes to answer, in microseconds, by a moving average, if its upstream balances by that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency_us: Option<u64>,
    /// Whether it is used: not left out for its failures or by a health check.
    pub healthy: bool,
    /// Exchanges in flight there.
    pub in_flight: u32,
    /// If it is left out: for how many seconds, and what it did last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub left_out: Option<LeftOutStatus>,
    /// What its health checks have found.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<CheckStatus>,
}

/// A health check of an endpoint.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CheckStatus {
    /// What is asked, such as `GET /healthz`.
    pub check: String,
    /// Whether the endpoint passes it.
    pub passes: bool,
    /// Seconds for which it has.
    pub lasted_s: u64,
    /// Why the last one failed; absent if it passed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}
