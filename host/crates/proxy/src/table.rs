//! Finds the route of a request.

mod guard;
mod paths;

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};

use portcullis_http::RequestHead;
use portcullis_model::{
    FieldMatch, HostPattern, Name, PathPattern, PathSegment, Route, RouteMatch, canonical_host, takes_method,
};

use self::guard::Guard;
pub(crate) use self::guard::PathRefused;

/// The routes of a snapshot, arranged for look-up. Routes are named by their index.
#[derive(Debug)]
pub(crate) struct RouteTable {
    routes: Vec<Rule>,
    /// What is served on a listener that no route names.
    everywhere: HostIndex,
    /// What is served on the listeners that routes name: these routes, and the routes that name no listener.
    listeners: HashMap<Name, HostIndex>,
}

/// What the table knows of a route.
#[derive(Debug)]
struct Rule {
    name: Name,
    matches: RouteMatch,
    listeners: Vec<Name>,
    /// How it takes paths, and who guards it.
    guard: Guard,
}

/// The routes that one listener serves, by host.
#[derive(Debug, Default)]
struct HostIndex {
    exact: HashMap<String, PathIndex>,
    /// Longest suffix first.
    suffixes: Vec<(String, PathIndex)>,
    any: PathIndex,
}

/// The routes of one host pattern.
#[derive(Debug, Default)]
struct PathIndex {
    /// All of them in match order.
    ordered: Vec<usize>,
    /// By path, for the common case in which the narrowest path that matches belongs to a route whose other conditions
    /// hold as well.
    paths: matchit::Router<Vec<usize>>,
}

/// A condition of a route that a request does not meet: the first in the order in which they are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mismatch<'a> {
    /// The listener.
    Listener(&'a [Name]),
    /// The host.
    Host(&'a [HostPattern]),
    /// The path.
    Path(&'a PathPattern),
    /// The method.
    Method(&'a [String]),
    /// A field.
    Field(&'a FieldMatch),
}

impl RouteTable {
    /// Arranges `routes`.
    pub(crate) fn new(routes: &[Route]) -> Self {
        let named: BTreeSet<&Name> = routes.iter().flat_map(|route| &route.listeners).collect();
        let listeners =
            named.into_iter().map(|name| (name.clone(), HostIndex::new(routes, |route| route.is_on(name))));
        let listeners = listeners.collect();
        let everywhere = HostIndex::new(routes, |route| route.listeners.is_empty());
        let routes = routes.iter().map(|route| Rule {
            name: route.name.clone(),
            matches: route.matches.clone(),
            listeners: route.listeners.clone(),
            guard: Guard::of(route),
        });
        Self { routes: routes.collect(), everywhere, listeners }
    }

    /// Returns the first route, in match order, that takes `request` on `listener`.
    pub(crate) fn find(&self, listener: &str, request: &RequestHead) -> Option<usize> {
        let index = match self.listeners.is_empty() {
            true => &self.everywhere,
            false => self.listeners.get(listener).unwrap_or(&self.everywhere),
        };
        index.find(&self.routes, request)
    }

    /// Returns all routes in the order in which they are tried for `request`, each with why it does not take it, or
    /// `None` if it would. The first of those with `None` is what [`Self::find`] returns.
    pub(crate) fn reasons(
        &self,
        listener: &str,
        request: &RequestHead,
    ) -> Vec<(usize, Option<Mismatch<'_>>)> {
        let (host, path) = (host_of(request), path_of(request));
        let tried = self.routes.iter().enumerate().map(|(at, rule)| {
            let matches = &rule.matches;
            let by = matches.host_for(&host);
            let reason =
                if !rule.listeners.is_empty() && !rule.listeners.iter().any(|name| **name == *listener) {
                    Some(Mismatch::Listener(&rule.listeners))
                } else if by.is_none() {
                    Some(Mismatch::Host(matches.hosts()))
                } else {
                    mismatch(matches, path, request)
                };
            let specificity = by.map_or_else(|| matches.specificity(), |host| matches.specificity_by(host));
            (Reverse(specificity), &rule.name, at, reason)
        });
        let mut tried: Vec<_> = tried.collect();
        tried.sort_by(|one, other| (&one.0, one.1).cmp(&(&other.0, other.1)));
        tried.into_iter().map(|(_, _, at, reason)| (at, reason)).collect()
    }
}

impl HostIndex {
    /// Arranges those of `routes` that `is_served` lets in.
    fn new(routes: &[Route], is_served: impl Fn(&Route) -> bool) -> Self {
        let mut hosts: HashMap<&HostPattern, Vec<usize>> = HashMap::new();
        for (at, route) in routes.iter().enumerate().filter(|(_, route)| is_served(route)) {
            for host in route.matches.hosts() {
                hosts.entry(host).or_default().push(at);
            }
        }
        let mut index = Self::default();
        for (host, mut ordered) in hosts {
            // A route may come later by this host than by a narrower one of its hosts.
            ordered.sort_by_cached_key(|at| {
                routes.get(*at).map(|route| (Reverse(route.matches.specificity_by(host)), route.name.clone()))
            });
            let paths = PathIndex::new(routes, ordered);
            match host {
                HostPattern::Any => index.any = paths,
                HostPattern::Exact(host) => drop(index.exact.insert(host.clone(), paths)),
                HostPattern::Suffix(suffix) => index.suffixes.push((suffix.clone(), paths)),
            }
        }
        index.suffixes.sort_by_key(|(suffix, _)| Reverse(suffix.len()));
        index
    }

    fn find(&self, routes: &[Rule], request: &RequestHead) -> Option<usize> {
        let host = &*host_of(request);
        let exact = self.exact.get(host);
        let suffixes = self
            .suffixes
            .iter()
            .filter(|(suffix, _)| host.len() > suffix.len() && host.ends_with(suffix.as_str()));
        exact
            .into_iter()
            .chain(suffixes.map(|(_, index)| index))
            .chain(std::iter::once(&self.any))
            .find_map(|index| index.find(routes, request))
    }
}

/// Returns the host as it is compared.
pub(crate) fn host_of(request: &RequestHead) -> Cow<'_, str> {
    canonical_host(request.host())
}

/// Returns the path as it is compared. CONNECT has no path and `OPTIONS *` means the server; both belong to the route
/// that takes `/`.
pub(crate) fn path_of(request: &RequestHead) -> &str {
    match request.path() {
        "" | "*" => "/",
        path => path,
    }
}

/// Returns the first condition, apart from the host, that does not hold.
fn mismatch<'a>(rule: &'a RouteMatch, path: &str, request: &RequestHead) -> Option<Mismatch<'a>> {
    if rule.path.matches(path) { other_mismatch(rule, request) } else { Some(Mismatch::Path(&rule.path)) }
}

/// Returns the first condition, apart from host and path, that does not hold.
fn other_mismatch<'a>(rule: &'a RouteMatch, request: &RequestHead) -> Option<Mismatch<'a>> {
    let takes = |method: &String| takes_method(method, &request.method);
    if !rule.methods.is_empty() && !rule.methods.iter().any(takes) {
        return Some(Mismatch::Method(&rule.methods));
    }
    rule.fields
        .iter()
        .find(|condition| !request.fields.holds(&condition.name, condition.value.as_deref()))
        .map(Mismatch::Field)
}

