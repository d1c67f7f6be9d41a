//! Builds a plugin in Rust with cargo.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};
use serde_json::Value;

use super::tools::{output, tool};

/// The target of components in Rust.
const TARGET: &str = "wasm32-wasip2";

/// Builds with cargo, and returns the component that it says it has made.
pub(super) fn build(folder: &Path) -> anyhow::Result<PathBuf> {
    let cargo =
        tool("cargo", "install Rust as https://rustup.rs says, or on Debian with `apt-get install rustup`")?;
    if let Some(sysroot) = output("rustc", &["--print", "sysroot"])
        && !Path::new(sysroot.trim()).join("lib/rustlib").join(TARGET).is_dir()
    {
        bail!("Rust cannot build components here\n  = help: rustup target add {TARGET}");
    }
    let mut cargo = Command::new(cargo);
    cargo.args(["build", "--release", "--target", TARGET, "--message-format", "json-render-diagnostics"]);
    let output = cargo.current_dir(folder).stdin(Stdio::null()).stderr(Stdio::inherit()).output();
    let output = output.context("cargo cannot be run")?;
    if !output.status.success() {
        bail!("cargo could not build it; its messages are above");
    }
    let said = String::from_utf8_lossy(&output.stdout);
    artifact(&said).context(
        "cargo made no component\n  = help: the library wants crate-type = [\"cdylib\"] in Cargo.toml",
    )
}

/// The last component that cargo says it has made: that of the package itself, for it comes after what it needs.
fn artifact(said: &str) -> Option<PathBuf> {
    let messages = said.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let artifacts = messages.filter(|message| message["reason"] == "compiler-artifact");
    let files = artifacts.flat_map(|artifact| artifact["filenames"].as_array().cloned().unwrap_or_default());
    let components = files.filter_map(|file| Some(PathBuf::from(file.as_str()?)));
    components.fold(None, |last, file| {
        if file.extension().is_some_and(|extension| extension == "wasm") { Some(file) } else { last }
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::artifact;

    #[test]
    fn the_component_is_the_last_that_cargo_names() {
        let said = "{\"reason\":\"compiler-artifact\",\"filenames\":[\"/t/libdep.rlib\",\"/t/dep.wasm\"]}\n\
                    not json\n\
                    {\"reason\":\"compiler-artifact\",\"filenames\":[\"/t/a.wasm\",\"/t/liba.rlib\"]}\n\
                    {\"reason\":\"build-finished\",\"success\":true}\n";
        assert_eq!(artifact(said).as_deref(), Some(Path::new("/t/a.wasm")));
        assert_eq!(artifact("{}"), None);
    }
}
