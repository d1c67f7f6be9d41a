//! `portcullis status`: what the running gateway returns, as tables.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

use portcullis_admin::{
    CheckStatus, EndpointStatus, FaultStatus, PolicyStatus, QuarantineStatus, RefusedStatus, RouteStatus,
    Status, StatusRequest, UpstreamLimitsStatus, UpstreamStatus,
};

use crate::cli::StatusArguments;
use crate::commands::ask::ask;
use crate::output::print;
use crate::table::table;
use crate::words::{age, counted, size};

/// Asks the gateway that runs, and prints what it says.
///
/// # Errors
/// If none answers.
pub(crate) fn show(arguments: &StatusArguments) -> anyhow::Result<ExitCode> {
    let status = ask(&arguments.gateway, &StatusRequest {})?;
    if arguments.json {
        return print(&format!("{:#}\n", serde_json::to_value(&status)?));
    }
    print(&text(&status))
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
    section(endpoints(&status.upstreams));
    text
}

/// Returns the endpoints of upstreams as a table, with a line for what else is to be said of an upstream.
pub(crate) fn endpoints(upstreams: &[UpstreamStatus]) -> String {
    let rows = upstreams.iter().flat_map(|upstream| {
        upstream.endpoints.iter().map(|endpoint| {
            [
                upstream.name.clone(),
                endpoint.address.clone(),
                endpoint.weight.to_string(),
                endpoint.in_flight.to_string(),
                endpoint_state(endpoint),
            ]
        })
    });
    let mut text = table(["UPSTREAM", "ENDPOINT", "WEIGHT", "UNDER WAY", "STATE"], rows);
    for UpstreamStatus { name, removed, panic, limits, .. } in upstreams {
        if !removed.is_empty() {
            let removed = removed.join(", ");
            text.push_str(&format!("removed from {name} by `portcullis endpoint`: {removed}\n"));
        }
        if *panic {
            text.push_str(&format!("too few endpoints of {name} are healthy: requests go to all of them\n"));
        }
        if let Some(limits) = limits {
            text.push_str(&limits_line(name, limits));
        }
    }
    text
}

fn limits_line(upstream: &str, limits: &UpstreamLimitsStatus) -> String {
    let UpstreamLimitsStatus { under_way, requests_max, endpoint_requests_max, waiting, waiting_max } =
        limits;
    let of = requests_max.map_or_else(String::new, |max| format!(" of {max}"));
    let each =
        endpoint_requests_max.map_or_else(String::new, |max| format!(", at most {max} at an endpoint"));
    format!(
        "limits of {upstream}: {under_way}{of} requests under way{each}; {waiting} of {waiting_max} wait\n"
    )
}

fn endpoint_state(endpoint: &EndpointStatus) -> String {
    let mut state = match &endpoint.left_out {
        _ if endpoint.healthy => "healthy".to_owned(),
        Some(left_out) => format!("left out for {}: {}", age(left_out.lasted_s), left_out.reason),
        None => "left out".to_owned(),
    };
    if let (true, Some(latency_us)) = (endpoint.healthy, endpoint.latency_us) {
        let latency = Duration::from_micros(latency_us);
        state.push_str(&format!(", answers in {:.1} ms", latency.as_secs_f64() * 1000.0));
    }
    for CheckStatus { check, passes, error, .. } in &endpoint.checks {
        match error {
            Some(error) if *passes => state.push_str(&format!(", last check `{check}` failed: {error}")),
            None if !passes => state.push_str(&format!(", last check `{check}` passed")),
            _ => {}
        }
    }
    if endpoint.weight == 0 {
        state = format!("drained, {state}");
    }
    match endpoint.changed.as_deref() {
        Some("weight") => state.push_str(", weight by command"),
        Some(word) => state.push_str(&format!(", {word} by command")),
        None => {}
    }
    match endpoint.priority {
        0 => state,
        priority => format!("backup {priority}, {state}"),
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

fn or_dash(text: String) -> String {
    if text.is_empty() { "-".to_owned() } else { text }
}

#[cfg(test)]
mod tests;
