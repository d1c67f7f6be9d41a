use wasmtime::CacheStore;

use super::{FILES_MAX, Functions, hex};

const ONE: [u8; 32] = [1; 32];

#[test]
fn keeps_the_functions_of_each_component_apart_and_for_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let path = Some(dir.path().to_path_buf());
    let functions = Functions::new(path.clone());
    assert!(
        functions.with(&ONE, || functions.insert(b"a", vec![7; 1000]) && functions.insert(b"b", vec![8]))
    );
    assert_eq!(functions.with(&[2; 32], || functions.get(b"a").map(|code| code.len())), None);
    let functions = Functions::new(path);
    let found =
        functions.with(&ONE, || (functions.get(b"a").unwrap()[..3].to_vec(), functions.get(b"b").is_some()));
    assert_eq!(found, (vec![7; 3], true));
    assert!(functions.get(b"a").is_none(), "nothing stays in memory");
}

#[test]
fn takes_nothing_from_a_file_that_is_not_as_it_was_written() {
    let dir = tempfile::tempdir().unwrap();
    let functions = Functions::new(Some(dir.path().to_path_buf()));
    functions.with(&ONE, || functions.insert(b"a", vec![7; 100]));
    let path = dir.path().join(hex(&ONE));
    let whole = std::fs::read(&path).unwrap();
    for at in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[at] ^= 1;
        std::fs::write(&path, &damaged).unwrap();
        assert!(functions.with(&ONE, || functions.get(b"a").is_none()), "a bit at {at}");
        std::fs::write(&path, &whole[..at]).unwrap();
        assert!(functions.with(&ONE, || functions.get(b"a").is_none()), "cut at {at}");
    }
    std::fs::write(&path, &whole).unwrap();
    assert!(functions.with(&ONE, || functions.get(b"a").is_some()));
}

#[test]
fn keeps_so_many_files_and_no_more() {
    let dir = tempfile::tempdir().unwrap();
    let functions = Functions::new(Some(dir.path().to_path_buf()));
    for at in 0..=FILES_MAX {
        let component = [u8::try_from(at).unwrap(); 32];
        functions.with(&component, || functions.insert(b"a", vec![1]));
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), FILES_MAX);
}

#[test]
fn keeps_some_in_memory_where_there_is_no_folder() {
    let functions = Functions::new(None);
    functions.with(&ONE, || functions.insert(b"a", vec![7; 100]));
    assert!(functions.with(&ONE, || functions.get(b"a").is_some()));
    functions.with(&[2; 32], || functions.insert(b"b", vec![7; 60 << 20]));
    functions.with(&[3; 32], || functions.insert(b"c", vec![7; 5 << 20]));
    assert!(functions.with(&ONE, || functions.get(b"a").is_none()), "the bound was passed");
    assert!(functions.with(&[3; 32], || functions.get(b"c").is_some()));
}

#[test]
fn removes_what_another_version_has_left() {
    let dir = tempfile::tempdir().unwrap();
    let old = dir.path().join(hex(&[9; 32]));
    std::fs::write(&old, b"portcullis functions 1\nand what may be a secret").unwrap();
    let path = Some(dir.path().to_path_buf());
    drop(Functions::new(path.clone()));
    assert!(!old.exists());
    let functions = Functions::new(path);
    functions.with(&ONE, || functions.insert(b"a", vec![7; 100]));
    drop(functions);
    assert!(
        Functions::new(Some(dir.path().to_path_buf())).with(&ONE, || dir.path().join(hex(&ONE)).exists())
    );
}
