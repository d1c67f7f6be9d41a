//! `portcullis validate`: builds all of a configuration and starts nothing.

use std::process::ExitCode;

use super::diff;
use crate::cli::ValidateArguments;
use crate::output::print;
use crate::run::{compose, report};

/// Builds what the gateway would run, and prints how much it is.
///
/// # Errors
/// All that is wrong with the configuration.
pub(crate) fn run(arguments: &ValidateArguments) -> anyhow::Result<ExitCode> {
    let candidate = compose::build(&arguments.config.find()?, None, 1)?;
    report::warnings(&candidate.snapshot);
    if let Some(against) = &arguments.against {
        report::newly_imported(&diff::newly_imported(against, &candidate.composed)?);
    }
    let gateway = candidate.composed.gateway;
    let counts = [
        counted(gateway.listeners.len(), "listener", "listeners"),
        counted(gateway.routes.len(), "route", "routes"),
        counted(gateway.policies.len(), "policy", "policies"),
    ];
    print(&format!("ok: {}\n", counts.join(", ")))
}

fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}
