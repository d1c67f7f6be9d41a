//! Which requests a route takes, and the one order in which routes are tried.

use std::borrow::Cow;
use std::net::Ipv6Addr;

use ipnet::IpNet;

use crate::{Condition, Pattern};

/// What of the spelling of a path a route keeps. The default is the strict form, in which no two servers read a path
/// in two ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PathRules {
    /// `%2F` is a character of its segment. Otherwise a path that has it is refused.
    pub keeps_encoded_slash: bool,
    /// Empty segments stay: `//` is no `/`.
    pub keeps_empty_segments: bool,
}

impl PathRules {
    /// Those that keep all there is.
    pub const LENIENT: Self = Self { keeps_encoded_slash: true, keeps_empty_segments: true };
}

/// The requests that a route takes: all conditions hold.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RouteMatch {
    /// The hosts of the request, of which one must match; empty is any. See [`Self::hosts`].
    pub hosts: Vec<HostPattern>,
    /// Among routes with the same kind of host: the greater one is tried first, whatever their paths are.
    pub priority: i32,
    /// The path of the request, normalised, percent-encoding kept.
    pub path: PathPattern,
    /// What must be found in the path as well.
    pub path_regex: Option<Pattern>,
    /// Methods, upper case as in RFC 9110; empty is any. GET takes HEAD too.
    pub methods: Vec<String>,
    /// Conditions on fields, parameters and cookies, in order.
    pub conditions: Vec<Condition>,
    /// The addresses of clients; empty is any.
    pub clients: Vec<IpNet>,
}

/// A condition on the host, port left out, compared without case.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub enum HostPattern {
    /// Any host.
    #[default]
    Any,
    /// `*.example.com`: one or more labels before the suffix. Kept without `*`, with the dot, lower case.
    Suffix(String),
    /// Exactly this host, lower case.
    Exact(String),
    /// This is found in the host, lower case.
    Regex(Pattern),
}

/// A condition on the path: literal and parameter segments, then perhaps any rest.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PathPattern {
    /// The segments after the leading slash. `/` is no segment; a trailing slash is an empty last segment.
    pub segments: Vec<PathSegment>,
    /// Whether the pattern ended in `/*`: then any path below matches, and the path itself (`/v1/*` takes `/v1`,
    /// `/v1/` and `/v1/a/b`).
    pub rest: bool,
}

impl Default for PathPattern {
    /// `/*`, which takes every path.
    fn default() -> Self {
        Self { segments: Vec::new(), rest: true }
    }
}

/// One segment of a path pattern.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum PathSegment {
    /// Exactly this text, as it stands in a normalised path.
    Literal(String),
    /// `{name}`: any one segment that is not empty.
    Parameter(String),
}

/// A condition on one field.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FieldMatch {
    /// Name, lower case.
    pub name: String,
    /// The value that one of its lines must have; `None` asks only that it is there.
    pub value: Option<String>,
}

/// How narrow a match is: the first field that differs decides. The greater one is tried first; two that are equal
/// and can both match are a tie, which the config refuses.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Specificity {
    /// How narrow the host is.
    pub host: HostSpecificity,
    /// The priority of the route.
    pub priority: i32,
    /// How narrow the path is.
    pub path: PathSpecificity,
    /// Whether there is a regular expression for the path.
    pub has_path_regex: bool,
    /// Whether there is a condition on the method.
    pub has_methods: bool,
    /// The number of other conditions; one on the client's address counts as one.
    pub conditions: usize,
}

/// How narrow a condition on the host is: an exact host before a suffix, a longer suffix before a shorter one, and all
/// of them before a regular expression.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum HostSpecificity {
    /// Any host.
    Any,
    /// Hosts in which a regular expression is found.
    Regex,
    /// Hosts below a suffix of this many bytes.
    Suffix(usize),
    /// One host.
    Exact,
}

/// How narrow a condition on the path is: literal segments beat parameters from left to right, and a longer pattern
/// beats a shorter one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PathSpecificity {
    /// The segments from left to right.
    pub segments: Vec<SegmentSpecificity>,
    /// Whether the pattern has an exact end, which beats `/*`.
    pub is_exact: bool,
}

/// How narrow a segment of a path is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SegmentSpecificity {
    /// Any text.
    Parameter,
    /// One text.
    Literal,
}

impl RouteMatch {
    /// The hosts that it takes. Never empty: without a condition there is the pattern that takes any host.
    #[must_use]
    pub fn hosts(&self) -> &[HostPattern] {
        if self.hosts.is_empty() { &[HostPattern::Any] } else { &self.hosts }
    }

    /// The narrowest of its patterns that takes `host` (lower case, no port).
    #[must_use]
    pub fn host_for(&self, host: &str) -> Option<&HostPattern> {
        let fitting = self.hosts().iter().filter(|pattern| pattern.matches(host));
        fitting.max_by_key(|pattern| pattern.specificity())
    }

    /// How narrow the match is by one of its hosts: host before priority before path before methods before the number
    /// of other conditions.
    #[must_use]
    pub fn specificity_by(&self, host: &HostPattern) -> Specificity {
        Specificity {
            host: host.specificity(),
            priority: self.priority,
            path: self.path.specificity(),
            has_path_regex: self.path_regex.is_some(),
            has_methods: !self.methods.is_empty(),
            conditions: self.conditions.len() + usize::from(!self.clients.is_empty()),
        }
    }

