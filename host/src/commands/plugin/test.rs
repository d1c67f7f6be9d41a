//! `portcullis plugin test`: runs cases, written as TOML, against a component in the gateway's own sandbox.

mod judge;
mod junit;
mod play;
mod stage;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::mpsc;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, bail};
use portcullis_config::{Case, CaseFile, Diagnostic, load_cases};
use portcullis_model::Isolation;
use portcullis_model::text::escape as shown;

use self::judge::{judge, judge_refusal};
use self::junit::report;
use self::stage::{Compiled, Run, Stage};
use crate::cli::{REFUSED, TestArguments};
use crate::output::{print, tell};
use crate::plugins::Catalog;
use crate::run::runtime::block_on;
use crate::run::watch::Watch;
use crate::words::counted;

/// The exit code if cases could not be run.
pub(crate) const TROUBLE: u8 = 2;
/// How files of cases end that are found in folders.
const ENDING: &str = ".cases.toml";
/// Folders in folders that are looked through, and files that are found.
const DEPTH_MAX: usize = 16;
const FILES_MAX: usize = 10_000;
/// Folders that hold what tools made.
const SKIPPED: [&str; 3] = ["target", "node_modules", "__pycache__"];
/// How long files are left alone before the cases run again.
const SETTLE: Duration = Duration::from_millis(50);

/// Runs the cases, once or each time that a file changes.
///
/// # Errors
/// If there are no cases, or the sandbox or the report cannot be made.
pub(super) fn run(arguments: &TestArguments) -> anyhow::Result<ExitCode> {
    let stage = Stage::new()?;
    if !arguments.watch {
        let tested = test(&stage, arguments)?;
        return Ok(tested.exit_code());
    }
    let (changed, changes) = mpsc::sync_channel(1);
    let watch = Watch::start(move || {
        // One change that waits stands for any number of them.
        let _full = changed.try_send(());
    });
    let watch = watch.context("files cannot be watched")?;
    loop {
        let read_at = SystemTime::now();
        match test(&stage, arguments) {
            Ok(tested) => drop(watch.files(tested.watched, read_at, SETTLE)),
            Err(error) => {
                tell(&format!("error: {error:#}\n"));
                drop(watch.files(
                    arguments.paths.iter().filter_map(|path| path.canonicalize().ok()),
                    read_at,
                    SETTLE,
                ));
            }
        }
        tell("waiting for a change; Ctrl-C ends this\n");
        if changes.recv().is_err() {
            bail!("the thread that watches files has ended");
        }
        tell("\n");
    }
}

/// Runs the cases below a folder once, if there are any.
///
/// # Errors
/// See [`run`].
pub(super) fn run_below(folder: &Path) -> anyhow::Result<()> {
    let (mut files, mut folders) = (Vec::new(), Vec::new());
    find_in(folder, 0, &mut files, &mut folders)?;
    if !files.is_empty() {
        let arguments = TestArguments {
            paths: vec![folder.to_path_buf()],
            plugin: None,
            case: None,
            junit: None,
            watch: false,
        };
        test(&Stage::new()?, &arguments)?;
    }
    Ok(())
}

/// What one run over all files gave.
#[derive(Debug, Default)]
struct Tested {
    /// The results by file.
    files: Vec<TestedFile>,
    /// Files whose change may change the results.
    watched: BTreeSet<PathBuf>,
}

/// The results of a file.
#[derive(Debug)]
struct TestedFile {
    name: String,
    results: Vec<CaseResult>,
    /// Why its cases could not be run.
    trouble: Option<String>,
}

/// How a case went in one isolation.
#[derive(Debug)]
struct CaseResult {
    name: String,
    line: u32,
    isolation: Isolation,
    took: Duration,
    /// What turned out otherwise, as it is shown; empty if it passed.
    wrong: Vec<String>,
}

