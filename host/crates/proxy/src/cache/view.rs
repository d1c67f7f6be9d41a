//! What a route's cache would make of a request, for `explain`.

use portcullis_cache::rules::{Access, Request};
use portcullis_model::{Action, Forward, Name, Route};
use portcullis_policy::Exchange;

use super::key::KeyRules;
use super::{passes_by, settings};

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
}

/// Returns what the cache of `route` makes of the request in `exchange`, which is about to be forwarded; `None` if the
/// route has no cache.
pub(crate) fn view(route: &Route, exchange: &Exchange, has_body: bool) -> Option<CacheView> {
    let Action::Forward(Forward { cache: Some(config), .. }) = &route.action else { return None };
    let (rules, key_rules) = (settings::of_route(config), KeyRules::new(&route.name, config));
    let Exchange { request, attributes, upstreams, upstream, .. } = exchange;
    let says = match Request::read(&rules, request, has_body).access() {
        Access::Lookup if passes_by(config, request) => "passed by, as `bypass` says".to_owned(),
        Access::Lookup => "looked up".to_owned(),
        Access::Write => "forwarded; if it succeeds, what is stored of its URL is removed".to_owned(),
        Access::Bypass(why) => format!("passed by: {}", why.as_str()),
    };
    let mut key = Vec::new();
    let upstream = upstreams.get(*upstream).map_or("", |name| name);
    let url = key_rules.write(request, upstream, attributes, &mut key);
    let (url, rest) = key.split_at(url.end);
    let parts = rest.split(|byte| *byte == b'\n').filter(|part| !part.is_empty());
    let parts = parts.enumerate().map(|(at, part)| {
        let text = String::from_utf8_lossy(part.get(1..).unwrap_or_default()).replacen(':', ": ", 1);
        match (at, part.first()) {
            // These two are words, the others begin with a letter that says what they are.
            (0, _) => format!("route and rules: {}", String::from_utf8_lossy(part)),
            (1, _) => format!("upstream: {}", String::from_utf8_lossy(part)),
            (_, Some(b'e')) => format!("set by a policy: {text}"),
            (_, Some(b'o')) => {
                format!("sent by the client, and read by some servers as a part of the URL: {text}")
            }
            (_, Some(b'h')) => format!("host as it was written{text}"),
            (_, Some(b'f')) => format!("header: {text}"),
            (_, Some(b'c')) => format!("cookie: {text}"),
            _ => format!("attribute: {text}"),
        }
    });
    Some(CacheView {
        store: config.store.clone(),
        says,
        url: String::from_utf8_lossy(url).into_owned(),
        key: parts.collect(),
    })
}
