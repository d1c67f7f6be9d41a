//! Carries out the commands: each has its file or folder here.

mod ask;
mod cache;
mod demo;
mod diff;
mod endpoint;
mod explain;
mod import;
mod plugin;
mod record;
mod reload;
mod replay;
mod rollout;
mod routes;
mod status;
mod validate;

use std::process::ExitCode;

use anyhow::Context;

use crate::cli::{Cli, Command, LogFormat, LogOptions, PluginCommand, WRONG_USAGE};
use crate::output::{Usage, complain, print};
use crate::plugins::Catalog;
use crate::run;
use crate::run::{compiler, footprint};

/// Carries out what was asked.
///
/// # Errors
/// What was refused, and why.
pub(crate) fn execute(cli: Cli) -> anyhow::Result<ExitCode> {
    if !cli.command.serves_or_keeps() {
        footprint::leave_nothing();
    }
    match cli.command {
        Command::Run(config) => {
            start_log(&cli.log)?;
            run::run(&config.find()?, |_| ())
        }
        Command::Validate(arguments) => {
            start_log(&LogOptions { log_level: "warn".to_owned(), ..cli.log })?;
            validate::run(&arguments)
        }
        Command::Explain(arguments) => {
            start_log(&LogOptions { log_level: "warn".to_owned(), ..cli.log.clone() })?;
            usage_or(explain::run(&arguments), cli.log.log_format)
        }
        Command::Record(arguments) => usage_or(record::run(&arguments), cli.log.log_format),
        Command::Replay(arguments) => {
            start_log(&LogOptions { log_level: "warn".to_owned(), ..cli.log.clone() })?;
            Ok(replay::run(&arguments).unwrap_or_else(|error| {
                complain(&error, cli.log.log_format);
                ExitCode::from(replay::TROUBLE)
            }))
        }
        Command::Diff(arguments) => Ok(diff::run(&arguments).unwrap_or_else(|error| {
            complain(&error, cli.log.log_format);
            ExitCode::from(diff::TROUBLE)
        })),
        Command::Import(arguments) => Ok(import::run(&arguments).unwrap_or_else(|error| {
            complain(&error, cli.log.log_format);
            ExitCode::from(import::TROUBLE)
        })),
        Command::CompilePlugin(arguments) => compiler::run(&arguments),
        Command::Schema => print(&format!("{:#}\n", portcullis_config::schema(&Catalog))),
        Command::Routes(arguments) => routes::run(&arguments),
        Command::Reload(arguments) => reload::run(&arguments),
        Command::Status(arguments) => status::show(&arguments),
        Command::Plugin { command } => {
            // What a policy under test logs is a part of the results, and its faults are too.
            let level = match command {
                PluginCommand::Test(_) => "off",
                PluginCommand::Dev(_) => &cli.log.log_level,
                _ => "warn",
            };
            start_log(&LogOptions { log_level: level.to_owned(), ..cli.log.clone() })?;
            plugin::run(&command, cli.log.log_format)
        }
        Command::Endpoint { command } => endpoint::run(&command),
        Command::Rollout { command } => rollout::run(&command),
        Command::Cache { command } => cache::run(&command),
        Command::Demo(arguments) => {
            start_log(&cli.log)?;
            demo::run(&arguments)
        }
    }
}

/// Wrong usage that clap cannot see ends like the one that it sees.
fn usage_or(outcome: anyhow::Result<ExitCode>, format: LogFormat) -> anyhow::Result<ExitCode> {
    match outcome {
        Err(error) if error.is::<Usage>() => {
            complain(&error, format);
            Ok(ExitCode::from(WRONG_USAGE))
        }
        outcome => outcome,
    }
}

fn start_log(options: &LogOptions) -> anyhow::Result<()> {
    let format = match options.log_format {
        LogFormat::Text => portcullis_telemetry::LogFormat::Text,
        LogFormat::Json => portcullis_telemetry::LogFormat::Json,
    };
    portcullis_telemetry::init(format, &options.log_level).context("the log cannot be set up")
}
