//! A route: which requests it takes, what it does with them, and within which bounds.

use std::time::Duration;

use crate::{Action, Compress, Decompress, Name, Origin, PathRules, ResponseEdits, RouteMatch};

/// `[routes.NAME]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Route {
    /// Its name.
    pub name: Name,
    /// The requests it takes.
    pub matches: RouteMatch,
    /// Names of its policies, in the order in which they see the request.
    pub policies: Vec<Name>,
    /// What it does with a request that its policies have permitted.
    pub action: Action,
    /// What is changed in the fields of its responses.
    pub response_edits: ResponseEdits,
    /// How its responses are encoded for clients that accept it: `compress`.
    pub compress: Option<Compress>,
    /// Which bodies are decoded before policies see them: `decompress`.
    pub decompress: Option<Decompress>,
    /// From the request's head to the response's last byte; `None` is unbounded, so that streams and tunnels live.
    pub timeout: Option<Duration>,
    /// Bytes of a request body; `None` is unbounded. A larger one is answered 413.
    pub body_bytes_max: Option<u64>,
    /// Bytes that the policies of this route may hold back of one body.
    pub hold_bytes_max: usize,
    /// The listeners that it is served on, in name order; empty is all. On another listener it does not exist.
    pub listeners: Vec<Name>,
    /// Whether a request over plain HTTP is answered with a redirect to HTTPS instead of being served.
    pub tls_required: bool,
    /// What of its paths' spelling stays.
    pub path_rules: PathRules,
    /// Its place in the config.
    pub origin: Origin,
}

impl Route {
    /// Returns the upstreams that it may use; none if it does not forward.
    #[must_use]
    pub fn upstreams(&self) -> &[Name] {
        self.action.upstreams()
    }

    /// Whether it is served on a listener.
    #[must_use]
    pub fn is_on(&self, listener: &str) -> bool {
        self.listeners.is_empty() || self.listeners.iter().any(|name| **name == *listener)
    }
}
