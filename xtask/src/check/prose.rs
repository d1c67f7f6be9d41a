//! What people read: comments and documents. How long their lines are, and how often they have words that plain English
//! rarely needs.

mod text;

use std::collections::BTreeMap;

use anyhow::Result;

use super::outcome::{Findings, Outcome};
use super::packages::{Package, package_of, packages};
use crate::tree::{Source, sources};
use text::{Line, lines, words};

/// Columns that a line of prose may have.
const COLUMNS_MAX: usize = 120;

/// Words that are counted together, and how many of them 1,000 lines may have.
const RATES: &[Rate] = &[
    Rate { name: "where", words: &["where"], per_thousand: 10, higher: WHERE },
    Rate {
        name: "nobody",
        words: &["nobody", "somebody", "whoever", "whom"],
        per_thousand: 1,
        higher: NOBODY,
    },
];

/// Groups whose rate of `where` may be higher, and how high. A number may only fall.
const WHERE: &[(&str, usize)] = &[
    ("documents", 55),
    ("examples", 46),
    ("portcullis", 114),
    ("portcullis-admin", 19),
    ("portcullis-http", 37),
    ("portcullis-plugin-api-key", 87),
    ("portcullis-plugin-external-auth", 73),
    ("portcullis-plugin-headers", 119),
    ("portcullis-plugin-ip-filter", 112),
    ("portcullis-plugin-jwt", 38),
    ("portcullis-proxy", 42),
    ("portcullis-sandbox", 97),
    ("portcullis-sdk", 91),
    ("portcullis-sdk-macros", 26),
    ("portcullis-telemetry", 66),
    ("portcullis-test-guests-source", 21),
    ("tests", 56),
    ("wit", 92),
];

/// The same for `nobody` and its like.
const NOBODY: &[(&str, usize)] = &[
    ("documents", 35),
    ("examples", 32),
    ("portcullis", 38),
    ("portcullis-http", 7),
    ("portcullis-plugin-external-auth", 25),
    ("portcullis-proxy", 43),
    ("portcullis-sandbox", 22),
    ("portcullis-sdk", 9),
    ("portcullis-telemetry", 5),
    ("tests", 26),
    ("wit", 12),
];

/// Groups that may have lines over [`COLUMNS_MAX`], and how many. A number may only fall.
const LONG_LINES: &[(&str, usize)] = &[
    ("documents", 362),
    ("examples", 9),
    ("portcullis", 84),
    ("portcullis-http", 58),
    ("portcullis-plugin-api-key", 10),
    ("portcullis-plugin-external-auth", 9),
    ("portcullis-plugin-headers", 3),
    ("portcullis-plugin-ip-filter", 2),
    ("portcullis-plugin-jwt", 11),
    ("portcullis-plugin-rate-limit", 5),
    ("portcullis-proxy", 128),
    ("portcullis-sandbox", 163),
    ("portcullis-sdk", 79),
    ("portcullis-sdk-macros", 5),
    ("portcullis-telemetry", 23),
    ("portcullis-test-guests-source", 4),
    ("tests", 34),
    ("wit", 46),
];

/// How often some words may stand in prose.
struct Rate {
    name: &'static str,
    words: &'static [&'static str],
    per_thousand: usize,
    higher: &'static [(&'static str, usize)],
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
    Ok(groups()?
        .iter()
        .filter_map(|(name, prose)| too_long(name, prose, allowed(LONG_LINES, name, 0)))
        .collect())
}

/// Compares the rates of words.
pub(super) fn rates() -> Result<Outcome> {
    let mut outcome = Outcome::default();
    for (name, prose) in groups()? {
        for (rate, count) in RATES.iter().zip(prose.counts) {
            let allowed = allowed(rate.higher, &name, rate.per_thousand);
            let per_thousand = count * 1000 / prose.lines.max(1);
            if per_thousand > rate.per_thousand {
                outcome.figures.push(format!("{name}: `{}` {per_thousand}, {allowed} allowed", rate.name));
            }
            outcome.findings.extend(too_often(&name, rate, count, prose.lines, allowed));
        }
    }
    Ok(outcome)
}

fn allowed(table: &[(&str, usize)], name: &str, usual: usize) -> usize {
    table.iter().find(|(listed, _)| *listed == name).map_or(usual, |(_, number)| *number)
}

fn too_long(name: &str, prose: &Prose, allowed: usize) -> Option<String> {
    let (count, first) = (prose.long.len(), prose.long.first()?);
    (count > allowed).then(|| {
        format!("{name}: {count} lines of prose over {COLUMNS_MAX} columns, {allowed} allowed; the first is {first}")
    })
}

/// `count` in `lines` lines. A rate is rounded up to whole words, so that a small crate may have one.
fn too_often(name: &str, rate: &Rate, count: usize, lines: usize, allowed: usize) -> Option<String> {
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
