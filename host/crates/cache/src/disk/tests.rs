mod kill;
mod purges;
mod tools;
mod torture;

use std::fs;

use bytes::Bytes;
use tools::{Place, after_a_restart, on_disk, settled, stored};

use super::DiskSettings;
use super::stamp::Stamp;
use crate::store::tests::tools::{content, filled, head, key, new_entry, read_all, settings, wait};
use crate::store::{OpenError, ReadError, Refused, Store, Tier};

const SIZES: [usize; 6] = [0, 1, 65_535, 65_536, 65_537, 400_000];

fn body(size: usize) -> Vec<u8> {
    (0..size as u32).map(|number| (number / 3) as u8).collect()
}

#[test]
fn entries_survive_a_restart_whole_and_in_parts() {
    let place = Place::new();
    let store = place.open();
    for size in SIZES {
        filled(&store, &key(&format!("/{size}")), b"gzip", size as u64, &[b"red"], &body(size));
    }
    settled(&store, |stats| stats.files == SIZES.len());
    let store = after_a_restart(&place, store);
    for size in SIZES {
        assert!(store.find(key(&format!("/{size}")).bytes()).is_none());
        let entries = on_disk(&store, &key(&format!("/{size}")));
        assert_eq!(entries.len(), 1);
        let entry = &entries[0];
        assert_eq!(
            (entry.variant(), entry.head().version, entry.tier()),
            (&b"gzip"[..], size as u64, Tier::Disk)
        );
        assert_eq!(entry.body().len(), Some(size as u64));
        assert!(content(entry) == body(size));
        assert_eq!(entry.body().in_one_piece().is_some(), size <= 65_536);
        for (start, end) in [(0, size), (size / 3, size / 2), (size.saturating_sub(1), size), (size, size)] {
            let part = read_all(entry.body().read_range(start as u64..end as u64).unwrap()).unwrap();
            assert!(part == body(size)[start..end], "{start}..{end} of {size}");
        }
        assert!(entry.body().read_range(0..size as u64 + 1).is_none());
    }
    assert!(store.find_on_disk(key("/other").bytes()).is_none());
    assert_eq!(wait_all(&store, b"https://host/1"), 1);
}

fn wait_all(store: &Store<crate::store::tests::tools::TestHead>, url: &[u8]) -> usize {
    let mut lookup = Box::pin(store.inspect_disk(url).unwrap());
    wait(|cx| lookup.as_mut().poll(cx)).len()
}

#[test]
fn what_is_too_large_for_memory_streams_to_the_disk() {
    let place = Place::new();
    let store = place.open();
    let large = body(3 << 20);
    filled(&store, &key("/a"), b"", 1, &[], b"small");
    let new = new_entry(&key("/a"), b"", 2, &[], Some(large.len() as u64));
    let mut fill = store.begin(store.ticket(), new).unwrap();
    let mut reader = Some(fill.entry().body().read().unwrap());
    let mut seen = Vec::new();
    for piece in large.chunks(50_000) {
        assert!(wait(|cx| fill.poll_room(cx)) && fill.stored());
        fill.append(&Bytes::copy_from_slice(piece));
        if let Some(reader) = &mut reader {
            seen.extend_from_slice(&wait(|cx| reader.poll_next(cx)).unwrap().unwrap());
        }
        if seen.len() > 1 << 20 {
            // From here on it is only written to the disk.
            reader = None;
        }
    }
    assert!(seen == large[..seen.len()]);
    fill.commit().unwrap();
    // The older, smaller one is not in memory any more, and the new one comes from the disk.
    assert!(store.find(key("/a").bytes()).is_none());
    settled(&store, |_| on_disk(&store, &key("/a")).first().is_some_and(|entry| entry.head().version == 2));
    assert!(content(&on_disk(&store, &key("/a"))[0]) == large);
    let too_large = store.begin(store.ticket(), new_entry(&key("/b"), b"", 2, &[], Some(9 << 20)));
    assert_eq!(too_large.map(drop), Err(Refused::TooLarge));
}

