//! Rollouts from the gateway's side: answers questions about them, and promotes, aborts or resumes one.

use std::time::SystemTime;

use portcullis_admin::{
    Answers, Refused, RolloutAct, RolloutActRequest, RolloutComparison, RolloutDifference, RolloutEnd,
    RolloutSample, RolloutStatus, RolloutVersion, RolloutsRequest,
};
use portcullis_model::Version;
use portcullis_rollout::{Act, ActError, RolloutReport, VersionReport};

use crate::run::compose::LoadedPolicy;
use crate::run::control::Control;
use crate::run::gateway::Running;
use crate::run::rollout::{exchanges, fingerprint};

/// Characters of a reason that are kept.
const REASON_CHARS_MAX: usize = 200;

impl Answers<RolloutsRequest> for Control {
    async fn answer(&self, request: RolloutsRequest) -> Result<Vec<RolloutStatus>, Refused> {
        self.with_running(move |running| match request.policy {
            Some(policy) => {
                find(running, &policy).map(|(policy, report)| vec![told(running, policy, report)])
            }
            None => Ok(running
                .composed()
                .policies
                .values()
                .filter_map(rollout)
                .map(|(p, r)| told(running, p, r))
                .collect()),
        })
        .await?
    }
}

impl Answers<RolloutActRequest> for Control {
    async fn answer(&self, request: RolloutActRequest) -> Result<RolloutStatus, Refused> {
        self.with_running(move |running| act(running, &request)).await?
    }
}

fn rollout(policy: &LoadedPolicy) -> Option<(&LoadedPolicy, RolloutReport)> {
    Some((policy, policy.rollout()?.report()))
}

fn find<'r>(running: &'r Running, name: &str) -> Result<(&'r LoadedPolicy, RolloutReport), Refused> {
    let policies = &running.composed().policies;
    let trying: Vec<&str> =
        policies.iter().filter(|(_, p)| p.rollout().is_some()).map(|(name, _)| &**name).collect();
    let help = match &trying[..] {
        [] => "no policy has a `canary` or a `shadow` in what runs; docs/rollouts.md shows how one is begun"
            .to_owned(),
        some => format!("the policies that try a version are {}", some.join(", ")),
    };
    match policies.get(name) {
        None => Err(Refused::new(format!("there is no policy `{name}` in what runs")).help(help)),
        Some(policy) => rollout(policy).ok_or_else(|| {
            Refused::new(format!("policy `{name}` has neither a canary nor a shadow")).help(help)
        }),
    }
}

fn act(running: &Running, request: &RolloutActRequest) -> Result<RolloutStatus, Refused> {
    let (policy, _) = find(running, &request.policy)?;
    let Some(rollout) = policy.rollout() else {
        return Err(Refused::new(format!("policy `{}` has no rollout", request.policy)));
    };
    let (act, verb) = match request.act {
        RolloutAct::Promote => (Act::Promote, "promote"),
        RolloutAct::Abort => (Act::Abort, "abort"),
        RolloutAct::Resume => (Act::Resume, "resume"),
    };
    let reason: String = match &request.reason {
        Some(reason) => reason.chars().filter(|char| !char.is_control()).take(REASON_CHARS_MAX).collect(),
        None => format!("by `portcullis rollout {verb}`"),
    };
    rollout.act(act, &reason).map_err(|error| {
        let refused =
            Refused::new(format!("cannot {verb} the rollout of policy `{}`: {error}", request.policy));
        match error {
            ActError::Already(_) => refused.help("`portcullis rollout status` tells how it stands"),
            ActError::Shadow => refused.help(
                "`--write` makes it the policy's own version by the config, and `--write --share 5%` a canary",
            ),
        }
    })?;
    let told = told(running, policy, rollout.report());
    let (policy, candidate) = (&told.policy, &told.candidate);
    let plugin = told.versions.last().map_or("", |version| version.plugin.as_str());
    let event = "rollout";
    match request.act {
        RolloutAct::Promote => tracing::warn!(
            event,
            policy,
            plugin,
            "the {candidate} of policy `{policy}` takes all exchanges: {reason}; {}",
            if request.written { "the config is about to say so".to_owned() } else { lasting(&told) }
        ),
        RolloutAct::Abort => tracing::warn!(
            event,
            policy,
            plugin,
            "the {candidate} of policy `{policy}` gets no more exchanges: {reason}"
        ),
        RolloutAct::Resume => tracing::info!(
            event,
            policy,
            plugin,
            "the {candidate} of policy `{policy}` gets {} again: {reason}",
            told.gets
        ),
    }
    Ok(told)
}

/// What has to be written so that a promotion outlives the process.
pub(crate) fn lasting(told: &RolloutStatus) -> String {
    let keys: Vec<String> = told.differing_keys.iter().map(|key| format!("`{key}`")).collect();
    format!(
        "a restart forgets it: to make it last, add `--write`, or move {} from `{}` to policy `{}` itself and remove `{}` ({})",
        keys.join(", "),
        told.candidate,
        told.policy,
        told.candidate,
        told.origin,
    )
}

fn told(running: &Running, policy: &LoadedPolicy, report: RolloutReport) -> RolloutStatus {
    let written = running.composed().gateway.policies.iter().find(|config| config.name == report.policy);
    let now = SystemTime::now();
    let since = |at: SystemTime| now.duration_since(at).unwrap_or_default().as_secs();
    let origin = &policy.config().origin;
    let comparison = (report.candidate == Version::Shadow).then(|| RolloutComparison {
        compared: report.compared,
        differing: report.differing,
        skipped: report.skipped,
        left_behind: report.left_behind,
        refused_requests: report.refused_requests,
        kinds: report.differences.iter().map(|(kind, count)| ((*kind).to_owned(), *count)).collect(),
        samples: report
            .samples
            .into_iter()
            .map(|sample| RolloutSample {
                age_s: since(sample.at),
                trace_id: sample.trace_id,
                route: sample.route.to_string(),
                hook: sample.hook.to_owned(),
                method: sample.method,
                differences: sample
                    .differences
                    .into_iter()
                    .map(|found| RolloutDifference {
                        kind: found.kind.to_owned(),
                        name: found.name,
                        active: found.active,
                        candidate: found.candidate,
                    })
                    .collect(),
            })
            .collect(),
    });
    RolloutStatus {
        policy: report.policy.to_string(),
        candidate: report.candidate.name().to_owned(),
        gets: exchanges(&report.selection),
        state: report.standing.name().to_owned(),
        age_s: since(report.since),
        ended: report.ending.map(|ending| RolloutEnd {
            age_s: since(ending.at),
            reason: ending.reason,
            automatic: ending.automatic,
        }),
        origin: format!("{}:{}", origin.file, origin.line),
        differing_keys: policy.differing_keys().into_iter().map(str::to_owned).collect(),
        fingerprint: written.map(fingerprint).unwrap_or_default(),
        versions: report.versions.into_iter().map(version).collect(),
        comparison,
    }
}

fn version(report: VersionReport) -> RolloutVersion {
    let micros = |time: std::time::Duration| (time.as_secs_f64() * 1e9).round() / 1e3;
    RolloutVersion {
        version: report.version.name().to_owned(),
        cpu_us: micros(report.cpu_mean()),
        latency_us: micros(report.latency_mean()),
        plugin: report.label.plugin,
        digest: report.label.digest,
        exchanges: report.exchanges,
        faulted: report.faulted,
        faults: report.faults.into_iter().map(|(kind, count)| (kind.to_owned(), count)).collect(),
        replies: report.replies,
        calls: report.calls,
    }
}
