//! What the documents say, against what is so.
//!
//! A block that starts with "```toml complete" is a whole configuration and is given to `portcullis validate`, with the
//! certificates, secrets and other files that it names made up beside it (or taken from docs/files, if their content
//! matters). Every other "```toml" block must at least be TOML. In a "```console" block each line that starts with
//! `$ portcullis` (or `$ cargo run ... --`) must name a command and options that `--help` knows.

mod furnish;
mod markdown;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::outcome::Findings;
use crate::tools::{cargo, passes, target};
use crate::tree::{Source, root, sources};
use markdown::{Block, anchors, blocks, links as links_of, tests as tests_of};

/// The page whose tables name the tests that show each promise.
const PROMISES: &str = "docs/security-model.md";

pub(super) fn links() -> Result<Findings> {
    let documents = sources(&[".md"])?;
    let mut findings: Findings =
        documents.iter().flat_map(|document| broken_links(document, &documents)).collect();
    let promises = documents.iter().find(|document| document.path == PROMISES);
    let promises = promises.with_context(|| format!("there is no {PROMISES}"))?;
    findings.extend(missing_tests(promises, &sources(&[".rs"])?));
    Ok(findings)
}

/// Reports names of tests in the tables of `document`, as `module::test` or `plugin: test`, that no file of `code`
/// defines below a folder or file of the module's name.
fn missing_tests(document: &Source, code: &[Source]) -> Findings {
    let mut findings = Vec::new();
    for (line, name) in tests_of(&document.text) {
        let (modules, test) = name.rsplit_once([':', ' ']).unwrap_or(("", name));
        let module = modules.split([':', ' ']).rfind(|module| !matches!(*module, "" | "tests"));
        let has_test = |source: &&Source| source.text.contains(&format!("fn {test}("));
        let is_in_module = |source: &Source| {
            let mut parts = source.path.split('/');
            module.is_none_or(|module| parts.any(|part| part.strip_suffix(".rs").unwrap_or(part) == module))
        };
        if !code.iter().filter(has_test).any(is_in_module) {
            findings.push(format!("{}:{line}: there is no test `{name}`", document.path));
        }
    }
    findings
}

fn broken_links(document: &Source, documents: &[Source]) -> Findings {
    let folder = Path::new(&document.path).parent().unwrap_or(Path::new(""));
    let mut findings = Vec::new();
    for (line, target) in links_of(&document.text) {
        if target.contains("://") || target.starts_with("mailto:") {
            continue;
        }
        let (path, anchor) =
            target.split_once('#').map_or((target, None), |(path, anchor)| (path, Some(anchor)));
        let path = if path.is_empty() { PathBuf::from(&document.path) } else { normal(&folder.join(path)) };
        if !root().join(&path).exists() {
            findings.push(format!("{}:{line}: {target}: there is no {}", document.path, path.display()));
        } else if let Some(anchor) = anchor
            && let Some(to) = documents.iter().find(|to| Path::new(&to.path) == path)
            && !anchors(&to.text).contains(anchor)
        {
            findings.push(format!("{}:{line}: {target}: {} has no such heading", document.path, to.path));
        }
    }
    findings
}

/// Without `.` and `..`.
fn normal(path: &Path) -> PathBuf {
    path.components().fold(PathBuf::new(), |mut path, part| {
        match part {
            std::path::Component::ParentDir => {
                path.pop();
            }
            std::path::Component::CurDir => {}
            part => path.push(part),
        }
        path
    })
}

pub(super) fn examples() -> Result<Findings> {
    if !passes(cargo().args(["build", "--quiet", "--package", "portcullis"]))? {
        return Ok(vec!["the gateway does not build".to_owned()]);
    }
    let mut findings = Vec::new();
    for document in sources(&[".md"])? {
        for block in blocks(&document.text) {
            let at = format!("{}:{}", document.path, block.line);
            findings.extend(check_block(&at, &block)?);
        }
    }
    for file in sources(&[".toml"])?.iter().filter(|file| is_example(&file.path)) {
        let folder =
            root().join(&file.path).parent().map(Path::to_path_buf).context("a file is in a folder")?;
        findings.extend(validate(&file.path, &folder, &file.text)?);
    }
    Ok(findings)
}