#[test]
fn a_response_that_is_given_up_leaves_nothing() {
    let place = Place::new();
    let store = place.open();
    let mut fill = store.begin(store.ticket(), new_entry(&key("/a"), b"", 1, &[], None)).unwrap();
    fill.append(&body(300_000).into());
    drop(fill);
    let mut short = store.begin(store.ticket(), new_entry(&key("/a"), b"", 1, &[], Some(400_000))).unwrap();
    short.append(&body(300_000).into());
    assert_eq!(short.commit().unwrap_err(), Refused::WrongLength);
    settled(&store, |stats| stats.bytes == 0 && place.new_files() == 0);
    assert!(store.find_on_disk(key("/a").bytes()).is_none());
}

#[test]
fn a_kill_leaves_no_half_file_and_two_processes_do_not_share_a_folder() {
    let place = Place::new();
    let store = place.open();
    assert!(matches!(tools::open(settings(), place.settings()), Err(OpenError::InUse(_))));
    fs::write(place.path().join("new/77"), b"half").unwrap();
    let store = after_a_restart(&place, store);
    assert_eq!(place.new_files(), 0);
    drop(store);
}

#[test]
fn a_folder_with_other_files_is_refused_and_stays() {
    let place = Place::new();
    fs::create_dir_all(place.path().join("new")).unwrap();
    fs::write(place.path().join("new/mine"), b"mine").unwrap();
    let refused = tools::open(settings(), place.settings()).unwrap_err();
    assert!(refused.to_string().ends_with("it has other files in it; name a folder of its own"), "{refused}");
    assert_eq!(fs::read(place.path().join("new/mine")).unwrap(), b"mine");
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 1);
}

#[test]
fn a_key_has_a_bounded_number_of_files() {
    let place = Place::new();
    let store = place.open();
    for version in 0..9 {
        filled(&store, &key("/a"), &[version as u8], version, &[], b"x");
        settled(&store, |_| on_disk(&store, &key("/a")).iter().any(|entry| entry.head().version == version));
        settled(&store, |stats| stats.files == 4.min(version as usize + 1));
    }
    let store = after_a_restart(&place, store);
    let mut versions: Vec<_> = on_disk(&store, &key("/a")).iter().map(|entry| entry.head().version).collect();
    versions.sort_unstable();
    assert_eq!(versions, [5, 6, 7, 8]);
}

#[test]
fn no_other_user_can_read_it() {
    use std::os::unix::fs::PermissionsExt;
    let place = Place::new();
    fs::create_dir_all(place.path()).unwrap();
    fs::set_permissions(place.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let store = place.open();
    stored(&store, "/a", 1, &[], 10);
    for path in place.all() {
        let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, if path.is_dir() { 0o700 } else { 0o600 }, "{}", path.display());
    }
}

#[test]
fn broken_files_are_misses_and_never_wrong() {
    let place = Place::new();
    let store = place.open();
    stored(&store, "/a", 1, &[], 200_000);
    let file = place.files().remove(0);
    let mut good = fs::read(&file).unwrap();
    let (mut misses, mut broken_files) = (0, 0);
    for step in 0..60 {
        let mut broken = good.clone();
        let at = step * good.len() / 60;
        if step % 3 == 0 {
            broken.truncate(at)
        } else {
            broken[at] ^= 1 << (step % 8)
        }
        fs::write(&file, &broken).unwrap();
        match on_disk(&store, &key("/a")).first() {
            None => misses += 1,
            Some(entry) => match read_all(entry.body().read().unwrap()) {
                // A bit of what nothing is kept in.
                Ok(bytes) => {
                    assert!(bytes == tools::body("/a", 1, 200_000));
                    fs::write(&file, &good).unwrap();
                    continue;
                }
                Err(error) => assert_eq!(error, ReadError::Damaged),
            },
        }
        // It is gone, and may come again.
        settled(&store, |stats| stats.files == 0);
        stored(&store, "/a", 1, &[], 200_000);
        good = fs::read(&file).unwrap();
        broken_files += 1;
    }
    assert!(misses > 20 && broken_files > misses, "{misses} of {broken_files}");
    assert_eq!(store.disk_stats().unwrap().damaged, broken_files);
}

