//! `portcullis explain`: what would become of a request, and why.

mod json;
mod question;
mod text;

use std::collections::HashMap;
use std::process::ExitCode;

use anyhow::bail;
use portcullis_model::Gateway;
use portcullis_policy::recorder::{Effects, Recorder};
use portcullis_proxy::{Explainer, Question};
use serde_json::Value;

use crate::cli::ExplainArguments;
use crate::commands::print;
use crate::plugins::Catalog;
use crate::refusal::Refusal;
use crate::shown::shown;
use crate::trace::Scrubber;
use crate::{compose, run};

/// Explains, and prints.
///
/// # Errors
/// Where the config is wrong, or the command line describes no request.
pub(crate) fn run(arguments: &ExplainArguments) -> anyhow::Result<ExitCode> {
    let question = question::question(arguments).map_err(|error| error.context(Usage))?;
    let json = offline(arguments, &question)?;
    print(&if arguments.json { format!("{json:#}\n") } else { text::explanation(&json) })
}

/// Marks an error as wrong usage, which has an exit code of its own.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Usage;

impl std::fmt::Display for Usage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("wrong usage")
    }
}

/// By a config, without a running gateway: its policies run here, in a sandbox of their own.
fn offline(arguments: &ExplainArguments, question: &Question) -> anyhow::Result<Value> {
    let path = arguments.config.find()?;
    let mut gateway = portcullis_config::load(&path, &Catalog).map_err(Refusal::Config)?;
    check_listener(&gateway, question)?;
    let none = HashMap::new();
    if arguments.routes_only {
        let explainer = Explainer::offline(&gateway, &none);
        let explanation = block_on(explainer.explain(question, None))?;
        return Ok(without_secrets(json::explanation(&explanation, "routes"), &gateway));
    }
    // A config may have policies that take long to compile; only those of the route that wins are asked.
    let route = Explainer::offline(&gateway, &none).route(question);
    let policies = route.map(|route| route.policies.clone()).unwrap_or_default();
    gateway.policies.retain(|policy| policies.contains(&policy.name));
    let composed = compose::policies(gateway)?;
    let factories = composed.factories();
    let explainer = Explainer::offline(&composed.gateway, &factories);
    let recorder = Recorder::new(Effects::None, portcullis_sandbox::thread_cpu_time);
    let explanation = block_on(explainer.explain(question, Some(recorder)))?;
    Ok(without_secrets(json::explanation(&explanation, "sandbox"), &composed.gateway))
}

/// Waits for what runs on this thread alone.
fn block_on<T>(future: impl Future<Output = T>) -> anyhow::Result<T> {
    let runtime = run::control_runtime()?;
    Ok(tokio::task::LocalSet::new().block_on(&runtime, future))
}

fn check_listener(gateway: &Gateway, question: &Question) -> anyhow::Result<()> {
    let Some(name) = &question.listener else { return Ok(()) };
    if gateway.listeners.iter().any(|listener| listener.name == *name) {
        return Ok(());
    }
    let names: Vec<&str> = gateway.listeners.iter().map(|listener| &*listener.name).collect();
    bail!("there is no listener `{}`\n  = help: the listeners are {}", shown(name), names.join(", "))
}

/// A policy may have put a secret of the config into a field or into an argument.
fn without_secrets(mut json: Value, gateway: &Gateway) -> Value {
    Scrubber::of_secrets(&gateway.secrets).scrub(&mut json);
    json
}
