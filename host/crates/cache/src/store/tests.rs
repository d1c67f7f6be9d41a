mod growing_races;
mod model;
mod parts;
mod purge_races;
pub(crate) mod tools;

use std::sync::Arc;

use bytes::Bytes;
use tools::{content, filled, key, new_entry, read_all, settings, store};

use super::{Mode, Purge, ReadError, Refused, Tier};

#[test]
fn an_entry_is_found_while_it_grows_and_replaces_the_old_one_at_its_end() {
    let store = store();
    let old = filled(&store, &key("/a"), b"", 1, &[], b"old");
    let mut fill = store.begin(store.ticket(), new_entry(&key("/a"), b"", 2, &[], Some(5))).unwrap();
    fill.append(&Bytes::from_static(b"he"));
    let variants = store.find(key("/a").bytes()).unwrap();
    assert!(Arc::ptr_eq(&variants.entries()[0], fill.entry()) && Arc::ptr_eq(&variants.entries()[1], &old));
    assert!(!fill.entry().body().is_complete() && old.body().is_complete());
    let reader = variants.hit(0).unwrap().body().read().unwrap();
    fill.append(&Bytes::from_static(b"llo"));
    let entry = fill.commit().unwrap();
    assert_eq!(read_all(reader).unwrap(), b"hello");
    let variants = store.find(key("/a").bytes()).unwrap();
    assert_eq!(variants.entries().len(), 1);
    assert!(Arc::ptr_eq(&variants.hit(0).unwrap(), &entry));
    assert_eq!((content(&entry), entry.tier(), entry.stale_since()), (b"hello".to_vec(), Tier::Memory, None));
    assert_eq!(entry.body().in_one_piece().unwrap(), "hello");
    assert!(store.find(key("/b").bytes()).is_none());
}

#[test]
fn the_old_entry_stays_if_the_new_one_fails() {
    let store = store();
    let old = filled(&store, &key("/a"), b"", 1, &[], b"old");
    let begin =
        |version| store.begin(store.ticket(), new_entry(&key("/a"), b"", version, &[], Some(5))).unwrap();
    let (first, second) = (begin(2), begin(3));
    // Of two that grow the older one is not visible any more.
    let versions = || {
        let found = store.find(key("/a").bytes()).unwrap();
        found.entries().iter().map(|entry| entry.head().version).collect::<Vec<_>>()
    };
    assert_eq!(versions(), [3, 1]);
    drop(first);
    assert_eq!(versions(), [3, 1]);
    drop(second);
    assert_eq!(versions(), [1]);
    let mut too_large = store.begin(store.ticket(), new_entry(&key("/a"), b"", 4, &[], None)).unwrap();
    let reader = too_large.entry().body().read().unwrap();
    assert_eq!(versions(), [4, 1]);
    too_large.append(&vec![1; 2 << 20].into());
    assert!(!too_large.stored());
    assert_eq!(versions(), [1]);
    assert_eq!(too_large.commit().unwrap_err(), Refused::TooLarge);
    assert_eq!(read_all(reader).unwrap().len(), 2 << 20);
    assert_eq!((versions(), store.stats().entries, content(&old)), (vec![1], 1, b"old".to_vec()));
}

#[test]
fn a_range_of_a_body_is_read_alone() {
    let store = store();
    let body: Vec<u8> = (0..200_000_u32).map(|byte| byte as u8).collect();
    let entry = filled(&store, &key("/a"), b"", 1, &[], &body);
    for (start, end) in [(0, 200_000), (0, 0), (65_535, 65_537), (199_999, 200_000), (10, 150_000)] {
        let part = read_all(entry.body().read_range(start..end).unwrap()).unwrap();
        assert!(part == body[start as usize..end as usize], "{start}..{end}");
    }
    assert!(entry.body().read_range(0..200_001).is_none());
}

#[test]
fn variants_replace_their_like_and_the_oldest_goes() {
    let store = store();
    let at = key("/a");
    for (variant, version) in [(b"gzip", 1), (b"none", 2), (b"gzip", 3)] {
        filled(&store, &at, variant, version, &[], b"x");
    }
    let found = store.find(at.bytes()).unwrap();
    assert_eq!(found.entries().iter().map(|entry| entry.head().version).collect::<Vec<_>>(), [3, 2]);
    for version in 4..20 {
        filled(&store, &at, &[version as u8], version, &[], b"x");
    }
    let found = store.find(at.bytes()).unwrap();
    assert_eq!(
        found.entries().iter().map(|entry| entry.head().version).collect::<Vec<_>>(),
        [19, 18, 17, 16]
    );
    assert_eq!(store.stats().entries, 4);
}