#[test]
fn a_full_disk_is_a_miss_and_no_error() {
    let place = Place::new();
    let store = place.open();
    stored(&store, "/a", 1, &[], 100);
    let faults = tools::faults(&store);
    faults.set_full(true);
    let errors = |store: &tools::TestStore| store.disk_stats().unwrap().write_errors;
    for size in [100, 300_000] {
        let before = errors(&store);
        filled(&store, &key("/b"), b"", 1, &[], &body(size));
        settled(&store, |stats| stats.write_errors > before);
        assert!(store.find_on_disk(key("/b").bytes()).is_none());
        assert!(store.find(key("/b").bytes()).is_some());
    }
    assert_eq!(on_disk(&store, &key("/a")).len(), 1);
    faults.set_full(false);
    stored(&store, "/b", 1, &[], 300_000);
    settled(&store, |_| place.new_files() == 0);
    assert!(store.disk_stats().unwrap().last_error.is_some());
}

#[test]
fn what_does_not_fit_makes_room() {
    let place = Place::new();
    let store = place.open();
    for number in 0..80 {
        filled(&store, &key(&format!("/{number}")), b"", 1, &[], &body(150_000));
        assert!(store.disk_stats().unwrap().bytes <= place.settings().bytes_max);
    }
    settled(&store, |stats| stats.evictions > 0 && place.new_files() == 0);
    settled(&store, |_| place.bytes() <= place.settings().bytes_max);
    for number in 80..200 {
        stored(&store, &format!("/{number}"), 1, &[], 1);
    }
    settled(&store, |stats| stats.files <= 100 && place.files().len() == stats.files);
    assert!(store.disk_stats().unwrap().files > 50);
    // Fewer are allowed after a restart.
    let mut fewer = place.settings();
    fewer.files_max = 10;
    drop(store);
    let store = tools::open_ready(settings(), fewer);
    settled(&store, |stats| stats.files == 10 && place.files().len() == 10);
}

#[test]
fn other_bounds_hold_while_it_is_open() {
    let place = Place::new();
    let store = place.open();
    for number in 0..20 {
        stored(&store, &format!("/{number}"), 1, &[], 100_000);
    }
    let fewer = DiskSettings { files_max: 5, threads: 1, object_bytes_max: 200_000, ..place.settings() };
    store.set_disk(fewer.clone()).unwrap();
    settled(&store, |stats| stats.files == 5 && place.files().len() == 5);
    let smaller = DiskSettings { bytes_max: 250_000, ..fewer };
    store.set_disk(smaller).unwrap();
    settled(&store, |stats| stats.bytes <= 250_000 && place.bytes() <= 250_000);
    filled(&store, &key("/large"), b"", 1, &[], &body(220_000));
    stored(&store, "/small", 1, &[], 100);
    assert!(store.find_on_disk(key("/large").bytes()).is_none());
    store.set_disk(DiskSettings { threads: 4, ..place.settings() }).unwrap();
    stored(&store, "/large", 2, &[], 220_000);
}

#[test]
fn a_folder_that_is_removed_is_made_anew() {
    let place = Place::new();
    let store = place.open();
    stored(&store, "/a", 1, &[b"red"], 100_000);
    place.remove();
    assert!(on_disk(&store, &key("/a")).is_empty());
    stored(&store, "/b", 1, &[], 100_000);
    settled(&store, |stats| stats.files == 1);
    assert!(matches!(tools::open(settings(), place.settings()), Err(OpenError::InUse(_))));
    // What is purged now is written down in the new folder.
    stored(&store, "/c", 1, &[b"red"], 10);
    let mut purged = Box::pin(store.purge(&crate::store::Purge::Tag(b"red"), crate::store::Mode::Hard, 1));
    wait(|cx| purged.as_mut().poll(cx));
    let store = after_a_restart(&place, store);
    assert_eq!(on_disk(&store, &key("/b")).len(), 1);
    assert!(on_disk(&store, &key("/c")).is_empty());
    // A log that is gone is noticed by the purge that it does not get.
    stored(&store, "/d", 1, &[b"red"], 10);
    place.remove();
    let mut purged = Box::pin(store.purge(&crate::store::Purge::Tag(b"red"), crate::store::Mode::Hard, 1));
    // Unless the log was just begun anew.
    wait(|cx| purged.as_mut().poll(cx));
    settled(&store, |_| place.path().join("purges").exists());
    stored(&store, "/e", 1, &[b"red"], 10);
    let mut purged = Box::pin(store.purge(&crate::store::Purge::Tag(b"red"), crate::store::Mode::Hard, 1));
    assert!(wait(|cx| purged.as_mut().poll(cx)));
}

