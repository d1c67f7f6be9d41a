use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use super::{Prepared, writable, write_beside};

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

#[test]
fn what_cannot_take_the_place_of_the_file_leaves_it_as_it_is() {
    let (folder, prepared) = prepared();
    std::fs::remove_file(prepared.beside.as_ref().unwrap()).unwrap();
    let error = prepared.put_in_place().unwrap_err();
    assert_eq!(error.to_string(), "edge.toml cannot be replaced, and is left as it is");
    assert_eq!(files(folder.path()), one("old"));
}

#[test]
fn a_folder_in_which_nothing_can_be_made_is_told_before_anything_is_done() {
    // Of those there are few for root: a file that can be written, in a folder of the kernel's.
    let file = Path::new("/proc/self/comm");
    let like = writable(file, "comm").unwrap();
    let before = std::fs::read_to_string(file).unwrap();
    assert!(write_beside(file, "new", &like).is_err());
    assert_eq!(std::fs::read_to_string(file).unwrap(), before);
}

#[test]
fn a_file_of_another_user_stays_that_users_or_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("edge.toml");
    std::fs::write(&file, "old").unwrap();
    if rustix::process::geteuid().is_root() {
        // A user who may change owners does so: the file belongs to the other user as before, with its mode.
        std::os::unix::fs::chown(&file, Some(65_534), Some(65_534)).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).unwrap();
        let beside = write_beside(&file, "new", &writable(&file, "edge.toml").unwrap()).unwrap();
        let metadata = std::fs::metadata(beside).unwrap();
        assert_eq!((metadata.uid(), metadata.gid(), metadata.mode() & 0o7777), (65_534, 65_534, 0o640));
    } else {
        // Anybody else would take the file away from its user, and does not.
        let of_root = std::fs::metadata("/").unwrap();
        let error = write_beside(&file, "new", &of_root).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied);
        assert_eq!(files(folder.path()), one("old"));
    }
}
