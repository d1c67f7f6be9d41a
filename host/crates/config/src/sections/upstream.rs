//! `[upstreams.NAME]`.

mod balance;
mod ejection;
mod health_checks;
mod limits;

use std::net::{Ipv4Addr, Ipv6Addr};

use balance::{balance, common_priority, slow_start};
use ejection::{ejection, panic};
use health_checks::health_checks;
use limits::limits;
use portcullis_model::{
    Endpoint, FieldCase, ProxyVersion, Upstream, UpstreamHttp2, UpstreamProtocol, UpstreamTimeouts,
    UpstreamTls,
};

use crate::certificates::authorities;
use crate::diagnostic::Report;
use crate::files::source::Span;
use crate::loader::Loader;
use crate::references::{Named, Section};
use crate::sections::host_header::host_header;
use crate::sections::listener::field_case;
use crate::syntax::authority::port_help;
use crate::syntax::keys::{ENDPOINT, UPSTREAM};
use crate::syntax::pattern::host_name_error;
use crate::syntax::suggest::shown;
use crate::syntax::tree::Node;
use crate::syntax::view::{View, text};

/// Idle connections that each worker keeps to each endpoint.
const IDLE_CONNECTIONS: usize = 64;
/// Bytes of a response head: twice a request's, because of cookies and content security policies.
const HEAD_BYTES: usize = 64 << 10;
/// Bytes of a request's body that are kept: the window that HTTP/2 begins with, so as many as are sent unasked.
const REPLAY_BYTES: usize = 64 << 10;

/// Makes the upstreams.
pub(crate) fn upstreams(loader: &mut Loader<'_>, section: &Section<'_>) -> Vec<Upstream> {
    let tables = section.values().filter(|named| named.table.is_some());
    tables.map(|named| upstream(loader, named)).collect()
}

fn upstream(loader: &mut Loader<'_>, named: &Named<'_>) -> Upstream {
    let view = View::new(named.table, &UPSTREAM, named.span);
    let (timeouts, times) = (view.view("timeouts"), UpstreamTimeouts::default());
    let protocol = match view.word("protocol") {
        Some("h2") => UpstreamProtocol::Http2,
        _ => UpstreamProtocol::Http1,
    };
    Upstream {
        name: named.name.into(),
        endpoints: endpoints(loader, named, view),
        balance: balance(loader, named, view),
        slow_start: slow_start(loader, named, view),
        protocol,
        tls: tls(loader, named, view),
        proxy_protocol: proxy_protocol(loader, named, view, protocol),
        host: host_header(loader, &format!("upstream `{}`", named.name), view).unwrap_or_default(),
        hide_server: view.bool("hide-server").unwrap_or(false),
        field_case: field_case(view),
        timeouts: UpstreamTimeouts {
            connect: timeouts.duration("connect").unwrap_or(times.connect),
            response_head: timeouts.duration("response-head").unwrap_or(times.response_head),
            idle: timeouts.duration("idle").unwrap_or(times.idle),
            pool_idle: timeouts.duration("pool-idle").unwrap_or(match protocol {
                UpstreamProtocol::Http1 => UpstreamTimeouts::POOL_IDLE_HTTP1,
                UpstreamProtocol::Http2 => UpstreamTimeouts::POOL_IDLE_HTTP2,
            }),
            keepalive: timeouts.duration("keepalive").unwrap_or(times.keepalive),
        },
        limits: limits(loader, named, view),
        ejection: ejection(loader, named, view),
        panic: panic(view),
        health_checks: health_checks(loader, named, view, protocol),
        idle_connections_max: view.integer("idle-connections").unwrap_or(IDLE_CONNECTIONS),
        head_bytes_max: view.bytes("head").unwrap_or(HEAD_BYTES),
        replay_bytes_max: view.bytes("replay").unwrap_or(REPLAY_BYTES),
        retry_budget: view.percent("retry-budget"),
        http2: http2(loader, named, view, protocol),
        origin: loader.sources.origin(named.span),
    }
}

fn proxy_protocol(
    loader: &mut Loader<'_>,
    named: &Named<'_>,
    view: View<'_>,
    protocol: UpstreamProtocol,
) -> Option<ProxyVersion> {
    let version = match view.word("proxy-protocol")? {
        "v1" => ProxyVersion::V1,
        _ => ProxyVersion::V2,
    };
    if let (UpstreamProtocol::Http2, Some(span)) = (protocol, view.key_span("proxy-protocol")) {
        let message = format!(
            "upstream `{}` cannot name the client of a connection that many clients share",
            named.name
        );
        let help = "remove it (X-Forwarded-For names the client of each request), or write protocol = \"h1\"";
        loader.report(Report::new(span, message, "not over HTTP/2").help(help));
    }
    Some(version)
}

