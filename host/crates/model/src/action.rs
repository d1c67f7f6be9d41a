//! What a route does with a request that its policies have permitted.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::{HostHeader, HostPattern, Name, PathPattern, Pattern, RouteCache, RouteMatch};

/// What a route does.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// It forwards the request to an upstream: `to`.
    Forward(Forward),
    /// It sends the client elsewhere: `redirect`.
    Redirect(Redirect),
    /// It answers: `respond`.
    Respond(Respond),
    /// It serves files: `files`.
    Files(Files),
}

/// Forwards to one of several upstreams.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forward {
    /// Names of the upstreams it may use; the first unless a policy chooses another. Never empty.
    pub upstreams: Vec<Name>,
    /// How often a request is tried.
    pub tries: Tries,
    /// What `Host` says to the endpoint: `rewrite.host`. `None` leaves it to the upstream.
    pub host: Option<HostHeader>,
    /// What is changed in a request, in this order, before it is sent: `request-headers`, then `rewrite.path`.
    pub filters: Vec<RequestFilter>,
    /// How responses are kept, if they are: `cache`.
    pub cache: Option<Box<RouteCache>>,
}

/// How often a request is tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tries {
    /// Attempts, the first included. Without `retry`, each is at another endpoint, after nothing of the request was
    /// sent.
    pub attempts: u32,
    /// When a request that was sent is tried again; `None` never does.
    pub retry: Option<Arc<Retry>>,
}

/// When a request that was sent is tried again: `retry`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retry {
    /// If the connection ended before the head of a response.
    pub on_reset: bool,
    /// If the head of a response did not come in time.
    pub on_timeout: bool,
    /// If the response has one of these statuses, in order.
    pub on_statuses: Vec<u16>,
    /// How long one attempt may take to connect, and then to the head of its response, while another one may follow.
    pub try_timeout: Option<Duration>,
    /// The longest pause before the first retry: 25 ms. It doubles with each.
    pub delay: Duration,
    /// What it does not exceed: 250 ms.
    pub delay_max: Duration,
    /// Whether requests are tried again whose method is not idempotent.
    pub non_idempotent: bool,
}

/// A change of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RequestFilter {
    /// A field is changed.
    Field(FieldEdit<Template>),
    /// Another path takes the place of the one that was matched. The query stays.
    Path(PathRewrite),
}

/// What takes the place of the path that was matched: `rewrite.path`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathRewrite {
    /// This path.
    To(Template),
    /// By the first of these expressions that is found in the path. If there is no such one, the path stays.
    First(Vec<(Pattern, Template)>),
}

/// What the variables of a template are read from, apart from the request.
#[derive(Debug, Clone, Copy)]
pub struct Scope<'a> {
    /// What the route matches: parameters of its path, groups of its expressions.
    pub matches: &'a RouteMatch,
    /// The expression of a [`PathRewrite`], whose groups take the place of those of the route's path.
    pub regex: Option<&'a Pattern>,
}

impl<'a> Scope<'a> {
    /// Returns the variables of a route.
    #[must_use]
    pub fn of(matches: &'a RouteMatch) -> Self {
        Self { matches, regex: None }
    }

    /// Returns the expression for the path whose groups are variables.
    #[must_use]
    pub fn path_regex(&self) -> Option<&'a Pattern> {
        self.regex.or(self.matches.path_regex.as_ref())
    }

    /// Returns the expressions for the host, if each host of the route is one.
    #[must_use]
    pub fn host_regexes(&self) -> Option<Vec<&'a Pattern>> {
        let regex = |host: &'a HostPattern| match host {
            HostPattern::Regex(regex) => Some(regex),
            _ => None,
        };
        self.matches.hosts.iter().map(regex).collect()
    }
}

/// A change of the fields of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldEdit<V> {
    /// The field, in lower case. The gateway does not write it itself.
    pub name: String,
    /// What happens to it.
    pub change: FieldChange<V>,
}

/// What happens to a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FieldChange<V> {
    /// All its lines are removed.
    Remove,
    /// One line with this value takes the place of all its lines.
    Set(V),
    /// A line with this value is added.
    Add(V),
}

/// What a route changes in the fields of a response, after the policies: `response-headers`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ResponseEdits {
    /// The changes, in order.
    pub fields: Vec<FieldEdit<String>>,
    /// Whether they also apply to what the gateway or a policy answers in place of the upstream or the action.
    pub always: bool,
}