fn test(stage: &Stage, arguments: &TestArguments) -> anyhow::Result<Tested> {
    let (files, folders) = find(&arguments.paths)?;
    let mut tested = Tested::default();
    tested.watched.extend(folders);
    for path in &files {
        tested.watched.extend(std::path::absolute(path));
        let name = path.display().to_string();
        let mut file = TestedFile { name, results: Vec::new(), trouble: None };
        match load_cases(path, arguments.plugin.as_deref(), &Catalog) {
            Ok(cases) => {
                tested.watched.extend(cases.files.iter().cloned());
                if let Err(error) = block_on(test_file(stage, arguments, &cases, &mut file))? {
                    file.trouble = Some(format!("error: {}\n", crate::refusal::said(&error)));
                }
            }
            Err(diagnostics) => {
                tested.watched.extend(diagnostics.files().iter().cloned());
                file.trouble = Some(format!("{diagnostics}\n"));
            }
        }
        if let Some(trouble) = &file.trouble {
            tell(trouble);
        }
        tested.files.push(file);
    }
    if let Some(path) = &arguments.junit {
        let text = report(&tested.files);
        std::fs::write(path, text).with_context(|| {
            format!("the report {} cannot be written", shown(&path.display().to_string()))
        })?;
    }
    let count: usize = tested.files.iter().map(|file| file.results.len()).sum();
    if count == 0 && tested.files.iter().all(|file| file.trouble.is_none()) {
        bail!("no case has `{}` in its name", shown(arguments.case.as_deref().unwrap_or_default()));
    }
    print(&tested.summary())?;
    Ok(tested)
}

impl Tested {
    fn failed(&self) -> usize {
        self.files.iter().flat_map(|file| &file.results).filter(|result| !result.wrong.is_empty()).count()
    }

    fn has_trouble(&self) -> bool {
        self.files.iter().any(|file| file.trouble.is_some())
    }

    fn exit_code(&self) -> ExitCode {
        match (self.has_trouble(), self.failed()) {
            (true, _) => ExitCode::from(TROUBLE),
            (false, 0) => ExitCode::SUCCESS,
            (false, _) => ExitCode::from(REFUSED),
        }
    }

    fn summary(&self) -> String {
        let runs: usize = self.files.iter().map(|file| file.results.len()).sum();
        let failed = self.failed();
        let broken = self.files.iter().filter(|file| file.trouble.is_some()).count();
        let files = counted(self.files.len() as u64, "file");
        let mut text =
            format!("{} of {files}: {} passed, {failed} failed", counted(runs as u64, "run"), runs - failed);
        if broken > 0 {
            text.push_str(&format!("; {} could not be run", counted(broken as u64, "file")));
        }
        text.push('\n');
        text
    }
}

/// Runs the cases of a file in each of its isolations, and prints how each went.
async fn test_file(
    stage: &Stage,
    arguments: &TestArguments,
    cases: &CaseFile,
    file: &mut TestedFile,
) -> anyhow::Result<()> {
    let is_meant =
        |case: &&Case| arguments.case.as_ref().is_none_or(|part| case.name.value.contains(part.as_str()));
    let meant: Vec<&Case> = cases.cases.iter().filter(is_meant).collect();
    if meant.is_empty() {
        return Ok(());
    }
    let mut compiled = Vec::new();
    for isolation in &cases.isolations {
        compiled.push((*isolation, stage.compile(cases, *isolation)?));
    }
    for case in meant {
        let mut of_case = Vec::new();
        for (isolation, compiled) in &mut compiled {
            let start = Instant::now();
            let wrong = test_case(stage, cases, case, compiled).await;
            of_case.push(CaseResult {
                name: case.name.value.clone(),
                line: cases.line(case.name.place),
                isolation: *isolation,
                took: start.elapsed(),
                wrong: wrong.iter().map(ToString::to_string).collect(),
            });
        }
        print(&shown_case(&file.name, &of_case))?;
        file.results.extend(of_case);
    }
    Ok(())
}

