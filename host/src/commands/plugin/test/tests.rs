use std::time::Duration;

use portcullis_model::Isolation;

use super::{CaseResult, find, shown_case};

fn result(isolation: Isolation, wrong: &[&str]) -> CaseResult {
    CaseResult {
        name: "it works".to_owned(),
        line: 3,
        isolation,
        took: Duration::from_millis(2),
        wrong: wrong.iter().map(|text| (*text).to_owned()).collect(),
    }
}

#[test]
fn what_is_the_same_in_both_isolations_is_shown_once() {
    let both = [result(Isolation::Exchange, &[]), result(Isolation::Worker, &[])];
    assert_eq!(shown_case("a.cases.toml", &both), "ok    a.cases.toml:3  it works (exchange, worker)\n");
    let one = [result(Isolation::Exchange, &[]), result(Isolation::Worker, &["error: no\n"])];
    assert_eq!(
        shown_case("a.cases.toml", &one),
        "ok    a.cases.toml:3  it works (exchange)\nFAIL  a.cases.toml:3  it works (worker)\nerror: no\n\n"
    );
}

#[test]
fn files_are_found_in_folders_but_not_among_what_tools_made() {
    let dir = tempfile::tempdir().unwrap();
    for path in
        ["b.cases.toml", "tests/a.cases.toml", "target/c.cases.toml", ".git/d.cases.toml", "gateway.toml"]
    {
        let path = dir.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "").unwrap();
    }
    let (files, folders) = find(&[dir.path().to_path_buf()]).unwrap();
    assert_eq!(files, [dir.path().join("b.cases.toml"), dir.path().join("tests/a.cases.toml")]);
    assert_eq!(folders.len(), 2);
    let error = find(&[dir.path().join("target/debug")]).unwrap_err().to_string();
    assert!(error.contains("cannot be read"), "{error}");
    std::fs::create_dir(dir.path().join("empty")).unwrap();
    let error = find(&[dir.path().join("empty")]).unwrap_err().to_string();
    assert!(error.contains(".cases.toml"), "{error}");
}