/// `examples/*.toml` and `examples/*/portcullis.toml`.
fn is_example(path: &str) -> bool {
    let Some(rest) = path.strip_prefix("examples/") else { return false };
    !rest.contains('/') || rest.ends_with("/portcullis.toml")
}

fn check_block(at: &str, block: &Block<'_>) -> Result<Findings> {
    match block.language {
        "toml" if block.is_complete => validate(at, &root().join("docs/files"), &block.text),
        "toml" => {
            let parsed = toml::from_str::<toml::Table>(&block.text);
            Ok(parsed.err().map(|error| format!("{at}: {error}")).into_iter().collect())
        }
        "console" => {
            let commands =
                block.text.lines().filter_map(|line| line.strip_prefix("$ ")).filter_map(arguments);
            commands.filter_map(|words| check_command(at, &words).transpose()).collect()
        }
        _ => Ok(Vec::new()),
    }
}

/// Asks the gateway about a configuration, in a folder of its own that has what it names.
fn validate(at: &str, files: &Path, text: &str) -> Result<Findings> {
    let config: toml::Table = match toml::from_str(text) {
        Ok(config) => config,
        Err(error) => return Ok(vec![format!("{at}: {error}")]),
    };
    let folder = target().join("xtask-examples").join(at.replace(['/', ':'], "-"));
    if folder.exists() {
        std::fs::remove_dir_all(&folder)?;
    }
    std::fs::create_dir_all(&folder)?;
    let path = folder.join("portcullis.toml");
    std::fs::write(&path, text)?;
    let mut command = gateway();
    furnish::furnish(&config, files, &folder, &mut command)?;
    let output = command.args(["validate", "-c"]).arg(&path).output().context("cannot run the gateway")?;
    let reasons = String::from_utf8_lossy(&output.stderr);
    Ok(if output.status.success() { Vec::new() } else { vec![format!("{at}: is refused:\n{reasons}")] })
}

/// Returns the words after the program, up to what the shell interprets, if a shell line runs the gateway.
fn arguments(line: &str) -> Option<Vec<&str>> {
    let line = line.split(['|', '>', '&', ';', '#']).next().unwrap_or(line);
    let words: Vec<&str> = line.split_whitespace().collect();
    let program = words.iter().position(|word| word.ends_with("portcullis"));
    match (words.as_slice(), program) {
        (["cargo", "run", ..], _) if !words.contains(&"-p") => {
            words.iter().position(|word| *word == "--").map(|at| words[at + 1..].to_vec())
        }
        (_, Some(at)) if words[..at].iter().all(|word| *word == "sudo" || word.contains('=')) => {
            Some(words[at + 1..].to_vec())
        }
        _ => None,
    }
}

fn check_command(at: &str, words: &[&str]) -> Result<Option<String>> {
    let mut help = gateway();
    // Some commands have commands of their own.
    let command = words.iter().take(2).take_while(|word| !word.starts_with('-'));
    let help = help.args(command).arg("--help").output().context("cannot run the gateway")?;
    if !help.status.success() {
        return Ok(Some(format!("{at}: `portcullis {}`: there is no such command", words.join(" "))));
    }
    let known = String::from_utf8_lossy(&help.stdout).into_owned();
    let known: Vec<&str> = known.split(|c: char| c.is_whitespace() || "[],=".contains(c)).collect();
    let options =
        words.iter().filter(|word| word.starts_with('-')).map(|word| word.split('=').next().unwrap_or(word));
    let unknown = options.filter(|option| !known.contains(option)).collect::<Vec<_>>();
    Ok((!unknown.is_empty())
        .then(|| format!("{at}: `portcullis {}`: no option {}", words.join(" "), unknown.join(", "))))
}

fn gateway() -> Command {
    Command::new(target().join("debug/portcullis"))
}

#[cfg(test)]
mod tests;
