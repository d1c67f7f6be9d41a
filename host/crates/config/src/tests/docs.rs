//! docs/configuration.md: its tables are made from the table of keys. Its examples load, and those of docs/traffic.md.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::cases::cases_folder;
use super::fake::FakePlugins;
use super::keys::shapes;
use crate::syntax::check::describe;
use crate::syntax::shape::{Key, Presence, Shape};
use crate::syntax::tree::{Table, parse};

fn page(name: &str) -> PathBuf {
    cases_folder().ancestors().nth(2).unwrap().join("docs").join(name)
}

/// The rows of one table of keys.
pub(crate) fn rows(shape: &Shape) -> String {
    let mut out = String::from("| Key | Type | Default | Meaning |\n| --- | --- | --- | --- |\n");
    for key in shape.keys {
        let kind = describe(&key.kind).replace(" as a string", "").replace('|', "\\|");
        let default = match key.presence {
            Presence::Required => "**required**".to_owned(),
            Presence::Default(text) => format!("`{text}`"),
            Presence::Absent(words) => words.to_owned(),
        };
        let Key { name, doc, example, .. } = key;
        writeln!(out, "| `{name}` | {kind} | {default} | {doc} Example: `{name} = {example}` |").unwrap();
    }
    out
}

/// Each table of keys once, at the place that is the shortest to name: what a version that is tried has of its policy
/// is told there.
fn listed() -> Vec<(String, &'static Shape)> {
    let mut places: Vec<(String, &'static Shape)> = shapes().into_iter().collect();
    places.sort_by_key(|(place, _)| place.split('.').count());
    let mut known = BTreeSet::new();
    places.retain(|(_, shape)| known.insert(std::ptr::from_ref::<Shape>(shape) as usize));
    places
}

#[test]
fn the_reference_lists_every_key() {
    let path = page("configuration.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let mut written = text.clone();
    for (place, shape) in listed() {
        let place = if place.is_empty() { "the file" } else { &place };
        let begin = format!("<!-- keys of {place} -->\n");
        let (before, rest) = written.split_once(&begin).unwrap_or_else(|| panic!("no {begin}"));
        let (_, after) = rest.split_once("<!-- end -->").unwrap();
        written = format!("{before}{begin}{}<!-- end -->{after}", rows(shape));
    }
    if std::env::var_os("PORTCULLIS_BLESS").is_some() {
        return std::fs::write(&path, &written).unwrap();
    }
    assert!(written == text, "the tables are not those of the keys; PORTCULLIS_BLESS=1 rewrites them");
}

#[test]
fn the_examples_load() {
    let [reference, traffic] = ["configuration.md", "traffic.md"].map(page);
    let text = std::fs::read_to_string(reference).unwrap() + &std::fs::read_to_string(traffic).unwrap();
    let mut count = 0;
    for block in text.split("```toml\n").skip(1) {
        let (block, _) = block.split_once("```").unwrap();
        count += 1;
        let folder = tempfile::tempdir().unwrap();
        for (name, from) in [
            ("certs/site.pem", "site.pem"),
            ("certs/site.key", "site.key"),
            ("certs/other.pem", "site.pem"),
            ("certs/other.key", "site.key"),
            ("certs/internal-ca.pem", "site.pem"),
            ("secrets/token", "token"),
            ("keys/release.pub", "cosign.pub"),
            ("keys.txt", "keys.txt"),
            ("errors/maintenance.html", "text.txt"),
            ("site/index.html", "text.txt"),
            ("plugins/tenant_auth.wasm", "everything.wasm"),
            ("plugins/partner_auth.wasm", "secretive.wasm"),
            ("plugins/tenant_auth_2.wasm", "everything-2.wasm"),
        ] {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::copy(cases_folder().join("files").join(from), path).unwrap();
        }
        let path = folder.path().join("edge.toml");
        std::fs::write(&path, completed(block)).unwrap();
        if let Err(diagnostics) = crate::load(&path, &FakePlugins) {
            panic!("{}\n{diagnostics}", completed(block));
        }
        assert_schema(&path);
    }
    assert!(count >= 6, "only {count} examples");
}

/// A part of a config with what makes it whole: a listener, and a route that uses all that there is.
fn completed(block: &str) -> String {
    let root = parse(0, block, &mut Vec::new()).unwrap();
    let names = |section: &str| -> Vec<String> {
        let table: Option<&Table> = root.get(section).and_then(|entry| entry.value.as_table());
        table.map_or_else(Vec::new, |table| table.entries.iter().map(|entry| entry.key.clone()).collect())
    };
    let mut text = block.to_owned();
    if names("listeners").is_empty() {
        text.push_str("\n[listeners.web]\naddress = \"127.0.0.1:8080\"\n");
    }
    let mut upstreams = names("upstreams");
    if upstreams.is_empty() {
        upstreams.push("api".into());
        text.push_str("\n[upstreams.api]\nendpoints = [\"127.0.0.1:9000\"]\n");
    }
    if names("routes").is_empty() {
        let policies = names("policies");
        let chain = if policies.is_empty() { String::new() } else { format!("use = {policies:?}\n") };
        text.push_str(&format!("\n[routes.all]\nto = {upstreams:?}\n{chain}"));
    }
    text
}

fn assert_schema(path: &Path) {
    let schema = crate::schema(&FakePlugins);
    super::cases::assert_satisfies(&schema, path);
}