#[test]
fn purges_what_is_named_and_nothing_else() {
    let purged = |what: Purge<'_>| {
        let store = store();
        for (path, tags) in [("/a", &["red"][..]), ("/a/b", &["red", "blue"]), ("/c", &[])] {
            let tags: Vec<&[u8]> = tags.iter().map(|tag| tag.as_bytes()).collect();
            filled(&store, &key(path), b"", 1, &tags, b"x");
        }
        let removed = store.purge(&what, Mode::Hard, 9).entries;
        let left: Vec<_> =
            ["/a", "/a/b", "/c"].into_iter().filter(|path| store.find(key(path).bytes()).is_some()).collect();
        assert_eq!(removed + left.len(), 3);
        assert_eq!(store.stats().entries, left.len());
        left
    };
    assert_eq!(purged(Purge::Key(key("/a").bytes())), ["/a/b", "/c"]);
    assert_eq!(purged(Purge::Url(b"https://host/a")), ["/a/b", "/c"]);
    assert_eq!(purged(Purge::Prefix(b"https://host/a")), ["/c"]);
    assert_eq!(purged(Purge::Tag(b"blue")), ["/a", "/c"]);
    assert_eq!(purged(Purge::Tag(b"red")), ["/c"]);
    assert_eq!(purged(Purge::Prefix(b"")), [""; 0]);
    assert_eq!(purged(Purge::Tag(b"green")), ["/a", "/a/b", "/c"]);
}

#[test]
fn a_soft_purge_marks_until_the_next_validation() {
    let store = store();
    let entry = filled(&store, &key("/a"), b"", 1, &[b"red"], b"body");
    let before = store.ticket();
    assert_eq!(store.purge(&Purge::Tag(b"red"), Mode::Soft, 77).entries, 1);
    assert_eq!(store.find(key("/a").bytes()).unwrap().entries()[0].stale_since(), Some(77));
    // A validation that began before the purge does not count.
    assert_eq!(store.update(before, &entry, tools::head(2)).unwrap_err(), Refused::Purged);
    let updated = store.update(store.ticket(), &entry, tools::head(2)).unwrap();
    assert_eq!(
        (updated.stale_since(), updated.head().version, content(&updated)),
        (None, 2, b"body".to_vec())
    );
    assert_eq!(store.stats().entries, 1);
    // The tags stay with it.
    assert_eq!(store.purge(&Purge::Tag(b"red"), Mode::Hard, 78).entries, 1);
    assert_eq!(store.update(store.ticket(), &updated, tools::head(3)).unwrap_err(), Refused::Purged);
    drop((entry, updated));
    assert_eq!(store.stats().bytes, tools::store().stats().bytes);
}

#[test]
fn what_was_asked_for_before_a_purge_is_not_stored_after_it() {
    let store = store();
    let ticket = store.ticket();
    store.purge(&Purge::Tag(b"red"), Mode::Hard, 1);
    let begin = |ticket| store.begin(ticket, new_entry(&key("/a"), b"", 1, &[b"red"], None)).map(drop);
    assert_eq!(begin(ticket), Err(Refused::Purged));
    assert_eq!(begin(store.ticket()), Ok(()));
    // Purged while it is received: those who were already reading it get it whole.
    let mut fill = store.begin(store.ticket(), new_entry(&key("/a"), b"", 1, &[b"red"], None)).unwrap();
    fill.append(&Bytes::from_static(b"old"));
    let reader = fill.entry().body().read().unwrap();
    store.purge(&Purge::Tag(b"red"), Mode::Hard, 1);
    assert_eq!(fill.commit().unwrap_err(), Refused::Purged);
    assert!(store.find(key("/a").bytes()).is_none());
    assert_eq!(read_all(reader).unwrap(), b"old");
}

#[test]
fn a_purge_reaches_what_is_being_stored() {
    let store = store();
    let mut hard = store.begin(store.ticket(), new_entry(&key("/a"), b"", 1, &[b"red"], None)).unwrap();
    let mut soft = store.begin(store.ticket(), new_entry(&key("/b"), b"", 1, &[b"blue"], None)).unwrap();
    store.purge(&Purge::Tag(b"red"), Mode::Hard, 5);
    store.purge(&Purge::Tag(b"blue"), Mode::Soft, 6);
    assert!(store.find(key("/a").bytes()).is_none());
    hard.append(&Bytes::from_static(b"x"));
    soft.append(&Bytes::from_static(b"x"));
    assert_eq!(hard.commit().unwrap_err(), Refused::Purged);
    assert_eq!(soft.commit().unwrap().stale_since(), Some(6));
    assert_eq!(store.stats().entries, 1);
}

