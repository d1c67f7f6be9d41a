//! Everything at once: fills, validations, reads, purges, broken files and a disk that is full now and then. Takes
//! two seconds; `PORTCULLIS_TORTURE_SECONDS` makes it longer.

use std::fs::{self, OpenOptions};
use std::hash::{BuildHasher, RandomState};
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::tools::{Place, TestStore, body, faults, on_disk, settled};
use crate::store::tests::tools::{head, key, new_entry, read_all, settings};
use crate::store::{Entry, Mode, Purge, ReadError};

const PATHS: u64 = 40;

/// What a head of the test says: the version of the body, and a count of validations in the lower 16 bits.
fn version(entry: &Entry<super::tools::TestHead>) -> u64 {
    entry.head().version >> 16
}

pub(super) fn path(number: u64) -> String {
    format!("/{}/{number}", number % 4)
}

pub(super) fn tag(number: u64) -> Vec<u8> {
    vec![b't', (number % 5) as u8]
}

/// Sizes from nothing to what only the disk takes.
pub(super) fn size(number: u64, version: u64) -> usize {
    match (number + version) % 10 {
        0 => 0,
        1..6 => (number * 97 + version * 31) as usize % 5_000,
        6..9 => 60_000 + (version * 1_001) as usize % 140_000,
        _ => 1_200_000,
    }
}

/// Random numbers that are good enough here.
pub(super) struct Chance(RandomState, u64);

impl Chance {
    pub(super) fn new() -> Self {
        Self(RandomState::new(), 0)
    }

    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.1 += 1;
        self.0.hash_one(self.1) % end
    }
}

pub(super) fn seconds() -> u64 {
    std::env::var("PORTCULLIS_TORTURE_SECONDS").ok().and_then(|seconds| seconds.parse().ok()).unwrap_or(2)
}

struct World {
    store: TestStore,
    /// What the upstream has.
    current: Vec<AtomicU64>,
    /// What was purged: nothing older may be seen.
    purged: Vec<AtomicU64>,
    hits: AtomicUsize,
    end: Instant,
}

impl World {
    fn goes_on(&self) -> bool {
        Instant::now() < self.end
    }

    fn fill(&self) {
        let mut chance = Chance::new();
        while self.goes_on() {
            let number = chance.below(PATHS);
            let ticket = self.store.ticket();
            let version = self.current[number as usize].load(SeqCst);
            let (at, tag) = (key(&path(number)), tag(number));
            let bytes = body(&path(number), version, size(number, version));
            let length = (chance.below(2) == 0).then_some(bytes.len() as u64);
            let tags = [&*tag];
            let Ok(mut fill) = self.store.begin(ticket, new_entry(&at, b"", version << 16, &tags, length))
            else {
                continue;
            };
            let _reader = fill.entry().body().read();
            let all = chance.below(10) > 0;
            let pieces = bytes.chunks(1 + chance.below(70_000) as usize);
            let pieces = pieces.take(if all { usize::MAX } else { 1 });
            pieces.for_each(|piece| fill.append(&Bytes::copy_from_slice(piece)));
            if all {
                // Refused if it was purged, or no room can be made.
                drop(fill.commit());
            }
        }
    }

    fn check(&self, number: u64, entry: &Entry<super::tools::TestHead>, purged: u64) {
        let version = version(entry);
        assert!(version >= purged, "{number}: {version} is older than what was purged, {purged}");
        let Some(reader) = entry.body().read() else { return };
        match read_all(reader) {
            Ok(bytes) => {
                let right = body(&path(number), version, size(number, version));
                let at = bytes.iter().zip(&right).position(|(read, right)| read != right);
                let (read, whole, tier) = (bytes.len(), right.len(), entry.tier());
                assert!(
                    bytes == right,
                    "{number}: a wrong byte at {at:?} of {read} for {whole}, from {tier:?}"
                );
                self.hits.fetch_add(1, SeqCst);
            }
            Err(ReadError::Aborted | ReadError::Lagged | ReadError::Damaged) => {}
        }
    }

