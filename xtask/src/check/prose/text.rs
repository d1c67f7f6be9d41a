//! Prose within files: comments of sources, and documents without their code.

use crate::tree::Source;

/// A line with prose in it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line<'a> {
    /// From 1.
    pub(super) number: usize,
    /// All of it, with its comment mark.
    pub(super) text: &'a str,
    /// Whether it could be shorter: a row of a table, and a word that fills the line by itself, could not.
    pub(super) can_wrap: bool,
}

/// Returns the lines of a file that have prose in them, without code in fences.
pub(super) fn lines(source: &Source) -> Vec<Line<'_>> {
    let marks: &[&str] = match source.path.rsplit('.').next() {
        Some("rs" | "wit") => &["///", "//!", "//"],
        Some("toml") => &["#"],
        _ => &[""],
    };
    let (mut found, mut in_code) = (Vec::new(), false);
    for (at, text) in source.text.lines().enumerate() {
        let Some(prose) = marks.iter().find_map(|mark| text.trim_start().strip_prefix(mark)) else {
            in_code = false;
            continue;
        };
        let is_fence = prose.trim_start().starts_with("```");
        in_code ^= is_fence;
        if is_fence || in_code || prose.trim().is_empty() {
            continue;
        }
        let words = prose.split_whitespace().count();
        let can_wrap = words > 1 && !prose.trim_start().starts_with('|');
        found.push(Line { number: at + 1, text, can_wrap });
    }
    found
}

/// Returns the words of a line in small letters, without what stands in `code`.
pub(super) fn words(text: &str) -> impl Iterator<Item = String> {
    let outside = text.split('`').step_by(2);
    let words = outside.flat_map(|piece| piece.split(|c: char| !c.is_alphanumeric()));
    words.filter(|word| !word.is_empty()).map(str::to_lowercase)
}