fn http2(
    loader: &mut Loader<'_>,
    named: &Named<'_>,
    view: View<'_>,
    protocol: UpstreamProtocol,
) -> UpstreamHttp2 {
    let (http2, default) = (view.view("http2"), UpstreamHttp2::default());
    if let (UpstreamProtocol::Http1, Some(span)) = (protocol, view.key_span("http2")) {
        let message = format!("upstream `{}` is spoken to over HTTP/1, so `http2` says nothing", named.name);
        loader.report(
            Report::new(span, message, "without effect").help("remove it, or write protocol = \"h2\""),
        );
    }
    if let (UpstreamProtocol::Http2, FieldCase::Title, Some(span)) =
        (protocol, field_case(view), view.key_span("field-case"))
    {
        let message =
            format!("upstream `{}` is spoken to over HTTP/2, whose names are in lower case", named.name);
        loader.report(
            Report::new(span, message, "without effect").help("remove it, or write protocol = \"h1\""),
        );
    }
    UpstreamHttp2 {
        streams_max: http2.integer("streams").unwrap_or(default.streams_max),
        window: http2.bytes("window").and_then(|bytes| u32::try_from(bytes).ok()).unwrap_or(default.window),
        send_buffer_bytes: http2.bytes("send-buffer").unwrap_or(default.send_buffer_bytes),
        idle_frames: http2.integer("idle-frames").unwrap_or(default.idle_frames),
    }
}

fn endpoints(loader: &mut Loader<'_>, named: &Named<'_>, view: View<'_>) -> Vec<Endpoint> {
    let nodes = view.node("endpoints").map_or(&[][..], Node::elements);
    let mut seen: std::collections::HashMap<String, Span> = std::collections::HashMap::new();
    let mut list = Vec::new();
    for node in nodes {
        let inner = View::new(node.as_table(), &ENDPOINT, node.span);
        let (typed, weight, priority) = match node.as_table() {
            Some(_) => (inner.text("address"), inner.integer("weight"), inner.integer("priority")),
            None => (text(node), None, None),
        };
        let Some((typed, span)) = typed else { continue };
        let address = match endpoint(typed) {
            Ok(address) => address,
            Err((label, help)) => {
                let message = format!("upstream `{}` has an endpoint that is not `host:port`", named.name);
                loader.report(Report::new(span, message, label).help(help));
                continue;
            }
        };
        if let Some(first) = seen.get(&address) {
            let message = format!("upstream `{}` has the endpoint `{address}` twice", named.name);
            let help = format!(
                "remove one of the two, or give one of them a weight: {{ address = {address:?}, weight = 2 }}"
            );
            loader
                .report(Report::new(span, message, "listed before").note("first listed", *first).help(help));
            continue;
        }
        seen.insert(address.clone(), span);
        warn_of_port(loader, named, view, &address, span);
        list.push(Endpoint {
            address: address.into(),
            weight: weight.unwrap_or(1),
            priority: priority.unwrap_or(0),
        });
    }
    if let (Some(priority), Some(node)) = (common_priority(&list), view.node("endpoints")) {
        let message = format!("every endpoint of upstream `{}` has the priority {priority}", named.name);
        let help = "leave out the `priority` of those that are to be used first: it is 0 then";
        loader.report(Report::new(node.span, message, "none of them is before the others").help(help));
    }
    list
}

/// Says so if a port is known for another protocol.
fn warn_of_port(loader: &mut Loader<'_>, named: &Named<'_>, view: View<'_>, address: &str, span: Span) {
    let tls = view.bool("tls") == Some(true) || view.view("tls").is_there();
    let (spoken, port, help) = match (tls, address.rsplit_once(':').map(|(_, port)| port)) {
        (false, Some("443")) => ("plain HTTP", "https", "add tls = true, or name the port of plain HTTP"),
        (true, Some("80")) => {
            ("TLS", "plain HTTP", "remove `tls`, or name the port of https, which is mostly 443")
        }
        _ => return,
    };
    let message = format!("upstream `{}` is spoken to by {spoken} on the port of {port}", named.name);
    loader.warn(Report::new(span, message, "this port").help(help));
}

