//! What the gateway says of itself in its log: what listens, what was loaded, what a reload changed.

use std::net::SocketAddr;
use std::time::Duration;

use portcullis_model::PolicyConfig;
use portcullis_proxy::{Listening, Snapshot};

use crate::refusal::Refusal;
use crate::run::compose::{CompiledPlugin, Composed};
use crate::run::rollout;
use portcullis_inspect::Changes;

/// After the start.
pub(crate) fn started(composed: &Composed, listening: &[Listening], workers: usize) {
    compiled(&composed.compiled);
    for policy in &composed.gateway.policies {
        tracing::info!(policy = %policy.name, plugin = %policy.plugin, "policy loaded");
        tried(policy);
    }
    for listener in listening {
        listens(listener);
    }
    let routes = composed.gateway.routes.len();
    tracing::info!(
        event = "ready",
        generation = 1,
        routes,
        workers,
        "portcullis {} is ready",
        env!("CARGO_PKG_VERSION")
    );
}

/// Logs the address of the metrics.
pub(crate) fn serves_metrics(address: SocketAddr) {
    tracing::info!(event = "metrics", %address, "metrics at http://{address}/metrics");
}

/// The machine believes others than before.
pub(crate) fn trust_changed() {
    tracing::info!(
        event = "authorities",
        "this machine's certificate authorities have changed: new connections to upstreams, and of policies, go by them"
    );
}

/// Logs a successful reload; `imports` is what plugins newly import, and the pair has the old and the new listeners.
pub(crate) fn reloaded(
    before: u64,
    generation: u64,
    took: Duration,
    changes: &Changes,
    composed: &Composed,
    imports: &[String],
    (listened, listening): (&[Listening], &[Listening]),
) {
    compiled(&composed.compiled);
    newly_imported(imports);
    let same = |one: &Listening, other: &Listening| {
        (&one.name, one.address, one.tls) == (&other.name, other.address, other.tls)
    };
    for listener in listening.iter().filter(|now| !listened.iter().any(|before| same(before, now))) {
        listens(listener);
    }
    restart(changes);
    tracing::info!(
        event = "reloaded",
        generation,
        "generation {before} -> {generation} in {}: {changes}",
        millis(took)
    );
}

/// What plugins import that their predecessors did not, a sentence each: an operator who granted it for another reason,
/// or long ago, should hear that it is used from now on.
pub(crate) fn newly_imported(sentences: &[String]) {
    for sentence in sentences {
        tracing::warn!(event = "newly-imported", "{sentence}");
    }
}

/// After a reload that was refused.
pub(crate) fn refused(refusal: &Refusal, generation: u64) {
    tracing::error!(
        event = "refused",
        errors = refusal.count(),
        generation,
        "the changed config was refused\n{refusal}\ngeneration {generation} is still running"
    );
}

/// After a mistake was taken back, so that what is on disk is what runs.
pub(crate) fn mended(generation: u64) {
    tracing::info!(
        event = "mended",
        generation,
        "the config on disk is no longer refused: it is again what runs, generation {generation}"
    );
}

/// What is odd about a generation that is about to run.
pub(crate) fn warnings(snapshot: &Snapshot) {
    for warning in &snapshot.gateway().warnings {
        let warning = warning.strip_prefix("warning: ").unwrap_or(warning);
        tracing::warn!(event = "odd-config", "{warning}");
    }
    for warning in snapshot.warnings() {
        tracing::warn!("{warning}");
    }
}

/// What is tried beside a policy.
fn tried(policy: &PolicyConfig) {
    let Some(candidate) = policy.candidate.as_deref() else { return };
    let (plugin, takes) = (&candidate.version().plugin, rollout::takes(candidate));
    tracing::info!(policy = %policy.name, %plugin, "{} loaded: it {takes}", candidate.version().version);
}

fn compiled(plugins: &[CompiledPlugin]) {
    for CompiledPlugin { source, took, cached, .. } in plugins {
        let took = millis(*took);
        if *cached {
            tracing::info!(plugin = %source, cached, "plugin taken from the cache in {took}");
        } else {
            tracing::info!(plugin = %source, cached, "plugin compiled in {took}");
        }
    }
}

fn listens(Listening { name, address, tls, .. }: &Listening) {
    let scheme = if *tls { "https" } else { "http" };
    tracing::info!(listener = %name, address = %address, tls, "listening on {scheme}://{address}");
}

fn restart(changes: &Changes) {
    for setting in &changes.restart {
        tracing::warn!("{setting} changed, which takes effect at the next start only");
    }
}

/// A time as people read it: whole milliseconds, or one decimal below ten.
pub(crate) fn millis(time: Duration) -> String {
    let millis = time.as_secs_f64() * 1000.0;
    if millis < 9.95 { format!("{millis:.1} ms") } else { format!("{millis:.0} ms") }
}
