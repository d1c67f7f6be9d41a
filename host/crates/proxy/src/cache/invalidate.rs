//! Removes what a request has changed at the upstream (RFC 9111, 4.4).

use portcullis_cache::rules::{invalidated, invalidates};
use portcullis_cache::store::{Mode, Purge};
use portcullis_http::set_request_target;
use portcullis_policy::Exchange;

use super::{CachedRoute, now};

/// Removes what is stored of the URL of the request in `exchange`, and of those that its response names, if it has
/// succeeded. All routes, variants and spellings of the host are meant.
pub(super) fn after(route: &CachedRoute, exchange: &Exchange) {
    let Exchange { request, response, .. } = exchange;
    if !invalidates(&request.method, response.status) {
        return;
    }
    let mut url = Vec::new();
    let mut purge = |path: &str, query: Option<&str>| {
        url.clear();
        route.key.write_url(request.scheme, &request.authority, path, query, &mut url);
        route.open.store.purge(&Purge::Url(&url), Mode::Hard, now().seconds());
    };
    purge(request.path(), request.query());
    for target in invalidated(request, &response.fields) {
        let mut other = request.clone();
        // One that no client could ask for is not stored either.
        if set_request_target(&mut other, &target).is_ok() {
            purge(other.path(), other.query());
        }
    }
}
