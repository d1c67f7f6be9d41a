//! Projects of `portcullis plugin new` in the languages whose components the gateway's own command makes, and the
//! policy of `tests/languages` in each of them, which goes through the same cases.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use super::programs;
use crate::tools::target;
use crate::tree::root;

/// A language with an SDK.
struct Project {
    name: &'static str,
    /// What a component of a small policy may take.
    bytes_max: u64,
    /// Whether the gateway compiles it within seconds: CPython takes minutes, so that it runs the cases alone.
    compiles_soon: bool,
}

const PROJECTS: [Project; 3] = [
    Project { name: "c", bytes_max: 20_000, compiles_soon: true },
    Project { name: "go", bytes_max: 3_500_000, compiles_soon: true },
    Project { name: "python", bytes_max: 20_000_000, compiles_soon: false },
];

/// What pip installs: the compiler of C, and what makes components of Python.
const PACKAGES: [&str; 2] = ["ziglang==0.17.1", "componentize-py==0.25.1"];

/// Builds them all, and runs their cases.
pub(super) fn run(gateway: &Path) -> Result<()> {
    if !programs::is_there("go", "version") {
        bail!(
            "`go` for the policy in Go is missing: install Go 1.24 or newer, as https://go.dev/doc/install says"
        );
    }
    let mut path = tools()?.join("bin").into_os_string();
    if let Some(others) = std::env::var_os("PATH") {
        path.push(":");
        path.push(others);
    }
    for project in &PROJECTS {
        project.try_out(gateway, &path).with_context(|| format!("policies in {}", project.name))?;
    }
    Ok(())
}

/// The folder of an environment of Python's with the tools, which is made once.
fn tools() -> Result<PathBuf> {
    let home = std::env::var_os("HOME").context("HOME is not set: there is no folder for tools")?;
    let folder =
        PathBuf::from(home).join(".cache/portcullis-ci/tools").join(PACKAGES.join("-").replace("==", "-"));
    // Written when all is installed.
    let marker = folder.join("installed");
    if marker.is_file() {
        return Ok(folder);
    }
    let python = folder.join("bin/python3");
    if let Some(parent) = folder.parent() {
        std::fs::create_dir_all(parent)?;
    }
    programs::run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&folder), &root()).context(
        "no virtual environment can be made; on Debian `apt-get install python3-venv` brings what it takes",
    )?;
    let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"];
    programs::run(Command::new(&python).args(pip).args(PACKAGES), &root()).with_context(|| {
        format!("pip could not install {}; is its index reached?", PACKAGES.join(" and "))
    })?;
    std::fs::write(marker, "")?;
    Ok(folder)
}

impl Project {
    fn try_out(&self, gateway: &Path, path: &OsString) -> Result<()> {
        let folder = target().join("xtask-languages/projects").join(self.name);
        if folder.exists() {
            std::fs::remove_dir_all(&folder)?;
        }
        std::fs::create_dir_all(&folder)?;
        let portcullis = |below: &str, arguments: &[&str]| -> Result<String> {
            let mut command = Command::new(gateway);
            command.current_dir(folder.join(below)).env("PATH", path).args(arguments);
            let output = command.output().context("the gateway cannot be run")?;
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            ensure!(
                output.status.success(),
                "portcullis {}:\n{said}{}",
                arguments.join(" "),
                String::from_utf8_lossy(&output.stderr)
            );
            Ok(said)
        };
        // As the page for newcomers has it.
        portcullis("", &["plugin", "new", "first-policy", "--lang", self.name])?;
        let built = portcullis("first-policy", &["plugin", "build"])?;
        ensure!(built.contains("on-request-head, on-response-head, needs no grants"), "{built}");
        let bytes = std::fs::metadata(folder.join("first-policy/first-policy.wasm"))?.len();
        ensure!(
            bytes <= self.bytes_max,
            "a small policy takes {bytes} bytes, and may take {}",
            self.bytes_max
        );
        if self.compiles_soon {
            let tested = portcullis("first-policy", &["plugin", "test"])?;
            ensure!(tested.contains("6 runs of 1 file: 6 passed, 0 failed"), "{tested}");
            let explained = portcullis("first-policy", &["explain", "-c", "gateway.toml", "GET", "/"])?;
            ensure!(explained.contains("x-checked-by: first-policy"), "{explained}");
        }

        let conformance = folder.join("conformance");
        let sources = root().join("tests/languages");
        copy(&sources.join(self.name), &conformance)?;
        std::fs::copy(sources.join("manifest.json"), conformance.join("manifest.json"))?;
        let built = portcullis("conformance", &["plugin", "build"])?;
        let cases = sources.join("conformance.cases.toml");
        let cases = cases.to_str().context("a path that is not text")?;
        let component = conformance.join("conformance.wasm");
        let component = component.to_str().context("a path that is not text")?;
        let tested = portcullis("conformance", &["plugin", "test", cases, "--plugin", component])?;
        let summary = tested.lines().last().unwrap_or_default();
        println!("{}: a small policy of {bytes} bytes; {}; {summary}", self.name, built.trim_end());
        Ok(())
    }
}

/// Copies the files of a folder.
fn copy(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from).with_context(|| format!("cannot list {}", from.display()))? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            std::fs::copy(entry.path(), to.join(entry.file_name()))?;
        }
    }
    Ok(())
}
