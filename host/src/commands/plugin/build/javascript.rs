//! Builds a plugin in JavaScript or TypeScript with npm.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};
use serde_json::Value;

use super::tools;

/// The folder for what `npm run build` makes.
const MADE: &str = "build";

/// Builds with npm, after installing what package.json names if that was not done. Returns what that leaves, and the
/// place of the component: a gateway that runs would take one without its manifest from there.
pub(super) fn build(folder: &Path) -> anyhow::Result<(PathBuf, PathBuf)> {
    let help =
        "install Node.js 20 or newer, which brings npm along, or on Debian `apt-get install nodejs npm`";
    let npm = tools::tool("npm", help)?;
    let run =
        |arguments: &[&str], failed: &str| tools::run(Command::new(npm).args(arguments), folder, failed);
    if !folder.join("node_modules").is_dir() {
        let install = if folder.join("package-lock.json").is_file() { "ci" } else { "install" };
        run(
            &[install, "--no-audit", "--no-fund", "--loglevel", "error"],
            "npm could not install what package.json names",
        )?;
    }
    run(&["run", "--silent", "build"], "`npm run build` failed")?;
    let package = fs::read(folder.join("package.json")).context("package.json cannot be read")?;
    let package: Value = serde_json::from_slice(&package).context("package.json is not JSON")?;
    let name = package["name"]
        .as_str()
        .filter(|name| !name.contains(['/', '\\']))
        .context("package.json has no `name`")?;
    let file = format!("{name}.wasm");
    let made = folder.join(MADE).join(&file);
    if !made.is_file() {
        bail!("`npm run build` left no {MADE}/{file}, which is what `name` in package.json promises");
    }
    Ok((made, folder.join(file)))
}
