//! `[listeners.NAME]`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::NonZeroU16;

use portcullis_model::{
    Certificate, ConnectionLimits, DownstreamTimeouts, FieldCase, HalfClosed, Listener, Protocol,
    ProxyProtocol, TlsServer, TlsVersion,
};

use crate::certificates::pem::Expected;
use crate::certificates::pem_file;
use crate::diagnostic::Report;
use crate::files::source::Span;
use crate::loader::Loader;
use crate::references::{Named, Section};
use crate::syntax::authority::address_help;
use crate::syntax::keys::{CERTIFICATE, LISTENER};
use crate::syntax::network::network;
use crate::syntax::view::View;

/// Makes the listeners, and checks that no two have one address.
pub(crate) fn listeners(loader: &mut Loader<'_>, section: &Section<'_>) -> Vec<Listener> {
    let mut addresses: BTreeMap<SocketAddr, Span> = BTreeMap::new();
    let mut list = Vec::new();
    let mut ordered: Vec<&Named<'_>> = section.values().collect();
    // In the order of the text, so that the later of two equal ones is reported.
    ordered.sort_by_key(|named| named.span);
    for named in ordered {
        let view = View::new(named.table, &LISTENER, named.span);
        let Some((typed, span)) = view.text("address") else { continue };
        let Ok(address) = typed.parse::<SocketAddr>() else {
            let message = format!("listener `{}` has no valid address", named.name);
            let report = Report::new(span, message, "not an IP address and port");
            loader.report(report.help(address_help(typed)));
            continue;
        };
        if address.port() == 443 && view.key_span("tls").is_none() {
            let message = format!("listener `{}` speaks plain HTTP on the port of https", named.name);
            let help = "add tls = { certificates = [{ cert = \"site.pem\", key = \"site.key\" }] }, unless something in front ends TLS";
            loader.warn(Report::new(span, message, "it has no `tls`").help(help));
        }
        // Port 0 is a different port each time.
        if address.port() != 0 {
            if let Some(first) = addresses.get(&address) {
                loader.report(
                    Report::new(span, format!("two listeners have the address {address}"), "used before")
                        .note("first used", *first)
                        .help("give each listener an address of its own; one listener can serve any number of routes"),
                );
            }
            addresses.entry(address).or_insert(span);
        }
        list.push(listener(loader, named, view, address));
    }
    list.sort_by(|a, b| a.name.cmp(&b.name));
    list
}

fn listener(loader: &mut Loader<'_>, named: &Named<'_>, view: View<'_>, address: SocketAddr) -> Listener {
    let protocols = view.texts("protocols");
    let speaks = |protocol: &str| protocols.is_empty() || protocols.iter().any(|(word, _)| *word == protocol);
    for (at, (word, span)) in protocols.iter().enumerate() {
        if protocols.iter().take(at).any(|(other, _)| other == word) {
            let message = format!("listener `{}` names the protocol {word} twice", named.name);
            loader.report(Report::new(*span, message, "named before").help("remove one of the two"));
        }
    }
    let tls = view.view("tls");
    let (timeouts, limits) = (view.view("timeouts"), view.view("limits"));
    if let (false, Some(span)) =
        (tls.is_there() || view.key_span("tls").is_some(), timeouts.key_span("handshake"))
    {
        let message = format!("listener `{}` limits the TLS handshake, but has no TLS", named.name);
        loader.report(
            Report::new(span, message, "without effect")
                .help("remove it, or add tls = { certificates = [...] }"),
        );
    }
    if let (false, Some(span)) =
        (tls.is_there() || view.key_span("tls").is_some(), view.key_span("public-port"))
    {
        let message = format!("listener `{}` has a `public-port`, but no TLS", named.name);
        let help =
            "remove it, or write it for the listener with `tls`: redirects to https name that one's port";
        loader.report(Report::new(span, message, "without effect").help(help));
    }
    for (key, what) in [
        ("streams", "limits HTTP/2 streams"),
        ("send-buffer", "limits what waits on connections of HTTP/2"),
        ("idle-frames", "limits HTTP/2 frames"),
    ] {
        if let (false, Some(span)) = (speaks("h2"), limits.key_span(key)) {
            let message = format!("listener `{}` {what}, but does not speak HTTP/2", named.name);
            loader.report(
                Report::new(span, message, "without effect").help("remove it, or add \"h2\" to `protocols`"),
            );
        }
    }
    if let (false, FieldCase::Title, Some(span)) =
        (speaks("h1"), field_case(view), view.key_span("field-case"))
    {
        let message =
            format!("listener `{}` writes names of fields for HTTP/1, but does not speak HTTP/1", named.name);
        loader.report(
            Report::new(span, message, "without effect").help("remove it, or add \"h1\" to `protocols`"),
        );
    }
    let times = DownstreamTimeouts::default();
    let sizes = ConnectionLimits::default();
    Listener {
        name: named.name.into(),
        address,
        public_port: view.integer("public-port").and_then(NonZeroU16::new),
        protocols: [("h1", Protocol::Http1), ("h2", Protocol::Http2)]
            .into_iter()
            .filter(|(name, _)| speaks(name))
            .map(|(_, protocol)| protocol)
            .collect(),
        tls: tls.is_there().then(|| tls_server(loader, tls)),
        proxy_protocol: proxy_protocol(loader, named, view.view("proxy-protocol")),
        timeouts: DownstreamTimeouts {
            request_head: timeouts.duration("request-head").unwrap_or(times.request_head),
            idle: timeouts.duration("idle").unwrap_or(times.idle),
            handshake: timeouts.duration("handshake").unwrap_or(times.handshake),
            tunnel_idle: timeouts.duration("tunnel-idle").unwrap_or(times.tunnel_idle),
            linger: timeouts.duration("linger").unwrap_or(times.linger),
        },
        limits: ConnectionLimits {
            connections: limits.integer("connections").unwrap_or(sizes.connections),
            head_bytes: limits.bytes("head").unwrap_or(sizes.head_bytes),
            head_fields: limits.integer("fields").unwrap_or(sizes.head_fields),
            streams: limits.integer("streams").unwrap_or(sizes.streams),
            linger_bytes: limits.size("linger").unwrap_or(sizes.linger_bytes),
            send_buffer_bytes: limits.bytes("send-buffer").unwrap_or(sizes.send_buffer_bytes),
            idle_frames: limits.integer("idle-frames").unwrap_or(sizes.idle_frames),
        },
        half_closed: match view.word("half-closed") {
            Some("answer") => HalfClosed::Answer,
            Some("cancel") => HalfClosed::Cancel,
            _ => HalfClosed::AnswerLast,
        },
        field_case: field_case(view),
        origin: loader.sources.origin(named.span),
    }
}

