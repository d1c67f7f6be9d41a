//! The `portcullis` binary: glue between the command line and the parts.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test may panic"))]

mod changes;
mod cli;
mod commands;
mod compiler;
mod compose;
mod control;
mod demo;
mod diff;
mod explain;
mod footprint;
mod gateway;
mod logs;
mod metrics;
mod open_files;
mod plugins;
mod record;
mod refusal;
mod reload;
mod reloads;
mod replay;
mod report;
mod rollout;
mod run;
mod shown;
mod signals;
mod stamp;
mod status;
mod table;
mod trace;
mod watch;

use std::process::ExitCode;
use std::time::Duration;

/// The system's allocator keeps what the compiler of each generation leaves between longer-lived things: memory would climb
/// with every reload.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How long the last log lines may take to be written.
const LOG_PATIENCE: Duration = Duration::from_secs(2);

fn main() -> ExitCode {
    let cli = cli::parse();
    let format = cli.log.log_format;
    let outcome = commands::execute(cli);
    // The log is written by a thread of its own, which ends with the process.
    let _written = portcullis_telemetry::flush(LOG_PATIENCE);
    outcome.unwrap_or_else(|error| {
        commands::complain(&error, format);
        ExitCode::from(cli::REFUSED)
    })
}
