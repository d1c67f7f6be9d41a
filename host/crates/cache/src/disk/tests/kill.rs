//! A process that fills and purges is killed again and again: what is found afterwards is right, and nothing is back
//! that was purged.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::tools::{Place, body, on_disk, open_ready, with_folder};
use super::torture::{Chance, path, seconds, size, tag};
use crate::store::tests::tools::{key, new_entry, read_all, settings, wait};
use crate::store::{Mode, Purge};

const PATHS: u64 = 20;
const FOLDER: &str = "PORTCULLIS_TEST_KILLED_IN";
const FIRST: &str = "PORTCULLIS_TEST_FIRST_VERSION";

/// The process that is killed: this test, run by the other one. It says which version each path is purged up to.
#[test]
fn killed() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let mut version: u64 = std::env::var(FIRST).unwrap().parse().unwrap();
    let store = open_ready(settings(), with_folder(folder.as_ref()));
    let mut chance = Chance::new();
    loop {
        version += 1;
        let number = chance.below(PATHS);
        let (at, tag) = (key(&path(number)), tag(number));
        let tags = [&*tag];
        let new = new_entry(&at, b"", version, &tags, None);
        if let Ok(mut fill) = store.begin(store.ticket(), new) {
            for piece in body(&path(number), version, size(number, version)).chunks(50_000) {
                wait(|cx| fill.poll_room(cx));
                fill.append(&Bytes::copy_from_slice(piece));
            }
            drop(fill.commit());
        }
        if chance.below(6) == 0 {
            let number = chance.below(PATHS);
            let (at, tag) = (key(&path(number)), super::torture::tag(number));
            let by_tag = chance.below(2) == 0;
            let what = if by_tag { Purge::Tag(&tag) } else { Purge::Key(at.bytes()) };
            let mut purged = Box::pin(store.purge(&what, Mode::Hard, 1));
            assert!(wait(|cx| purged.as_mut().poll(cx)));
            for met in (0..PATHS).filter(|met| if by_tag { met % 5 == number % 5 } else { *met == number }) {
                writeln!(std::io::stderr(), "purged {met} {version}").unwrap();
            }
        }
        writeln!(std::io::stderr(), "version {version}").unwrap();
    }
}

#[test]
fn nothing_purged_comes_back_after_a_kill() {
    let place = Place::new();
    let mut chance = Chance::new();
    let (mut purged, mut version, mut found) = (vec![0; PATHS as usize], 0, 0);
    let end = Instant::now() + Duration::from_secs(seconds());
    let mut kills = 0;
    while kills < 3 || Instant::now() < end {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "disk::tests::kill::killed", "--nocapture"])
            .env(FOLDER, place.path())
            .env(FIRST, (version + 1_000).to_string())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        // Somewhere in the middle of what it does.
        let mut lines = lines.map(Result::unwrap);
        let mut note = |line: &str| {
            let mut words = line.split(' ');
            match (words.next(), words.next().and_then(|word| word.parse().ok()), words.next()) {
                (Some("version"), Some(number), _) => version = number,
                (Some("purged"), Some(number), Some(up_to)) => {
                    purged[number as usize] = up_to.parse().unwrap()
                }
                // What the harness of the tests says.
                _ => {}
            }
        };
        lines.by_ref().take(50 + chance.below(200) as usize).for_each(|line| note(&line));
        child.kill().unwrap();
        child.wait().unwrap();
        // What it said before the kill counts; the last line may be cut.
        for line in lines {
            if line.split(' ').count() == if line.starts_with('p') { 3 } else { 2 } {
                note(&line);
            }
        }
        kills += 1;
        let store = place.open();
        for number in 0..PATHS {
            for entry in on_disk(&store, &key(&path(number))) {
                let version = entry.head().version;
                assert!(version > purged[number as usize], "{number}: {version} is back");
                let bytes = read_all(entry.body().read().unwrap()).unwrap();
                assert!(
                    bytes == body(&path(number), version, size(number, version)),
                    "{number}: a wrong byte"
                );
                found += 1;
            }
        }
        assert_eq!(store.disk_stats().unwrap().damaged, 0);
        assert!(place.bytes() <= place.settings().bytes_max);
    }
    assert!(found > 0);
}
