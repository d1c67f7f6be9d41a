//! Every file in tests/cases: `right` ones load, `wrong` ones give exactly the message beside them.

use std::path::{Path, PathBuf};

use super::fake::FakePlugins;
use crate::syntax::tree::{Table, Value};

pub(crate) fn cases_folder() -> PathBuf {
    // Asked when the test runs: a target folder may outlive the checkout that it was filled from.
    let own = std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets it");
    Path::new(&own).ancestors().nth(3).unwrap().join("tests/cases")
}

/// The config files of a folder, and one main file for each of its folders.
pub(crate) fn cases(kind: &str) -> Vec<PathBuf> {
    let folder = cases_folder().join(kind);
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let main = path.join("main.toml");
        if main.is_file() {
            found.push(main);
        } else if path.extension().is_some_and(|extension| extension == "toml") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// The message of a case, whatever folder the repository is in.
fn message(path: &Path) -> String {
    let folder = path.parent().unwrap();
    match crate::load(path, &FakePlugins) {
        Ok(_) => "it loads\n".into(),
        Err(diagnostics) => format!("{diagnostics}\n").replace(&format!("{}/", folder.display()), ""),
    }
}

#[test]
fn each_wrong_config_gives_its_message() {
    let bless = std::env::var_os("PORTCULLIS_BLESS").is_some();
    let cases = cases("wrong");
    let mut differing = Vec::new();
    for path in &cases {
        let expected = path.with_extension("expected");
        let message = message(path);
        if bless {
            std::fs::write(&expected, &message).unwrap();
        } else if std::fs::read_to_string(&expected).unwrap_or_default() != message {
            differing.push(format!("{}:\n{message}", path.display()));
        }
    }
    assert!(cases.len() >= 70, "only {} cases were found", cases.len());
    assert!(
        differing.is_empty(),
        "{} messages differ from their .expected files; where they are right, PORTCULLIS_BLESS=1 rewrites these\n\n{}",
        differing.len(),
        differing.join("\n")
    );
}

/// What is said of a config that loads.
fn warnings(path: &Path) -> String {
    let folder = path.parent().unwrap();
    let gateway =
        crate::load(path, &FakePlugins).unwrap_or_else(|diagnostics| panic!("{diagnostics}")).gateway;
    let text: String = gateway.warnings.iter().map(|warning| format!("{warning}\n\n")).collect();
    text.replace(&format!("{}/", folder.display()), "")
}

#[test]
fn each_odd_config_gives_its_warnings() {
    for path in cases("warned") {
        let (expected, warnings) = (path.with_extension("expected"), warnings(&path));
        assert!(!warnings.is_empty(), "{}", path.display());
        if std::env::var_os("PORTCULLIS_BLESS").is_some() {
            std::fs::write(&expected, &warnings).unwrap();
        }
        assert_eq!(std::fs::read_to_string(&expected).unwrap_or_default(), warnings, "{}", path.display());
    }
    let plain = cases_folder().join("right/smallest.toml");
    assert_eq!(warnings(&plain), "");
}

#[test]
fn no_wrong_config_loads_and_no_right_one_fails() {
    for path in cases("wrong") {
        assert!(crate::load(&path, &FakePlugins).is_err(), "{} loads", path.display());
    }
    let right = cases("right");
    assert!(right.len() >= 10, "only {} cases were found", right.len());
    for path in right {
        if let Err(diagnostics) = crate::load(&path, &FakePlugins) {
            panic!("{}", diagnostics);
        }
    }
}

#[test]
fn right_configs_satisfy_the_json_schema() {
    let schema = crate::schema(&FakePlugins);
    cases("right").iter().for_each(|path| assert_satisfies(&schema, path));
}

pub(crate) fn assert_satisfies(schema: &serde_json::Value, path: &Path) {
    let validator = jsonschema::draft202012::new(schema).unwrap();
    let text = std::fs::read_to_string(path).unwrap();
    let root: Table = crate::syntax::tree::parse(0, &text, &mut Vec::new()).unwrap();
    let span = crate::files::source::Span { file: 0, start: 0, end: 0 };
    let node = crate::syntax::tree::Node { span, value: Value::Table(root) };
    let json = crate::sections::policy::settings::to_json(&node, &mut Vec::new());
    let errors: Vec<String> =
        validator.iter_errors(&json).map(|error| format!("{}: {error}", error.instance_path())).collect();
    assert!(errors.is_empty(), "{}: {errors:?}", path.display());
}
