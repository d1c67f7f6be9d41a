use std::collections::BTreeSet;
use std::path::PathBuf;

use super::parse_dep_info;

#[test]
fn reads_names_with_spaces_from_dep_info() {
    let text = "/t/a.wasm: /w/src/lib.rs /w/with\\ space/x.wit\n\n/w/src/lib.rs:\n";
    let expected = ["/w/src/lib.rs", "/w/with space/x.wit"].map(PathBuf::from);
    assert_eq!(parse_dep_info(text), BTreeSet::from(expected));
}
