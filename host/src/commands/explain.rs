//! `portcullis explain`: what would become of a request, and why.

mod question;
mod text;

use std::collections::HashMap;
use std::process::ExitCode;

use portcullis_admin::ExplainRequest;
use portcullis_inspect::check_listener;
use portcullis_proxy::{Explainer, Question};
use serde_json::Value;

pub(crate) use self::question::Url;
pub(crate) use self::text::{arguments, decision, edited, value};

use crate::cli::ExplainArguments;
use crate::commands::ask::ask;
use crate::output::{Usage, print};
use crate::plugins::Catalog;
use crate::refusal::Refusal;
use crate::run::compose;
use crate::run::runtime::block_on;

/// Explains, and prints.
///
/// # Errors
/// If the config is wrong, or the command line describes no request.
pub(crate) fn run(arguments: &ExplainArguments) -> anyhow::Result<ExitCode> {
    let question = question::question(arguments).map_err(|error| error.context(Usage))?;
    let json = match arguments.live {
        true => ask(&arguments.gateway, &request(&question))?,
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

/// By a config, without a running gateway: its policies run here, in a sandbox of their own.
fn offline(arguments: &ExplainArguments, question: &Question) -> anyhow::Result<Value> {
    let path = arguments.gateway.config.find()?;
    let mut loaded = portcullis_config::load(&path, &Catalog).map_err(Refusal::Config)?;
    let gateway = &mut loaded.gateway;
    check_listener(gateway, question)?;
    if arguments.routes_only {
        return block_on(portcullis_inspect::explain_offline(gateway, None, question));
    }
    // A config may have policies that take long to compile; only those of the route that wins are needed.
    let none = HashMap::new();
    let route = Explainer::offline(gateway, &none).route(question);
    let policies = route.map(|route| route.policies.clone()).unwrap_or_default();
    gateway.policies.retain(|policy| policies.contains(&policy.name));
    let composed = compose::policies(loaded)?;
    let factories = composed.factories();
    block_on(portcullis_inspect::explain_offline(&composed.gateway, Some(&factories), question))
}
