//! Runs programs, and installs those that a fresh machine lacks.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};

/// Runs a command in the root of the workspace with its output on the screen. Returns `false` if it ran and failed.
pub(crate) fn passes(command: &mut Command) -> Result<bool> {
    let status = command.current_dir(crate::tree::root()).status();
    Ok(status.with_context(|| format!("cannot run {command:?}"))?.success())
}

/// The standard output of a command that must succeed.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output = command.current_dir(crate::tree::root()).output();
    let output = output.with_context(|| format!("cannot run {command:?}"))?;
    if !output.status.success() {
        bail!("{command:?} failed:\n{}", String::from_utf8_lossy(&output.stderr));
    }
    String::from_utf8(output.stdout).with_context(|| format!("the output of {command:?} is not UTF-8"))
}

/// Returns the target folder of builds.
pub(crate) fn target() -> PathBuf {
    let named = std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into());
    crate::tree::root().join(named)
}

/// The cargo that runs this, with the toolchain of this workspace.
pub(crate) fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// A cargo subcommand as a program: the one on the PATH, or else one that is built once into the user's cache folder.
pub(crate) fn cargo_tool(name: &str, version: &str) -> Result<PathBuf> {
    let binary = format!("cargo-{name}");
    let search = std::env::var_os("PATH").unwrap_or_default();
    if let Some(found) =
        std::env::split_paths(&search).map(|folder| folder.join(&binary)).find(|path| path.is_file())
    {
        return Ok(found);
    }
    let home = std::env::var_os("HOME").context("HOME is not set: there is no folder for tools")?;
    let tools = PathBuf::from(home).join(".cache/portcullis-ci/tools").join(format!("{binary}-{version}"));
    let built = tools.join("bin").join(&binary);
    if !built.is_file() {
        eprintln!("{binary} is missing: building {version} into {} (some minutes, once)", tools.display());
        let mut install = cargo();
        install.args(["install", &binary, "--locked", "--version", version, "--root"]).arg(&tools);
        // Its dependencies have nothing in common with ours: a target folder of its own, which cargo removes.
        install.env_remove("CARGO_TARGET_DIR").env_remove("CARGO_BUILD_TARGET_DIR");
        if !passes(&mut install)? {
            bail!(
                "{binary} did not build. Install it with: cargo install {binary} --locked --version {version}"
            );
        }
    }
    Ok(built)
}