async fn test_case(stage: &Stage, file: &CaseFile, case: &Case, compiled: &mut Compiled) -> Vec<Diagnostic> {
    let place = case.name.place;
    let Some(first) = case.exchanges.first() else { return Vec::new() };
    let played = match stage.run(file, case, compiled).await {
        Ok(Run::Played(played)) => played,
        Ok(Run::Refused(reason)) => {
            return judge_refusal(file, &first.expect, place, Some(&reason)).into_iter().collect();
        }
        Err(error) => {
            let label = crate::refusal::said(&error);
            return vec![file.mismatch(place, "the policy cannot be configured", &label, &[])];
        }
    };
    let refusal = judge_refusal(file, &first.expect, place, None);
    if refusal.is_some() {
        return refusal.into_iter().collect();
    }
    let several = case.exchanges.len() > 1;
    let judged = case.exchanges.iter().zip(&played).enumerate();
    judged
        .flat_map(|(at, (exchange, outcome))| judge(file, exchange, outcome, several.then_some(at + 1)))
        .collect()
}

/// A line for a case that passed; a line and what turned out otherwise for one that did not. What is the same in both
/// isolations is shown once.
fn shown_case(file: &str, results: &[CaseResult]) -> String {
    let mut text = String::new();
    let mut rest: Vec<&CaseResult> = results.iter().collect();
    while let Some(first) = rest.first().copied() {
        let (same, others): (Vec<&CaseResult>, Vec<&CaseResult>) =
            rest.into_iter().partition(|result| result.wrong == first.wrong);
        rest = others;
        let isolations: Vec<&str> = same.iter().map(|result| result.isolation.name()).collect();
        let verdict = if first.wrong.is_empty() { "ok  " } else { "FAIL" };
        let place = shown(file);
        text.push_str(&format!(
            "{verdict}  {place}:{}  {} ({})\n",
            first.line,
            shown(&first.name),
            isolations.join(", ")
        ));
        for wrong in &first.wrong {
            text.push_str(wrong);
            text.push('\n');
        }
    }
    text
}

/// The files of cases that `paths` name: files as they are, and those in folders and below that end in `.cases.toml`.
/// Returns the folders as well that were looked through.
fn find(paths: &[PathBuf]) -> anyhow::Result<(Vec<PathBuf>, Vec<PathBuf>)> {
    let (mut files, mut folders) = (Vec::new(), Vec::new());
    for path in paths {
        match std::fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() => find_in(path, 0, &mut files, &mut folders)?,
            Ok(_) => files.push(path.clone()),
            Err(error) => bail!("{} cannot be read: {error}", shown(&path.display().to_string())),
        }
    }
    if files.is_empty() {
        let names: Vec<String> =
            paths.iter().map(|path| shown(&path.display().to_string()).into_owned()).collect();
        bail!(
            "there is no file of test cases in {}\n  = help: their names end in {ENDING}; `portcullis plugin test --help` \
             shows one",
            names.join(", ")
        );
    }
    Ok((files, folders))
}

fn find_in(
    folder: &Path,
    depth: usize,
    files: &mut Vec<PathBuf>,
    folders: &mut Vec<PathBuf>,
) -> anyhow::Result<()> {
    folders.extend(std::path::absolute(folder));
    let unreadable = || format!("the folder {} cannot be read", shown(&folder.display().to_string()));
    let mut entries: Vec<PathBuf> = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(unreadable)? {
        entries.push(entry.with_context(unreadable)?.path());
    }
    entries.sort();
    for path in entries {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let is_skipped = name.starts_with('.') || SKIPPED.contains(&&*name);
        // A link may lead round in a circle.
        let kind = std::fs::symlink_metadata(&path).with_context(unreadable)?;
        if kind.is_dir() && !is_skipped && depth < DEPTH_MAX {
            find_in(&path, depth + 1, files, folders)?;
        } else if name.ends_with(ENDING) && path.is_file() {
            if files.len() >= FILES_MAX {
                bail!(
                    "there are more than {FILES_MAX} files of test cases in {}",
                    shown(&folder.display().to_string())
                );
            }
            // As it was typed: `.` says nothing in front of a name.
            files.push(path.strip_prefix(".").map_or_else(|_| path.clone(), Path::to_path_buf));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
