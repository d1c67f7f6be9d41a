//! Rollouts as the binary puts them together: what the rollout crate needs of the process, and what is said of them.

mod fingerprint;

pub(crate) use self::fingerprint::fingerprint;

use std::hash::RandomState;
use std::sync::{Arc, LazyLock};
use std::time::Instant;

use portcullis_model::{Candidate, FieldMatch, Lock, PolicyConfig, Selection};
use portcullis_policy::PolicyFactory;
use portcullis_rollout::{Environment, Rollout, RolloutFactory, RolloutReport, VersionLabel};

/// The rollouts of the running generation, for the metrics.
#[derive(Debug, Default)]
pub(crate) struct Rollouts(Lock<Vec<Arc<Rollout>>>);

impl Rollouts {
    /// These run from now on.
    pub(crate) fn set<'r>(&self, rollouts: impl Iterator<Item = &'r Arc<Rollout>>) {
        *self.0.lock() = rollouts.cloned().collect();
    }

    /// How they are.
    pub(crate) fn reports(&self) -> Vec<RolloutReport> {
        let rollouts = self.0.lock().clone();
        rollouts.iter().map(|rollout| rollout.report()).collect()
    }
}

/// The clock for versions and the executor of shadows: the worker that runs the exchange.
const ENVIRONMENT: Environment = Environment {
    wall: || {
        static START: LazyLock<Instant> = LazyLock::new(Instant::now);
        START.elapsed()
    },
    spawn: |future| drop(tokio::task::spawn_local(future)),
};

/// One for all rollouts of the process, so that an exchange that a small share takes is one that a larger share takes
/// too.
static KEYS: LazyLock<RandomState> = LazyLock::new(RandomState::new);

/// A rollout that begins now.
pub(crate) fn begin(active: &PolicyConfig, candidate: &Candidate) -> Arc<Rollout> {
    let labels = [label(active), label(candidate.version())];
    Arc::new(Rollout::new(active.name.clone(), candidate, labels, KEYS.clone()))
}

/// What a version is.
pub(crate) fn label(version: &PolicyConfig) -> VersionLabel {
    let digest = version.digest.iter().map(|byte| format!("{byte:02x}")).collect();
    VersionLabel { plugin: version.plugin.to_string(), digest }
}

/// What the chain runs in place of the two.
pub(crate) fn factory(
    active: &Arc<dyn PolicyFactory>,
    tried: &Arc<dyn PolicyFactory>,
    rollout: &Arc<Rollout>,
    active_config: &PolicyConfig,
    tried_config: &PolicyConfig,
) -> Arc<RolloutFactory> {
    let keeps_values = active_config.grants.secrets.is_empty() && tried_config.grants.secrets.is_empty();
    let (active, tried, rollout) = (Arc::clone(active), Arc::clone(tried), Arc::clone(rollout));
    Arc::new(RolloutFactory::new(active, tried, rollout, ENVIRONMENT, keeps_values))
}

/// Which exchanges a candidate gets, as the end of a sentence.
pub(crate) fn takes(candidate: &Candidate) -> String {
    match candidate {
        Candidate::Canary(canary) => format!("takes {}", exchanges(&canary.selection)),
        Candidate::Shadow(shadow) => format!("sees {} of the exchanges, without effect", shadow.share),
    }
}

/// Those of a selection, in words.
pub(crate) fn exchanges(selection: &Selection) -> String {
    match selection {
        Selection::Share(share) => format!("{share} of the exchanges"),
        Selection::Match(fields) => {
            let field = |field: &FieldMatch| match &field.value {
                Some(value) => format!("`{}: {value}`", field.name),
                None => format!("`{}`", field.name),
            };
            let fields: Vec<String> = fields.iter().map(field).collect();
            format!("the exchanges with {}", fields.join(" and "))
        }
    }
}