/// Sends the client elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redirect {
    /// 301, 302, 303, 307 or 308.
    pub status: u16,
    /// Where to: a URL, or a path on the same host. The part of it that names the server has no other variable than the
    /// host, which is valid by itself.
    pub to: Template,
}

/// Answers every request alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Respond {
    /// 200 to 599.
    pub status: u16,
    /// Fields, names in lower case.
    pub fields: Vec<(String, String)>,
    /// The body. Empty if the status allows none.
    pub body: Arc<[u8]>,
}

/// Serves files of a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    /// The folder, absolute.
    pub root: PathBuf,
    /// The path that is looked for in the folder, in place of the one that was matched: `rewrite.path`.
    pub path: Option<PathRewrite>,
    /// The file that stands for a folder: a name without a slash, which does not begin with a dot.
    pub index: String,
    /// Which symbolic links are followed.
    pub symlinks: Symlinks,
    /// Whether encoded files that stand beside a file are sent in its place: `precompressed`.
    pub precompressed: bool,
}

/// Which symbolic links are followed below a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Symlinks {
    /// Those that stay in the folder.
    #[default]
    Inside,
    /// None.
    Refuse,
    /// All.
    Follow,
}

/// Text with variables.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Template(pub Vec<TemplatePart>);

/// A part of a [`Template`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TemplatePart {
    /// This text.
    Literal(String),
    /// `{scheme}`: `http` or `https`.
    Scheme,
    /// `{host}`: the host of the request, without its port.
    Host,
    /// `{path}`: the whole path.
    Path,
    /// `{rest}`: what `/*` of the route's path took, with the slash before it; may be empty.
    Rest,
    /// `{query}`: the query with its `?`; empty if there is none.
    Query,
    /// `{name}`: the segment that the parameter of this name in the route's path took.
    Segment {
        /// The name.
        name: String,
        /// Its place among the segments.
        at: usize,
    },
    /// `{name}` or `{1}`: what a group of the regular expression for the path took.
    PathGroup {
        /// How it is written.
        name: String,
        /// The number of the group.
        group: usize,
    },
    /// `{name}`: what the group of this name took in the expression for the host.
    HostGroup(String),
}

impl Action {
    /// Returns the upstreams that it may use; none if it does not forward.
    #[must_use]
    pub fn upstreams(&self) -> &[Name] {
        match self {
            Self::Forward(forward) => &forward.upstreams,
            Self::Redirect(_) | Self::Respond(_) | Self::Files(_) => &[],
        }
    }

    /// Returns what a list of routes shows of it.
    #[must_use]
    pub fn summary(&self) -> String {
        match self {
            Self::Forward(forward) => forward.upstreams.join(","),
            Self::Redirect(redirect) => format!("{} {}", redirect.status, redirect.to),
            Self::Respond(respond) => format!("respond {}", respond.status),
            Self::Files(files) => format!("files {}", files.root.display()),
        }
    }
}

impl std::fmt::Display for PathRewrite {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::To(path) => path.fmt(f),
            Self::First(rules) => rules.iter().enumerate().try_for_each(|(at, (regex, to))| {
                let comma = if at == 0 { "" } else { ", " };
                write!(f, "{comma}~{regex} {to}")
            }),
        }
    }
}

impl std::fmt::Display for Template {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|part| match part {
            TemplatePart::Literal(text) => f.write_str(text),
            TemplatePart::Scheme => f.write_str("{scheme}"),
            TemplatePart::Host => f.write_str("{host}"),
            TemplatePart::Path => f.write_str("{path}"),
            TemplatePart::Rest => f.write_str("{rest}"),
            TemplatePart::Query => f.write_str("{query}"),
            TemplatePart::Segment { name, .. }
            | TemplatePart::PathGroup { name, .. }
            | TemplatePart::HostGroup(name) => write!(f, "{{{name}}}"),
        })
    }
}

impl PathPattern {
    /// Returns what the pattern's `/*` takes of `path`, which matches the pattern: nothing, or a slash and what
    /// follows.
    #[must_use]
    pub fn rest_of<'p>(&self, path: &'p str) -> &'p str {
        let slash = path.match_indices('/').nth(self.segments.len());
        slash.and_then(|(at, _)| path.get(at..)).unwrap_or_default()
    }
}