#[test]
fn a_folder_is_given_up_for_another_process() {
    let place = Place::new();
    let store = place.open();
    stored(&store, "/a", 1, &[], 300_000);
    let entry = on_disk(&store, &key("/a")).remove(0);
    let mut fill = store.begin(store.ticket(), new_entry(&key("/b"), b"", 1, &[], None)).unwrap();
    fill.append(&Bytes::from(body(300_000)));
    store.hand_over_disk().unwrap();
    // Until it is wanted, it is used, so that what is purged does not come back.
    stored(&store, "/purged", 1, &[], 10);
    let purged = crate::store::Purge::Url(b"https://host/purged");
    let mut purged = Box::pin(store.purge(&purged, crate::store::Mode::Hard, 1));
    assert!(wait(|cx| purged.as_mut().poll(cx)));
    let waits = DiskSettings { lock_wait: std::time::Duration::from_secs(60), ..place.settings() };
    let next = tools::open_ready(settings(), waits);
    assert!(on_disk(&next, &key("/purged")).is_empty());
    assert!(content(&on_disk(&next, &key("/a"))[0]) == tools::body("/a", 1, 300_000));
    // What is being read goes on, and what is being written does not.
    assert!(content(&entry) == tools::body("/a", 1, 300_000));
    drop(fill.commit());
    filled(&store, &key("/c"), b"", 1, &[], b"x");
    assert!(store.find(key("/c").bytes()).is_some() && store.find_on_disk(key("/a").bytes()).is_none());
    stored(&next, "/d", 1, &[], 10);
    settled(&next, |stats| stats.files == 2 && place.files().len() == 2 && place.new_files() == 0);
}

#[test]
fn what_is_above_the_folder_must_be_there() {
    let place = Place::new();
    let below = DiskSettings { folder: place.path().join("a"), ..place.settings() };
    let error = tools::open(settings(), below).unwrap_err().to_string();
    assert!(error.contains("does not exist; make that folder"), "{error}");
    assert!(!place.path().exists());
    fs::write(place.path(), b"").unwrap();
    let error = tools::open(settings(), place.settings()).unwrap_err().to_string();
    assert!(error.ends_with("it is not a folder"), "{error}");
}

#[test]
fn files_that_are_open_to_be_read_have_a_bound() {
    let place = Place::new();
    let store = place.open();
    for number in 0..8 {
        stored(&store, &format!("/{number}"), 1, &[], 200_000);
    }
    stored(&store, "/a", 1, &[], 200_000);
    stored(&store, "/small", 1, &[], 200);
    let mut open: Vec<_> =
        (0..8).map(|number| on_disk(&store, &key(&format!("/{number}"))).remove(0)).collect();
    assert!(on_disk(&store, &key("/a")).is_empty());
    assert_eq!(on_disk(&store, &key("/small")).len(), 1);
    open.pop();
    assert_eq!(on_disk(&store, &key("/a")).len(), 1);
    assert_eq!(store.disk_stats().unwrap().damaged, 0);
}

/// Waits until changes of the files can be told from what was done to them before.
fn settle(place: &Place) {
    tools::until("the files are old enough", || {
        let old = |path: &std::path::PathBuf| Stamp::of(&fs::metadata(path).unwrap()).is_settled();
        place.files().iter().all(old)
    });
}

