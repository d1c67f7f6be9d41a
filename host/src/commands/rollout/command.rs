//! `portcullis rollout`: answered by the gateway that runs, and shown by the command line.

use std::process::ExitCode;
use std::time::SystemTime;

use anyhow::Context as _;
use portcullis_admin::{
    Answers, Refused, RolloutAct, RolloutActRequest, RolloutComparison, RolloutDifference, RolloutEnd,
    RolloutSample, RolloutStatus, RolloutVersion, RolloutsRequest,
};
use portcullis_config::RolloutEdit;
use portcullis_model::Version;
use portcullis_rollout::{Act, ActError, RolloutReport, VersionReport};

use super::exchanges;
use super::fingerprint::fingerprint;
use super::write::{self, Written};
use crate::cli::{
    RolloutAbortArguments, RolloutActArguments, RolloutCommand, RolloutPromoteArguments,
    RolloutStatusArguments,
};
use crate::commands::status;
use crate::output;
use crate::run::compose::LoadedPolicy;
use crate::run::control;
use crate::run::control::Control;
use crate::run::gateway::Running;
use crate::shown::counted;
use crate::table::table;

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
fn lasting(told: &RolloutStatus) -> String {
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

/// Carries out the command.
///
/// # Errors
/// Where no gateway answers, and where it refuses.
pub(crate) fn run(command: &RolloutCommand) -> anyhow::Result<ExitCode> {
    match command {
        RolloutCommand::Status(arguments) => show(arguments),
        RolloutCommand::Promote(RolloutPromoteArguments { act, share: Some(share), .. }) => {
            write(RolloutAct::Promote, act, RolloutEdit::Canary { share: *share })
        }
        RolloutCommand::Promote(RolloutPromoteArguments { act, write: true, .. }) => {
            write(RolloutAct::Promote, act, RolloutEdit::Promote)
        }
        RolloutCommand::Promote(RolloutPromoteArguments { act, .. }) => ask(RolloutAct::Promote, act),
        RolloutCommand::Abort(RolloutAbortArguments { act, write: true }) => {
            write(RolloutAct::Abort, act, RolloutEdit::Abort)
        }
        RolloutCommand::Abort(RolloutAbortArguments { act, .. }) => ask(RolloutAct::Abort, act),
        RolloutCommand::Resume(arguments) => ask(RolloutAct::Resume, arguments),
    }
}

/// Does it, and writes it into the config.
fn write(act: RolloutAct, arguments: &RolloutActArguments, edit: RolloutEdit) -> anyhow::Result<ExitCode> {
    let RolloutActArguments { policy, gateway, reason } = arguments;
    let told = control::ask(gateway, &RolloutsRequest { policy: Some(policy.clone()) })?;
    let told = told.first().with_context(|| format!("the gateway says nothing of policy `{policy}`"))?;
    let prepared = write::prepare(&gateway.config.find()?, told, edit)?;
    // What takes all exchanges, or none, does so at once; the rest begins with the config.
    let acts = match edit {
        RolloutEdit::Promote => told.candidate != Version::Shadow.name() && told.state != "promoted",
        RolloutEdit::Abort => told.state != "aborted",
        RolloutEdit::Canary { .. } => false,
    };
    if acts {
        let (policy, reason) = (policy.clone(), reason.clone());
        control::ask(gateway, &RolloutActRequest { policy, act, reason, written: true })?;
    }
    let Written { file, removed } = prepared.put_in_place().map_err(|error| match acts {
        true => error.context("the gateway has done it, and the config does not say so"),
        false => error,
    })?;
    let candidate = &told.candidate;
    let what = match edit {
        RolloutEdit::Promote => format!("the {candidate} is policy `{policy}` itself now"),
        RolloutEdit::Abort => format!("policy `{policy}` has no {candidate} any more"),
        RolloutEdit::Canary { share } => {
            format!("the {candidate} of policy `{policy}` is a canary for {share} of the exchanges now")
        }
    };
    let mut text = format!("{what}, and {file} says so; the gateway loads it by itself\n");
    if !removed.is_empty() {
        let keys: Vec<String> = removed.iter().map(|key| format!("`{key}`")).collect();
        let (keys, is) = (keys.join(", "), if removed.len() == 1 { "it is" } else { "they are" });
        text.push_str(&format!(
            "it has no use for {keys} of policy `{policy}`, so {is} gone from the config\n"
        ));
    }
    output::print(&text)
}

fn show(arguments: &RolloutStatusArguments) -> anyhow::Result<ExitCode> {
    let request = RolloutsRequest { policy: arguments.policy.clone() };
    let rollouts = control::ask(&arguments.gateway, &request)?;
    if arguments.json {
        return output::print(&format!("{:#}\n", serde_json::to_value(&rollouts)?));
    }
    output::print(&text(&rollouts, arguments.policy.is_some()))
}

fn ask(act: RolloutAct, arguments: &RolloutActArguments) -> anyhow::Result<ExitCode> {
    let (policy, reason) = (arguments.policy.clone(), arguments.reason.clone());
    let request = RolloutActRequest { policy, act, reason, written: false };
    let told = control::ask(&arguments.gateway, &request)?;
    let (policy, candidate) = (&told.policy, &told.candidate);
    output::print(&match act {
        RolloutAct::Promote => {
            format!("the {candidate} of policy `{policy}` takes all exchanges now\n{}\n", lasting(&told))
        }
        RolloutAct::Abort => format!(
            "the {candidate} of policy `{policy}` gets no more exchanges; those that have it end with it\n\
             it gets {} again after `portcullis rollout resume {policy}`, a change of `{candidate}` in the config, or a \
             restart\n",
            told.gets
        ),
        RolloutAct::Resume => format!("the {candidate} of policy `{policy}` gets {} again\n", told.gets),
    })
}

/// The rollouts as people read them; of one, with its samples.
pub(super) fn text(rollouts: &[RolloutStatus], in_detail: bool) -> String {
    if rollouts.is_empty() {
        return "no policy has a canary or a shadow\n".to_owned();
    }
    let rows = rollouts.iter().flat_map(|rollout| {
        rollout.versions.iter().map(|version| {
            let part = match (version.version.as_str(), rollout.state.as_str()) {
                ("active", "promoted") => "no exchanges".to_owned(),
                ("active", _) => "the others".to_owned(),
                (_, "running") => rollout.gets.clone(),
                (_, "promoted") => "all exchanges".to_owned(),
                _ => "no exchanges".to_owned(),
            };
            let part = if rollout.candidate == "shadow" && version.version == "active" {
                "all exchanges".to_owned()
            } else {
                part
            };
            [
                rollout.policy.clone(),
                version.version.clone(),
                version.plugin.clone(),
                part,
                version.exchanges.to_string(),
                version.faulted.to_string(),
                version.replies.to_string(),
                micros(version.cpu_us),
                micros(version.latency_us),
            ]
        })
    });
    let header = ["POLICY", "VERSION", "PLUGIN", "GETS", "EXCHANGES", "FAULTED", "REPLIES", "CPU", "LATENCY"];
    let mut text = table(header, rows);
    for rollout in rollouts {
        text.push('\n');
        paragraph(rollout, in_detail, &mut text);
    }
    text
}

fn paragraph(rollout: &RolloutStatus, in_detail: bool, text: &mut String) {
    let RolloutStatus { policy, candidate, state, .. } = rollout;
    let mut line = |sentence: String| {
        text.push_str(&sentence);
        text.push('\n');
    };
    line(format!("{policy}: {candidate} {state}, since {} ({})", status::age(rollout.age_s), rollout.origin));
    if let Some(RolloutEnd { age_s, reason, automatic }) = &rollout.ended {
        let by = if *automatic { " by the gateway" } else { "" };
        line(format!("  {state}{by} {} ago: {reason}", status::age(*age_s)));
    }
    if state == "promoted" {
        line(format!("  {}", lasting(rollout)));
    }
    for version in rollout.versions.iter().filter(|version| !version.faults.is_empty()) {
        let faults: Vec<String> =
            version.faults.iter().map(|(kind, count)| format!("{kind} {count}")).collect();
        line(format!("  faults of the {} version: {}", version.version, faults.join(", ")));
    }
    let Some(comparison) = &rollout.comparison else { return };
    let kinds: Vec<String> = comparison.kinds.iter().map(|(kind, count)| format!("{kind} {count}")).collect();
    line(match comparison.differing {
        0 => format!("  {} compared, none differed", counted(comparison.compared, "hook")),
        differing => {
            format!(
                "  {} compared, {differing} differed: {}",
                counted(comparison.compared, "hook"),
                kinds.join(", ")
            )
        }
    });
    if comparison.skipped > 0 {
        line(format!(
            "  {} left out, because too many were being compared",
            counted(comparison.skipped, "exchange")
        ));
    }
    if comparison.left_behind > 0 {
        line(format!(
            "  {} not compared to the end, because the bodies came faster than the shadow read them",
            counted(comparison.left_behind, "exchange")
        ));
    }
    if comparison.refused_requests > 0 {
        line(format!(
            "  {} of its own refused, because a shadow must have no effect",
            counted(comparison.refused_requests, "request")
        ));
    }
    if !in_detail {
        if !comparison.samples.is_empty() {
            line(format!("  samples of them: portcullis rollout status {policy}"));
        }
        return;
    }
    for sample in &comparison.samples {
        let mut words = String::new();
        for RolloutDifference { kind, name, active, candidate } in &sample.differences {
            let name = name.as_ref().map_or(String::new(), |name| format!(" {name}"));
            words.push_str(&format!("\n      {kind}{name}: {active} -> {candidate}"));
        }
        line(format!(
            "  {} ago, {} {} of route {}, trace {}:{words}",
            status::age(sample.age_s),
            sample.method,
            sample.hook,
            sample.route,
            sample.trace_id,
        ));
    }
}

/// A mean time as people read it.
fn micros(micros: f64) -> String {
    match micros {
        0.0 => "-".to_owned(),
        micros if micros < 1000.0 => format!("{micros:.1} us"),
        micros => format!("{:.1} ms", micros / 1000.0),
    }
}
