//! The state of a running gateway.

use std::collections::BTreeMap;
use std::time::Duration;

use portcullis_admin::{
    CheckStatus, EndpointStatus, FaultStatus, HookCount, InstanceStatus, LeftOutStatus, ListenerStatus,
    MemoryStatus, PolicyStatus, QuarantineStatus, RefusedStatus, RouteStatus, Status, UnderWayStatus,
    UnroutedStatus, UpstreamLimitsStatus, UpstreamStatus,
};
use portcullis_model::{Gateway, PolicyConfig};
use portcullis_proxy::{Listening, Snapshot, UpstreamState};
use portcullis_sandbox::{LastFault, Manifest, PolicyReport, SandboxReport, Standing, UnderWay};
use portcullis_telemetry::Metrics;

/// The sources of a gateway's status.
#[derive(Debug)]
pub struct GatewayFacts<'a> {
    /// The version of the gateway.
    pub version: &'a str,
    /// The path of the configuration that it was started with.
    pub config: String,
    /// How long it has been running, and how long on the running generation.
    pub ages: (Duration, Duration),
    /// Why the configuration on disk is not running, if it is not.
    pub refused: Option<RefusedStatus>,
    /// The number of worker threads.
    pub workers: usize,
    /// The listeners.
    pub listening: Vec<Listening>,
    /// The counts of the sandbox.
    pub sandbox: SandboxReport,
    /// The counts of the proxy.
    pub metrics: &'a Metrics,
    /// The running generation.
    pub snapshot: &'a Snapshot,
    /// Its policies.
    pub policies: Vec<PolicyFacts<'a>>,
}

/// The sources of a policy's status.
#[derive(Debug)]
pub struct PolicyFacts<'a> {
    /// The configuration of the active version.
    pub config: &'a PolicyConfig,
    /// The manifest in its component, if there is one.
    pub manifest: Option<&'a Manifest>,
}

/// Returns the status of a gateway.
#[must_use]
pub fn status(facts: GatewayFacts<'_>) -> Status {
    let GatewayFacts {
        version,
        config,
        ages,
        refused,
        workers,
        listening,
        sandbox,
        metrics,
        snapshot,
        policies,
    } = facts;
    let reports: BTreeMap<&str, &PolicyReport> =
        sandbox.policies.iter().map(|report| (&*report.policy, report)).collect();
    let policies =
        policies.iter().map(|policy| policy_status(policy, reports.get(&*policy.config.name).copied()));
    Status {
        version: version.to_owned(),
        pid: std::process::id(),
        config,
        generation: snapshot.generation(),
        uptime_s: ages.0.as_secs(),
        generation_age_s: ages.1.as_secs(),
        refused,
        workers,
        instances: InstanceStatus { alive: sandbox.instances, max: sandbox.instances_max },
        memory: MemoryStatus { bytes: sandbox.memory_bytes, bytes_max: sandbox.memory_bytes_max },
        listeners: listeners(listening),
        routes: routes(snapshot.gateway(), metrics),
        unrouted: unrouted(metrics),
        policies: policies.collect(),
        upstreams: upstreams(snapshot),
    }
}

fn listeners(listening: Vec<Listening>) -> Vec<ListenerStatus> {
    let listening = listening.into_iter().map(|listener| ListenerStatus {
        name: listener.name.to_string(),
        address: listener.address.to_string(),
        tls: listener.tls,
        connections: listener.connections,
    });
    listening.collect()
}

fn routes(gateway: &Gateway, metrics: &Metrics) -> Vec<RouteStatus> {
    let exchanges = metrics.exchanges();
    let routes = gateway.routes.iter().map(|route| {
        let classes = exchanges.get(&route.name).map(Vec::as_slice).unwrap_or_default();
        RouteStatus {
            name: route.name.to_string(),
            policies: route.policies.iter().map(ToString::to_string).collect(),
            hosts: route.matches.hosts().iter().map(ToString::to_string).collect(),
            listeners: route.listeners.iter().map(ToString::to_string).collect(),
            tls_required: route.tls_required,
            requests: classes.iter().map(|(_, count)| count).sum(),
            by_status: by_status(classes),
        }
    });
    routes.collect()
}

fn unrouted(metrics: &Metrics) -> UnroutedStatus {
    let classes = metrics.unrouted_exchanges();
    UnroutedStatus { requests: classes.iter().map(|(_, count)| count).sum(), by_status: by_status(&classes) }
}

