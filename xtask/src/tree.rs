//! The files of the work tree.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Folders that hold what is made, not what is written, wherever they are.
const SKIPPED: [&str; 5] = [".git", "portcullis-demo", "results", "node_modules", "venv"];

/// Folders of the same kind at their places: a folder of sources may be called `target` too.
const SKIPPED_PATHS: [&str; 3] = ["target", "fuzz/target", "plugin-sdk/rust/bindings"];

/// The root of the workspace.
pub(crate) fn root() -> PathBuf {
    // `cargo run` and `cargo test` set it. Asked when it runs: a target folder may outlive the checkout that it was
    // filled from, and then names a folder that is gone or, worse, another one.
    let own = std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    let own = Path::new(&own);
    own.parent().unwrap_or(own).to_path_buf()
}

/// A file and its text.
pub(crate) struct Source {
    /// Relative to the root, with forward slashes.
    pub(crate) path: String,
    pub(crate) text: String,
}

/// Every text file below the root whose name ends in one of `endings`, in the order of their paths.
pub(crate) fn sources(endings: &[&str]) -> Result<Vec<Source>> {
    let mut found = Vec::new();
    collect(&root(), "", endings, &mut found)?;
    found.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
}

fn collect(folder: &Path, prefix: &str, endings: &[&str], found: &mut Vec<Source>) -> Result<()> {
    for entry in std::fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = format!("{prefix}{name}");
        let kind = entry.file_type()?;
        if kind.is_dir() {
            if SKIPPED.contains(&name.as_str()) || SKIPPED_PATHS.contains(&path.as_str()) {
                continue;
            }
            collect(&entry.path(), &format!("{path}/"), endings, found)?;
        } else if kind.is_file() && endings.iter().any(|ending| name.ends_with(ending)) {
            let text =
                std::fs::read_to_string(entry.path()).with_context(|| format!("cannot read {path}"))?;
            found.push(Source { path, text });
        }
    }
    Ok(())
}
