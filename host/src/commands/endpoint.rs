//! `portcullis endpoint`: shows endpoints of the running gateway, and changes them.

use std::process::ExitCode;

use portcullis_admin::{EndpointAct, EndpointRequest, StatusRequest, UpstreamStatus};

use crate::cli::{
    EndpointAddArguments, EndpointArguments, EndpointCommand, EndpointListArguments, EndpointWeightArguments,
};
use crate::commands::ask::ask;
use crate::commands::status::endpoints;
use crate::output::print;

/// Carries out the command.
///
/// # Errors
/// If no gateway answers, or if it refuses.
pub(crate) fn run(command: &EndpointCommand) -> anyhow::Result<ExitCode> {
    match command {
        EndpointCommand::List(arguments) => list(arguments),
        EndpointCommand::Add(EndpointAddArguments { endpoint, weight, priority }) => {
            change(endpoint, EndpointAct::Add, *weight, *priority)
        }
        EndpointCommand::Remove(endpoint) => change(endpoint, EndpointAct::Remove, None, None),
        EndpointCommand::Drain(endpoint) => change(endpoint, EndpointAct::Drain, None, None),
        EndpointCommand::Undrain(endpoint) => change(endpoint, EndpointAct::Undrain, None, None),
        EndpointCommand::Weight(EndpointWeightArguments { endpoint, weight }) => {
            change(endpoint, EndpointAct::Weight, Some(*weight), None)
        }
        EndpointCommand::Reset(endpoint) => change(endpoint, EndpointAct::Reset, None, None),
    }
}

fn list(arguments: &EndpointListArguments) -> anyhow::Result<ExitCode> {
    let mut upstreams: Vec<UpstreamStatus> = ask(&arguments.gateway, &StatusRequest {})?.upstreams;
    if let Some(name) = &arguments.upstream {
        upstreams.retain(|upstream| upstream.name == *name);
        anyhow::ensure!(!upstreams.is_empty(), "there is no upstream `{name}` in what runs");
    }
    if arguments.json {
        return print(&format!("{:#}\n", serde_json::to_value(&upstreams)?));
    }
    print(&endpoints(&upstreams))
}

fn change(
    endpoint: &EndpointArguments,
    act: EndpointAct,
    weight: Option<u32>,
    priority: Option<u8>,
) -> anyhow::Result<ExitCode> {
    let EndpointArguments { upstream, address, gateway } = endpoint;
    let (upstream, address) = (upstream.clone(), address.clone());
    let changed = ask(gateway, &EndpointRequest { upstream, address, act, weight, priority })?;
    print(&endpoints(&[changed]))
}