    fn read(&self) {
        let mut chance = Chance::new();
        while self.goes_on() {
            let number = chance.below(PATHS);
            let purged = self.purged[number as usize].load(SeqCst);
            let at = key(&path(number));
            let found = match self.store.find(at.bytes()) {
                Some(variants) if chance.below(2) == 0 => variants.hit(0).into_iter().collect(),
                _ => on_disk(&self.store, &at),
            };
            for entry in &found {
                self.check(number, entry, purged);
                self.store.promote(entry);
                let ticket = self.store.ticket();
                if chance.below(4) == 0 && self.current[number as usize].load(SeqCst) == version(entry) {
                    drop(self.store.update(ticket, entry, head(entry.head().version + 1)));
                }
            }
        }
    }

    fn purge(&self) {
        let mut chance = Chance::new();
        while self.goes_on() {
            let number = chance.below(PATHS);
            let (at, prefix) = (key(&path(number)), format!("https://host/{}/", number % 4));
            let how = chance.below(8);
            let met: Vec<u64> = (0..PATHS)
                .filter(|other| match how {
                    0 => other % 4 == number % 4,
                    1 => other % 5 == number % 5,
                    _ => *other == number,
                })
                .collect();
            let next: Vec<_> =
                met.iter().map(|met| self.current[*met as usize].fetch_add(1, SeqCst) + 1).collect();
            let tag = tag(number);
            let what = match how {
                0 => Purge::Prefix(prefix.as_bytes()),
                1 => Purge::Tag(&tag),
                2..5 => Purge::Url(at.url()),
                _ => Purge::Key(at.bytes()),
            };
            drop(self.store.purge(&what, Mode::Hard, 1));
            for (met, next) in met.into_iter().zip(next) {
                self.purged[met as usize].fetch_max(next, SeqCst);
            }
            thread::park_timeout(Duration::from_millis(chance.below(6)));
        }
    }

    /// Breaks files, and makes the disk full.
    fn break_things(&self, place: &Place) {
        let mut chance = Chance::new();
        while self.goes_on() {
            let files = place.files();
            if let Some(file) = files.get(chance.below(files.len().max(1) as u64) as usize)
                && let (Ok(opened), Ok(length)) = (
                    OpenOptions::new().write(true).read(true).open(file),
                    fs::metadata(file).map(|file| file.len()),
                )
            {
                let at = chance.below(length.max(1));
                let mut byte = [0];
                if chance.below(3) == 0 {
                    opened.set_len(at).unwrap();
                } else if opened.read_exact_at(&mut byte, at).is_ok() {
                    opened.write_all_at(&[byte[0] ^ (1 << chance.below(8))], at).unwrap();
                }
            }
            faults(&self.store).set_full(chance.below(4) == 0);
            thread::park_timeout(Duration::from_millis(3));
        }
        faults(&self.store).set_full(false);
    }
}

#[test]
fn no_wrong_byte_and_nothing_purged_comes_back() {
    let place = Place::new();
    let mut settings = settings();
    (settings.memory.bytes_max, settings.memory.object_bytes_max) = (700 << 10, 200 << 10);
    let bytes_max = place.settings().bytes_max;
    let world = World {
        store: super::tools::open_ready(settings, place.settings()),
        current: (0..PATHS).map(|_| AtomicU64::new(0)).collect(),
        purged: (0..PATHS).map(|_| AtomicU64::new(0)).collect(),
        hits: AtomicUsize::new(0),
        end: Instant::now() + Duration::from_secs(seconds()),
    };
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| world.fill());
            scope.spawn(|| world.read());
        }
        scope.spawn(|| world.purge());
        scope.spawn(|| world.break_things(&place));
        while world.goes_on() {
            assert!(world.store.stats().bytes <= 700 << 10);
            assert!(world.store.disk_stats().unwrap().bytes <= bytes_max);
            thread::park_timeout(Duration::from_millis(5));
        }
    });
    assert!(world.hits.load(SeqCst) > 20, "{} hits", world.hits.load(SeqCst));
    settled(&world.store, |stats| place.new_files() == 0 && place.files().len() <= stats.files + 1);
    let World { store, purged, .. } = world;
    let store = super::tools::after_a_restart(&place, store);
    for number in 0..PATHS {
        for entry in on_disk(&store, &key(&path(number))) {
            let (version, purged) = (version(&entry), purged[number as usize].load(SeqCst));
            assert!(version >= purged, "{number}: {version} came back after {purged}");
        }
    }
}
