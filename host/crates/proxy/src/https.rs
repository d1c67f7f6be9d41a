//! Routes with `tls = "required"`: where a client without TLS is redirected.

use std::collections::BTreeMap;
use std::num::NonZeroU16;
use std::sync::Arc;

use portcullis_http::{RequestHead, Scheme};
use portcullis_model::{Name, Route};
use portcullis_net::ListenerState;

use crate::error::ExchangeError;

/// The default port of `https`.
const HTTPS: u16 = 443;

/// Returns the error for a `request` without TLS if `route` requires TLS. `port` returns the port that serves the route
/// with TLS, if it is known.
///
/// The scheme is what the client used, as a trusted proxy reports it, so that a proxy in front that terminates TLS
/// is not redirected for ever.
pub(crate) fn refusal(
    route: &Route,
    request: &RequestHead,
    port: impl FnOnce() -> Option<NonZeroU16>,
) -> Option<ExchangeError> {
    if !route.tls_required || request.scheme == Scheme::Https {
        return None;
    }
    Some(ExchangeError::TlsRequired { location: location(request, port().map_or(HTTPS, NonZeroU16::get)) })
}

/// Returns the URL of the same request over TLS, or `None` if it has no URL: a request without a host, `OPTIONS *` and
/// CONNECT.
fn location(request: &RequestHead, port: u16) -> Option<String> {
    let (host, target) = (request.host(), request.target());
    if host.is_empty() || !target.starts_with('/') || request.method == "CONNECT" {
        return None;
    }
    let port = if port == HTTPS { String::new() } else { format!(":{port}") };
    Some(format!("https://{host}{port}{target}"))
}

/// Returns the listener to which clients of `route` are redirected: of those with TLS that serve it, the one whose
/// public port is 443, else the first by name.
pub(crate) fn listener(
    route: &Route,
    listeners: &BTreeMap<Name, Arc<ListenerState>>,
) -> Option<Arc<ListenerState>> {
    if !route.tls_required {
        return None;
    }
    let serving =
        || listeners.values().filter(|state| state.tls().is_some() && route.is_on(&state.listener().name));
    let usual = serving().find(|state| state.public_port().map(NonZeroU16::get) == Some(HTTPS));
    usual.or_else(|| serving().next()).cloned()
}

#[cfg(test)]
mod tests {
    use portcullis_http::RequestHead;

    use super::location;

    fn check(method: &str, authority: &str, target: &str, port: u16, expected: Option<&str>) {
        let mut request = RequestHead::default();
        request.method.push_str(method);
        request.authority.push_str(authority);
        let (path, query) =
            target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
        request.set_target(path, query);
        assert_eq!(location(&request, port).as_deref(), expected, "{method} {authority} {target}");
    }

    #[test]
    fn the_location_is_the_same_request_over_https() {
        check("GET", "a.test", "/x?y=1", 443, Some("https://a.test/x?y=1"));
        check("POST", "a.test:8080", "/", 443, Some("https://a.test/"));
        check("GET", "a.test:8080", "/x?", 8443, Some("https://a.test:8443/x?"));
        check("GET", "[::1]:8080", "/x", 8443, Some("https://[::1]:8443/x"));
        check("GET", "[::1]", "/x", 443, Some("https://[::1]/x"));
    }

    #[test]
    fn a_request_without_a_url_is_not_redirected() {
        check("GET", "", "/x", 443, None);
        check("OPTIONS", "a.test", "*", 443, None);
        check("CONNECT", "a.test:80", "", 443, None);
        check("CONNECT", "a.test:80", "/chat", 443, None);
    }
}