#[test]
fn what_was_read_stays_open_until_it_changes() {
    let place = Place::new();
    let store = place.open();
    let same = || {
        let [one, two] = [(); 2].map(|()| on_disk(&store, &key("/a")).remove(0));
        std::sync::Arc::ptr_eq(&one, &two)
    };
    stored(&store, "/a", 1, &[], 300_000);
    settle(&place);
    assert!(same());
    let entry = on_disk(&store, &key("/a")).remove(0);
    store.update(store.ticket(), &entry, head(2)).unwrap();
    settled(&store, |_| on_disk(&store, &key("/a"))[0].head().version == 2);
    settle(&place);
    assert!(same());
    drop(store.purge(&crate::store::Purge::Key(key("/a").bytes()), crate::store::Mode::Soft, 9));
    assert_eq!(on_disk(&store, &key("/a"))[0].stale_since(), Some(9));
    stored(&store, "/a", 3, &[], 300_000);
    settle(&place);
    assert!(same() && content(&on_disk(&store, &key("/a"))[0]) == tools::body("/a", 3, 300_000));
    // Another process changes a byte.
    let file = fs::OpenOptions::new().write(true).open(&place.files()[0]).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, b"x", 150_000).unwrap();
    let entry = on_disk(&store, &key("/a")).remove(0);
    assert_eq!(read_all(entry.body().read().unwrap()).unwrap_err(), ReadError::Damaged);
    settled(&store, |stats| stats.files == 0);
}

#[test]
fn what_was_checked_can_be_sent_from_its_file() {
    use std::io::{Read, Seek, SeekFrom};
    use std::os::fd::AsFd;
    let place = Place::new();
    let store = place.open();
    stored(&store, "/a", 1, &[], 500_000);
    settle(&place);
    let right = tools::body("/a", 1, 500_000);
    let entry = on_disk(&store, &key("/a")).remove(0);
    assert!(entry.body().read().unwrap().file_part().is_none());
    assert!(content(&entry) == right);
    for (start, end) in [(0, 500_000), (70_000, 400_000), (65_536, 65_537)] {
        let mut reader = entry.body().read_range(start..end).unwrap();
        let (mut read, mut parts) = (Vec::new(), 0);
        while let Some(part) = reader.file_part() {
            let mut file = fs::File::from(part.as_fd().try_clone_to_owned().unwrap());
            file.seek(SeekFrom::Start(part.offset())).unwrap();
            // Not all of it is sent at once.
            let sent = part.len().min(200_001);
            file.take(sent).read_to_end(&mut read).unwrap();
            reader.advance(sent);
            parts += 1;
        }
        // All of it, or the page cache has let go of some: the rest is read.
        read.extend(read_all(reader).unwrap());
        assert!(read == right[start as usize..end as usize]);
        assert!(parts > 0);
    }
}

#[test]
fn a_disk_that_has_stopped_is_left() {
    let place = Place::new();
    let store = place.open();
    let mut fill = store.begin(store.ticket(), new_entry(&key("/a"), b"", 1, &[], None)).unwrap();
    // Nothing is written while the one thread that there is stands still.
    store.set_disk(DiskSettings { threads: 1, ..place.settings() }).unwrap();
    let (go, gate) = std::sync::mpsc::sync_channel::<()>(2);
    store_of(&store).0.pool.add_next(move || gate.recv().unwrap());
    let (other, other_gate) = std::sync::mpsc::sync_channel::<()>(2);
    store_of(&store).0.pool.add_next(move || other_gate.recv().unwrap_or_default());
    let mut appended = 0;
    while fill.waits_for_disk().is_none() {
        fill.append(&Bytes::from(vec![1; 70_000]));
        appended += 70_000;
    }
    assert!(appended < 600_000);
    fill.leave_disk();
    assert!(fill.waits_for_disk().is_none() && wait(|cx| fill.poll_room(cx)) && fill.stored());
    assert_eq!(fill.commit().unwrap().body().len(), Some(appended));
    drop((go.send(()), other));
    settled(&store, |_| place.new_files() == 0);
    assert!(on_disk(&store, &key("/a")).is_empty());
}

