use std::cell::Cell;
use std::path::PathBuf;

use super::read_at_rest;

/// Reads the file at `path`, and then does what comes next in `meanwhile`.
fn read(path: &PathBuf, meanwhile: impl Fn(u32)) -> (Result<String, String>, u32) {
    let reads = Cell::new(0);
    let result = read_at_rest(
        || {
            let text = std::fs::read_to_string(path).unwrap();
            reads.set(reads.get() + 1);
            meanwhile(reads.get());
            text
        },
        |_| vec![path.clone()],
    );
    (result.map_err(|(restless, _)| restless.to_string()), reads.get())
}

#[test]
fn a_file_that_changes_while_it_is_read_is_read_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.toml");
    std::fs::write(&path, "one").unwrap();
    let (text, reads) = read(&path, |reads| {
        // Of the same size, and with the time stamp of the first.
        if reads == 1 {
            let modified = std::fs::metadata(&path).unwrap().modified().unwrap();
            std::fs::write(&path, "two").unwrap();
            std::fs::File::options().write(true).open(&path).unwrap().set_modified(modified).unwrap();
        }
    });
    assert_eq!(text.unwrap(), "two");
    assert!(reads >= 2, "{reads}");
}

#[test]
fn a_file_that_never_rests_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.toml");
    std::fs::write(&path, "").unwrap();
    let (text, _) = read(&path, |reads| std::fs::write(&path, reads.to_string()).unwrap());
    let error = text.unwrap_err();
    assert!(error.contains("a.toml changed while the configuration was read"), "{error}");
}
