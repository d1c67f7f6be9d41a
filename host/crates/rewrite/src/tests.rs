//! The seeds of the fuzz targets: each is rewritten or refused, as its name says.

use std::path::Path;

use crate::invariants::{check_split, check_wipe};

fn check_seeds(target: &str, done: &str, refused: &str, check: fn(&[u8]) -> Result<(), String>) {
    let own = std::env::var("CARGO_MANIFEST_DIR").unwrap();
    let mut counts = (0, 0);
    for entry in std::fs::read_dir(Path::new(&own).join("../../../fuzz/seeds").join(target)).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        match check(&std::fs::read(&path).unwrap()) {
            Ok(()) => {
                assert!(name.starts_with(done), "{name} is taken");
                counts.0 += 1;
            }
            Err(reason) => {
                assert!(name.starts_with(refused), "{name}: {reason}");
                counts.1 += 1;
            }
        }
    }
    assert!(counts.0 > 2 && counts.1 > 2, "{counts:?}");
}

#[test]
fn seeds_of_the_fuzzer_are_split_or_stay_whole() {
    check_seeds("split", "split-", "whole-", check_split);
}

#[test]
fn seeds_of_the_fuzzer_can_be_wiped_or_cannot() {
    check_seeds("wipe", "wipeable-", "refused-", check_wipe);
}
