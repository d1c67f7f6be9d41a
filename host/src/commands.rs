//! Carries out the commands, and prints what they have to say.

use std::cmp::Reverse;
use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::Context;
use portcullis_model::{HostPattern, Route, RouteMatch};
use serde_json::json;

use crate::cli::{Cli, Command, LogFormat, LogOptions, RoutesArguments, ValidateArguments, WRONG_USAGE};
use crate::compose;
use crate::plugins::{self, Catalog};
use crate::refusal::{Refusal, said};
use crate::shown::printable;
use crate::table::table;
use crate::{compiler, demo, diff, explain, footprint, record, reload, replay, report, rollout, run, status};

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
            validate(&arguments)
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
        Command::CompilePlugin(arguments) => compiler::run(&arguments),
        Command::Schema => print(&format!("{:#}\n", portcullis_config::schema(&Catalog))),
        Command::Routes(arguments) => routes(&arguments),
        Command::Reload(arguments) => reload::run(&arguments),
        Command::Status(arguments) => status::show(&arguments),
        Command::Plugins(arguments) => {
            start_log(&LogOptions { log_level: "warn".to_owned(), ..cli.log })?;
            plugins::execute(&arguments.command)
        }
        Command::Rollout { command } => rollout::command::run(&command),
        Command::Demo(arguments) => {
            start_log(&cli.log)?;
            demo::run(&arguments)
        }
    }
}

/// Wrong usage that clap cannot see ends like the one that it sees.
fn usage_or(outcome: anyhow::Result<ExitCode>, format: LogFormat) -> anyhow::Result<ExitCode> {
    match outcome {
        Err(error) if error.is::<explain::Usage>() => {
            complain(&error, format);
            Ok(ExitCode::from(WRONG_USAGE))
        }
        outcome => outcome,
    }
}

/// Tells why a command failed, on standard error: in the form of its log.
pub(crate) fn complain(error: &anyhow::Error, format: LogFormat) {
    // A refusal brings its own marks, one for each mistake.
    let text = match error.downcast_ref::<Refusal>() {
        Some(refusal) => {
            // What was said about it on the way here is advice.
            let (refusal, said) = (refusal.to_string(), error.to_string());
            if said == refusal { format!("{refusal}\n") } else { format!("{refusal}\n  = help: {said}\n") }
        }
        None => format!("error: {}\n", said(error)),
    };
    let text = match format {
        LogFormat::Text => text,
        LogFormat::Json => {
            format!("{}\n", json!({ "level": "ERROR", "event": "failed", "message": text.trim_end() }))
        }
    };
    tell(&text);
}

/// Writes `text` to standard error, without what would steer a terminal: a plugin, a registry or a peer may have written parts of
/// it.
pub(crate) fn tell(text: &str) {
    // Where it is closed there is nobody to tell.
    drop(io::stderr().write_all(printable(text).as_bytes()));
}

/// Writes `text` to standard output, without what would steer a terminal. That the reader has gone, as in `portcullis schema | head`, is no failure.
///
/// # Errors
/// Where it cannot be written for another reason.
pub(crate) fn print(text: &str) -> anyhow::Result<ExitCode> {
    let mut out = io::stdout().lock();
    match out.write_all(printable(text).as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(error).context("cannot write to standard output")
        }
        _ => Ok(ExitCode::SUCCESS),
    }
}

fn start_log(options: &LogOptions) -> anyhow::Result<()> {
    let format = match options.log_format {
        LogFormat::Text => portcullis_telemetry::LogFormat::Text,
        LogFormat::Json => portcullis_telemetry::LogFormat::Json,
    };
    portcullis_telemetry::init(format, &options.log_level).context("the log cannot be set up")
}

fn validate(arguments: &ValidateArguments) -> anyhow::Result<ExitCode> {
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

fn routes(arguments: &RoutesArguments) -> anyhow::Result<ExitCode> {
    let gateway = portcullis_config::load(&arguments.config.find()?, &Catalog).map_err(Refusal::Config)?;
    if arguments.json {
        let list: Vec<_> = gateway.routes.iter().map(as_json).collect();
        return print(&format!("{:#}\n", serde_json::Value::from(list)));
    }
    let header =
        ["ROUTE", "HOST", "PATH", "METHODS", "HEADERS", "LISTENERS", "TLS", "POLICIES", "UPSTREAM", "ORIGIN"];
    print(&table(header, rows(&gateway.routes)))
}

fn as_json(route: &Route) -> serde_json::Value {
    let RouteMatch { path, methods, fields, .. } = &route.matches;
    json!({
        "name": &*route.name,
        "hosts": route.matches.hosts().iter().map(ToString::to_string).collect::<Vec<_>>(),
        "path": path.to_string(),
        "methods": methods,
        "headers": fields.iter().map(|field| (field.name.clone(), json!(field.value))).collect::<serde_json::Map<_, _>>(),
        "listeners": route.listeners.iter().map(|name| &**name).collect::<Vec<_>>(),
        "tls": if route.tls_required { "required" } else { "any" },
        "policies": route.policies.iter().map(|name| &**name).collect::<Vec<_>>(),
        "upstreams": route.upstreams.iter().map(|name| &**name).collect::<Vec<_>>(),
        "file": &*route.origin.file,
        "line": route.origin.line,
    })
}

/// A row for each host of each route, in the order in which they are tried.
fn rows(routes: &[Route]) -> impl Iterator<Item = [String; 10]> {
    let hosts = routes.iter().flat_map(|route| route.matches.hosts().iter().map(move |host| (route, host)));
    let mut hosts: Vec<(&Route, &HostPattern)> = hosts.collect();
    hosts.sort_by_cached_key(|(route, host)| {
        (Reverse(route.matches.specificity_by(host)), route.name.clone())
    });
    hosts.into_iter().map(|(route, host)| row(route, host))
}

fn row(route: &Route, host: &HostPattern) -> [String; 10] {
    let RouteMatch { path, methods, fields, .. } = &route.matches;
    let fields: Vec<String> = fields
        .iter()
        .map(|field| match &field.value {
            Some(value) => format!("{}={value}", field.name),
            None => field.name.clone(),
        })
        .collect();
    let or = |text: String, absent: &str| if text.is_empty() { absent.to_owned() } else { text };
    [
        route.name.to_string(),
        host.to_string(),
        path.to_string(),
        or(methods.join(","), "*"),
        or(fields.join(","), "-"),
        or(route.listeners.join(","), "*"),
        if route.tls_required { "required" } else { "*" }.to_owned(),
        or(route.policies.join(" > "), "-"),
        route.upstreams.join(","),
        format!("{}:{}", route.origin.file, route.origin.line),
    ]
}
