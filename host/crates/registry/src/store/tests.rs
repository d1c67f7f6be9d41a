use std::collections::BTreeSet;
use std::fs::{self, File};
use std::time::{Duration, SystemTime};

use portcullis_model::ContentDigest;
use serde_json::json;

use super::Store;

fn store() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::new(&dir.path().join("plugins"));
    (dir, store)
}

fn age(store: &Store, digest: ContentDigest, hours: u64) {
    let file = fs::File::options().append(true).open(store.content.join(digest.hex())).unwrap();
    file.set_modified(SystemTime::now() - Duration::from_secs(hours * 3600)).unwrap();
}

#[test]
fn gives_back_what_was_put_in() {
    let (_dir, store) = store();
    let digest = store.write(b"content").unwrap();
    assert!(store.has(digest));
    assert_eq!(store.read(digest, 7).unwrap().unwrap(), b"content");
    assert_eq!(store.read(digest, 6).unwrap(), None);
    assert_eq!(store.read(crate::digest(b"other"), 100).unwrap(), None);
    // Nothing is left beside it.
    assert_eq!(fs::read_dir(&store.content).unwrap().count(), 1);
}

#[cfg(unix)]
#[test]
fn is_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let (dir, store) = store();
    store.write(b"content").unwrap();
    let mode = fs::metadata(dir.path().join("plugins")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
}

#[test]
fn drops_what_is_damaged() {
    let (_dir, store) = store();
    let digest = store.write(b"content").unwrap();
    for damage in [&b"Content"[..], b"", b"conten"] {
        fs::write(store.content.join(digest.hex()), damage).unwrap();
        assert_eq!(store.read(digest, 100).unwrap(), None);
        assert!(!store.has(digest));
    }
    store.write(b"content").unwrap();
    assert_eq!(store.read(digest, 100).unwrap().unwrap(), b"content");
}

/// A gateway that crashed in the midst of a write leaves a file of another name, which is in no one's way.
#[test]
fn a_write_that_a_crash_cut_off_is_neither_read_nor_in_the_way() {
    let (_dir, store) = store();
    let digest = crate::digest(b"content");
    fs::create_dir_all(&store.content).unwrap();
    // Also of one that had the same process number, as all have in containers.
    for left_behind in [format!(".{}", digest.hex()), format!(".{}.{}.0", digest.hex(), std::process::id())] {
        fs::write(store.content.join(left_behind), b"cont").unwrap();
    }
    assert_eq!(store.read(digest, 100).unwrap(), None);
    assert!(!store.has(digest));
    assert_eq!(store.write(b"content").unwrap(), digest);
    assert_eq!(store.read(digest, 100).unwrap().unwrap(), b"content");
}

/// Gateways that share a folder write, damage, drop and remove the same pieces: each reads what it asked for or
/// nothing, and none is told of an error.
#[test]
fn gateways_that_share_a_folder_do_not_disturb_one_another() {
    let (_dir, store) = store();
    let contents: Vec<Vec<u8>> = (0..3).map(|byte| vec![byte; 5000]).collect();
    let gateway = |own: usize| {
        let (store, contents) = (&store, &contents);
        move || {
            for round in 0..200 {
                for content in contents {
                    let digest = store.write(content).unwrap();
                    if round % 3 == own {
                        let damaged = store.content.join(digest.hex());
                        // It may have gone again.
                        drop(File::options().write(true).open(damaged).map(|file| file.set_len(7).unwrap()));
                    }
                    let read = store.read(digest, 5000).unwrap();
                    assert!(read.is_none_or(|read| read == *content));
                }
                if round % 5 == own {
                    store.prune(0, &BTreeSet::new()).unwrap();
                }
            }
        }
    };
    std::thread::scope(|scope| {
        for own in 0..3 {
            scope.spawn(gateway(own));
        }
    });
}

#[test]
fn removes_the_longest_unused_and_nothing_that_is_named() {
    let (_dir, store) = store();
    let layer = store.write(&[1; 100]).unwrap();
    let manifest = json!({
        "schemaVersion": 2,
        "layers": [{ "mediaType": "application/wasm", "digest": layer.to_string(), "size": 100 }],
    });
    let image = store.write(manifest.to_string().as_bytes()).unwrap();
    let index = json!({
        "schemaVersion": 2,
        "manifests": [{ "mediaType": "x", "digest": image.to_string(), "size": manifest.to_string().len() }],
    });
    let index = store.write(index.to_string().as_bytes()).unwrap();
    store.write_signatures(index, b"[]").unwrap();
    let (old, recent) = (store.write(&[2; 100]).unwrap(), store.write(&[3; 100]).unwrap());
    for (digest, hours) in [(layer, 90), (image, 90), (old, 50), (recent, 2)] {
        age(&store, digest, hours);
    }
    let named = BTreeSet::from([index]);
    let kept = 100
        + manifest.to_string().len() as u64
        + fs::metadata(store.content.join(index.hex())).unwrap().len()
        + 2;

    assert_eq!(store.prune(kept + 200, &named).unwrap(), 0);
    assert_eq!(store.prune(kept + 199, &named).unwrap(), 100);
    assert!(!store.has(old) && store.has(recent));
    // What is named stays, however little there may be.
    assert_eq!(store.prune(1, &named).unwrap(), 100);
    assert!(store.has(layer) && store.has(image) && store.has(index) && !store.has(recent));
    assert!(store.read_signatures(index).unwrap().is_some());
    store.prune(0, &BTreeSet::new()).unwrap();
    assert!(!store.has(layer) && !store.has(image) && !store.has(index));
}

#[test]
fn being_read_is_being_used() {
    let (_dir, store) = store();
    let (first, second) = (store.write(&[1; 100]).unwrap(), store.write(&[2; 100]).unwrap());
    age(&store, first, 90);
    age(&store, second, 50);
    store.read(first, 100).unwrap();
    store.prune(100, &BTreeSet::new()).unwrap();
    assert!(store.has(first) && !store.has(second));
}

#[test]
fn leaves_alone_what_is_not_its_own() {
    let (_dir, store) = store();
    store.write(b"content").unwrap();
    fs::write(store.content.join("notes"), b"mine").unwrap();
    let left_behind = store.content.join(".half");
    fs::write(&left_behind, b"half").unwrap();
    store.prune(0, &BTreeSet::new()).unwrap();
    assert!(left_behind.exists());
    let file = fs::File::options().append(true).open(&left_behind).unwrap();
    file.set_modified(SystemTime::now() - Duration::from_secs(7200)).unwrap();
    store.prune(0, &BTreeSet::new()).unwrap();
    assert!(!left_behind.exists() && store.content.join("notes").exists());
}
