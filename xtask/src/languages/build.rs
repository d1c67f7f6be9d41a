//! Builds an example in a folder of its own below the target folder, so that nothing of it lands in the work tree.
//!
//! What was installed stays until the lock file changes, and the component until a source does.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::Language;
use super::programs::run;
use crate::tools::target;
use crate::tree::root;

/// What each example's build makes.
const COMPONENT: &str = "key-check.wasm";
/// What the component was made of, beside it.
const MADE_OF: &str = "made-of";
/// What was installed, beside it.
const INSTALLED: &str = "installed";
/// What a component is not made of: what building it in the work tree leaves there, and what is for readers and the
/// gateway.
const SKIPPED: [&str; 6] = ["node_modules", "venv", "__pycache__", COMPONENT, "README.md", "gateway.toml"];

/// Returns the example's component, after building it if a source has changed.
pub(super) fn component(language: &Language) -> Result<PathBuf> {
    let folder = target().join("xtask-languages").join(language.name);
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let mut sources = BTreeMap::new();
    read(&root().join("examples").join(language.name), Path::new(""), &mut sources)?;
    let made_of: Vec<u8> = sources.iter().flat_map(|(path, bytes)| described(path, bytes)).collect();
    let component = folder.join(COMPONENT);
    if component.is_file() && std::fs::read(folder.join(MADE_OF)).is_ok_and(|made| made == made_of) {
        return Ok(component);
    }
    clear(&folder)?;
    for (path, bytes) in &sources {
        let to = folder.join(path);
        std::fs::create_dir_all(to.parent().unwrap_or(&folder))?;
        std::fs::write(&to, bytes).with_context(|| format!("cannot write {}", to.display()))?;
    }
    (language.build)(&folder)?;
    if !component.is_file() {
        bail!("building examples/{} left no {COMPONENT}", language.name);
    }
    std::fs::write(folder.join(MADE_OF), made_of)?;
    Ok(component)
}

/// `npm ci` and the example's own build.
pub(super) fn javascript(folder: &Path) -> Result<()> {
    install(folder, "package-lock.json", |folder| {
        let done =
            run(Command::new("npm").args(["ci", "--no-audit", "--no-fund", "--loglevel", "error"]), folder);
        done.context("npm could not install what examples/javascript/package-lock.json names; is its registry reached?")
    })?;
    run(Command::new("npm").args(["run", "--silent", "build"]), folder)
}

/// An environment with componentize-py, and the example's own build.
pub(super) fn python(folder: &Path) -> Result<()> {
    let python = folder.join("venv/bin/python");
    install(folder, "requirements.txt", |folder| {
        run(Command::new("python3").args(["-m", "venv", "--clear", "venv"]), folder).context(
            "no virtual environment can be made; on Debian `apt-get install python3-venv` brings what it takes",
        )?;
        let pip =
            ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", "requirements.txt"];
        let done = run(Command::new(&python).args(pip), folder);
        done.context(
            "pip could not install what examples/python/requirements.txt names; is its index reached?",
        )
    })?;
    run(Command::new(&python).arg("build.py"), folder)
}

/// Installs what `lock` names, unless that was done.
fn install(folder: &Path, lock: &str, install: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let marker = folder.join(INSTALLED);
    let locked = std::fs::read(folder.join(lock)).with_context(|| format!("cannot read {lock}"))?;
    if std::fs::read(&marker).is_ok_and(|installed| installed == locked) {
        return Ok(());
    }
    if marker.exists() {
        std::fs::remove_file(&marker)?;
    }
    install(folder)?;
    Ok(std::fs::write(&marker, locked)?)
}

/// The files of an example. Links are followed: one leads to the contract.
fn read(folder: &Path, prefix: &Path, sources: &mut BTreeMap<PathBuf, Vec<u8>>) -> Result<()> {
    for entry in std::fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))? {
        let entry = entry?;
        if SKIPPED.iter().any(|skipped| entry.file_name() == *skipped) {
            continue;
        }
        let (from, path) = (entry.path(), prefix.join(entry.file_name()));
        if from.is_dir() {
            read(&from, &path, sources)?;
        } else {
            let bytes = std::fs::read(&from).with_context(|| format!("cannot read {}", from.display()))?;
            sources.insert(path, bytes);
        }
    }
    Ok(())
}

fn described(path: &Path, bytes: &[u8]) -> Vec<u8> {
    [format!("{} {}\n", path.display(), bytes.len()).as_bytes(), bytes].concat()
}

/// Removes all but what was installed, so that no file stays that the example has no more.
fn clear(folder: &Path) -> Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        if name == INSTALLED || name == "node_modules" || name == "venv" {
            continue;
        }
        match entry.file_type()?.is_dir() {
            true => std::fs::remove_dir_all(entry.path())?,
            false => std::fs::remove_file(entry.path())?,
        }
    }
    Ok(())
}
