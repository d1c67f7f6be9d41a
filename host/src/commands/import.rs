//! `portcullis import`: says a configuration of nginx as the gateway's own.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read as _, Write as _};
use std::path::{Component, Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use portcullis_config::MainFile;
use portcullis_import::syntax::{FILE_BYTES_MAX, Files, Tree, glob_matches, read};
use portcullis_import::{Report, Translation, Verdict, translate};
use serde_json::{Value, json};

use crate::cli::{ImportArguments, REFUSED, ReportFormat};
use crate::output::{print, tell};
use crate::plugins::Catalog;
use crate::words::counted;

/// The exit code if there is no result.
pub(crate) const TROUBLE: u8 = 2;
/// How many files a pattern of an `include` may name.
const MATCHES_MAX: usize = 1_000;

/// Translates, writes the result, and reports what became of each directive.
///
/// # Errors
/// If the configuration cannot be read, or the result not be written.
pub(crate) fn run(arguments: &ImportArguments) -> anyhow::Result<ExitCode> {
    let main = fs::canonicalize(&arguments.config)
        .with_context(|| format!("cannot read {}", arguments.config.display()))?;
    let folder = main.parent().unwrap_or_else(|| Path::new("/")).display().to_string();
    let tree = read(&Disk, &main)?;
    if !tree.directives.iter().any(|directive| directive.name == "http") {
        bail!(
            "{} has no `http` block\n  = help: name the main file, usually /etc/nginx/nginx.conf, which includes the \
             others",
            arguments.config.display()
        );
    }
    let Translation { toml, report } = translate(&tree, &folder);
    let mistakes = mistakes(&toml);
    match arguments.report {
        ReportFormat::Text => tell(&as_text(&tree, &report)),
        ReportFormat::Json => tell(&format!("{:#}\n", as_json(&tree, &report, mistakes.as_deref()))),
    }
    match &arguments.out {
        Some(path) => write_new(path, &toml)?,
        None => drop(print(&toml)?),
    }
    if let (Some(mistakes), ReportFormat::Text) = (&mistakes, arguments.report) {
        tell(&format!("the result is not complete yet; `portcullis validate` says:\n{mistakes}\n"));
    }
    let complete = report.count(Verdict::Refused) == 0 && mistakes.is_none();
    Ok(if complete { ExitCode::SUCCESS } else { ExitCode::from(REFUSED) })
}

/// Returns what `portcullis validate` finds wrong with the text of the result.
fn mistakes(toml: &str) -> Option<String> {
    let loaded = portcullis_config::load(MainFile::with_text("<result>", toml), &Catalog);
    loaded.err().map(|mistakes| mistakes.to_string())
}

fn write_new(path: &Path, text: &str) -> anyhow::Result<()> {
    let opened = OpenOptions::new().write(true).create_new(true).open(path);
    let mut file = match opened {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            bail!("{} is there already\n  = help: name another file, or remove it first", path.display())
        }
        opened => opened.with_context(|| format!("cannot write {}", path.display()))?,
    };
    file.write_all(text.as_bytes()).with_context(|| format!("cannot write {}", path.display()))
}

fn as_text(tree: &Tree, report: &Report) -> String {
    let mut text = String::new();
    let findings = report.findings();
    for verdict in Verdict::ALL {
        for finding in findings.iter().filter(|finding| finding.verdict == verdict) {
            // What is not needed is counted: nginx's own files are full of it.
            if verdict == Verdict::Unneeded && finding.note.is_empty() {
                continue;
            }
            let file = tree.files.get(finding.place.file).map_or("", String::as_str);
            let note = if finding.note.is_empty() { String::new() } else { format!(": {}", finding.note) };
            let line = finding.place.line;
            text.push_str(&format!("{file}:{line}: {} `{}`{note}\n", verdict.word(), finding.directive));
        }
    }
    let counts = Verdict::ALL.map(|verdict| format!("{} {}", report.count(verdict), verdict.word()));
    text.push_str(&format!(
        "{} in {}: {}\n",
        counted(findings.len() as u64, "directive"),
        counted(tree.files.len() as u64, "file"),
        counts.join(", ")
    ));
    text
}

fn as_json(tree: &Tree, report: &Report, mistakes: Option<&str>) -> Value {
    let one = |finding: &&portcullis_import::Finding| {
        json!({
            "file": tree.files.get(finding.place.file),
            "line": finding.place.line,
            "directive": finding.directive,
            "verdict": finding.verdict.word(),
            "note": finding.note,
        })
    };
    let counts: serde_json::Map<String, Value> = Verdict::ALL
        .iter()
        .map(|verdict| (verdict.word().to_owned(), report.count(*verdict).into()))
        .collect();
    json!({
        "counts": counts,
        "findings": report.findings().iter().map(one).collect::<Vec<_>>(),
        "mistakes": mistakes,
    })
}

/// Files of this machine.
#[derive(Debug)]
struct Disk;

impl Files for Disk {
    fn text(&self, path: &Path) -> Result<String, String> {
        let problem = |reason: &str| format!("{} cannot be read: {reason}", path.display());
        let about = fs::metadata(path).map_err(|error| problem(&error.to_string()))?;
        if !about.is_file() {
            return Err(problem("it is not a file"));
        }
        let file = File::open(path).map_err(|error| problem(&error.to_string()))?;
        let mut bytes = Vec::new();
        file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(|error| problem(&error.to_string()))?;
        if bytes.len() as u64 > FILE_BYTES_MAX {
            return Err(problem(&format!("it is larger than {} MiB", FILE_BYTES_MAX >> 20)));
        }
        // Comments may be in any encoding.
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn matching(&self, pattern: &Path) -> Result<Vec<PathBuf>, String> {
        let mut found = vec![PathBuf::new()];
        for component in pattern.components() {
            let Component::Normal(part) = component else {
                found.iter_mut().for_each(|path| path.push(component));
                continue;
            };
            let part = part.to_string_lossy();
            if !part.contains(['*', '?', '[']) {
                found.iter_mut().for_each(|path| path.push(&*part));
                continue;
            }
            let mut next = Vec::new();
            for folder in found {
                // A folder that is missing or closed has no files.
                let Ok(entries) = fs::read_dir(&folder) else { continue };
                let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
                next.extend(names.filter(|name| glob_matches(&part, name)).map(|name| folder.join(name)));
                if next.len() > MATCHES_MAX {
                    return Err(format!("{} names more than {MATCHES_MAX} files", pattern.display()));
                }
            }
            found = next;
        }
        found.retain(|path| path.exists());
        found.sort();
        Ok(found)
    }
}