fn by_status(classes: &[(&'static str, u64)]) -> BTreeMap<String, u64> {
    classes.iter().map(|(class, count)| ((*class).to_owned(), *count)).collect()
}

fn policy_status(policy: &PolicyFacts<'_>, report: Option<&PolicyReport>) -> PolicyStatus {
    let PolicyFacts { config, manifest } = policy;
    let mut status = PolicyStatus {
        name: config.name.to_string(),
        plugin: config.plugin.to_string(),
        component: manifest.map(|manifest| manifest.name.clone()),
        version: manifest.map(|manifest| manifest.version.clone()),
        isolation: config.isolation.name().to_owned(),
        ..PolicyStatus::default()
    };
    if let Some(report) = report {
        let calls = report.calls.iter().map(|(hook, count)| HookCount {
            hook: (*hook).to_owned(),
            kind: None,
            count: *count,
        });
        status.calls = calls.collect();
        let faults = report.faults.iter().map(|(hook, kind, count)| HookCount {
            hook: (*hook).to_owned(),
            kind: Some(kind.to_string()),
            count: *count,
        });
        status.faults = faults.collect();
        status.instances = report.instances;
        status.cpu_s = report.cpu.as_secs_f64();
        status.memory_bytes_max = report.memory_bytes_max;
        status.under_way = report.under_way.iter().map(under_way_status).collect();
        status.last_fault = report.last_fault.as_ref().map(fault_status);
        status.quarantine = report.quarantine.deciding.map(quarantine_status);
        status.quarantine_completed = report.quarantine.completed.map(quarantine_status);
    }
    status
}

fn under_way_status(calls: &UnderWay) -> UnderWayStatus {
    let UnderWay { version, hook_calls, hook_calls_max, http_calls, http_calls_max } = *calls;
    UnderWayStatus {
        version: version.name().to_owned(),
        hook_calls,
        hook_calls_max,
        http_calls,
        http_calls_max,
    }
}

fn fault_status(fault: &LastFault) -> FaultStatus {
    FaultStatus {
        hook: fault.hook.to_owned(),
        kind: fault.kind.to_string(),
        message: fault.message.clone(),
        at: portcullis_telemetry::rfc3339(fault.at),
        // A clock that was set back makes it new.
        age_s: fault.at.elapsed().unwrap_or_default().as_secs(),
    }
}

fn quarantine_status(standing: Standing) -> QuarantineStatus {
    QuarantineStatus {
        lasted_s: standing.lasted.as_secs_f64(),
        next_probe_s: standing.probe_in.as_secs_f64(),
    }
}

fn upstreams(snapshot: &Snapshot) -> Vec<UpstreamStatus> {
    snapshot.upstreams().map(|state| of_upstream(&state)).collect()
}

/// Returns the status of an upstream, or `None` if no upstream has that name.
#[must_use]
pub fn upstream_status(snapshot: &Snapshot, name: &str) -> Option<UpstreamStatus> {
    snapshot.upstreams().find(|state| *state.config.name == *name).map(|state| of_upstream(&state))
}

fn of_upstream(state: &UpstreamState<'_>) -> UpstreamStatus {
    let UpstreamState { config, endpoints, now, counts, edits } = state;
    let now = *now;
    let changed =
        |address: &str| edits.iter().find(|(edited, _)| **edited == *address).map(|(_, word)| *word);
    let panic = endpoints.panics();
    let endpoints = endpoints.members().iter().map(|member| EndpointStatus {
        address: member.endpoint.address().to_string(),
        weight: member.weight,
        priority: member.priority,
        changed: changed(member.endpoint.address()).map(str::to_owned),
        latency_us: (member.endpoint.latency(now))
            .map(|latency| u64::try_from(latency.as_micros()).unwrap_or(u64::MAX)),
        healthy: !member.endpoint.health().is_left_out(),
        in_flight: member.endpoint.in_flight(),
        left_out: member.endpoint.health().left_out().map(|left_out| LeftOutStatus {
            lasted_s: now.saturating_sub(left_out.since).as_secs(),
            reason: left_out.reason,
        }),
        checks: (member.endpoint.health().checks().into_iter())
            .map(|state| CheckStatus {
                check: state.check.to_string(),
                passes: state.passes,
                lasted_s: now.saturating_sub(state.since).as_secs(),
                error: state.error,
            })
            .collect(),
    });
    let limits = counts.map(|counts| UpstreamLimitsStatus {
        under_way: counts.under_way,
        requests_max: config.limits.requests_max,
        endpoint_requests_max: config.limits.endpoint_requests_max,
        waiting: counts.waiting,
        waiting_max: config.limits.waiting_max,
    });
    let removed = edits.iter().filter(|(_, word)| *word == "removed");
    UpstreamStatus {
        name: config.name.to_string(),
        endpoints: endpoints.collect(),
        removed: removed.map(|(address, _)| address.to_string()).collect(),
        panic,
        limits,
    }
}
