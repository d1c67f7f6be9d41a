use super::text::{lines, words};
use super::{Package, Prose, RATES, group_of, too_long, too_often};
use crate::tree::Source;

fn source(path: &str, text: &str) -> Source {
    Source { path: path.to_owned(), text: text.to_owned() }
}

fn numbers(path: &str, text: &str) -> Vec<usize> {
    lines(&source(path, text)).iter().map(|line| line.number).collect()
}

#[test]
fn prose_is_comments_in_sources_and_all_but_code_in_documents() {
    let rust = "//! A.\nfn f() {} // where\n    // B.\n///\n/// ```\n/// code\n/// ```\n/// C.\n";
    assert_eq!(numbers("a.rs", rust), [1, 3, 8]);
    assert_eq!(numbers("a.toml", "# A.\na = 1 # b\n"), [1]);
    assert_eq!(numbers("a.md", "A\n\n```sh\nb\n```\nC\n"), [1, 6]);
}

#[test]
fn words_are_counted_outside_of_code() {
    let found: Vec<String> = words("Where `where` is, nobody's somewhere").collect();
    assert_eq!(found, ["where", "is", "nobody", "s", "somewhere"]);
}

#[test]
fn the_column_after_the_last_allowed_one_is_too_many() {
    let long = |length: usize| {
        let mut prose = Prose::default();
        prose.add(&source("a.rs", &format!("// a {}\n", "x".repeat(length - 5))));
        too_long("c", &prose, 0)
    };
    assert_eq!(long(120), None);
    let found = long(121).unwrap();
    assert!(found.contains("c: 1 lines") && found.ends_with("a.rs:1"), "{found}");
}

#[test]
fn what_cannot_be_wrapped_may_be_long() {
    let mut prose = Prose::default();
    prose.add(&source("a.md", &format!("| a | {} |\n{}\n", "b ".repeat(90), "x".repeat(200))));
    assert_eq!(prose.long, Vec::<String>::new());
}

#[test]
fn the_word_after_the_last_allowed_one_is_too_many() {
    let rate = &RATES[0];
    assert_eq!(too_often("c", rate, 10, 1000), None);
    assert!(too_often("c", rate, 11, 1000).unwrap().starts_with("c: 11 times `where`"));
    // A small crate may have one.
    assert_eq!(too_often("c", rate, 1, 5), None);
    assert!(too_often("c", rate, 2, 5).is_some());
}

#[test]
fn the_words_of_each_rate_are_counted() {
    let mut prose = Prose::default();
    prose.add(&source("a.md", "Where somebody is, whoever asks, and whom.\n"));
    assert_eq!((prose.lines, prose.counts), (1, [1, 3]));
}

#[test]
fn a_file_without_a_package_is_a_document_or_of_its_folder() {
    let packages = [Package { name: "host".to_owned(), folder: "host".to_owned() }];
    let of = |path| group_of(path, &packages);
    assert_eq!(of("host/src/main.rs"), "host");
    assert_eq!(of("docs/logs.md"), "documents");
    assert_eq!(of("README.md"), "documents");
    assert_eq!(of("wit/hooks.wit"), "wit");
}
