//! What a look at the text finds.

use anyhow::Result;

use super::outcome::Findings;
use crate::tree::{Source, sources};

/// Lines that a source file may have.
const LINES_MAX: usize = 600;

/// Files that may have more, and why.
const LONG: &[(&str, &str)] = &[];

/// A word, the files it must not be in (by ending), and why. Written in pieces, so that this file passes.
const FORBIDDEN: &[(&str, &[&str], &str)] = &[
    (concat!("to", "do!("), &[".rs"], "a panic that waits for its day"),
    (concat!("unimple", "mented!("), &[".rs"], "a panic that waits for its day"),
    (concat!("db", "g!("), &[".rs"], "left over from a search"),
    (concat!("#[ign", "ore"), &[".rs"], "a test that does not run proves nothing: mend it or remove it"),
    (concat!("TO", "DO"), ALL, "what is left for later belongs into an issue"),
    (concat!("FIX", "ME"), ALL, "what is left for later belongs into an issue"),
    (concat!("X", "XX"), ALL, "what is left for later belongs into an issue"),
    (concat!("/ho", "me/"), ALL, "a path of one machine"),
    (concat!("/ro", "ot/"), ALL, "a path of one machine"),
    (concat!("<<<", "<<<<"), ALL, "a merge that was not finished"),
];

const ALL: &[&str] = &[".rs", ".toml", ".md", ".wit", "run"];

pub(super) fn lengths() -> Result<Findings> {
    let sources = sources(&[".rs"])?;
    let mut findings: Findings = sources.iter().filter_map(too_long).collect();
    for (path, _) in LONG {
        let still =
            sources.iter().any(|source| source.path == *path && source.text.lines().count() > LINES_MAX);
        if !still {
            findings.push(format!("{path} is listed as long, and is not any more: remove it from the list"));
        }
    }
    Ok(findings)
}

fn too_long(source: &Source) -> Option<String> {
    let lines = source.text.lines().count();
    let listed = LONG.iter().any(|(path, _)| *path == source.path);
    (lines > LINES_MAX && !listed)
        .then(|| format!("{}: {lines} lines, {LINES_MAX} are the most", source.path))
}

pub(super) fn forbidden() -> Result<Findings> {
    Ok(sources(ALL)?.iter().flat_map(found_in).collect())
}

fn found_in(source: &Source) -> Findings {
    let mut findings = Vec::new();
    for (at, line) in source.text.lines().enumerate() {
        for (word, endings, why) in FORBIDDEN {
            if endings.iter().any(|ending| source.path.ends_with(ending)) && line.contains(word) {
                findings.push(format!("{}:{}: `{word}`: {why}", source.path, at + 1));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::{found_in, too_long};
    use crate::tree::Source;

    fn source(path: &str, text: String) -> Source {
        Source { path: path.to_owned(), text }
    }

    #[test]
    fn the_line_after_the_last_allowed_one_is_too_many() {
        assert_eq!(too_long(&source("a.rs", "x\n".repeat(600))), None);
        assert_eq!(
            too_long(&source("a.rs", "x\n".repeat(601))).unwrap(),
            "a.rs: 601 lines, 600 are the most"
        );
    }

    #[test]
    fn a_word_is_found_with_its_line_and_only_in_its_kind_of_file() {
        let text = format!("fine\n{}\n", concat!("db", "g!(x)"));
        assert_eq!(found_in(&source("a.rs", text.clone())).len(), 1);
        assert!(found_in(&source("a.rs", text.clone()))[0].starts_with("a.rs:2:"));
        assert!(found_in(&source("a.md", text)).is_empty());
    }
}
