//! `portcullis plugin`: what authors of plugins need, and what operators need of plugins in registries.

mod build;
mod case;
mod dev;
mod images;
mod inspect;
mod new;
mod sdk;
mod test;
mod wit;

use std::process::ExitCode;

use crate::cli::{LogFormat, PluginCommand};
use crate::output::complain;

/// Carries out what was asked.
///
/// # Errors
/// What was refused, and why.
pub(crate) fn run(command: &PluginCommand, format: LogFormat) -> anyhow::Result<ExitCode> {
    match command {
        PluginCommand::Wit(arguments) => wit::run(arguments),
        PluginCommand::Inspect(arguments) => inspect::run(arguments),
        PluginCommand::Test(arguments) => Ok(test::run(arguments).unwrap_or_else(|error| {
            complain(&error, format);
            ExitCode::from(test::TROUBLE)
        })),
        PluginCommand::Case(arguments) => case::run(arguments),
        PluginCommand::New(arguments) => new::run(arguments),
        PluginCommand::Build(arguments) => build::run(arguments),
        PluginCommand::Dev(arguments) => dev::run(arguments),
        PluginCommand::Lock(arguments) => images::lock(arguments),
        PluginCommand::Fetch(config) => images::fetch(config),
        PluginCommand::List(arguments) => images::list(arguments),
    }
}
