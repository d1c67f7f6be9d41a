//! `portcullis reload`: has the running gateway load its configuration again, and says what became of it.

use std::process::ExitCode;

use portcullis_admin::{ReloadAnswer, ReloadRequest};

use crate::cli::{REFUSED, ReloadArguments};
use crate::commands::ask::ask;
use crate::output::{print, tell};

/// Asks, waits and prints.
///
/// # Errors
/// If no gateway answers.
pub(crate) fn run(arguments: &ReloadArguments) -> anyhow::Result<ExitCode> {
    let answer = ask(&arguments.gateway, &ReloadRequest {})?;
    if arguments.json {
        print(&format!("{:#}\n", serde_json::to_value(&answer)?))?;
    } else {
        say(&answer)?;
    }
    Ok(if answer.refused.is_some() { ExitCode::from(REFUSED) } else { ExitCode::SUCCESS })
}

fn say(answer: &ReloadAnswer) -> anyhow::Result<()> {
    let ReloadAnswer { generation, refused, changes, restart, took_ms, .. } = answer;
    if let Some(refusal) = refused {
        tell(&format!("{refusal}\ngeneration {generation} is still running\n"));
        return Ok(());
    }
    print(&format!("generation {generation} runs after {took_ms} ms: {changes}\n"))?;
    for setting in restart {
        tell(&format!("warning: {setting} changed, which takes effect at the next start only\n"));
    }
    Ok(())
}
