use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::{Prepared, write_beside};

/// A folder with a config, and its new text ready beside it.
fn prepared() -> (tempfile::TempDir, Prepared) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("edge.toml");
    std::fs::write(&file, "old").unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o664)).unwrap();
    let beside = write_beside(&file, "new", &std::fs::metadata(&file).unwrap()).unwrap();
    let prepared = Prepared {
        file,
        name: "edge.toml".to_owned(),
        before: "old".to_owned(),
        beside: Some(beside),
        removed: Vec::new(),
    };
    (folder, prepared)
}

fn files(folder: &Path) -> Vec<(String, String)> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let read = |entry: std::fs::DirEntry| {
        (entry.file_name().into_string().unwrap(), std::fs::read_to_string(entry.path()).unwrap())
    };
    entries.map(read).collect()
}

fn one(text: &str) -> Vec<(String, String)> {
    vec![("edge.toml".to_owned(), text.to_owned())]
}

#[test]
fn the_new_text_takes_the_place_of_the_file_with_its_mode() {
    let (folder, prepared) = prepared();
    assert_eq!(files(folder.path()).len(), 2, "the old one is there until then");
    assert_eq!(prepared.put_in_place().unwrap().file, "edge.toml");
    assert_eq!(files(folder.path()), one("new"));
    let mode = std::fs::metadata(folder.path().join("edge.toml")).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o664);
}

#[test]
fn a_file_that_somebody_has_changed_meanwhile_stays() {
    let (folder, prepared) = prepared();
    std::fs::write(folder.path().join("edge.toml"), "somebody's").unwrap();
    let error = prepared.put_in_place().unwrap_err();
    assert_eq!(error.to_string(), "edge.toml was changed meanwhile, and is left as it is");
    assert_eq!(files(folder.path()), one("somebody's"), "and nothing is left beside it");
}

#[test]
fn what_is_not_put_in_place_is_taken_away() {
    let (folder, prepared) = prepared();
    drop(prepared);
    assert_eq!(files(folder.path()), one("old"));
}

#[test]
fn the_file_of_another_command_is_left_alone() {
    let (folder, prepared) = prepared();
    let file = folder.path().join("edge.toml");
    let error = write_beside(&file, "third", &std::fs::metadata(&file).unwrap()).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::AlreadyExists);
    prepared.put_in_place().unwrap();
    assert_eq!(files(folder.path()), one("new"));
}
