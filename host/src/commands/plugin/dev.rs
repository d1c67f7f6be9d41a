//! `portcullis plugin dev`: a gateway that runs the plugin of a folder, which is built again when a file is saved.
//!
//! The gateway is that of `portcullis run`: it watches the component and swaps it by itself, as it does for an
//! operator. Building goes on beside it, on a thread of its own.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, bail};
use portcullis_model::text::escape as shown;

use super::build::build;
use super::test;
use crate::cli::DevArguments;
use crate::output::tell;
use crate::refusal::said;
use crate::run;
use crate::run::watch::Watch;

/// Folders that hold what tools made.
const SKIPPED: [&str; 4] = ["target", "build", "node_modules", "__pycache__"];
/// Files that are watched, and how deep they are looked for.
const FILES_MAX: usize = 10_000;
const DEPTH_MAX: usize = 16;
/// How long files are left alone before they are built.
const SETTLE: Duration = Duration::from_millis(50);

/// Builds, runs the gateway, and builds again whenever a file is saved, until the gateway ends.
///
/// # Errors
/// If the plugin does not build at first, or the gateway cannot run.
pub(super) fn run(arguments: &DevArguments) -> anyhow::Result<ExitCode> {
    let folder = &arguments.folder;
    let config = arguments.config.clone().unwrap_or_else(|| folder.join("gateway.toml"));
    if !config.is_file() {
        bail!(
            "there is no config {}\n  = help: name one with -c; `portcullis plugin new` makes one for a new plugin",
            shown(&config.display().to_string())
        );
    }
    let read_at = SystemTime::now();
    rebuild(arguments)?;
    let (saved, saves) = mpsc::sync_channel(1);
    let watch = Watch::start(move || {
        // One save that waits stands for any number of them.
        let _full = saved.try_send(());
    });
    let watch = watch.context("files cannot be watched")?;
    drop(watch.files(sources(folder)?, read_at, SETTLE));
    let builds = arguments.clone();
    let build = move || keep_building(&builds, &watch, &saves);
    std::thread::Builder::new().name("build".to_owned()).spawn(build).context("no thread can be started")?;
    run::run(&config, |_| ())
}

/// Builds each time that a file was saved.
fn keep_building(arguments: &DevArguments, watch: &Watch, saves: &Receiver<()>) {
    while saves.recv().is_ok() {
        let read_at = SystemTime::now();
        if let Err(error) = rebuild(arguments) {
            tell(&format!("error: {}\nthe plugin from before keeps running\n", said(&error)));
        }
        match sources(&arguments.folder) {
            Ok(files) => drop(watch.files(files, read_at, SETTLE)),
            Err(error) => tell(&format!("error: {}\n", said(&error))),
        }
    }
}

/// Builds, and runs the test cases, if there are any.
fn rebuild(arguments: &DevArguments) -> anyhow::Result<()> {
    let start = Instant::now();
    let built = build(&arguments.folder)?;
    tell(&format!(
        "built {} in {:.1} s: {}\n",
        shown(&built.path.display().to_string()),
        start.elapsed().as_secs_f64(),
        built.summary
    ));
    if !arguments.no_test {
        test::run_below(&arguments.folder)?;
    }
    Ok(())
}

/// The files of a project that its component is made of, and the folders that they are in.
fn sources(folder: &Path) -> anyhow::Result<BTreeSet<PathBuf>> {
    let mut found = BTreeSet::new();
    let mut rest = vec![(std::path::absolute(folder).context("the folder cannot be found")?, 0)];
    while let Some((folder, depth)) = rest.pop() {
        let unreadable = || format!("the folder {} cannot be read", shown(&folder.display().to_string()));
        for entry in std::fs::read_dir(&folder).with_context(unreadable)? {
            let path = entry.with_context(unreadable)?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let Ok(kind) = std::fs::symlink_metadata(&path) else { continue };
            if name.starts_with('.') || SKIPPED.contains(&&*name) || name.ends_with(".wasm") {
                continue;
            }
            if kind.is_dir() && depth < DEPTH_MAX {
                rest.push((path, depth + 1));
            } else if path.is_file() {
                found.insert(path);
            }
        }
        if found.len() > FILES_MAX {
            bail!("there are more than {FILES_MAX} files in {}", shown(&folder.display().to_string()));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::sources;

    #[test]
    fn what_a_build_leaves_is_no_source() {
        let dir = tempfile::tempdir().unwrap();
        for path in
            ["src/lib.rs", "tests/a.cases.toml", "target/x/y", "node_modules/z", ".git/HEAD", "a.wasm"]
        {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        let found = sources(dir.path()).unwrap();
        let names: Vec<_> =
            found.iter().map(|path| path.strip_prefix(dir.path()).unwrap().to_str().unwrap()).collect();
        assert_eq!(names, ["src/lib.rs", "tests/a.cases.toml"]);
    }
}
