//! The status of the running gateway, out of its parts.

use portcullis_admin::{RefusedStatus, Status};
use portcullis_inspect::{GatewayFacts, PolicyFacts, status};

use crate::run::gateway::Running;

/// Returns the status of the running gateway; `config` is the path that it was started with.
pub(crate) fn of(running: &Running, config: String) -> Status {
    let policies = running.composed().policies.values();
    status(GatewayFacts {
        version: env!("CARGO_PKG_VERSION"),
        config,
        ages: running.ages(),
        refused: running.refused().map(|refused| RefusedStatus {
            errors: refused.errors,
            first: refused.first.clone(),
            age_s: refused.since.elapsed().as_secs(),
        }),
        workers: running.process().workers,
        listening: running.listening(),
        sandbox: running.process().sandbox.metrics(),
        metrics: &running.process().metrics,
        snapshot: &running.snapshot(),
        policies: policies
            .map(|policy| PolicyFacts { config: policy.config(), manifest: policy.manifest() })
            .collect(),
    })
}
