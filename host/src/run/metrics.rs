//! The metrics for Prometheus: the gateway's own, and those of the policies.

use std::collections::{BTreeMap, HashSet};
use std::net::SocketAddr;
use std::sync::atomic::Ordering;

use anyhow::Context;
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use portcullis_admin::WebServer;
use portcullis_model::Version;
use portcullis_rollout::{RolloutReport, VersionReport};
use portcullis_sandbox::{GuestMetric, GuestValue, SandboxReport, UnderWay};
use portcullis_telemetry::{AccessLog, Exposition, MetricKind, lost_log_lines};

use crate::run::process::Process;

/// Answers `GET /metrics` on `address` for as long as the server is kept.
///
/// # Errors
/// If the address cannot be listened on.
pub(crate) async fn serve(address: SocketAddr, process: Process) -> anyhow::Result<WebServer> {
    let answer = move |request: &Request<Incoming>| answer(request, &process);
    let server = WebServer::start(address, answer).await;
    server.with_context(|| {
        format!("metrics cannot be served on {address}: choose another for `server.metrics`")
    })
}

fn answer<B>(request: &Request<B>, process: &Process) -> Response<Full<Bytes>> {
    let (status, kind, body) = match (request.uri().path(), request.method()) {
        ("/metrics", &Method::GET | &Method::HEAD) => {
            let mut text = String::new();
            process.metrics.render(&mut text);
            lost(&mut text);
            render(&process.sandbox.metrics(), &mut text);
            rollouts(&process.rollouts.reports(), &mut text);
            config(process, &mut text);
            (StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", text)
        }
        ("/metrics", _) => (StatusCode::METHOD_NOT_ALLOWED, "text/plain", "use GET\n".to_owned()),
        _ => (StatusCode::NOT_FOUND, "text/plain", "the metrics are at /metrics\n".to_owned()),
    };
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

/// Appends how many lines of the logs could not be written.
fn lost(out: &mut String) {
    let mut out = Exposition(out);
    let name = "portcullis_log_lines_lost_total";
    let help = "Lines that were lost because the disk was full or the log was not read.";
    out.family(name, MetricKind::Counter, help);
    out.sample(name, &[("log", "access")], AccessLog::lost());
    out.sample(name, &[("log", "gateway")], lost_log_lines());
}

/// Appends whether the configuration on disk runs.
fn config(process: &Process, out: &mut String) {
    let mut out = Exposition(out);
    let name = "portcullis_config_refused";
    out.family(name, MetricKind::Gauge, "1 if the config on disk is refused, so that an earlier one runs.");
    out.sample(name, &[], u8::from(process.config_refused.load(Ordering::Relaxed)));
}

/// Appends what the sandbox has counted, and what policies have.
fn render(report: &SandboxReport, out: &mut String) {
    let mut out = Exposition(out);
    let name = "portcullis_policy_instances";
    out.family(name, MetricKind::Gauge, "Policy instances that are alive.");
    out.sample(name, &[], report.instances);
    let name = "portcullis_policy_calls_total";
    out.family(name, MetricKind::Counter, "Hook calls.");
    for policy in &report.policies {
        for (hook, count) in &policy.calls {
            out.sample(name, &[("policy", &policy.policy), ("hook", hook)], count);
        }
    }
    let name = "portcullis_policy_faults_total";
    out.family(name, MetricKind::Counter, "Hook calls that trapped, ran out of time or broke a limit.");
    for policy in &report.policies {
        for (hook, kind, count) in &policy.faults {
            let kind = kind.to_string();
            out.sample(name, &[("policy", &policy.policy), ("hook", hook), ("kind", &kind)], count);
        }
    }
    costs(report, &mut out);
    under_way(report, &mut out);
    quarantine(report, &mut out);
    guests(report, &mut out);
}

/// Appends how each version of a policy that is rolled out does.
fn rollouts(reports: &[RolloutReport], out: &mut String) {
    if reports.is_empty() {
        return;
    }
    let mut out = Exposition(out);
    let name = "portcullis_rollout_state";
    out.family(name, MetricKind::Gauge, "1 for how far the rollout is.");
    for report in reports {
        let (version, state) = (report.candidate.name(), report.standing.name());
        out.sample(name, &[("policy", &report.policy), ("version", version), ("state", state)], 1);
    }
    type Read = fn(&VersionReport) -> String;
    let families: [(&str, &str, Read); 6] = [
        ("exchanges", "Exchanges that took the version; of a shadow, that it saw.", |v| {
            v.exchanges.to_string()
        }),
        ("faulted_exchanges", "Exchanges in which the version failed.", |v| v.faulted.to_string()),
        ("replies", "Exchanges that the version answered in place of the upstream.", |v| {
            v.replies.to_string()
        }),
        ("calls", "Hook calls of the version.", |v| v.calls.to_string()),
        ("cpu_seconds", "CPU time of the version's hooks.", |v| number(v.cpu.as_secs_f64())),
        ("latency_seconds", "Time that exchanges spent in the version.", |v| number(v.latency.as_secs_f64())),
    ];
    for (noun, help, read) in families {
        let name = format!("portcullis_rollout_{noun}_total");
        out.family(&name, MetricKind::Counter, help);
        for (policy, version) in
            reports.iter().flat_map(|report| report.versions.iter().map(|version| (&report.policy, version)))
        {
            let labels = [("policy", &**policy), ("version", version.version.name())];
            out.sample(&name, &labels, read(version));
        }
    }
    let name = "portcullis_rollout_faults_total";
    out.family(name, MetricKind::Counter, "Faults of the version.");
    for report in reports {
        for version in &report.versions {
            for (kind, count) in &version.faults {
                let labels =
                    [("policy", &*report.policy), ("version", version.version.name()), ("kind", kind)];
                out.sample(name, &labels, count);
            }
        }
    }
    let shadows = || reports.iter().filter(|report| report.candidate == Version::Shadow);
    if shadows().next().is_none() {
        return;
    }
    let name = "portcullis_rollout_differences_total";
    out.family(
        name,
        MetricKind::Counter,
        "Hooks in which a shadow did something else than the active version.",
    );
    for report in shadows() {
        for (kind, count) in &report.differences {
            out.sample(name, &[("policy", &report.policy), ("kind", kind)], count);
        }
    }
    type Count = fn(&RolloutReport) -> u64;
    let families: [(&str, &str, Count); 4] = [
        ("compared", "Hooks of a shadow that were compared.", |report| report.compared),
        ("skipped", "Exchanges that a shadow did not see, because it was with too many.", |report| {
            report.skipped
        }),
        (
            "left_behind",
            "Exchanges that a shadow did not see to their end, because their bodies came faster than it ran.",
            |report| report.left_behind,
        ),
        ("refused_requests", "Requests of a shadow's own that it was refused.", |report| {
            report.refused_requests
        }),
    ];
    for (noun, help, count) in families {
        let name = format!("portcullis_rollout_{noun}_total");
        out.family(&name, MetricKind::Counter, help);
        for report in shadows() {
            out.sample(&name, &[("policy", &report.policy)], count(report));
        }
    }
}

/// What policies take.
fn costs(report: &SandboxReport, out: &mut Exposition<'_>) {
    let name = "portcullis_policy_cpu_seconds_total";
    out.family(name, MetricKind::Counter, "CPU time of a policy's hooks.");
    for policy in &report.policies {
        out.sample(name, &[("policy", &policy.policy)], policy.cpu.as_secs_f64());
    }
    let name = "portcullis_policy_instances_alive";
    out.family(name, MetricKind::Gauge, "Instances of a policy that are alive.");
    for policy in &report.policies {
        out.sample(name, &[("policy", &policy.policy)], policy.instances);
    }
    let name = "portcullis_policy_memory_bytes_max";
    out.family(
        name,
        MetricKind::Gauge,
        "The most linear memory that an instance of a policy had after a call.",
    );
    for policy in &report.policies {
        out.sample(name, &[("policy", &policy.policy)], policy.memory_bytes_max);
    }
    let name = "portcullis_policy_memory_bytes";
    out.family(name, MetricKind::Gauge, "Linear memory of all policy instances.");
    out.sample(name, &[], report.memory_bytes);
}

/// What is under way, beside the limits that it is refused at.
fn under_way(report: &SandboxReport, out: &mut Exposition<'_>) {
    type Read = fn(&UnderWay) -> Option<u32>;
    let families: [(&str, &str, Read); 4] = [
        (
            "hook_calls",
            "Hook calls of a policy that are under way, where they wait or may run long.",
            |calls| Some(calls.hook_calls),
        ),
        ("hook_calls_max", "How many there may be: limits.hook-calls.", |calls| Some(calls.hook_calls_max)),
        ("http_calls", "Requests of a policy's own that are outstanding.", |calls| calls.http_calls),
        ("http_calls_max", "How many there may be: limits.http-calls.", |calls| {
            calls.http_calls.map(|_| calls.http_calls_max)
        }),
    ];
    for (noun, help, read) in families {
        let name = format!("portcullis_policy_{noun}");
        out.family(&name, MetricKind::Gauge, help);
        for policy in &report.policies {
            for calls in &policy.under_way {
                if let Some(count) = read(calls) {
                    out.sample(
                        &name,
                        &[("policy", &policy.policy), ("version", calls.version.name())],
                        count,
                    );
                }
            }
        }
    }
}

/// Which policies are not called, and how they came there and out again.
fn quarantine(report: &SandboxReport, out: &mut Exposition<'_>) {
    let name = "portcullis_policy_quarantined";
    out.family(name, MetricKind::Gauge, "Whether a policy is in quarantine: 1 where it is.");
    for policy in &report.policies {
        out.sample(name, &[("policy", &policy.policy)], u8::from(policy.quarantine.deciding.is_some()));
    }
    let name = "portcullis_policy_quarantine_transitions_total";
    out.family(
        name,
        MetricKind::Counter,
        "Quarantines that began, probes that failed, quarantines that ended.",
    );
    for policy in &report.policies {
        for (transition, count) in &policy.transitions {
            out.sample(name, &[("policy", &policy.policy), ("transition", transition)], count);
        }
    }
}

/// One family for each name and kind that policies chose. The prefix keeps them from passing for the gateway's own.
fn guests(report: &SandboxReport, out: &mut Exposition<'_>) {
    let mut families: BTreeMap<(&str, &str), Vec<(&str, &GuestMetric)>> = BTreeMap::new();
    for policy in &report.policies {
        for metric in &policy.guest {
            families
                .entry((&metric.name, kind_of(&metric.value)))
                .or_default()
                .push((&policy.policy, metric));
        }
    }
    let mut names = Names::default();
    for ((guest_name, kind), metrics) in families {
        let name = names.take(&format!("portcullis_guest_{guest_name}"), kind);
        let family = match kind {
            "counter" => MetricKind::Counter,
            "gauge" => MetricKind::Gauge,
            _ => MetricKind::Histogram,
        };
        out.family(&name, family, "Made by a policy.");
        let mut written = HashSet::new();
        for (policy, metric) in metrics {
            let mut labels = vec![("policy", policy)];
            // `policy` and `le` are ours; a second label of a name would make the whole page unreadable.
            for (label, value) in &metric.labels {
                if label != "le" && labels.iter().all(|(taken, _)| taken != label) {
                    labels.push((label, value));
                }
            }
            // So would a second sample of a series.
            if written.insert(labels.clone()) {
                sample(out, &name, labels, &metric.value);
            }
        }
    }
}

fn kind_of(value: &GuestValue) -> &'static str {
    match value {
        GuestValue::Counter(_) => "counter",
        GuestValue::Gauge(_) => "gauge",
        GuestValue::Histogram { .. } => "histogram",
    }
}

/// The names of all families and series that policies have on the page. Two policies, or one, may use a name for
/// different things, or a name that another metric's series have, which the format cannot say twice.
#[derive(Default)]
struct Names(HashSet<String>);

impl Names {
    /// The name of a family: `wanted`; if something has that name, with its kind at the end; if that is taken too, with
    /// a number.
    fn take(&mut self, wanted: &str, kind: &str) -> String {
        let numbered = (2_u32..).map(|number| format!("{wanted}_{kind}_{number}"));
        let mut names = [wanted.to_owned(), format!("{wanted}_{kind}")].into_iter().chain(numbered);
        let free = names.find_map(|name| {
            let series = Self::series(&name, kind);
            let is_free = series.iter().all(|series| !self.0.contains(series));
            is_free.then(|| {
                self.0.extend(series);
                name
            })
        });
        free.unwrap_or_default()
    }

    /// What a family's samples are called, and what readers make of it: some call a counter's samples by its name and
    /// `_total`, with which it may end already.
    fn series(name: &str, kind: &str) -> Vec<String> {
        let suffixes: &[&str] = match kind {
            "counter" => &["", "_total"],
            "histogram" => &["", "_bucket", "_sum", "_count"],
            _ => &[""],
        };
        suffixes.iter().map(|suffix| format!("{name}{suffix}")).collect()
    }
}

fn sample(out: &mut Exposition<'_>, name: &str, mut labels: Vec<(&str, &str)>, value: &GuestValue) {
    match value {
        GuestValue::Counter(value) => out.sample(name, &labels, value),
        GuestValue::Gauge(value) => out.sample(name, &labels, number(*value)),
        GuestValue::Histogram { buckets, sum, count } => {
            let (bucket, mut below) = (format!("{name}_bucket"), 0);
            for (end, samples) in buckets.iter().filter(|(end, _)| end.is_finite()) {
                below += samples;
                let end = number(*end);
                let mut labels = labels.clone();
                labels.push(("le", &end));
                out.sample(&bucket, &labels, below);
            }
            let summed = labels.clone();
            labels.push(("le", "+Inf"));
            out.sample(&bucket, &labels, count);
            out.sample(&format!("{name}_sum"), &summed, number(*sum));
            out.sample(&format!("{name}_count"), &summed, count);
        }
    }
}

/// Returns a number in the format's notation, which has its own words for infinity and NaN.
fn number(value: f64) -> String {
    match value {
        value if value.is_nan() => "NaN".to_owned(),
        f64::INFINITY => "+Inf".to_owned(),
        f64::NEG_INFINITY => "-Inf".to_owned(),
        value => value.to_string(),
    }
}

#[cfg(test)]
mod tests;
