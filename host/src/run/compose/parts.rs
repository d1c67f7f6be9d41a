//! What is wrong with a part of a configuration that was written well, as the operator reads it.

use portcullis_config::Mistake;
use portcullis_model::{Gateway, Origin, PolicyConfig, Version};
use portcullis_net::TlsServerError;
use portcullis_proxy::SnapshotError;
use portcullis_sandbox::ConfigureError;

use crate::refusal::RefusedPart;

impl RefusedPart {
    pub(super) fn of_policy(policy: &PolicyConfig, reason: String) -> Self {
        let message = match policy.version {
            Version::Active => format!("policy `{}` cannot run", policy.name),
            version => format!("the {version} of policy `{}` cannot run", policy.name),
        };
        Self { message, origin: Some(policy.origin.clone()), reason: Some(reason), ..Self::default() }
    }

    /// The error names the policy; a backtrace stands on lines of its own.
    pub(super) fn of_configure(policy: &PolicyConfig, error: &ConfigureError) -> Self {
        let mistakes = match error {
            ConfigureError::Refused { reason, .. } => Mistake::read(&policy.name, policy.version, reason),
            _ => None,
        };
        let text = chain_of(error);
        let (message, rest) = text.split_once('\n').unwrap_or((&text, ""));
        let reason = (!rest.trim().is_empty()).then(|| rest.to_owned());
        Self {
            message: message.to_owned(),
            origin: Some(policy.origin.clone()),
            reason,
            mistakes: mistakes.unwrap_or_default(),
            ..Self::default()
        }
    }

    pub(super) fn of_snapshot(error: &SnapshotError, gateway: &Gateway) -> Self {
        let origin: Option<&Origin> = match error {
            // The line of the one certificate that is wrong, not of the listener.
            SnapshotError::Listener { source: TlsServerError::Certificate { origin, .. }, .. } => {
                Some(origin)
            }
            SnapshotError::Listener { listener: name, .. } => gateway
                .listeners
                .iter()
                .find(|listener| listener.name == *name)
                .map(|listener| &listener.origin),
            SnapshotError::Upstream { upstream: name, .. } => gateway
                .upstreams
                .iter()
                .find(|upstream| upstream.name == *name)
                .map(|upstream| &upstream.origin),
            SnapshotError::Cache { cache: name, .. } => {
                gateway.caches.iter().find(|cache| cache.name == *name).map(|cache| &cache.origin)
            }
            SnapshotError::Files { route: name, .. }
            | SnapshotError::Policy { route: name, .. }
            | SnapshotError::RouteCache { route: name, .. }
            | SnapshotError::RouteUpstream { route: name, .. } => {
                gateway.routes.iter().find(|route| route.name == *name).map(|route| &route.origin)
            }
        };
        Self { message: chain_of(error), origin: origin.cloned(), ..Self::default() }
    }
}

/// An error with its causes, such as each part says something new.
pub(super) fn chain_of(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let part = error.to_string();
        if !text.contains(&part) {
            text.push_str(": ");
            text.push_str(&part);
        }
        cause = error.source();
    }
    text
}