impl PathIndex {
    fn new(routes: &[Route], ordered: Vec<usize>) -> Self {
        let mut by_path: HashMap<String, Vec<usize>> = HashMap::new();
        for &at in &ordered {
            for pattern in routes.get(at).into_iter().flat_map(|route| router_patterns(&route.matches.path)) {
                by_path.entry(pattern).or_default().push(at);
            }
        }
        let mut paths = matchit::Router::new();
        for (pattern, routes) in by_path {
            // Two patterns of which matchit can hold only one are both found through `ordered`.
            if paths.insert(pattern, routes).is_err() {
                return Self { ordered, paths: matchit::Router::new() };
            }
        }
        Self { ordered, paths }
    }

    fn find(&self, routes: &[Rule], request: &RequestHead) -> Option<usize> {
        let path = path_of(request);
        let fits = |at: &&usize| {
            routes.get(**at).is_some_and(|rule| other_mismatch(&rule.matches, request).is_none())
        };
        if let Ok(found) = self.paths.at(path)
            && let Some(at) = found.value.iter().find(fits)
        {
            return Some(*at);
        }
        // The routes with the narrowest path have other conditions that fail: try every route in order.
        let whole = |at: &&usize| {
            routes.get(**at).is_some_and(|rule| mismatch(&rule.matches, path, request).is_none())
        };
        self.ordered.iter().find(whole).copied()
    }
}

/// Returns a pattern in matchit's notation. Parameters are named by their position, because matchit refuses two
/// patterns that differ in a name only.
fn router_patterns(pattern: &PathPattern) -> Vec<String> {
    let mut text = String::new();
    for (at, segment) in pattern.segments.iter().enumerate() {
        text.push('/');
        match segment {
            PathSegment::Literal(literal) => text.push_str(&literal.replace('{', "{{").replace('}', "}}")),
            PathSegment::Parameter(_) => text.push_str(&format!("{{p{at}}}")),
        }
    }
    match (pattern.rest, text.is_empty()) {
        (false, true) => vec!["/".to_owned()],
        (false, false) => vec![text],
        (true, true) => vec!["/".to_owned(), "/{*rest}".to_owned()],
        // `/v1/*` takes `/v1`, `/v1/` and everything below.
        (true, false) => vec![text.clone(), format!("{text}/"), format!("{text}/{{*rest}}")],
    }
}

#[cfg(test)]
mod tests;
