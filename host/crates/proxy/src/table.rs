//! Finds the route of a request.

use std::borrow::Cow;
use std::collections::HashMap;

use portcullis_http::{Fields, RequestHead};
use portcullis_model::{FieldMatch, HostPattern, PathPattern, PathSegment, Route, RouteMatch};

/// The routes of a snapshot, arranged for look-up. Routes are named by their index, which is also their match order.
#[derive(Debug)]
pub(crate) struct RouteTable {
    matches: Vec<RouteMatch>,
    exact_hosts: HashMap<String, PathIndex>,
    /// Longest suffix first.
    suffix_hosts: Vec<(String, PathIndex)>,
    any_host: PathIndex,
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
    /// The host.
    Host(&'a HostPattern),
    /// The path.
    Path(&'a PathPattern),
    /// The method.
    Method(&'a [String]),
    /// A field.
    Field(&'a FieldMatch),
}

impl RouteTable {
    /// Arranges `routes`, which are in match order.
    pub(crate) fn new(routes: &[Route]) -> Self {
        let matches: Vec<RouteMatch> = routes.iter().map(|route| route.matches.clone()).collect();
        let mut hosts: HashMap<&HostPattern, Vec<usize>> = HashMap::new();
        for (at, rule) in matches.iter().enumerate() {
            hosts.entry(&rule.host).or_default().push(at);
        }
        let (mut exact_hosts, mut suffix_hosts, mut any_host) =
            (HashMap::new(), Vec::new(), PathIndex::default());
        for (host, ordered) in hosts {
            let index = PathIndex::new(&matches, ordered);
            match host {
                HostPattern::Any => any_host = index,
                HostPattern::Exact(host) => {
                    exact_hosts.insert(host.clone(), index);
                }
                HostPattern::Suffix(suffix) => suffix_hosts.push((suffix.clone(), index)),
            }
        }
        suffix_hosts.sort_by_key(|(suffix, _)| std::cmp::Reverse(suffix.len()));
        Self { matches, exact_hosts, suffix_hosts, any_host }
    }

    /// The first route, in match order, that takes `request`.
    pub(crate) fn find(&self, request: &RequestHead) -> Option<usize> {
        let host = &*host_of(request);
        let exact = self.exact_hosts.get(host);
        let suffixes = self
            .suffix_hosts
            .iter()
            .filter(|(suffix, _)| host.len() > suffix.len() && host.ends_with(suffix.as_str()));
        exact
            .into_iter()
            .chain(suffixes.map(|(_, index)| index))
            .chain(std::iter::once(&self.any_host))
            .find_map(|index| index.find(&self.matches, request))
    }

    /// For each route, in match order, why it does not take `request`; `None` where it would. The first of those is what
    /// [`Self::find`] finds.
    pub(crate) fn reasons(&self, request: &RequestHead) -> impl Iterator<Item = Option<Mismatch<'_>>> {
        let (host, path) = (host_of(request), path_of(request));
        self.matches.iter().map(move |rule| {
            if rule.host.matches(&host) {
                mismatch(rule, path, request)
            } else {
                Some(Mismatch::Host(&rule.host))
            }
        })
    }
}

/// The host as it is compared: in lower case, which most clients send, and without a trailing dot, which names the same
/// host (RFC 3986, 3.2.2).
pub(crate) fn host_of(request: &RequestHead) -> Cow<'_, str> {
    let host = request.host();
    let host = host.strip_suffix('.').unwrap_or(host);
    if host.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(host.to_ascii_lowercase())
    } else {
        Cow::Borrowed(host)
    }
}

/// The path as it is compared: CONNECT has none and `OPTIONS *` names the server; both belong to whoever takes `/`.
pub(crate) fn path_of(request: &RequestHead) -> &str {
    match request.path() {
        "" | "*" => "/",
        path => path,
    }
}

/// The first condition but the host's that does not hold.
fn mismatch<'a>(rule: &'a RouteMatch, path: &str, request: &RequestHead) -> Option<Mismatch<'a>> {
    if rule.path.matches(path) { other_mismatch(rule, request) } else { Some(Mismatch::Path(&rule.path)) }
}

/// The first condition but those on host and path that does not hold.
fn other_mismatch<'a>(rule: &'a RouteMatch, request: &RequestHead) -> Option<Mismatch<'a>> {
    let takes = |method: &String| *method == request.method || (method == "GET" && request.method == "HEAD");
    if !rule.methods.is_empty() && !rule.methods.iter().any(takes) {
        return Some(Mismatch::Method(&rule.methods));
    }
    rule.fields.iter().find(|condition| !field_holds(condition, &request.fields)).map(Mismatch::Field)
}

impl PathIndex {
    fn new(matches: &[RouteMatch], ordered: Vec<usize>) -> Self {
        let mut by_path: HashMap<String, Vec<usize>> = HashMap::new();
        for &at in &ordered {
            for pattern in matches.get(at).into_iter().flat_map(|rule| router_patterns(&rule.path)) {
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

    fn find(&self, matches: &[RouteMatch], request: &RequestHead) -> Option<usize> {
        let path = path_of(request);
        let fits =
            |at: &&usize| matches.get(**at).is_some_and(|rule| other_mismatch(rule, request).is_none());
        if let Ok(found) = self.paths.at(path)
            && let Some(at) = found.value.iter().find(fits)
        {
            return Some(*at);
        }
        // The narrowest path's routes have other conditions that fail: try every route in order.
        let whole =
            |at: &&usize| matches.get(**at).is_some_and(|rule| mismatch(rule, path, request).is_none());
        self.ordered.iter().find(whole).copied()
    }
}

fn field_holds(condition: &FieldMatch, fields: &Fields) -> bool {
    let mut lines = fields.get_all(condition.name.as_bytes());
    match &condition.value {
        None => lines.next().is_some(),
        Some(value) => lines.any(|line| line == value.as_bytes()),
    }
}

/// A pattern in matchit's notation. Parameters get the name of their place, for matchit refuses two patterns that differ
/// in a name only.
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
