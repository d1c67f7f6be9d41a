//! Import circles: files of one crate that use each other, directly or through others. None of them can be read, tested
//! or taken elsewhere alone.
//!
//! A file uses another if a path in it (`use`, or in the middle of code) leads there: one that begins with `crate`,
//! `self`, `super` or the name of a module below it. A path to a re-export leads to what is re-exported. Neither `mod`
//! nor a re-export is a use, and what is compiled for tests only does not count.

mod modules;

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;

use super::outcome::Outcome;
use super::packages::packages;
use crate::tree::sources;
use modules::Modules;

/// The largest circle that a crate may have; any other may have none. A number may only fall.
const ALLOWED: &[(&str, usize)] = &[
    ("portcullis", 4),
    ("portcullis-bench", 2),
    ("portcullis-model", 2),
    ("portcullis-registry", 2),
    ("portcullis-sdk", 2),
    ("portcullis-wasm-build", 2),
    ("xtask", 2),
];

pub(super) fn check() -> Result<Outcome> {
    let files = sources(&[".rs"])?;
    let mut outcome = Outcome::default();
    for package in packages()? {
        let circle = largest(&Modules::read(&package.folder, &files)?.uses());
        let allowed = ALLOWED.iter().find(|(name, _)| *name == package.name).map_or(1, |(_, files)| *files);
        if circle.len() > 1 {
            let lower =
                if circle.len() < allowed { "; lower its number in xtask/src/check/circles.rs" } else { "" };
            outcome.figures.push(format!(
                "{}: {} files, {allowed} allowed{lower}",
                package.name,
                circle.len()
            ));
        }
        outcome.findings.extend(verdict(&package.name, &circle, allowed));
    }
    Ok(outcome)
}

/// Says what is wrong with the largest circle of a crate.
fn verdict(name: &str, circle: &[String], allowed: usize) -> Option<String> {
    let (size, files) = (circle.len(), circle.join(", "));
    (size > allowed)
        .then(|| format!("{name}: {size} files use each other in a circle, {allowed} are the most: {files}"))
}

/// Returns the largest group of files in which each reaches every other, in the order of their paths. It is empty if no
/// two do.
fn largest(uses: &BTreeMap<String, BTreeSet<String>>) -> Vec<String> {
    let reached: BTreeMap<&String, BTreeSet<&String>> =
        uses.keys().map(|file| (file, reachable(file, uses))).collect();
    let circle_of = |file: &String| -> Vec<String> {
        let mutual =
            reached[file].iter().filter(|other| reached.get(**other).is_some_and(|back| back.contains(file)));
        mutual.map(|other| (*other).clone()).collect()
    };
    let circles = uses.keys().map(circle_of).filter(|circle| circle.len() > 1);
    // Of two that are as large the first: `max_by_key` returns the last.
    circles.collect::<Vec<_>>().into_iter().rev().max_by_key(Vec::len).unwrap_or_default()
}

/// Returns the files that `file` uses, and those that they use.
fn reachable<'a>(file: &'a String, uses: &'a BTreeMap<String, BTreeSet<String>>) -> BTreeSet<&'a String> {
    let (mut seen, mut open) = (BTreeSet::new(), vec![file]);
    while let Some(file) = open.pop() {
        for next in uses.get(file).into_iter().flatten() {
            if seen.insert(next) {
                open.push(next);
            }
        }
    }
    seen
}

#[cfg(test)]
mod tests;
