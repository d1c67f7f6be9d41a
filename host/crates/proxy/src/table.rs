//! Finds the route of a request.

mod conditions;
mod guard;
mod paths;
mod tree;

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;

use ipnet::IpNet;
use portcullis_http::RequestHead;
use portcullis_model::{
    Condition, HostPattern, Name, PathPattern, PathSegment, Pattern, Route, RouteMatch, canonical_host,
    takes_method,
};
use portcullis_policy::ClientInfo;

pub(crate) use self::conditions::found;
use self::guard::Guard;
pub(crate) use self::guard::PathRefused;
use self::tree::PathTree;

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
    /// All routes with a regular expression for the host, which each of them looks for itself.
    regexes: PathIndex,
    any: PathIndex,
}

/// The routes of one host pattern, or of all regular expressions for the host: a tier for each priority, the greatest
/// first. Most have one.
#[derive(Debug, Default)]
struct PathIndex(Vec<Tier>);

/// The routes of one priority.
#[derive(Debug, Default)]
struct Tier {
    /// By path, for the common case in which the narrowest path that matches belongs to a route whose other conditions
    /// hold as well.
    narrowest: matchit::Router<Vec<usize>>,
    /// For all others.
    tree: PathTree,
}

/// Where a request comes from, as far as it is not in its head.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sender<'a> {
    /// The listener it came to.
    pub(crate) listener: &'a str,
    /// The address of the client.
    pub(crate) client: IpAddr,
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
    /// The regular expression for the path.
    PathRegex(&'a Pattern),
    /// The method.
    Method(&'a [String]),
    /// A field, a parameter of the query or a cookie.
    Condition(&'a Condition),
    /// The client's address.
    Client(&'a [IpNet]),
}

impl<'a> Sender<'a> {
    /// Returns where a request of `client` comes from.
    pub(crate) fn new(listener: &'a str, client: &ClientInfo) -> Self {
        Self { listener, client: client.address }
    }
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

    /// Returns the first route, in match order, that takes `request` from `sender`.
    pub(crate) fn find(&self, sender: Sender<'_>, request: &RequestHead) -> Option<usize> {
        let index = match self.listeners.is_empty() {
            true => &self.everywhere,
            false => self.listeners.get(sender.listener).unwrap_or(&self.everywhere),
        };
        index.find(&self.routes, sender, request)
    }

    /// Returns all routes in the order in which they are tried for `request`, each with why it does not take it, or
    /// `None` if it would. The first of those with `None` is what [`Self::find`] returns.
    pub(crate) fn reasons(
        &self,
        sender: Sender<'_>,
        request: &RequestHead,
    ) -> Vec<(usize, Option<Mismatch<'_>>)> {
        let (host, path) = (host_of(request), path_of(request));
        let tried = self.routes.iter().enumerate().map(|(at, rule)| {
            let matches = &rule.matches;
            let by = matches.host_for(&host);
            let reason = if !rule.listeners.is_empty()
                && !rule.listeners.iter().any(|name| **name == *sender.listener)
            {
                Some(Mismatch::Listener(&rule.listeners))
            } else if by.is_none() {
                Some(Mismatch::Host(matches.hosts()))
            } else {
                mismatch(matches, path, sender, request)
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
        let mut regexes: Vec<(usize, &HostPattern)> = Vec::new();
        for (at, route) in routes.iter().enumerate().filter(|(_, route)| is_served(route)) {
            for host in route.matches.hosts() {
                match host {
                    HostPattern::Regex(_) if regexes.last().is_some_and(|(last, _)| *last == at) => {}
                    HostPattern::Regex(_) => regexes.push((at, host)),
                    _ => hosts.entry(host).or_default().push(at),
                }
            }
        }
        let mut index = Self::default();
        for (host, at) in hosts {
            // A route may come later by this host than by a narrower one of its hosts.
            let paths = PathIndex::new(routes, at.into_iter().map(|at| (at, host)));
            match host {
                HostPattern::Any | HostPattern::Regex(_) => index.any = paths,
                HostPattern::Exact(host) => drop(index.exact.insert(host.clone(), paths)),
                HostPattern::Suffix(suffix) => index.suffixes.push((suffix.clone(), paths)),
            }
        }
        index.suffixes.sort_by_key(|(suffix, _)| Reverse(suffix.len()));
        index.regexes = PathIndex::new(routes, regexes.into_iter());
        index
    }

    fn find(&self, routes: &[Rule], sender: Sender<'_>, request: &RequestHead) -> Option<usize> {
        let host = &*host_of(request);
        let path = path_of(request);
        let takes = |at: usize| {
            routes.get(at).is_some_and(|rule| other_mismatch(&rule.matches, path, sender, request).is_none())
        };
        let by_regex = |at: usize| {
            let is_in = |pattern: &HostPattern| match pattern {
                HostPattern::Regex(regex) => regex.is_in(host.as_bytes()),
                _ => false,
            };
            routes.get(at).is_some_and(|rule| rule.matches.hosts.iter().any(is_in)) && takes(at)
        };
        let suffixes = || {
            let mut fitting = self
                .suffixes
                .iter()
                .filter(|(suffix, _)| host.len() > suffix.len() && host.ends_with(suffix.as_str()));
            fitting.find_map(|(_, index)| index.find(path, takes))
        };
        let exact = self.exact.get(host).and_then(|index| index.find(path, takes));
        exact
            .or_else(suffixes)
            .or_else(|| self.regexes.find(path, by_regex))
            .or_else(|| self.any.find(path, takes))
    }
}

impl PathIndex {
    /// Arranges routes, each by one of its hosts.
    fn new<'r>(routes: &'r [Route], by: impl Iterator<Item = (usize, &'r HostPattern)>) -> Self {
        let ordered = by.filter_map(|(at, host)| {
            let route = routes.get(at)?;
            Some((Reverse(route.matches.specificity_by(host)), &route.name, at, &route.matches))
        });
        let mut ordered: Vec<_> = ordered.collect();
        ordered.sort_by(|one, other| (&one.0, one.1).cmp(&(&other.0, other.1)));
        let mut tiers: Vec<(i32, Vec<(usize, &PathPattern)>)> = Vec::new();
        for (_, _, at, matches) in ordered {
            match tiers.last_mut() {
                Some((priority, paths)) if *priority == matches.priority => paths.push((at, &matches.path)),
                _ => tiers.push((matches.priority, vec![(at, &matches.path)])),
            }
        }
        Self(tiers.into_iter().map(|(_, paths)| Tier::new(&paths)).collect())
    }

    /// Returns the first route whose path takes `path` and that `takes` takes.
    fn find(&self, path: &str, takes: impl Fn(usize) -> bool + Copy) -> Option<usize> {
        self.0.iter().find_map(|tier| tier.find(path, takes))
    }
}

impl Tier {
    /// Arranges routes, which are in match order.
    fn new(paths: &[(usize, &PathPattern)]) -> Self {
        let mut tier = Self::default();
        let mut by_path: HashMap<String, Vec<usize>> = HashMap::new();
        for (at, path) in paths {
            tier.tree.add(path, *at);
            for pattern in router_patterns(path) {
                by_path.entry(pattern).or_default().push(*at);
            }
        }
        for (pattern, routes) in by_path {
            // Two patterns of which matchit can hold only one are both found in the tree.
            if tier.narrowest.insert(pattern, routes).is_err() {
                tier.narrowest = matchit::Router::new();
                break;
            }
        }
        tier
    }

    fn find(&self, path: &str, takes: impl Fn(usize) -> bool + Copy) -> Option<usize> {
        let narrowest = self.narrowest.at(path).ok();
        let found = narrowest.and_then(|found| found.value.iter().copied().find(|at| takes(*at)));
        found.or_else(|| self.tree.find(path, takes))
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
fn mismatch<'a>(
    rule: &'a RouteMatch,
    path: &str,
    sender: Sender<'_>,
    request: &RequestHead,
) -> Option<Mismatch<'a>> {
    match rule.path.matches(path) {
        true => other_mismatch(rule, path, sender, request),
        false => Some(Mismatch::Path(&rule.path)),
    }
}

/// Returns the first condition, apart from the host and the pattern of the path, that does not hold.
fn other_mismatch<'a>(
    rule: &'a RouteMatch,
    path: &str,
    sender: Sender<'_>,
    request: &RequestHead,
) -> Option<Mismatch<'a>> {
    let takes = |method: &String| takes_method(method, &request.method);
    if !rule.methods.is_empty() && !rule.methods.iter().any(takes) {
        return Some(Mismatch::Method(&rule.methods));
    }
    if let Some(regex) = rule.path_regex.as_ref().filter(|regex| !regex.is_in(path.as_bytes())) {
        return Some(Mismatch::PathRegex(regex));
    }
    if let Some(condition) = rule.conditions.iter().find(|condition| !conditions::holds(condition, request)) {
        return Some(Mismatch::Condition(condition));
    }
    let is_known = |net: &IpNet| net.contains(&sender.client);
    (!rule.clients.is_empty() && !rule.clients.iter().any(is_known))
        .then_some(Mismatch::Client(&rule.clients))
}

#[cfg(test)]
mod tests;
