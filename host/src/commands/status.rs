//! `portcullis status`: put together by the gateway that runs, and shown by the command line.

use std::collections::BTreeMap;
use std::process::ExitCode;

use portcullis_admin::{
    EndpointStatus, FaultStatus, HookCount, InstanceStatus, LeftOutStatus, ListenerStatus, MemoryStatus,
    PolicyStatus, QuarantineStatus, RefusedStatus, RouteStatus, Status, StatusRequest, UnderWayStatus,
    UnroutedStatus, UpstreamStatus,
};
use portcullis_sandbox::{LastFault, PolicyReport, Standing, UnderWay};

use crate::cli::StatusArguments;
use crate::output;
use crate::run::compose::LoadedPolicy;
use crate::run::control;
use crate::run::gateway::Running;
use crate::shown::counted;
use crate::table::table;

/// How the running gateway is; `config` is what it was started with.
pub(crate) fn of(running: &Running, config: String) -> Status {
    let (uptime, generation_age) = running.ages();
    let sandbox = running.process().sandbox.metrics();
    let reports: BTreeMap<&str, &PolicyReport> =
        sandbox.policies.iter().map(|report| (&*report.policy, report)).collect();
    let composed = running.composed();
    let policies = composed.policies.values().map(|policy| {
        let report = reports.get(&*policy.config().name).copied();
        policy_status(policy, report)
    });
    Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        config,
        generation: running.generation(),
        uptime_s: uptime.as_secs(),
        generation_age_s: generation_age.as_secs(),
        refused: running.refused().map(|refused| RefusedStatus {
            errors: refused.errors,
            first: refused.first.clone(),
            age_s: refused.since.elapsed().as_secs(),
        }),
        workers: running.process().workers,
        instances: InstanceStatus { alive: sandbox.instances, max: sandbox.instances_max },
        memory: MemoryStatus { bytes: sandbox.memory_bytes, bytes_max: sandbox.memory_bytes_max },
        listeners: listeners(running),
        routes: routes(running),
        unrouted: unrouted(running),
        policies: policies.collect(),
        upstreams: upstreams(running),
    }
}

fn listeners(running: &Running) -> Vec<ListenerStatus> {
    let listening = running.listening().into_iter().map(|listener| ListenerStatus {
        name: listener.name.to_string(),
        address: listener.address.to_string(),
        tls: listener.tls,
        connections: listener.connections,
    });
    listening.collect()
}

