//! The translations of whole configurations: `tests/cases/import` has a folder for each.

use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::syntax::{Directive, Files, Tree, glob_matches, read};
use crate::{Report, markdown, table, translate};

/// The repository.
const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../..");

/// Files on the disk, with ports in the place of their marks.
struct Disk;

impl Files for Disk {
    fn text(&self, path: &Path) -> Result<String, String> {
        let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(text.replace("BACKEND2", "9002").replace("BACKEND", "9001"))
    }

    fn matching(&self, pattern: &Path) -> Result<Vec<PathBuf>, String> {
        let name = pattern.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let Ok(entries) = fs::read_dir(pattern.parent().unwrap_or(pattern)) else { return Ok(Vec::new()) };
        let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
        let fits = |path: &PathBuf| {
            path.file_name().and_then(|file| file.to_str()).is_some_and(|file| glob_matches(name, file))
        };
        let mut paths: Vec<PathBuf> = paths.filter(fits).collect();
        paths.sort();
        Ok(paths)
    }
}

fn cases() -> Vec<PathBuf> {
    let entries = fs::read_dir(Path::new(ROOT).join("tests/cases/import")).expect("the cases are there");
    let mut cases: Vec<PathBuf> = entries.map(|entry| entry.expect("it can be listed").path()).collect();
    cases.sort();
    assert!(cases.len() >= 12, "{cases:?}");
    cases
}

fn tree(case: &Path) -> Tree {
    read(&Disk, &case.join("nginx.conf")).expect("it is well formed")
}

fn shown(tree: &Tree, report: &Report) -> String {
    let one = |finding: &&crate::Finding| {
        let place = format!("{}:{}", tree.files[finding.place.file], finding.place.line);
        format!("{place} {} `{}` {}", finding.verdict.word(), finding.directive, finding.note)
            .trim_end()
            .to_owned()
    };
    report.findings().iter().map(one).collect::<Vec<_>>().join("\n") + "\n"
}

fn count(directives: &[Directive]) -> usize {
    directives.iter().map(|directive| 1 + count(directive.inner())).sum()
}

/// Compares with a file, or writes it with `PORTCULLIS_BLESS=1`.
fn same_as(path: &Path, text: &str) {
    if std::env::var_os("PORTCULLIS_BLESS").is_some() {
        fs::write(path, text).expect("it can be written");
    }
    let expected = fs::read_to_string(path).unwrap_or_default();
    assert!(
        expected == text,
        "{} is not current; with PORTCULLIS_BLESS=1 it is written:\n{text}",
        path.display()
    );
}

#[test]
fn cases_become_what_is_written_beside_them() {
    for case in cases() {
        let tree = tree(&case);
        let made = translate(&tree, "/etc/nginx");
        toml::from_str::<toml::Table>(&made.toml)
            .unwrap_or_else(|error| panic!("{}: {error}\n{}", case.display(), made.toml));
        same_as(&case.join("portcullis.toml"), &made.toml);
        same_as(&case.join("report.txt"), &shown(&tree, &made.report));
    }
}

#[test]
fn every_directive_has_an_answer_that_the_table_has() {
    for case in cases() {
        let tree = tree(&case);
        let report = translate(&tree, "/etc/nginx").report;
        assert_eq!(report.findings().len(), count(&tree.directives), "{}", case.display());
        for finding in report.findings() {
            let inside = finding.note.starts_with("stands in");
            assert!(
                inside || table::allows(&finding.directive, finding.verdict),
                "{}: {finding:?}",
                case.display()
            );
        }
    }
}

/// What crossplane (0.5.14 on PyPI) reads in the same files, as `[[line, words...], [block]]`. In `if` it drops the
/// parentheses, which were put back.
#[test]
fn cases_are_read_as_crossplane_reads_them() {
    fn as_json(directive: &Directive) -> Value {
        let words: Vec<Value> = [directive.place.line.to_string(), directive.name.clone()]
            .into_iter()
            .chain(
                directive.args.iter().map(|word| word.replace("9002", "BACKEND2").replace("9001", "BACKEND")),
            )
            .map(Value::from)
            .collect();
        match &directive.block {
            None => json!([words]),
            Some(block) => json!([words, block.iter().map(as_json).collect::<Vec<_>>()]),
        }
    }
    for case in cases() {
        let tree = tree(&case);
        let ours: Vec<Value> = tree.directives.iter().map(as_json).collect();
        let recorded = fs::read_to_string(case.join("crossplane.json")).expect("it was recorded");
        // A line feed in quotes stays two characters there.
        let theirs: Vec<Value> = serde_json::from_str(&recorded.replace(r"\\n", r"\n")).expect("it is JSON");
        assert_eq!(ours, theirs, "{}", case.display());
    }
}

#[test]
fn the_page_has_the_table_of_the_code() {
    let path = Path::new(ROOT).join("docs/from-nginx.md");
    let page = fs::read_to_string(&path).expect("the page is there");
    let (before, rest) = page.split_once("<!-- directives -->\n").expect("the table has a begin");
    let (_, after) = rest.split_once("<!-- end -->").expect("the table has an end");
    same_as(&path, &format!("{before}<!-- directives -->\n{}<!-- end -->{after}", markdown()));
}

#[test]
fn no_directive_has_two_answers() {
    let mut names: Vec<&str> = table::ROWS.iter().flat_map(|row| row.directives.iter().copied()).collect();
    let all = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), all);
}

/// One file in memory.
struct One(String);

impl Files for One {
    fn text(&self, _: &Path) -> Result<String, String> {
        Ok(self.0.clone())
    }

    fn matching(&self, _: &Path) -> Result<Vec<PathBuf>, String> {
        Ok(Vec::new())
    }
}

proptest! {
    /// Whatever the directives say, the result is TOML and each of them has an answer.
    #[test]
    fn whatever_is_said_becomes_toml(
        lines in proptest::collection::vec((0_usize..400, proptest::collection::vec(
            r#"[a-z$/.:=~^*0-9\[\]{}()|" -]{1,12}|on|off|all|/|/a/|~|=|301|60s|1m|http://a/b|\$host|443 ssl"#, 0..4,
        )), 0..30),
        depth in 0_usize..3,
    ) {
        let names: Vec<&str> = table::ROWS.iter().flat_map(|row| row.directives.iter().copied()).collect();
        let mut text = "http { upstream u { server a; } server { location / {".to_owned();
        for (i, (name, words)) in lines.iter().enumerate() {
            let name = names[name % names.len()];
            let words: Vec<String> = words.iter().map(|word| format!("\"{}\"", word.replace('"', "\\\""))).collect();
            let blocks = ["location", "server", "upstream", "if", "limit_except", "map", "types", "http"];
            let block = blocks.contains(&name);
            let end = if block { " { return 404; }" } else { ";" };
            if name != "include" {
                text.push_str(&format!("\n{name} {}{end}", words.join(" ")));
            }
            if i % 7 == depth {
                text.push_str("} location /x/ {");
            }
        }
        text.push_str("}}}");
        let tree = read(&One(text), Path::new("/nginx.conf")).expect("it is well formed");
        let made = translate(&tree, "/");
        prop_assert!(toml::from_str::<toml::Table>(&made.toml).is_ok(), "{}", made.toml);
        prop_assert_eq!(made.report.findings().len(), count(&tree.directives));
    }
}
