//! `[registries.NAME]`: how to fetch plugins from registries.

use std::collections::BTreeMap;

use portcullis_model::{Name, Registry, Secret};

use crate::certificates::authorities;
use crate::diagnostic::Report;
use crate::files::source::Span;
use crate::loader::Loader;
use crate::references::{Named, Section, Used, unknown};
use crate::syntax::authority::is_authority;
use crate::syntax::keys::REGISTRY;
use crate::syntax::suggest::shown;
use crate::syntax::view::View;

/// Makes the registries. Secrets that they name go into `used`.
pub(crate) fn registries<'a>(
    loader: &mut Loader<'_>,
    section: &Section<'a>,
    secrets: &Section<'a>,
    values: &BTreeMap<Name, Secret>,
    used: &mut Used<'a>,
) -> Vec<Registry> {
    let mut hosts: BTreeMap<String, Span> = BTreeMap::new();
    let mut registries = Vec::new();
    for named in section.values().filter(|named| named.table.is_some()) {
        let view = View::new(named.table, &REGISTRY, named.span);
        let credentials = credentials(loader, named, view, secrets, values, used);
        let plain_http = view.bool("plain-http").unwrap_or(false);
        let ca = view.text("ca").and_then(|(path, span)| authorities(loader, path, span));
        let Some((typed, span)) = view.text("host") else { continue };
        if !is_authority(typed) {
            let message = format!("registry `{}` has no valid host", named.name);
            let help =
                "write the host as in references, such as \"registry.example.com\" or \"127.0.0.1:5000\"";
            loader.report(Report::new(span, message, "not a host").help(help));
            continue;
        }
        let host = typed.to_ascii_lowercase();
        if let Some(first) = hosts.get(&host) {
            let report = Report::new(span, format!("two registries have the host {host}"), "used before");
            loader.report(report.note("first used", *first).help("put all of it into one table"));
        }
        hosts.insert(host.clone(), span);
        check_plain_http(loader, named, view, &host, plain_http);
        registries.push(Registry { name: named.name.into(), host: host.into(), credentials, ca, plain_http });
    }
    registries
}

fn check_plain_http(
    loader: &mut Loader<'_>,
    named: &Named<'_>,
    view: View<'_>,
    host: &str,
    plain_http: bool,
) {
    if !plain_http {
        return;
    }
    if let Some(span) = view.key_span("ca") {
        let message = format!("registry `{}` has authorities, but no TLS", named.name);
        loader.report(Report::new(span, message, "without effect").help("remove it, or remove plain-http"));
    }
    if let (Some(span), false) = (view.key_span("password"), is_this_machine(host)) {
        let message = format!("the password for registry `{}` would be readable on its way", named.name);
        let help = "remove plain-http, so that the registry is spoken to with TLS";
        loader.report(Report::new(span, message, "sent without TLS").help(help));
    }
}

/// Whether `host` is this machine, so that what is sent to it cannot be read on the way.
fn is_this_machine(host: &str) -> bool {
    let address = host
        .rsplit_once(':')
        .filter(|(_, port)| port.parse::<u16>().is_ok())
        .map_or(host, |(address, _)| address);
    let address = address.trim_start_matches('[').trim_end_matches(']');
    address == "localhost" || address.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn credentials<'a>(
    loader: &mut Loader<'_>,
    named: &Named<'_>,
    view: View<'a>,
    secrets: &Section<'a>,
    values: &BTreeMap<Name, Secret>,
    used: &mut Used<'a>,
) -> Option<(String, Secret)> {
    let (user, password) = (view.text("username"), view.text("password"));
    let incomplete = |there: &str, missing: &str, span: Span| {
        let message = format!("registry `{}` has a {there} without a {missing}", named.name);
        Report::new(span, message, format!("a {missing} is needed with it"))
    };
    match (user, password) {
        (Some((user, span)), None) if view.key_span("password").is_none() => {
            let help = format!(
                "add password = \"NAME\", where [secrets.NAME] holds the password of {}",
                shown(user)
            );
            loader.report(incomplete("username", "password", span).help(help));
            None
        }
        (None, Some((name, span))) if view.key_span("username").is_none() => {
            used.names.insert(name);
            loader.report(incomplete("password", "username", span).help("add username = \"NAME\""));
            None
        }
        (user, Some((name, span))) => {
            used.names.insert(name);
            if !secrets.contains_key(name) {
                let (report, meant) =
                    unknown("secret", (name, span), secrets, &format!("registry `{}`", named.name));
                loader.report(report);
                used.names.extend(meant);
            }
            let (user, span) = user?;
            // RFC 7617: what follows the first colon is the password.
            if user.contains(':') || user.chars().any(char::is_control) {
                let message = format!("registry `{}` has no valid username", named.name);
                loader.report(
                    Report::new(span, message, "a user's name has no `:`").help("write the name alone"),
                );
                return None;
            }
            Some((user.to_owned(), values.get(name)?.clone()))
        }
        _ => None,
    }
}

/// Reports the registries that no plugin comes from.
pub(crate) fn report_unused_registries(loader: &mut Loader<'_>, section: &Section<'_>) {
    let unused: Vec<&Registry> = loader
        .plugin_sources
        .registries
        .iter()
        .filter(|registry| !loader.hosts.contains(&*registry.host))
        .collect();
    let unused: Vec<Report> = unused
        .into_iter()
        .filter_map(|registry| Some((registry, section.get(&*registry.name)?)))
        .map(|(registry, named)| {
            let message = format!("registry `{}` is not used", registry.name);
            let help = format!("name a plugin as oci://{}/..., or remove it", registry.host);
            Report::new(named.span, message, "no plugin comes from it").help(help)
        })
        .collect();
    loader.reports.extend(unused);
}
