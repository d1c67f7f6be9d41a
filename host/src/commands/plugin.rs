//! `portcullis plugin`: what authors of plugins need, and what operators need of plugins in registries.

mod images;
mod inspect;
mod wit;

use std::process::ExitCode;

use crate::cli::PluginCommand;

/// Carries out what was asked.
///
/// # Errors
/// What was refused, and why.
pub(crate) fn run(command: &PluginCommand) -> anyhow::Result<ExitCode> {
    match command {
        PluginCommand::Wit(arguments) => wit::run(arguments),
        PluginCommand::Inspect(arguments) => inspect::run(arguments),
        PluginCommand::Lock(arguments) => images::lock(arguments),
        PluginCommand::Fetch(config) => images::fetch(config),
        PluginCommand::List(arguments) => images::list(arguments),
    }
}