fn proxy_protocol(loader: &mut Loader<'_>, named: &Named<'_>, view: View<'_>) -> Option<ProxyProtocol> {
    if !view.is_there() {
        return None;
    }
    let key = format!("`proxy-protocol.from` of listener `{}`", named.name);
    let mut from = Vec::new();
    for (text, span) in view.texts("from") {
        let network = match network(text) {
            Ok(network) => network,
            Err((label, help)) => {
                loader.report(Report::new(span, format!("{key} is not valid"), label).help(help));
                continue;
            }
        };
        if network.prefix_len() == 0 {
            let message = format!(
                "every client of listener `{}` can say that it is another, in a header of its own",
                named.name
            );
            let help = "name the addresses of the load balancers in front of the gateway";
            loader.warn(Report::new(span, message, "this takes in every address").help(help));
        }
        from.push(network);
    }
    Some(ProxyProtocol {
        from,
        serves_others: view.word("others") == Some("serve"),
        timeout: view.duration("timeout").unwrap_or(ProxyProtocol::TIMEOUT),
        bytes_max: view.bytes("size").unwrap_or(ProxyProtocol::BYTES_MAX),
    })
}

/// The spelling that the key `field-case` asks for.
pub(super) fn field_case(view: View<'_>) -> FieldCase {
    match view.word("field-case") {
        Some("title") => FieldCase::Title,
        _ => FieldCase::Lower,
    }
}

fn tls_server(loader: &mut Loader<'_>, view: View<'_>) -> TlsServer {
    let nodes = view.node("certificates").map_or(&[][..], |node| node.elements());
    let mut certificates: Vec<Certificate> = Vec::new();
    for node in nodes {
        let view = View::new(node.as_table(), &CERTIFICATE, node.span);
        let cert =
            view.text("cert").and_then(|(path, span)| pem_file(loader, path, span, Expected::Certificates));
        let key =
            view.text("key").and_then(|(path, span)| pem_file(loader, path, span, Expected::PrivateKey));
        let (Some((cert_path, cert_pem)), Some((key_path, key_pem))) = (cert, key) else { continue };
        if certificates.iter().any(|other| other.cert_path == cert_path) {
            let report = Report::new(node.span, "a certificate is listed twice", "listed before");
            loader.report(report.help("remove one of the two"));
        }
        let origin = loader.sources.origin(node.span);
        certificates.push(Certificate { cert_path, key_path, cert_pem, key_pem, origin });
    }
    let min_version =
        if view.word("min-version") == Some("1.3") { TlsVersion::V1_3 } else { TlsVersion::V1_2 };
    TlsServer { certificates, min_version }
}
