//! Purges on the disk, and what comes back after a restart: nothing.

use std::fs;

use bytes::Bytes;

use super::tools::{Place, TestStore, after_a_restart, close, on_disk, settled, stored};
use crate::store::tests::tools::{head, key, new_entry, settings, wait};
use crate::store::{Mode, Purge, Refused};

fn three(store: &TestStore) {
    for (path, tags) in [("/a", &[&b"red"[..]][..]), ("/a/b", &[b"red", b"blue"]), ("/c", &[])] {
        stored(store, path, 1, tags, 1_000);
    }
}

/// Purges, and waits until that is written down.
fn purge(store: &TestStore, what: &Purge<'_>, mode: Mode) -> usize {
    let purged = store.purge(what, mode, 77);
    let entries = purged.entries;
    let mut purged = Box::pin(purged);
    assert!(wait(|cx| purged.as_mut().poll(cx)));
    entries
}

fn left(store: &TestStore) -> Vec<&'static str> {
    ["/a", "/a/b", "/c"].into_iter().filter(|path| !on_disk(store, &key(path)).is_empty()).collect()
}

fn cases(mut check: impl FnMut(&Purge<'_>, &[&str])) {
    check(&Purge::Key(key("/a").bytes()), &["/a/b", "/c"]);
    check(&Purge::Url(b"https://host/a"), &["/a/b", "/c"]);
    check(&Purge::Prefix(b"https://host/a"), &["/c"]);
    check(&Purge::Tag(b"blue"), &["/a", "/c"]);
    check(&Purge::Prefix(b""), &[]);
}

#[test]
fn what_is_purged_is_gone_at_once_and_after_a_restart() {
    cases(|what, expected| {
        let place = Place::new();
        let store = place.open();
        three(&store);
        // In memory and on the disk.
        assert_eq!(purge(&store, what, Mode::Hard), 2 * (3 - expected.len()));
        assert_eq!(left(&store), expected);
        let store = after_a_restart(&place, store);
        assert_eq!(left(&store), expected);
    });
}

#[test]
fn the_log_holds_what_a_kill_left_of_a_purge() {
    cases(|what, expected| {
        let place = Place::new();
        let store = place.open();
        three(&store);
        let files: Vec<_> = place.files().into_iter().map(|path| (fs::read(&path).unwrap(), path)).collect();
        purge(&store, what, Mode::Hard);
        settled(&store, |_| place.files().len() == expected.len());
        close(&place, store);
        // As if the process had been killed before the files were removed.
        files.iter().for_each(|(content, path)| fs::write(path, content).unwrap());
        let store = place.open();
        assert_eq!(left(&store), expected);
        settled(&store, |_| place.files().len() == expected.len());
    });
}

#[test]
fn a_log_that_is_missing_or_broken_leaves_nothing() {
    for broken in [None, Some(&b"no log"[..])] {
        let place = Place::new();
        let store = place.open();
        three(&store);
        close(&place, store);
        let log = place.path().join("purges");
        match broken {
            None => fs::remove_file(log).unwrap(),
            Some(bytes) => fs::write(log, bytes).unwrap(),
        }
        let store = place.open();
        assert_eq!(left(&store), [""; 0]);
        stored(&store, "/a", 2, &[], 10);
    }
}

#[test]
fn a_soft_purge_marks_until_the_next_validation_also_over_restarts() {
    cases(|what, expected| {
        let place = Place::new();
        let store = place.open();
        three(&store);
        let before = store.ticket();
        purge(&store, what, Mode::Soft);
        let stale = |store: &TestStore| {
            let fresh = |path: &&str| on_disk(store, &key(path))[0].stale_since().is_none();
            let fresh: Vec<_> = ["/a", "/a/b", "/c"].into_iter().filter(fresh).collect();
            assert_eq!(fresh, expected);
        };
        stale(&store);
        let store = after_a_restart(&place, store);
        stale(&store);
        // And again, when the log does not name it any more.
        let store = after_a_restart(&place, store);
        stale(&store);
        let entry = on_disk(&store, &key("/a")).remove(0);
        if entry.stale_since().is_some() {
            assert_eq!(entry.stale_since(), Some(77));
            assert!(before.0 < store.ticket().0);
            store.update(store.ticket(), &entry, head(2)).unwrap();
            settled(&store, |_| on_disk(&store, &key("/a"))[0].head().version == 2);
            let store = after_a_restart(&place, store);
            assert_eq!(on_disk(&store, &key("/a"))[0].stale_since(), None);
        }
    });
}

#[test]
fn what_was_asked_for_before_a_purge_is_not_written_after_it() {
    for mode in [Mode::Hard, Mode::Soft] {
        let place = Place::new();
        let store = place.open();
        let mut fill = store.begin(store.ticket(), new_entry(&key("/a"), b"", 1, &[b"red"], None)).unwrap();
        fill.append(&Bytes::from(vec![1; 200_000]));
        purge(&store, &Purge::Tag(b"red"), mode);
        match mode {
            Mode::Hard => assert_eq!(fill.commit().unwrap_err(), Refused::Purged),
            Mode::Soft => drop(fill.commit().unwrap()),
        }
        stored(&store, "/b", 1, &[], 10);
        settled(&store, |_| place.new_files() == 0);
        assert!(on_disk(&store, &key("/a")).is_empty());
        let store = after_a_restart(&place, store);
        assert!(on_disk(&store, &key("/a")).is_empty());
    }
}

#[test]
fn a_purge_before_all_files_are_known_holds() {
    let place = Place::new();
    let store = place.open();
    for number in 0..50 {
        stored(&store, &format!("/a/{number}"), 1, &[b"red"], 10);
    }
    drop(store);
    // The index is being read while this purges: whatever it knows, nothing is found afterwards.
    let mut opened = None;
    super::tools::until("the lock", || {
        opened = super::tools::open(settings(), place.settings()).ok();
        opened.is_some()
    });
    let store = opened.unwrap();
    store.purge(&Purge::Tag(b"red"), Mode::Hard, 5);
    for number in 0..50 {
        assert!(on_disk(&store, &key(&format!("/a/{number}"))).is_empty());
    }
    settled(&store, |stats| stats.ready && place.files().is_empty());
}

#[test]
fn a_long_log_is_begun_anew() {
    let place = Place::new();
    let store = place.open();
    let long = vec![b'x'; 300_000];
    for version in 0..8 {
        stored(&store, "/a", version, &[&long], 10);
        assert!(purge(&store, &Purge::Tag(&long), Mode::Hard) > 0);
    }
    settled(&store, |_| fs::metadata(place.path().join("purges")).unwrap().len() < 1 << 20);
    let store = after_a_restart(&place, store);
    assert!(on_disk(&store, &key("/a")).is_empty());
    stored(&store, "/a", 9, &[], 10);
}
