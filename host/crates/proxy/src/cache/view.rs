//! What a route's cache would make of a request, for `explain` and for policies.

use std::sync::Arc;

use portcullis_cache::rules::{Access, Request};
use portcullis_http::RequestHead;
use portcullis_model::{Action, Forward, Name, RequestFilter, Route, RouteMatch};
use portcullis_policy::cache::{CacheKeyView, CacheKeys, CacheWishes};
use portcullis_policy::{Attributes, Exchange};

use super::foresee::Foreseen;
use super::key::{self, KeyRules, Part};
use super::{passes_by, settings};
use crate::target::rewrite::rewrite;

/// What a route's cache makes of a request.
#[derive(Debug)]
pub struct CacheView {
    /// The cache.
    pub store: Name,
    /// What becomes of the request.
    pub says: String,
    /// The URL that the key has, by which it is purged.
    pub url: String,
    /// What else the key has, a part each.
    pub key: Vec<String>,
    /// The tags that policies add to the response if it is fetched.
    pub tags: Vec<String>,
    /// What the cache that runs would do now, if one runs.
    pub now: Option<Foreseen>,
}

/// Returns what the cache of `route` makes of the request in `exchange`, which is about to be forwarded; `None` if the
/// route has no cache.
pub(crate) fn view(route: &Route, exchange: &Exchange, has_body: bool) -> Option<CacheView> {
    let Action::Forward(Forward { cache: Some(config), .. }) = &route.action else { return None };
    let (rules, key_rules) = (settings::of_route(config), KeyRules::new(&route.name, config));
    let Exchange { request, cache: wishes, .. } = exchange;
    let says = match Request::read(&rules, request, has_body).access() {
        Access::Lookup if passes_by(config, request) => "passed by, as `bypass` says".to_owned(),
        Access::Lookup if wishes.is_bypassed() => "passed by, as a policy says".to_owned(),
        Access::Lookup => "looked up".to_owned(),
        Access::Write => "forwarded; if it succeeds, what is stored of its URL is removed".to_owned(),
        Access::Bypass(why) => format!("passed by: {}", why.as_str()),
    };
    let upstream = exchange.upstreams.get(exchange.upstream).map_or("", |name| name);
    let CacheKeyView { url, parts } = key_view(&key_rules, request, upstream, &exchange.attributes, wishes);
    let tags = wishes.tags().map(str::to_owned).collect();
    Some(CacheView { store: config.store.clone(), says, url, key: parts, tags, now: None })
}

/// Returns the key of `request`, as it is forwarded.
fn key_view(
    rules: &KeyRules,
    request: &RequestHead,
    upstream: &str,
    attributes: &Attributes,
    wishes: &CacheWishes,
) -> CacheKeyView {
    let mut key = Vec::new();
    let url = rules.write(request, upstream, attributes, wishes, &mut key);
    let (url, rest) = key.split_at(url.end);
    CacheKeyView {
        url: String::from_utf8_lossy(url).into_owned(),
        parts: key_parts(rest, |part| String::from_utf8_lossy(part.value).into_owned()),
    }
}

/// The keys of a route, as policies see them.
#[derive(Debug)]
struct RouteKeys {
    rules: KeyRules,
    filters: Vec<RequestFilter>,
    matches: RouteMatch,
}

/// Returns the keys of a route for its policies; `None` if it has no cache.
pub(crate) fn keys_for_policies(route: &Route) -> Option<Arc<dyn CacheKeys>> {
    let Action::Forward(Forward { cache: Some(config), filters, .. }) = &route.action else { return None };
    let rules = KeyRules::new(&route.name, config);
    Some(Arc::new(RouteKeys { rules, filters: filters.clone(), matches: route.matches.clone() }))
}

impl CacheKeys for RouteKeys {
    fn key(
        &self,
        request: &RequestHead,
        upstream: &str,
        attributes: &Attributes,
        wishes: &CacheWishes,
    ) -> Option<CacheKeyView> {
        if self.filters.is_empty() {
            return Some(key_view(&self.rules, request, upstream, attributes, wishes));
        }
        let mut request = request.clone();
        rewrite(&self.filters, &self.matches, &mut request).ok()?;
        Some(key_view(&self.rules, &request, upstream, attributes, wishes))
    }
}

/// What a key has behind its URL, in words, with the values that `value` returns.
pub(super) fn key_parts(rest: &[u8], value: impl Fn(&Part<'_>) -> String) -> Vec<String> {
    let Some((space, upstream, parts)) = key::read(rest) else { return Vec::new() };
    let mut words = vec![
        format!("route and rules: {}", String::from_utf8_lossy(space)),
        format!("upstream: {}", String::from_utf8_lossy(upstream)),
    ];
    words.extend(parts.iter().map(|part| {
        let (name, value) = (String::from_utf8_lossy(part.name), value(part));
        match part.kind {
            b'e' => format!("set by a policy: {name}: {value}"),
            b'o' => {
                format!("sent by the client, and read by some servers as a part of the URL: {name}: {value}")
            }
            b'h' => format!("host as it was written: {value}"),
            b'f' => format!("header: {name}: {value}"),
            b'c' => format!("cookie: {name}: {value}"),
            b'p' => format!("added by a policy: {name}: {value}"),
            _ => format!("attribute: {name}: {value}"),
        }
    }));
    words
}
