//! What people read: comments and documents. How long their lines are, and how often they have words that plain English
//! rarely needs.

mod text;

use std::collections::BTreeMap;

use anyhow::Result;

use super::outcome::Findings;
use super::packages::{Package, package_of, packages};
use crate::tree::{Source, sources};
use text::{Line, lines, words};

/// Columns that a line of prose may have.
const COLUMNS_MAX: usize = 120;

/// Words that are counted together, and how many of them 1,000 lines may have.
const RATES: &[Rate] = &[
    Rate { words: &["where"], per_thousand: 10 },
    Rate { words: &["nobody", "somebody", "whoever", "whom"], per_thousand: 1 },
];

/// Groups that may have lines over [`COLUMNS_MAX`], and how many. A number may only fall.
const LONG_LINES: &[(&str, usize)] = &[("documents", 59)];

/// How often some words may stand in prose.
struct Rate {
    words: &'static [&'static str],
    per_thousand: usize,
}

/// What a package, or a group of other files, has of prose.
#[derive(Default)]
struct Prose {
    lines: usize,
    /// The places of lines that are too long.
    long: Vec<String>,
    /// How often the words of each of [`RATES`] stand there.
    counts: [usize; RATES.len()],
}

/// Compares the length of lines.
pub(super) fn columns() -> Result<Findings> {
    Ok(groups()?.iter().filter_map(|(name, prose)| too_long(name, prose, long_lines_allowed(name))).collect())
}

/// Compares the rates of words.
pub(super) fn rates() -> Result<Findings> {
    let mut findings = Findings::new();
    for (name, prose) in groups()? {
        let counted = RATES.iter().zip(prose.counts);
        findings.extend(counted.filter_map(|(rate, count)| too_often(&name, rate, count, prose.lines)));
    }
    Ok(findings)
}

fn long_lines_allowed(name: &str) -> usize {
    LONG_LINES.iter().find(|(listed, _)| *listed == name).map_or(0, |(_, number)| *number)
}

fn too_long(name: &str, prose: &Prose, allowed: usize) -> Option<String> {
    let (count, first) = (prose.long.len(), prose.long.first()?);
    (count > allowed).then(|| {
        format!("{name}: {count} lines of prose over {COLUMNS_MAX} columns, {allowed} allowed; the first is {first}")
    })
}

/// `count` in `lines` lines. A rate is rounded up to whole words, so that a small crate may have one.
fn too_often(name: &str, rate: &Rate, count: usize, lines: usize) -> Option<String> {
    let allowed = rate.per_thousand;
    let most = (lines * allowed).div_ceil(1000);
    (count > most).then(|| {
        format!(
            "{name}: {count} times {} in {lines} lines of prose, {most} are the most ({allowed} in 1,000)",
            rate.words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(" or ")
        )
    })
}

/// Returns the prose of each package, and of what belongs to none by its topmost folder, or under `documents`.
fn groups() -> Result<BTreeMap<String, Prose>> {
    let packages = packages()?;
    let mut groups: BTreeMap<String, Prose> = BTreeMap::new();
    // What a version has brought is history, and is not rewritten.
    let sources = sources(&[".rs", ".wit", ".md", ".toml"])?;
    for source in sources.iter().filter(|source| source.path != "CHANGELOG.md") {
        groups.entry(group_of(&source.path, &packages)).or_default().add(source);
    }
    Ok(groups)
}

fn group_of(path: &str, packages: &[Package]) -> String {
    match (package_of(path, packages), path.split_once('/')) {
        (Some(package), _) => package.name.clone(),
        (None, None | Some(("docs", _))) => "documents".to_owned(),
        (None, Some((folder, _))) => folder.to_owned(),
    }
}

impl Prose {
    fn add(&mut self, source: &Source) {
        for Line { number, text, can_wrap } in lines(source) {
            self.lines += 1;
            if can_wrap && text.chars().count() > COLUMNS_MAX {
                self.long.push(format!("{}:{number}", source.path));
            }
            for word in words(text) {
                for (count, rate) in self.counts.iter_mut().zip(RATES) {
                    *count += usize::from(rate.words.contains(&&*word));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
