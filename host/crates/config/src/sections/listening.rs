//! Addresses that collide: of listeners, of the metrics, and of the gateway as its own upstream.

use std::net::{IpAddr, SocketAddr};

use portcullis_model::{Gateway, HostHeader, Listener, Route, Upstream};

use crate::diagnostic::Report;
use crate::files::source::Span;
use crate::loader::Loader;
use crate::references::Section;
use crate::syntax::keys::{ENDPOINT, LISTENER, UPSTREAM};
use crate::syntax::tree::Node;
use crate::syntax::view::{View, text};

/// Whether only one socket can listen on the two addresses. `[::]` takes IPv6 alone.
pub(crate) fn collide(one: SocketAddr, other: SocketAddr) -> bool {
    let all = |address: SocketAddr| address.ip().is_unspecified();
    one.port() == other.port()
        && one.port() != 0
        && one.is_ipv4() == other.is_ipv4()
        && (one.ip() == other.ip() || all(one) || all(other))
}

/// Reports addresses that two of listeners, metrics and upstreams want. `metrics` is the place of the metrics' address.
pub(crate) fn check(
    loader: &mut Loader<'_>,
    gateway: &Gateway,
    metrics: Option<Span>,
    (listeners, upstreams): (&Section<'_>, &Section<'_>),
) {
    let placed = gateway.listeners.iter().filter_map(|listener| {
        let named = listeners.get(&*listener.name)?;
        let (_, span) = View::new(named.table, &LISTENER, named.span).text("address")?;
        Some((span, listener))
    });
    let mut placed: Vec<(Span, &Listener)> = placed.collect();
    // In the order of the text, so that the later one is reported.
    placed.sort_by_key(|(span, _)| *span);
    for (at, (span, later)) in placed.iter().enumerate() {
        // Equal addresses were reported.
        let meets = |(_, earlier): &&(Span, &Listener)| {
            earlier.address != later.address && collide(earlier.address, later.address)
        };
        let Some((first, earlier)) = placed.iter().take(at).find(meets) else { continue };
        let message = format!("listeners `{}` and `{}` want the same port", earlier.name, later.name);
        let all = if later.address.ip().is_unspecified() { later } else { earlier };
        let label = format!("{} is every address of its kind", all.address);
        let help =
            "give one of them another port, or leave one out: one listener can serve any number of routes";
        loader.report(Report::new(*span, message, label).note("the other is", *first).help(help));
    }
    if let (Some(address), Some(span)) = (gateway.server.metrics, metrics) {
        let taken = gateway.listeners.iter().find(|listener| collide(listener.address, address));
        if let Some(listener) = taken {
            let message = format!("the metrics and listener `{}` want the same address", listener.name);
            let report = Report::new(span, message, format!("{} is taken", listener.address));
            loader.report(report.help("give the metrics a port of their own, such as \"127.0.0.1:9464\""));
        }
    }
    for upstream in &gateway.upstreams {
        check_loop(loader, gateway, upstream, upstreams);
    }
}

/// Reports an upstream that is the listener on which its own route is served: the request comes back for ever.
fn check_loop(loader: &mut Loader<'_>, gateway: &Gateway, upstream: &Upstream, section: &Section<'_>) {
    // Another host may make another route of it.
    if upstream.host != HostHeader::Preserve {
        return;
    }
    let uses = |route: &&Route| route.upstreams().contains(&upstream.name);
    for endpoint in &upstream.endpoints {
        let Some(address) = local(&endpoint.address) else { continue };
        let own = |listener: &&Listener| {
            listener.tls.is_some() == upstream.tls.is_some()
                && (listener.address == address
                    || (listener.address.port() != 0 && reaches(address, listener.address)))
        };
        let Some(listener) = gateway.listeners.iter().find(own) else { continue };
        let Some(route) = gateway.routes.iter().filter(uses).find(|route| route.is_on(&listener.name)) else {
            continue;
        };
        let span = endpoint_span(section, upstream, &endpoint.address);
        let message = format!(
            "upstream `{}` is the gateway itself: {} is listener `{}`",
            upstream.name, endpoint.address, listener.name
        );
        let label = format!("requests of route `{}` would come back again and again", route.name);
        loader.report(
            Report::new(span, message, label).help("name the address of the server behind the gateway"),
        );
    }
}

/// The address of an endpoint, if it is one of this machine for certain.
fn local(endpoint: &str) -> Option<SocketAddr> {
    match endpoint.parse::<SocketAddr>() {
        Ok(address) => Some(address),
        Err(_) => {
            let port = endpoint.strip_prefix("localhost:")?.parse().ok()?;
            Some(SocketAddr::new(IpAddr::from([127, 0, 0, 1]), port))
        }
    }
}

/// Whether a connection to `address` gets to a listener on every address.
fn reaches(address: SocketAddr, listener: SocketAddr) -> bool {
    let here = address.ip().is_loopback() || address.ip().is_unspecified();
    listener.ip().is_unspecified() && here && collide(address, listener)
}

fn endpoint_span(section: &Section<'_>, upstream: &Upstream, address: &str) -> Span {
    let Some(named) = section.get(&*upstream.name) else { return Span { file: 0, start: 0, end: 0 } };
    let view = View::new(named.table, &UPSTREAM, named.span);
    let nodes = view.node("endpoints").map_or(&[][..], Node::elements);
    let typed = |node: &&Node| {
        let typed = match node.as_table() {
            Some(_) => View::new(node.as_table(), &ENDPOINT, node.span).text("address"),
            None => text(node),
        };
        typed.is_some_and(|(typed, _)| typed.eq_ignore_ascii_case(address))
    };
    nodes.iter().find(typed).map_or(named.span, |node| node.span)
}
