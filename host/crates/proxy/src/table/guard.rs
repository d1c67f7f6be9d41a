//! What guards a route, and why a path is refused because of it.

use portcullis_http::PathError;
use portcullis_model::{Name, PathRules, Route};

/// How a route takes paths, and what guards it.
#[derive(Debug)]
pub(super) struct Guard {
    pub(super) rules: PathRules,
    policies: Vec<Name>,
    tls_required: bool,
}

impl Guard {
    pub(super) fn of(route: &Route) -> Self {
        Self { rules: route.path_rules, policies: route.policies.clone(), tls_required: route.tls_required }
    }

    /// Returns whether it lets nothing through that `other` would not.
    pub(super) fn is_as_strict_as(&self, other: &Self) -> bool {
        let same = |policy: &Name| self.policies.contains(policy);
        other.policies.iter().all(same) && (self.tls_required || !other.tls_required)
    }
}

/// Why a path is refused although a route may take it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PathRefused {
    /// Its route does not take paths of this form.
    #[error("invalid request target: {0}")]
    Form(#[from] PathError),
    /// Another server could read it as a path of another route.
    #[error(
        "the path could be read as one of route `{other}`, which is guarded by more than route `{route}`"
    )]
    Guarded {
        /// The route that takes it.
        route: Name,
        /// The one that it must not lead to.
        other: Name,
    },
}