#[test]
fn what_waits_to_be_written_has_a_bound() {
    let place = Place::new();
    let store = place.open();
    store.set_disk(DiskSettings { queue: 4, threads: 1, ..place.settings() }).unwrap();
    let core = &store_of(&store).0;
    let (go, gate) = std::sync::mpsc::sync_channel::<()>(2);
    let gate = std::sync::Mutex::new(gate);
    let gate = std::sync::Arc::new(gate);
    for _ in 0..2 {
        let gate = std::sync::Arc::clone(&gate);
        core.pool.add_next(move || {
            let _released = gate.lock().unwrap().recv();
        });
    }
    let fills: Vec<_> = (0..20)
        .map(|number| {
            let at = key(&format!("/{number}"));
            let mut fill = store.begin(store.ticket(), new_entry(&at, b"", 1, &[], None)).unwrap();
            fill.append(&Bytes::from(vec![1; 130_000]));
            fill
        })
        .collect();
    let bound = 5 * (64 << 10);
    assert!(core.unwritten.load(std::sync::atomic::Ordering::Relaxed) <= bound);
    fills.into_iter().for_each(|fill| drop(fill.commit()));
    assert!(core.unwritten.load(std::sync::atomic::Ordering::Relaxed) <= bound);
    drop(go);
    settled(&store, |stats| stats.busy > 0 && place.new_files() == 0);
    settled(&store, |_| core.unwritten.load(std::sync::atomic::Ordering::Relaxed) == 0);
    stored(&store, "/after", 1, &[], 130_000);
}

#[test]
fn a_newer_response_that_is_not_written_removes_the_older_file() {
    let place = Place::new();
    let store = place.open();
    stored(&store, "/a", 1, &[], 100);
    tools::faults(&store).set_full(true);
    filled(&store, &key("/a"), b"", 2, &[], &body(70_000));
    settled(&store, |stats| stats.files == 0);
    drop(store);
}

#[test]
fn a_validation_replaces_the_head_on_the_disk() {
    let place = Place::new();
    let store = place.open();
    let entry = filled(&store, &key("/a"), b"", 1, &[], &body(100_000));
    settled(&store, |_| !on_disk(&store, &key("/a")).is_empty());
    for version in 2..5 {
        let found = store.find(key("/a").bytes()).unwrap().hit(0).unwrap();
        store.update(store.ticket(), &found, head(version)).unwrap();
    }
    settled(&store, |_| on_disk(&store, &key("/a"))[0].head().version == 4);
    let store = after_a_restart(&place, store);
    let from_disk = on_disk(&store, &key("/a")).remove(0);
    store.update(store.ticket(), &from_disk, head(5)).unwrap();
    settled(&store, |_| on_disk(&store, &key("/a"))[0].head().version == 5);
    assert!(content(&on_disk(&store, &key("/a"))[0]) == body(100_000));
    // The head of another response of the same key does not get to this body.
    store.update(store.ticket(), &entry, head(6)).unwrap_err();
    let mut other = entry.with_head(store.ticket(), head(7));
    other.nonce += 1;
    store_of(&store).update(&other, store.ticket());
    filled(&store, &key("/b"), b"", 1, &[], b"x");
    settled(&store, |stats| stats.files == 2);
    assert_eq!(on_disk(&store, &key("/a"))[0].head().version, 5);
}

fn store_of(store: &tools::TestStore) -> &super::Disk {
    store.0.disk.as_ref().unwrap()
}

#[test]
fn what_is_used_often_is_copied_to_memory() {
    let place = Place::new();
    let store = place.open();
    stored(&store, "/a", 1, &[b"red"], 100_000);
    let store = after_a_restart(&place, store);
    let entry = on_disk(&store, &key("/a")).remove(0);
    store.promote(&entry);
    let entry = on_disk(&store, &key("/a")).remove(0);
    assert!(store.find(key("/a").bytes()).is_none());
    store.promote(&entry);
    settled(&store, |_| store.find(key("/a").bytes()).is_some());
    let copy = store.find(key("/a").bytes()).unwrap().hit(0).unwrap();
    assert_eq!((copy.tier(), copy.head().version), (Tier::Memory, 1));
    assert!(content(&copy) == tools::body("/a", 1, 100_000));
}