/// Reads `host:port` and returns it in lower case.
///
/// # Errors
/// What is wrong with it, and what to write.
pub fn endpoint(typed: &str) -> Result<String, (&'static str, String)> {
    let example = || "write it as in \"10.0.0.11:8080\" or \"app.internal:8080\"".to_owned();
    if let Some((scheme, rest)) = typed.split_once("://") {
        let address = rest.split('/').next().unwrap_or("");
        let (port, tls) =
            if scheme == "https" { (443, ", and tls = true in the upstream") } else { (80, "") };
        let address = if address.contains(':') { address.to_owned() } else { format!("{address}:{port}") };
        return Err(("this is a URL", format!("write only host and port: \"{}\"{tls}", shown(&address))));
    }
    if typed.starts_with("unix:") || typed.starts_with('/') {
        return Err((
            "a socket of the file system",
            "an endpoint is reached over TCP: write its host and port, such as \"127.0.0.1:8080\"".to_owned(),
        ));
    }
    if let Some((address, _)) = typed.split_once('/') {
        return Err(("an endpoint has no path", format!("write only host and port: \"{}\"", shown(address))));
    }
    if typed.parse::<Ipv6Addr>().is_ok() {
        // `::1:3000` is an address of its own, and hardly what was meant.
        if let Some((host, port)) = typed.rsplit_once(':').filter(|(host, port)| {
            host.parse::<Ipv6Addr>().is_ok() && port.parse::<u16>().is_ok_and(|port| port >= 80)
        }) {
            return Err(("an IPv6 address stands in brackets", format!("write \"[{host}]:{port}\"")));
        }
        return Err((
            "an IPv6 address stands in brackets",
            format!("write \"[{typed}]:8080\", with the port"),
        ));
    }
    let Some((host, port)) = typed.rsplit_once(':').filter(|(host, _)| !host.ends_with(':')) else {
        return Err(("the port is missing", format!("write \"{}:8080\", with the port", shown(typed))));
    };
    if typed.ends_with(']') {
        return Err(("the port is missing", format!("write \"{}:8080\", with the port", shown(typed))));
    }
    if let Some(help) = port_help(typed) {
        return Err(("not a port", help));
    }
    let digits = port.bytes().all(|byte| byte.is_ascii_digit());
    let Some(port) = port.parse::<u16>().ok().filter(|port| digits && *port != 0) else {
        return Err(("the port is not a number from 1 to 65535", example()));
    };
    if let Some(inner) = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        return match inner.parse::<Ipv6Addr>() {
            Ok(address) => Ok(format!("[{address}]:{port}")),
            Err(_) => {
                Err(("not an IPv6 address in brackets", "write it as in \"[2001:db8::7]:8080\"".into()))
            }
        };
    }
    if let Ok(address) = host.parse::<Ipv4Addr>() {
        return Ok(format!("{address}:{port}"));
    }
    // 10.0.0.256 and 010.0.0.1 are no names: the last label of one is never a number (RFC 3696, 2).
    let last = host.rsplit('.').next().unwrap_or("");
    if !last.is_empty() && last.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(("not an IPv4 address", example()));
    }
    match host_name_error(host) {
        Some(label) => Err((label, example())),
        None => Ok(format!("{}:{port}", host.to_ascii_lowercase())),
    }
}

fn tls(loader: &mut Loader<'_>, named: &Named<'_>, view: View<'_>) -> Option<UpstreamTls> {
    if view.bool("tls") == Some(true) {
        return Some(UpstreamTls { server_name: None, ca: None, verify: true });
    }
    let tls = view.view("tls");
    if !tls.is_there() {
        return None;
    }
    let verify = !tls.bool("insecure-skip-verify").unwrap_or(false);
    let server_name = tls.text("server-name").and_then(|(name, span)| {
        let error = match name.contains(':') {
            true => Some("a name without a port is expected"),
            false => host_name_error(name),
        };
        match error {
            None => Some(name.to_ascii_lowercase().into()),
            Some(label) => {
                let message = format!("`server-name` of upstream `{}` is not valid", named.name);
                let help = "write the name that the certificate carries, as in \"internal.example.com\"";
                loader.report(Report::new(span, message, label).help(help));
                None
            }
        }
    });
    let ca = tls.text("ca");
    if let (Some((_, span)), false) = (ca, verify) {
        let message = format!("upstream `{}` names an authority, but believes any certificate", named.name);
        let help = "remove insecure-skip-verify, so that certificates are checked against it";
        loader.report(Report::new(span, message, "without effect").help(help));
    }
    let ca = ca.and_then(|(path, span)| authorities(loader, path, span));
    Some(UpstreamTls { server_name, ca, verify })
}
