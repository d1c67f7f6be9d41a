//! The metrics for Prometheus: the gateway's own, and those of the policies.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use anyhow::Context;
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use portcullis_admin::WebServer;
use portcullis_sandbox::{GuestMetric, GuestValue, SandboxReport};
use portcullis_telemetry::{Exposition, MetricKind};

use crate::compose::Process;

/// Answers `GET /metrics` on `address` for as long as the server is kept.
///
/// # Errors
/// Where the address cannot be listened on.
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
            render(&process.sandbox.metrics(), &mut text);
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
    guests(report, &mut out);
}

/// One family for each name and kind that policies chose. The prefix keeps them from passing for the gateway's own.
fn guests(report: &SandboxReport, out: &mut Exposition<'_>) {
    let mut families: BTreeMap<(&str, &str), Vec<(&str, &GuestMetric)>> = BTreeMap::new();
    for policy in &report.policies {
        for metric in &policy.guest {
            let kind = match metric.value {
                GuestValue::Counter(_) => "counter",
                GuestValue::Gauge(_) => "gauge",
                GuestValue::Histogram { .. } => "histogram",
            };
            families.entry((&metric.name, kind)).or_default().push((&policy.policy, metric));
        }
    }
    let mut last = "";
    for ((guest_name, kind), metrics) in families {
        // Two policies may use one name for different things, which the format cannot say twice.
        let clash = std::mem::replace(&mut last, guest_name) == guest_name;
        let name = match clash {
            true => format!("portcullis_guest_{guest_name}_{kind}"),
            false => format!("portcullis_guest_{guest_name}"),
        };
        let family = match kind {
            "counter" => MetricKind::Counter,
            "gauge" => MetricKind::Gauge,
            _ => MetricKind::Histogram,
        };
        out.family(&name, family, "Made by a policy.");
        for (policy, metric) in metrics {
            let mut labels = vec![("policy", policy)];
            // `policy` and `le` are ours; a second label of a name would make the whole page unreadable.
            for (label, value) in &metric.labels {
                if label != "le" && labels.iter().all(|(taken, _)| taken != label) {
                    labels.push((label, value));
                }
            }
            sample(out, &name, labels, &metric.value);
        }
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
            out.sample(&format!("{name}_sum"), &labels, number(*sum));
            out.sample(&format!("{name}_count"), &labels, count);
            labels.push(("le", "+Inf"));
            out.sample(&bucket, &labels, count);
        }
    }
}

/// A number as the format writes it, which has its own words for what is none.
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
