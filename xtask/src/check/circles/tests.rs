use std::collections::{BTreeMap, BTreeSet};

use super::modules::Modules;
use super::{largest, verdict};
use crate::tree::Source;

/// The uses of a crate in `c` with these files in its `src`.
fn uses(files: &[(&str, &str)]) -> BTreeMap<String, BTreeSet<String>> {
    let source =
        |(name, text): &(&str, &str)| Source { path: format!("c/src/{name}"), text: (*text).to_owned() };
    let sources: Vec<Source> = files.iter().map(source).collect();
    Modules::read("c", &sources).unwrap().uses()
}

fn used<'a>(uses: &'a BTreeMap<String, BTreeSet<String>>, file: &str) -> Vec<&'a str> {
    uses[file].iter().map(String::as_str).collect()
}

const ROOT: (&str, &str) = ("lib.rs", "mod a;\nmod b;\nmod d;\n");

#[test]
fn paths_of_every_form_are_uses() {
    for text in [
        "use crate::b::B;",
        "use crate::{b::{B, C}, d as e};",
        "use super::b;",
        "fn f() { crate::b::g(); }",
        "fn f() -> super::b::B { println!(\"{}\", crate::b::C) }",
        "mod inner { use super::super::b::B; }",
    ] {
        let uses = uses(&[ROOT, ("a.rs", text), ("b.rs", ""), ("d.rs", "")]);
        assert!(used(&uses, "a.rs").contains(&"b.rs"), "{text}: {uses:?}");
    }
}

#[test]
fn declarations_comments_tests_and_other_crates_are_not() {
    let text = "// crate::b::B\nconst C: &str = \"crate::b::B\";\nuse other::b::B;\n#[cfg(test)]\nmod tests { use crate::b::B; }\n";
    let uses =
        uses(&[ROOT, ("a.rs", text), ("b.rs", "mod e;"), ("b/e.rs", ""), ("d.rs", "pub(crate) fn f() {}")]);
    assert!(uses.values().all(BTreeSet::is_empty), "{uses:?}");
}

#[test]
fn a_parent_and_its_child_can_use_each_other() {
    let uses = uses(&[
        ROOT,
        ("a.rs", "mod x;\nfn f() { x::g() }"),
        ("a/x.rs", "use super::A;"),
        ("b.rs", ""),
        ("d.rs", ""),
    ]);
    assert_eq!(largest(&uses), ["a.rs", "a/x.rs"]);
}

#[test]
fn a_reexport_leads_to_what_it_names() {
    let root = ("lib.rs", "mod a;\nmod b;\npub use b::{B, C as D};\npub use b::*;\nstruct Own;");
    let files = |text| uses(&[root, ("a.rs", text), ("b.rs", "pub struct B; pub struct C; pub struct E;")]);
    for text in ["use crate::B;", "use crate::D;", "use crate::E;"] {
        assert_eq!(used(&files(text), "a.rs"), ["b.rs"], "{text}");
    }
    assert_eq!(used(&files("use crate::Own;"), "a.rs"), ["lib.rs"]);
    assert_eq!(used(&files(""), "lib.rs"), Vec::<&str>::new());
}

#[test]
fn a_module_for_tests_is_not_part_of_the_crate() {
    let uses =
        uses(&[("lib.rs", "mod a;\n#[cfg(test)]\nmod b;"), ("a.rs", ""), ("b.rs", "use crate::a::A;")]);
    assert_eq!(uses.keys().collect::<Vec<_>>(), ["a.rs", "lib.rs"]);
}

#[test]
fn the_largest_circle_is_found_and_what_hangs_on_it_is_not_in_it() {
    let graph = |edges: &[(&str, &str)]| {
        let mut uses: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (from, to) in edges {
            uses.entry((*from).to_owned()).or_default().insert((*to).to_owned());
            uses.entry((*to).to_owned()).or_default();
        }
        uses
    };
    assert_eq!(largest(&graph(&[("a", "b"), ("b", "c")])), Vec::<String>::new());
    let two = [("a", "b"), ("b", "a"), ("c", "d"), ("d", "e"), ("e", "c"), ("c", "a"), ("f", "c")];
    assert_eq!(largest(&graph(&two)), ["c", "d", "e"]);
}

#[test]
fn growth_is_refused() {
    let circle: Vec<String> = ["a.rs", "b.rs"].map(str::to_owned).to_vec();
    assert_eq!(verdict("c", &circle, 2), None);
    assert_eq!(
        verdict("c", &circle, 1).unwrap(),
        "c: 2 files use each other in a circle, 1 are the most: a.rs, b.rs"
    );
    assert_eq!(verdict("c", &circle, 3), None);
    assert_eq!(verdict("c", &[], 1), None);
}
