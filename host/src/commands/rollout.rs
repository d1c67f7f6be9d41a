//! `portcullis rollout`: what the running gateway returns or does, in words and tables.

mod write;

use std::process::ExitCode;

use anyhow::Context as _;
use portcullis_admin::{
    RolloutAct, RolloutActRequest, RolloutDifference, RolloutEnd, RolloutStatus, RolloutsRequest,
};
use portcullis_config::RolloutEdit;
use portcullis_model::Version;

use self::write::Written;
use crate::cli::{
    RolloutAbortArguments, RolloutActArguments, RolloutCommand, RolloutPromoteArguments,
    RolloutStatusArguments,
};
use crate::commands::ask::ask;
use crate::output::print;
use crate::run::rollouts::lasting;
use crate::table::table;
use crate::words::{age, counted};

/// Carries out the command.
///
/// # Errors
/// If no gateway answers, or if it refuses.
pub(crate) fn run(command: &RolloutCommand) -> anyhow::Result<ExitCode> {
    match command {
        RolloutCommand::Status(arguments) => show(arguments),
        RolloutCommand::Promote(RolloutPromoteArguments { act, share: Some(share), .. }) => {
            write(RolloutAct::Promote, act, RolloutEdit::Canary { share: *share })
        }
        RolloutCommand::Promote(RolloutPromoteArguments { act, write: true, .. }) => {
            write(RolloutAct::Promote, act, RolloutEdit::Promote)
        }
        RolloutCommand::Promote(RolloutPromoteArguments { act, .. }) => act_at_once(RolloutAct::Promote, act),
        RolloutCommand::Abort(RolloutAbortArguments { act, write: true }) => {
            write(RolloutAct::Abort, act, RolloutEdit::Abort)
        }
        RolloutCommand::Abort(RolloutAbortArguments { act, .. }) => act_at_once(RolloutAct::Abort, act),
        RolloutCommand::Resume(arguments) => act_at_once(RolloutAct::Resume, arguments),
    }
}

/// Does it, and writes it into the config.
fn write(act: RolloutAct, arguments: &RolloutActArguments, edit: RolloutEdit) -> anyhow::Result<ExitCode> {
    let RolloutActArguments { policy, gateway, reason } = arguments;
    let told = ask(gateway, &RolloutsRequest { policy: Some(policy.clone()) })?;
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
        ask(gateway, &RolloutActRequest { policy, act, reason, written: true })?;
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
    print(&text)
}

fn show(arguments: &RolloutStatusArguments) -> anyhow::Result<ExitCode> {
    let request = RolloutsRequest { policy: arguments.policy.clone() };
    let rollouts = ask(&arguments.gateway, &request)?;
    if arguments.json {
        return print(&format!("{:#}\n", serde_json::to_value(&rollouts)?));
    }
    print(&text(&rollouts, arguments.policy.is_some()))
}

fn act_at_once(act: RolloutAct, arguments: &RolloutActArguments) -> anyhow::Result<ExitCode> {
    let (policy, reason) = (arguments.policy.clone(), arguments.reason.clone());
    let request = RolloutActRequest { policy, act, reason, written: false };
    let told = ask(&arguments.gateway, &request)?;
    let (policy, candidate) = (&told.policy, &told.candidate);
    print(&match act {
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
fn text(rollouts: &[RolloutStatus], in_detail: bool) -> String {
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
    line(format!("{policy}: {candidate} {state}, since {} ({})", age(rollout.age_s), rollout.origin));
    if let Some(RolloutEnd { age_s, reason, automatic }) = &rollout.ended {
        let by = if *automatic { " by the gateway" } else { "" };
        line(format!("  {state}{by} {} ago: {reason}", age(*age_s)));
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
            age(sample.age_s),
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
