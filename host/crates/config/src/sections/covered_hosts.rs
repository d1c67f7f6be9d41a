//! Whether the certificates of listeners cover the hosts of routes.
//!
//! A client that asks for a host that no certificate covers gets the first one of the listener, and refuses it. A
//! warning is given only if that is certain: for a route that is served over TLS alone, and for a host that no
//! certificate of any of its listeners can cover.

use std::net::IpAddr;

use portcullis_model::{Gateway, HostPattern, Listener, Route};

use crate::diagnostic::Report;
use crate::files::source::Span;
use crate::loader::Loader;
use crate::references::Section;
use crate::syntax::keys::ROUTE;
use crate::syntax::pattern;
use crate::syntax::suggest::list;
use crate::syntax::view::View;

/// Warns of hosts of routes that no certificate covers.
pub(crate) fn check(loader: &mut Loader<'_>, gateway: &Gateway, routes: &Section<'_>) {
    // `None` if the names of a certificate are not known.
    let names_of = |listener: &Listener| -> Option<Vec<String>> {
        let certificates = &listener.tls.as_ref()?.certificates;
        let names = certificates.iter().map(|one| loader.plugins.certificate_names(&one.cert_pem));
        names.collect::<Option<Vec<_>>>().map(|names| names.concat())
    };
    let names: Vec<(&Listener, Option<Vec<String>>)> =
        gateway.listeners.iter().map(|listener| (listener, names_of(listener))).collect();
    // A proxy in front may end TLS with certificates of its own.
    let tls_is_here = gateway.server.trusted_proxies.is_empty();
    let mut warnings = Vec::new();
    for route in &gateway.routes {
        let serving: Vec<_> = names.iter().filter(|(listener, _)| route.is_on(&listener.name)).collect();
        let is_tls_alone =
            serving.iter().all(|(listener, _)| listener.tls.is_some()) || (route.tls_required && tls_is_here);
        let with_tls = serving.iter().filter(|(listener, _)| listener.tls.is_some());
        let carried: Option<Vec<&Vec<String>>> = with_tls.map(|(_, names)| names.as_ref()).collect();
        let Some(carried) = carried.filter(|carried| is_tls_alone && !carried.is_empty()) else { continue };
        let carried: Vec<&str> = carried.into_iter().flatten().map(String::as_str).collect();
        warnings.extend(uncovered(route, &carried, routes));
    }
    warnings.into_iter().for_each(|warning| loader.warn(warning));
}

/// A warning for each host of `route` that none of the names that certificates carry covers.
fn uncovered(route: &Route, carried: &[&str], routes: &Section<'_>) -> Vec<Report> {
    let Some(named) = routes.get(&*route.name) else { return Vec::new() };
    let matches = View::new(named.table, &ROUTE, named.span).view("match");
    let hosts = matches.texts("host").into_iter();
    let hosts = hosts.filter(|(typed, _)| {
        pattern::host(typed).is_ok_and(|host| !carried.iter().any(|name| may_cover(name, &host)))
    });
    let warning = |(typed, span): (&str, Span)| {
        let message = format!("no certificate covers the host `{typed}` of route `{}`", route.name);
        let help = match carried {
            [] => "no certificate of its listeners carries a name: add one for this host".to_owned(),
            names => format!("add a certificate for it; those of its listeners are for {}", list(names)),
        };
        Report::new(span, message, "clients refuse the certificate that they get").help(help)
    };
    hosts.map(warning).collect()
}

/// Whether a certificate that carries `name` covers a host that `host` matches, or may do.
fn may_cover(name: &str, host: &HostPattern) -> bool {
    match (host, name.strip_prefix("*.")) {
        (HostPattern::Any | HostPattern::Regex(_), _) => true,
        // Certificates carry addresses in another way.
        (HostPattern::Exact(host), _) if host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok() => true,
        (HostPattern::Exact(host), None) => host == name,
        // RFC 9525, 6.3: a wildcard stands for exactly one label.
        (HostPattern::Exact(host), Some(below)) => {
            host.split_once('.').is_some_and(|(_, suffix)| suffix == below)
        }
        // The suffix has its dot: `.example.com`.
        (HostPattern::Suffix(suffix), None) => name.len() > suffix.len() && name.ends_with(suffix.as_str()),
        (HostPattern::Suffix(suffix), Some(below)) => format!(".{below}").ends_with(suffix.as_str()),
    }
}

#[cfg(test)]
mod tests {
    use super::may_cover;
    use crate::syntax::pattern;

    #[test]
    fn a_wildcard_stands_for_one_label() {
        for (name, host, expected) in [
            ("a.test", "a.test", true),
            ("a.test", "b.a.test", false),
            ("*.a.test", "b.a.test", true),
            ("*.a.test", "a.test", false),
            ("*.a.test", "c.b.a.test", false),
            ("*.test", "a.test", true),
            ("a.test", "10.0.0.1", true),
            // Of these hosts it covers some.
            ("b.a.test", "*.a.test", true),
            ("*.a.test", "*.a.test", true),
            ("*.b.a.test", "*.a.test", true),
            ("a.test", "*.a.test", false),
            ("*.test", "*.a.test", false),
            ("*.ba.test", "*.a.test", false),
            ("xa.test", "*.a.test", false),
        ] {
            assert_eq!(may_cover(name, &pattern::host(host).unwrap()), expected, "{name} for {host}");
        }
    }
}