fn routes(running: &Running) -> Vec<RouteStatus> {
    let exchanges = running.process().metrics.exchanges();
    let routes = running.composed().gateway.routes.iter().map(|route| {
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

fn unrouted(running: &Running) -> UnroutedStatus {
    let classes = running.process().metrics.unrouted_exchanges();
    UnroutedStatus { requests: classes.iter().map(|(_, count)| count).sum(), by_status: by_status(&classes) }
}

fn by_status(classes: &[(&'static str, u64)]) -> BTreeMap<String, u64> {
    classes.iter().map(|(class, count)| ((*class).to_owned(), *count)).collect()
}

fn policy_status(policy: &LoadedPolicy, report: Option<&PolicyReport>) -> PolicyStatus {
    let manifest = policy.manifest();
    let config = policy.config();
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

fn upstreams(running: &Running) -> Vec<UpstreamStatus> {
    let snapshot = running.snapshot();
    let upstreams = snapshot.upstreams().map(|(config, endpoints, now)| {
        let endpoints = endpoints.members().iter().map(|member| EndpointStatus {
            address: member.endpoint.address().to_string(),
            weight: member.weight,
            healthy: !member.endpoint.health().is_ejected(),
            in_flight: member.endpoint.in_flight(),
            left_out: member.endpoint.health().left_out().map(|left_out| LeftOutStatus {
                lasted_s: now.saturating_sub(left_out.since).as_secs(),
                reason: left_out.reason,
            }),
        });
        UpstreamStatus { name: config.name.to_string(), endpoints: endpoints.collect() }
    });
    upstreams.collect()
}

/// Asks the gateway that runs, and prints what it says.
///
/// # Errors
/// Where none answers.
pub(crate) fn show(arguments: &StatusArguments) -> anyhow::Result<ExitCode> {
    let status = control::ask(&arguments.gateway, &StatusRequest {})?;
    if arguments.json {
        return output::print(&format!("{:#}\n", serde_json::to_value(&status)?));
    }
    output::print(&text(&status))
}

/// The status as people read it.
fn text(status: &Status) -> String {
    let Status { version, pid, config, generation, workers, instances, memory, .. } = status;
    let mut text = format!(
        "portcullis {version}, process {pid}, up {}\n\
         {config}, generation {generation} since {}\n\
         {workers} workers, {} of {} policy instances with {} of {} memory\n",
        age(status.uptime_s),
        age(status.generation_age_s),
        instances.alive,
        instances.max,
        size(memory.bytes),
        size(memory.bytes_max),
    );
    if let Some(RefusedStatus { errors, first, age_s }) = &status.refused {
        let errors = counted(*errors as u64, "error");
        text.push_str(&format!(
            "the config on disk has been refused for {}, and does not run: {errors}, the first is: {first}\n",
            age(*age_s)
        ));
    }
    let mut section = |table: String| {
        text.push('\n');
        text.push_str(&table);
    };
    section(table(
        ["LISTENER", "ADDRESS", "CONNECTIONS"],
        status.listeners.iter().map(|listener| {
            let scheme = if listener.tls { "https" } else { "http" };
            let url = format!("{scheme}://{}", listener.address);
            [listener.name.clone(), url, listener.connections.to_string()]
        }),
    ));
    section(table(
        ["ROUTE", "REQUESTS", "BY STATUS", "LISTENERS", "POLICIES"],
        status.routes.iter().map(route_row).chain([[
            "(no route)".to_owned(),
            status.unrouted.requests.to_string(),
            or_dash(classes(&status.unrouted.by_status)),
            "*".to_owned(),
            "-".to_owned(),
        ]]),
    ));
    if !status.policies.is_empty() {
        let header = [
            "POLICY",
            "PLUGIN",
            "VERSION",
            "ISOLATION",
            "INSTANCES",
            "CALLS",
            "CPU",
            "MEMORY",
            "FAULTS",
            "STATE",
        ];
        let mut policies = table(header, status.policies.iter().map(policy_row));
        status.policies.iter().for_each(|policy| last_fault(policy, &mut policies));
        status.policies.iter().for_each(|policy| under_way(policy, &mut policies));
        section(policies);
    }
    section(table(
        ["UPSTREAM", "ENDPOINT", "WEIGHT", "UNDER WAY", "STATE"],
        status.upstreams.iter().flat_map(|upstream| {
            upstream.endpoints.iter().map(|endpoint| {
                [
                    upstream.name.clone(),
                    endpoint.address.clone(),
                    endpoint.weight.to_string(),
                    endpoint.in_flight.to_string(),
                    endpoint_state(endpoint),
                ]
            })
        }),
    ));
    text
}

fn endpoint_state(endpoint: &EndpointStatus) -> String {
    match &endpoint.left_out {
        _ if endpoint.healthy => "healthy".to_owned(),
        Some(left_out) => format!("left out for {}: {}", age(left_out.lasted_s), left_out.reason),
        None => "left out".to_owned(),
    }
}

fn classes(by_status: &BTreeMap<String, u64>) -> String {
    by_status.iter().map(|(class, count)| format!("{class} {count}")).collect::<Vec<_>>().join(", ")
}

fn route_row(route: &RouteStatus) -> [String; 5] {
    let mut listeners = if route.listeners.is_empty() { "*".to_owned() } else { route.listeners.join(", ") };
    if route.tls_required {
        listeners.push_str(" (TLS only)");
    }
    [
        route.name.clone(),
        route.requests.to_string(),
        or_dash(classes(&route.by_status)),
        listeners,
        or_dash(route.policies.join(" > ")),
    ]
}

fn policy_row(policy: &PolicyStatus) -> [String; 10] {
    let calls: u64 = policy.calls.iter().map(|count| count.count).sum();
    let mut kinds: BTreeMap<&str, u64> = BTreeMap::new();
    for fault in &policy.faults {
        *kinds.entry(fault.kind.as_deref().unwrap_or_default()).or_default() += fault.count;
    }
    let faults: Vec<String> = kinds.iter().map(|(kind, count)| format!("{kind} {count}")).collect();
    let version = match (&policy.component, &policy.version) {
        (Some(component), Some(version)) => format!("{component} {version}"),
        _ => "-".to_owned(),
    };
    let probe = |quarantine: QuarantineStatus| {
        let lasted = age(quarantine.lasted_s as u64);
        match quarantine.next_probe_s.ceil() {
            seconds if seconds > 0.0 => format!("for {lasted}, probe in {seconds} s"),
            _ => format!("for {lasted}, probe with the next call"),
        }
    };
    let state = match (policy.quarantine, policy.quarantine_completed) {
        (Some(quarantine), _) => format!("quarantined {}", probe(quarantine)),
        (None, Some(quarantine)) => format!("on-completed quarantined {}", probe(quarantine)),
        (None, None) => "called".to_owned(),
    };
    [
        policy.name.clone(),
        policy.plugin.clone(),
        version,
        or_dash(policy.isolation.clone()),
        policy.instances.to_string(),
        calls.to_string(),
        cpu(policy.cpu_s),
        size(policy.memory_bytes_max),
        or_dash(faults.join(", ")),
        state,
    ]
}

/// A line about the last fault of a policy that had one.
fn last_fault(policy: &PolicyStatus, text: &mut String) {
    if let Some(FaultStatus { hook, kind, message, age_s, .. }) = &policy.last_fault {
        let ago = age(*age_s);
        text.push_str(&format!("last fault of {}, {ago} ago, in {hook}: {kind}: {message}\n", policy.name));
    }
}

/// A line for each version of a policy that has something under way.
fn under_way(policy: &PolicyStatus, text: &mut String) {
    for calls in &policy.under_way {
        let asked = calls.http_calls.unwrap_or(0);
        if calls.hook_calls == 0 && asked == 0 {
            continue;
        }
        let whose = match calls.version.as_str() {
            "canary" => format!("the canary of {}", policy.name),
            _ => policy.name.clone(),
        };
        text.push_str(&format!(
            "under way in {whose}: {} of {} hook calls",
            calls.hook_calls, calls.hook_calls_max
        ));
        if calls.http_calls.is_some() {
            text.push_str(&format!(", {asked} of {} requests of its own", calls.http_calls_max));
        }
        text.push('\n');
    }
}

/// CPU time as people say it.
fn cpu(seconds: f64) -> String {
    match seconds {
        0.0 => "-".to_owned(),
        0.0..1.0 => format!("{:.1} ms", seconds * 1000.0),
        _ => format!("{seconds:.1} s"),
    }
}

/// A size in the largest unit that leaves a number before the point.
fn size(bytes: u64) -> String {
    match bytes {
        0 => "0".to_owned(),
        1..0x10_0000 => format!("{} KiB", bytes.div_ceil(1 << 10)),
        0x10_0000..0x4000_0000 => format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20)),
        _ => format!("{:.1} GiB", bytes as f64 / f64::from(1 << 30)),
    }
}

fn or_dash(text: String) -> String {
    if text.is_empty() { "-".to_owned() } else { text }
}

/// A time as people say it, in its two largest units.
pub(crate) fn age(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{minutes} min {} s", seconds % 60),
        3600..86_400 => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}

#[cfg(test)]
mod tests;
