//! `portcullis validate`: builds all of a configuration and starts nothing.

use std::process::ExitCode;

use super::diff;
use crate::cli::ValidateArguments;
use crate::output::print;
use crate::run::{compose, report};
use crate::words::counted;

/// Builds what the gateway would run, and prints how much it is.
///
/// # Errors
/// All that is wrong with the configuration.
pub(crate) fn run(arguments: &ValidateArguments) -> anyhow::Result<ExitCode> {
    let config = arguments.config.find_or_read()?;
    let candidate = compose::build(config.main_file(), None, 1)?;
    report::warnings(&candidate.snapshot);
    if let Some(against) = &arguments.against {
        report::newly_imported(&diff::newly_imported(against, &candidate.composed)?);
    }
    let gateway = candidate.composed.gateway;
    let counts = [
        (gateway.listeners.len(), "listener"),
        (gateway.routes.len(), "route"),
        (gateway.policies.len(), "policy"),
    ];
    let counts = counts.map(|(count, noun)| counted(count as u64, noun));
    print(&format!("ok: {}\n", counts.join(", ")))
}