    /// Whether `path`, normalised and without its query, is one that it takes.
    #[must_use]
    pub fn takes_path(&self, path: &str) -> bool {
        self.path.matches(path) && self.path_regex.as_ref().is_none_or(|regex| regex.is_in(path.as_bytes()))
    }

    /// How narrow the match is by its narrowest host.
    #[must_use]
    pub fn specificity(&self) -> Specificity {
        let narrowest = self.hosts().iter().max_by_key(|host| host.specificity());
        self.specificity_by(narrowest.unwrap_or(&HostPattern::Any))
    }
}

impl PathPattern {
    fn specificity(&self) -> PathSpecificity {
        let segments = self.segments.iter().map(|segment| match segment {
            PathSegment::Literal(_) => SegmentSpecificity::Literal,
            PathSegment::Parameter(_) => SegmentSpecificity::Parameter,
        });
        PathSpecificity { segments: segments.collect(), is_exact: !self.rest }
    }

    /// Whether a segment is the parameter `name`.
    #[must_use]
    pub fn has_parameter(&self, name: &str) -> bool {
        self.segments.iter().any(|segment| matches!(segment, PathSegment::Parameter(other) if other == name))
    }

    /// Whether one path alone matches.
    #[must_use]
    pub fn is_one_path(&self) -> bool {
        !self.rest && self.segments.iter().all(|segment| matches!(segment, PathSegment::Literal(_)))
    }

    /// Whether each path that `other` takes matches.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        let fits = |(mine, others): (&PathSegment, &PathSegment)| match (mine, others) {
            (PathSegment::Literal(mine), PathSegment::Literal(others)) => mine == others,
            (PathSegment::Literal(_), PathSegment::Parameter(_)) => false,
            (PathSegment::Parameter(_), PathSegment::Literal(text)) => !text.is_empty(),
            (PathSegment::Parameter(_), PathSegment::Parameter(_)) => true,
        };
        let (mine, others) = (self.segments.len(), other.segments.len());
        let ends = if self.rest { mine <= others } else { mine == others && !other.rest };
        ends && self.segments.iter().zip(&other.segments).all(fits)
    }

    /// Whether `path`, normalised and without its query, matches.
    #[must_use]
    pub fn matches(&self, path: &str) -> bool {
        let mut rest = path.strip_prefix('/');
        for segment in &self.segments {
            let Some(current) = rest else { return false };
            let (head, tail) = match current.split_once('/') {
                Some((head, tail)) => (head, Some(tail)),
                None => (current, None),
            };
            let fits = match segment {
                PathSegment::Literal(literal) => head == literal,
                PathSegment::Parameter(_) => !head.is_empty(),
            };
            if !fits {
                return false;
            }
            rest = tail;
        }
        // What is left: nothing, or with `/*` anything. "/" alone leaves an empty segment, which a pattern without
        // segments takes.
        self.rest || rest.is_none() || (self.segments.is_empty() && rest == Some(""))
    }
}

/// A host (without its port) as hosts are compared: in lower case, without a trailing dot, which names the same host
/// (RFC 3986, 3.2.2), and an IPv6 address in its one usual form (RFC 5952). Allocates only if it is written otherwise.
#[must_use]
pub fn canonical_host(host: &str) -> Cow<'_, str> {
    if let Some(inner) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'))
        && let Ok(address) = inner.parse::<Ipv6Addr>()
    {
        return Cow::Owned(format!("[{address}]"));
    }
    let host = host.strip_suffix('.').unwrap_or(host);
    if host.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(host.to_ascii_lowercase())
    } else {
        Cow::Borrowed(host)
    }
}

impl HostPattern {
    fn specificity(&self) -> HostSpecificity {
        match self {
            Self::Any => HostSpecificity::Any,
            Self::Regex(_) => HostSpecificity::Regex,
            Self::Suffix(suffix) => HostSpecificity::Suffix(suffix.len()),
            Self::Exact(_) => HostSpecificity::Exact,
        }
    }

    /// Whether `host` (lower case, no port) matches.
    #[must_use]
    pub fn matches(&self, host: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Exact(exact) => exact == host,
            Self::Regex(regex) => regex.is_in(host.as_bytes()),
            Self::Suffix(suffix) => host.len() > suffix.len() && host.ends_with(suffix.as_str()),
        }
    }
}

impl std::fmt::Display for HostPattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::Exact(host) => f.write_str(host),
            Self::Suffix(suffix) => write!(f, "*{suffix}"),
            Self::Regex(regex) => write!(f, "~{regex}"),
        }
    }
}

impl std::fmt::Display for PathPattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for segment in &self.segments {
            match segment {
                PathSegment::Literal(literal) => write!(f, "/{literal}")?,
                PathSegment::Parameter(name) => write!(f, "/{{{name}}}")?,
            }
        }
        if self.rest {
            f.write_str("/*")
        } else if self.segments.is_empty() {
            f.write_str("/")
        } else {
            Ok(())
        }
    }
}

/// Returns whether a condition that names the method `named` takes a request of `method`. GET takes HEAD too (RFC 9110,
/// 9.3.2: HEAD is GET without the content).
#[must_use]
pub fn takes_method(named: &str, method: &str) -> bool {
    named == method || (named == "GET" && method == "HEAD")
}

#[cfg(test)]
mod tests {
    use super::takes_method;

    #[test]
    fn get_takes_head_and_nothing_else_takes_another() {
        assert!(takes_method("GET", "GET") && takes_method("GET", "HEAD"));
        assert!(!takes_method("HEAD", "GET") && !takes_method("POST", "HEAD") && !takes_method("get", "GET"));
    }
}
