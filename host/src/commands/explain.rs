//! `portcullis explain`: what would become of a request, and why.

mod json;
mod question;
mod text;

use std::collections::HashMap;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::bail;
use portcullis_admin::ExplainRequest;
use portcullis_model::{Gateway, Name};
use portcullis_policy::recorder::{Effects, Recorder};
use portcullis_proxy::{Explainer, Question, Snapshot};
use serde_json::Value;

pub(crate) use self::text::{arguments, edited, value};

use crate::cli::ExplainArguments;
use crate::output::{Usage, print};
use crate::plugins::Catalog;
use crate::refusal::Refusal;
use crate::run::runtime::block_on;
use crate::run::{compose, control};
use crate::shown::shown;
use crate::trace::Scrubber;

/// Explains, and prints.
///
/// # Errors
/// Where the config is wrong, or the command line describes no request.
pub(crate) fn run(arguments: &ExplainArguments) -> anyhow::Result<ExitCode> {
    let question = question::question(arguments).map_err(|error| error.context(Usage))?;
    let json = match arguments.live {
        true => control::ask(&arguments.gateway, &request(&question))?,
        false => offline(arguments, &question)?,
    };
    print(&if arguments.json { format!("{json:#}\n") } else { text::explanation(&json) })
}

/// The question, for a gateway that runs.
fn request(question: &Question) -> ExplainRequest {
    ExplainRequest {
        head: String::from_utf8_lossy(&question.head).into_owned(),
        tls: question.tls,
        server_name: question.server_name.as_deref().map(str::to_owned),
        peer: question.peer,
        listener: question.listener.as_deref().map(str::to_owned),
    }
}

/// By what runs: its policies with their stores, quotas and metrics, which they can read and not change, in instances of
/// their own; its endpoints and their health. It blocks for as long as the policies take.
///
/// # Errors
/// Where the question is none.
pub(crate) fn live(snapshot: &Snapshot, request: ExplainRequest) -> anyhow::Result<Value> {
    let ExplainRequest { head, tls, server_name, peer, listener } = request;
    if head.len() > question::HEAD_BYTES_MAX {
        bail!("`head` has {} bytes, which is more than any listener takes", head.len());
    }
    let question = Question {
        head: head.into_bytes(),
        tls,
        server_name: server_name.map(|name| Arc::from(name.to_ascii_lowercase())),
        peer,
        listener: listener.map(Name::from),
    };
    let gateway = snapshot.gateway();
    check_listener(gateway, &question)?;
    let explanation = block_on(Explainer::live(snapshot).explain(&question, Some(recorder())))?;
    let mut json = json::explanation(&explanation, "live");
    json["generation"] = snapshot.generation().into();
    Ok(without_secrets(json, gateway))
}

/// Takes notes, and lets nothing have effects.
fn recorder() -> Recorder {
    Recorder::new(Effects::None)
}

/// By a config, without a running gateway: its policies run here, in a sandbox of their own.
fn offline(arguments: &ExplainArguments, question: &Question) -> anyhow::Result<Value> {
    let path = arguments.gateway.config.find()?;
    let mut loaded = portcullis_config::load(&path, &Catalog).map_err(Refusal::Config)?;
    let gateway = &mut loaded.gateway;
    check_listener(gateway, question)?;
    let none = HashMap::new();
    if arguments.routes_only {
        let explainer = Explainer::offline(gateway, &none);
        let explanation = block_on(explainer.explain(question, None))?;
        return Ok(without_secrets(json::explanation(&explanation, "routes"), gateway));
    }
    // A config may have policies that take long to compile; only those of the route that wins are asked.
    let route = Explainer::offline(gateway, &none).route(question);
    let policies = route.map(|route| route.policies.clone()).unwrap_or_default();
    gateway.policies.retain(|policy| policies.contains(&policy.name));
    let composed = compose::policies(loaded)?;
    let factories = composed.factories();
    let explainer = Explainer::offline(&composed.gateway, &factories);
    let explanation = block_on(explainer.explain(question, Some(recorder())))?;
    Ok(without_secrets(json::explanation(&explanation, "sandbox"), &composed.gateway))
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
