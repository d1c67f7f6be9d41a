//! The programs that build plugins.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, bail};

/// A program that there has to be.
pub(super) fn tool(name: &'static str, help: &str) -> anyhow::Result<&'static str> {
    match output(name, &["--version"]) {
        Some(_) => Ok(name),
        None => bail!("`{name}` is not found, or does not run\n  = help: {help}"),
    }
}

/// What a program prints, if it runs and succeeds.
pub(super) fn output(program: &str, arguments: &[&str]) -> Option<String> {
    let output =
        Command::new(program).args(arguments).stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs a tool in a folder. Its messages go where ours do; what else it says is dropped.
pub(super) fn run(command: &mut Command, folder: &Path, failed: &str) -> anyhow::Result<()> {
    let status = command.current_dir(folder).stdin(Stdio::null()).stdout(Stdio::null()).status();
    let program = command.get_program().to_string_lossy().into_owned();
    if !status.with_context(|| format!("`{program}` cannot be run"))?.success() {
        bail!("{failed}; its messages are above");
    }
    Ok(())
}
