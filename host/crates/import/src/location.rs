//! `location` in all its forms, and which of them takes a path.

use crate::context::Import;
use crate::report::Verdict;
use crate::scope::Scope;
use crate::syntax::Directive;

/// What a location takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    /// What no location takes.
    Server,
    /// `= /path`
    Exact(String),
    /// `/path`, and with `^~` no regular expression is tried behind it.
    Prefix { path: String, stop: bool },
    /// `~` and `~*`
    Regex { regex: String, insensitive: bool },
    /// `@name`
    Named(String),
}

/// A location, or the server itself.
#[derive(Debug, Clone)]
pub(crate) struct Spot<'a> {
    pub(crate) kind: Kind,
    pub(crate) scope: Scope<'a>,
    /// The directive, unless it is the server.
    pub(crate) directive: Option<&'a Directive>,
}

impl Spot<'_> {
    /// Returns the directive that answers, if it has one that sends requests on.
    pub(crate) fn proxies(&self) -> Option<&Directive> {
        let sends = |name: &str| {
            matches!(
                name,
                "proxy_pass" | "grpc_pass" | "fastcgi_pass" | "uwsgi_pass" | "scgi_pass" | "memcached_pass"
            )
        };
        self.scope.own().iter().find(|directive| self.kind != Kind::Server && sends(&directive.name))
    }
}

/// Which paths a route takes, and what answers them.
#[derive(Debug, Clone)]
pub(crate) struct Taken {
    /// As `match.path` has it.
    pub(crate) path: String,
    /// The number of the location.
    pub(crate) spot: usize,
    /// Whether it is sent to the same path with a slash, as nginx does before locations that proxy.
    pub(crate) to_slash: bool,
    /// What differs.
    pub(crate) note: Option<String>,
}

impl<'a> Import<'a> {
    /// Returns the server and its locations, however deep.
    pub(crate) fn spots(&mut self, scope: &Scope<'a>) -> Vec<Spot<'a>> {
        let server = Spot { kind: Kind::Server, scope: scope.clone(), directive: None };
        let mut spots = vec![server];
        self.locations(scope, &mut spots);
        spots
    }

    fn locations(&mut self, scope: &Scope<'a>, spots: &mut Vec<Spot<'a>>) {
        for directive in scope.own().iter().filter(|inner| inner.name == "location") {
            let Some(kind) = kind(directive) else {
                self.report.note_all(directive, Verdict::Refused, "this form of `location` is not known");
                continue;
            };
            self.report.note(directive, Verdict::Converted, "");
            let inner = scope.inside(directive.inner());
            spots.push(Spot { kind, scope: inner.clone(), directive: Some(directive) });
            self.locations(&inner, spots);
        }
    }
}

fn kind(directive: &Directive) -> Option<Kind> {
    let (modifier, path) = match &directive.args[..] {
        [path] => match path.split_at_checked(1) {
            // `=/path` and `~regex` may be written together.
            Some(("=", rest)) => ("=", rest.to_owned()),
            Some(("~", rest)) => match rest.strip_prefix('*') {
                Some(regex) => ("~*", regex.to_owned()),
                None => ("~", rest.to_owned()),
            },
            Some(("^", rest)) if rest.starts_with('~') => ("^~", rest[1..].to_owned()),
            _ => ("", path.clone()),
        },
        [modifier, path] => (modifier.as_str(), path.clone()),
        _ => return None,
    };
    match modifier {
        "=" => Some(Kind::Exact(path)),
        "^~" => Some(Kind::Prefix { path, stop: true }),
        "~" => Some(Kind::Regex { regex: path, insensitive: false }),
        "~*" => Some(Kind::Regex { regex: path, insensitive: true }),
        "" if path.starts_with('@') => Some(Kind::Named(path)),
        "" => Some(Kind::Prefix { path, stop: false }),
        _ => None,
    }
}

/// Returns the number of the location whose prefix is the longest of `path`, or of the server.
fn longest(spots: &[Spot<'_>], path: &str) -> usize {
    let length = |spot: &Spot<'_>| match &spot.kind {
        Kind::Prefix { path: prefix, .. } if path.starts_with(prefix.as_str()) => Some(prefix.len()),
        Kind::Server => Some(0),
        _ => None,
    };
    let best = spots.iter().enumerate().filter_map(|(i, spot)| length(spot).map(|length| (length, i)));
    best.max_by_key(|(length, i)| (*length, *i)).map_or(0, |(_, i)| i)
}

/// Returns which paths the exact and prefix locations take, and what takes the rest.
pub(crate) fn taken(spots: &[Spot<'_>]) -> Vec<Taken> {
    let mut taken: Vec<Taken> = Vec::new();
    let mut add = |path: String, spot: usize, to_slash: bool, note: Option<String>| {
        if !taken.iter().any(|other| other.path == path) {
            taken.push(Taken { path, spot, to_slash, note });
        }
    };
    let has_prefix = |wanted: &str| {
        spots.iter().any(|spot| matches!(&spot.kind, Kind::Prefix { path, .. } if path == wanted))
    };
    for (i, spot) in spots.iter().enumerate() {
        if let Kind::Exact(path) = &spot.kind {
            add(encoded(path), i, false, None);
        }
    }
    for (i, spot) in spots.iter().enumerate() {
        let Kind::Prefix { path, .. } = &spot.kind else { continue };
        if path == "/" || path.is_empty() {
            continue;
        }
        if let Some(bare) = path.strip_suffix('/') {
            add(format!("{}/*", encoded(bare)), i, false, None);
            if !has_prefix(bare) {
                let outer = longest(spots, bare);
                let to_slash = spot.proxies().is_some();
                add(encoded(bare), if to_slash { i } else { outer }, to_slash, None);
            }
        } else if has_prefix(&format!("{path}/")) {
            add(encoded(path), i, false, Some(format!("nginx also takes {path}x here")));
        } else {
            let note = format!("nginx also takes paths such as {path}x here, which go elsewhere now");
            add(format!("{}/*", encoded(path)), i, false, Some(note));
        }
    }
    // A path with a slash at its end needs a route for the path without it.
    for slashed in taken.clone().iter().filter(|one| one.path.len() > 1 && one.path.ends_with('/')) {
        let bare = slashed.path.trim_end_matches('/').to_owned();
        if !taken.iter().any(|other| other.path == bare || other.path == format!("{bare}/*")) {
            let spot = longest(spots, &bare);
            taken.push(Taken { path: bare, spot, to_slash: false, note: None });
        }
    }
    taken.push(Taken { path: "/*".to_owned(), spot: longest(spots, "/"), to_slash: false, note: None });
    taken
}

/// Writes a path as `match.path` has it: percent-encoded as far as it has to be.
pub(crate) fn encoded(path: &str) -> String {
    let mut out = String::new();
    for byte in path.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => out.push(char::from(byte)),
            b'-' | b'.' | b'_' | b'~' | b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'+' | b',' | b';'
            | b'=' | b':' | b'@' | b'/' | b'%' => out.push(char::from(byte)),
            other => out.push_str(&format!("%{other:02X}")),
        }
    }
    out
}
