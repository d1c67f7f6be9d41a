//! What endpoints are asked again and again.

use std::sync::Arc;
use std::time::Duration;

use portcullis_model::{HealthCheck, HealthProbe, Share, UpstreamProtocol};

use crate::diagnostic::Report;
use crate::loader::Loader;
use crate::references::Named;
use crate::syntax::authority::is_authority;
use crate::syntax::keys::HEALTH_CHECK;
use crate::syntax::tree::{Node, Value};
use crate::syntax::view::View;

const INTERVAL: Duration = Duration::from_secs(10);
const TIMEOUT: Duration = Duration::from_secs(2);
/// A tenth.
const JITTER: Share = Share::of_hundredths(1000);
const RISE: u32 = 2;
const FALL: u32 = 3;

/// The keys of each kind that the others do not have.
const OF_HTTP: [&str; 5] = ["path", "method", "host", "status", "body"];
const OF_GRPC: [&str; 1] = ["service"];

/// Reads `health-checks` of an upstream with this protocol.
pub(super) fn health_checks(
    loader: &mut Loader<'_>,
    named: &Named<'_>,
    view: View<'_>,
    protocol: UpstreamProtocol,
) -> Vec<Arc<HealthCheck>> {
    let nodes = view.node("health-checks").map_or(&[][..], Node::elements);
    let mut checks: Vec<Arc<HealthCheck>> = Vec::new();
    for node in nodes {
        let view = View::new(node.as_table(), &HEALTH_CHECK, node.span);
        let Some(check) = health_check(loader, named, view, protocol).map(Arc::new) else { continue };
        if checks.contains(&check) {
            let message = format!("upstream `{}` has the same health check twice", named.name);
            loader.report(Report::new(node.span, message, "listed before").help("remove one of the two"));
            continue;
        }
        checks.push(check);
    }
    checks
}

/// Returns the check, or `None` if it is not sound.
fn health_check(
    loader: &mut Loader<'_>,
    named: &Named<'_>,
    view: View<'_>,
    protocol: UpstreamProtocol,
) -> Option<HealthCheck> {
    let kind = view.word("kind").unwrap_or("http");
    let mut is_sound = true;
    for (of, keys) in [("http", &OF_HTTP[..]), ("grpc", &OF_GRPC[..])] {
        for (key, span) in keys.iter().filter_map(|key| Some((key, view.key_span(key)?))) {
            if kind != of {
                let message = format!(
                    "a health check of upstream `{}` is of the kind {kind:?}, so `{key}` says nothing",
                    named.name
                );
                let help = format!("remove it, or write kind = {of:?}");
                loader.report(Report::new(span, message, "without effect").help(help));
                is_sound = false;
            }
        }
    }
    if let ("grpc", UpstreamProtocol::Http1, Some(span)) = (kind, protocol, view.key_span("kind")) {
        let message = format!("upstream `{}` is asked by gRPC, but spoken to over HTTP/1", named.name);
        let help = "write protocol = \"h2\" in the upstream, or ask by kind = \"http\"";
        loader.report(Report::new(span, message, "gRPC needs HTTP/2").help(help));
        is_sound = false;
    }
    let probe = match kind {
        "grpc" => HealthProbe::Grpc { service: view.text("service").map_or("", |(name, _)| name).into() },
        "tcp" => HealthProbe::Tcp,
        _ => http(loader, named, view)?,
    };
    is_sound.then(|| HealthCheck {
        probe,
        port: view.integer("port"),
        interval: view.duration("interval").unwrap_or(INTERVAL),
        jitter: view.percent("jitter").unwrap_or(JITTER),
        timeout: view.duration("timeout").unwrap_or(TIMEOUT),
        rise: view.integer("rise").unwrap_or(RISE),
        fall: view.integer("fall").unwrap_or(FALL),
    })
}

/// Returns what is asked by HTTP, or `None` if that is not sound.
fn http(loader: &mut Loader<'_>, named: &Named<'_>, view: View<'_>) -> Option<HealthProbe> {
    let mut is_sound = true;
    let mut refuse = |span, key: &str, label: &str, help: &str| {
        let message = format!("`{key}` of a health check of upstream `{}` is not valid", named.name);
        loader.report(Report::new(span, message, label).help(help));
        is_sound = false;
    };
    let (path, host, body) = (view.text("path"), view.text("host"), view.text("body"));
    let is_path = |path: &str| {
        path.starts_with('/') && path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#')
    };
    if let Some((_, span)) = path.filter(|(path, _)| !is_path(path)) {
        let help = "write it as it is sent, as in \"/healthz\" or \"/status?deep=1\"";
        refuse(span, "path", "not a path", help);
    }
    if let Some((_, span)) = host.filter(|(host, _)| !is_authority(host)) {
        let help = "write a host name, with a port if it needs one, as in \"internal.example.com\"";
        refuse(span, "host", "not a host", help);
    }
    let method = view.word("method").unwrap_or("GET");
    if let ("HEAD", Some((_, span))) = (method, body) {
        refuse(span, "body", "a response to HEAD has no body", "write method = \"GET\"");
    }
    let status = |node: &Node| match node.value {
        Value::Integer(status) => u16::try_from(status).ok(),
        _ => None,
    };
    let nodes = view.node("status").map_or(&[][..], Node::elements);
    let mut statuses: Vec<u16> = nodes.iter().filter_map(status).collect();
    statuses.sort_unstable();
    is_sound.then(|| HealthProbe::Http {
        method: method.into(),
        path: path.map_or("/", |(path, _)| path).into(),
        host: host.map(|(host, _)| host.into()),
        statuses,
        body: body.map(|(body, _)| body.into()),
    })
}
