//! The `portcullis` binary: glue between the command line and the parts.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test may panic"))]

mod cli;
mod commands;
mod output;
mod plugins;
mod refusal;
mod run;
mod table;
mod words;

use std::process::ExitCode;
use std::time::Duration;

/// The system's allocator keeps what the compiler of each generation leaves between longer-lived things: memory would
/// climb with every reload.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How long the last log lines may take to be written.
const LOG_TIMEOUT: Duration = Duration::from_secs(2);

fn main() -> ExitCode {
    let cli = cli::parse();
    let format = cli.log.log_format;
    let outcome = commands::execute(cli);
    // The log is written by a thread of its own, which ends with the process.
    let _written = portcullis_telemetry::flush(LOG_TIMEOUT);
    outcome.unwrap_or_else(|error| {
        output::complain(&error, format);
        ExitCode::from(cli::REFUSED)
    })
}