#[test]
fn a_smaller_store_evicts_what_is_too_much() {
    let store = store();
    for number in 0..7 {
        filled(&store, &key(&format!("/{number}")), b"", 1, &[], &vec![0; 1 << 20]);
    }
    store.resize(3 << 20, 1 << 20);
    assert!(store.stats().bytes <= 3 << 20);
    assert_eq!(store.stats().entries, 2);
    store.resize(8 << 20, 1 << 20);
    filled(&store, &key("/7"), b"", 1, &[], &vec![0; 1 << 20]);
    assert_eq!(store.stats().entries, 3);
    // Entries are bounded in proportion.
    store.resize(400 << 20, 1 << 20);
    for number in 0..3_000 {
        filled(&store, &key(&format!("/{number}")), b"", 1, &[], b"x");
    }
    assert_eq!(store.stats().entries, 3_000);
    store.resize(4 << 20, 1 << 20);
    assert_eq!(store.stats().entries, settings().memory.entries_max / 2);
}

#[test]
fn an_entry_is_current_until_it_is_purged_or_replaced() {
    let store = store();
    let entry = filled(&store, &key("/a"), b"", 1, &[b"red"], b"x");
    for number in 0..20_000 {
        // Whatever else is purged, however often.
        store.purge(&Purge::Tag(format!("{number}").as_bytes()), Mode::Hard, 1);
    }
    assert!(store.is_current(&entry));
    let begin = |ticket| store.begin(ticket, new_entry(&key("/a"), b"", 2, &[b"red"], None)).unwrap();
    let growing = begin(store.ticket());
    assert!(store.is_current(growing.entry()));
    assert_eq!(store.update(store.ticket(), growing.entry(), tools::head(3)).unwrap_err(), Refused::Growing);
    let mut passed_on = begin(store.ticket());
    passed_on.stop_storing();
    assert!(store.is_current(passed_on.entry()));
    store.purge(&Purge::Tag(b"red"), Mode::Hard, 1);
    assert!(
        !store.is_current(&entry)
            && !store.is_current(growing.entry())
            && !store.is_current(passed_on.entry())
    );
    let old = filled(&store, &key("/a"), b"", 3, &[], b"x");
    filled(&store, &key("/a"), b"", 4, &[], b"x");
    assert!(!store.is_current(&old));
}

#[test]
fn refuses_what_it_must_not_store() {
    let store = store();
    let begin = |length, tags: &[&[u8]]| {
        store.begin(store.ticket(), new_entry(&key("/a"), b"", 1, tags, length)).map(drop)
    };
    assert_eq!(begin(Some(1 << 20), &[]), Ok(()));
    assert_eq!(begin(Some((1 << 20) + 1), &[]), Err(Refused::TooLarge));
    assert_eq!(begin(None, &[b"1", b"2", b"3", b"3"]), Ok(()));
    assert_eq!(begin(None, &[b"1", b"2", b"3", b"4"]), Err(Refused::TooManyTags));
    let mut short = store.begin(store.ticket(), new_entry(&key("/a"), b"", 1, &[], Some(5))).unwrap();
    let reader = short.entry().body().read().unwrap();
    short.append(&Bytes::from_static(b"1234"));
    assert_eq!(short.commit().unwrap_err(), Refused::WrongLength);
    assert_eq!(read_all(reader), Err(ReadError::Aborted));
    assert_eq!(store.stats().entries, 0);
}

#[test]
fn bytes_are_bounded_also_by_what_is_still_read() {
    let store = store();
    let max = settings().memory.bytes_max;
    let body = vec![7; 900_000];
    let mut held = Vec::new();
    for number in 0..100 {
        let fill = store.begin(store.ticket(), new_entry(&key(&format!("/{number}")), b"", 1, &[], None));
        if let Ok(mut fill) = fill {
            let _reader = fill.entry().body().read();
            fill.append(&Bytes::from(body.clone()));
            held.extend(fill.commit().ok());
        }
        assert!(store.stats().bytes <= max);
    }
    // All of it is held by readers: nothing can be evicted, and what is stored stays.
    assert_eq!(held.len(), 9);
    assert_eq!((store.stats().entries, store.stats().evictions), (9, 0));
    assert!(store.stats().refused > 0);
    store.purge(&Purge::Prefix(b""), Mode::Hard, 1);
    assert!(store.stats().bytes > max / 2);
    held.clear();
    filled(&store, &key("/again"), b"", 1, &[], &body);
    assert_eq!(store.stats().entries, 1);
}

#[test]
fn entries_are_bounded() {
    let store = store();
    for number in 0..3_000 {
        filled(&store, &key(&format!("/{number}")), b"", 1, &[], b"x");
        assert!(store.stats().entries <= settings().memory.entries_max);
    }
    assert_eq!(store.stats().entries, settings().memory.entries_max);
    assert!(store.find(key("/2999").bytes()).is_some());
    store.purge(&Purge::Prefix(b"https://host/"), Mode::Hard, 1);
    assert_eq!(store.stats().entries, 0);
}
