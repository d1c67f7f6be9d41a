//! `portcullis demo`: a gateway with two upstream servers of its own, for trying things out.

mod certificate;
mod files;
mod screen;
mod upstream;

use std::process::ExitCode;

use anyhow::Context;

use crate::cli::DemoArguments;
use crate::output;
use crate::refusal::Refusal;
use crate::run;
use crate::run::runtime;

/// Runs the demo until a signal stops it.
///
/// # Errors
/// If its files cannot be written or the gateway cannot start.
pub(crate) fn run(arguments: &DemoArguments) -> anyhow::Result<ExitCode> {
    let runtime = runtime::control_runtime()?;
    let code = runtime.block_on(demo(arguments));
    runtime.shutdown_background();
    code
}

async fn demo(arguments: &DemoArguments) -> anyhow::Result<ExitCode> {
    let one = upstream::start("one").await.context("the first upstream server cannot start")?;
    let two = upstream::start("two").await.context("the second upstream server cannot start")?;
    let files = files::prepare(arguments, [one.address(), two.address()])?;
    let show = |running: &crate::run::gateway::Running| {
        // If standard output is closed, the gateway runs all the same.
        if let Err(error) = output::print(&screen::text(&files, &running.listening())) {
            tracing::warn!("{error:#}");
        }
    };
    let outcome = run::supervise(&files.config, show).await;
    match outcome {
        Ok(code) => {
            output::print(&format!(
                "\nThe demo has ended. Its files are still in {}; `portcullis demo` goes on with them.\n",
                files.dir.display()
            ))?;
            Ok(code)
        }
        // Only an edit of the user can have made it wrong.
        Err(error) if error.is::<Refusal>() => Err(error.context(format!(
            "{} is as you edited it; `portcullis demo --reset` writes it anew",
            files.config.display()
        ))),
        Err(error) => Err(error.context(
            "the demo cannot start (choose other addresses with `--http 127.0.0.1:9080 --https 127.0.0.1:9443`)",
        )),
    }
}
