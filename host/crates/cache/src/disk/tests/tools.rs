//! What the tests of the disk share.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};
use std::{fs, io};

use tempfile::TempDir;

use super::super::faults::Faults;
use super::super::{DiskSettings, DiskStats};
pub(crate) use crate::store::tests::tools::TestHead;
use crate::store::tests::tools::{filled, key, settings, wait};
use crate::store::{Entry, Failing, Key, OpenError, Settings, Store, Watcher};

pub(crate) type TestStore = Store<TestHead>;

/// A folder for a store.
pub(crate) struct Place(TempDir);

impl Place {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.0.path().join("cache")
    }

    pub(crate) fn settings(&self) -> DiskSettings {
        with_folder(&self.path())
    }

    pub(crate) fn open(&self) -> TestStore {
        open_ready(settings(), self.settings())
    }

    /// Removes the folder, although something may be written in it meanwhile.
    pub(crate) fn remove(&self) {
        until("removing the folder", || fs::remove_dir_all(self.path()).is_ok());
    }

    /// Returns all folders and files.
    pub(crate) fn all(&self) -> Vec<PathBuf> {
        let (mut all, mut open) = (vec![self.path()], vec![self.path()]);
        while let Some(folder) = open.pop() {
            for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
                all.push(entry.path());
                if entry.path().is_dir() {
                    open.push(entry.path());
                }
            }
        }
        all
    }

    /// Returns the finished files.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        let name = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
        self.all().into_iter().filter(|path| path.is_file() && name(path).len() == 49).collect()
    }

    /// Returns how many files are being written.
    pub(crate) fn new_files(&self) -> usize {
        fs::read_dir(self.path().join("new")).unwrap().count()
    }

    /// Returns what the finished files take.
    pub(crate) fn bytes(&self) -> u64 {
        let bytes = |path: PathBuf| fs::metadata(path).map_or(0, |file| file.len().next_multiple_of(4096));
        self.files().into_iter().map(bytes).sum()
    }
}

pub(crate) fn with_folder(folder: &Path) -> DiskSettings {
    DiskSettings {
        folder: folder.into(),
        bytes_max: 8 << 20,
        files_max: 100,
        object_bytes_max: 4 << 20,
        variants_max: 4,
        threads: 2,
        queue: 64,
        timeout: Duration::from_secs(60),
        open_files_max: 8,
        pending_bytes: 512 << 10,
        sync: false,
        lock_wait: Duration::ZERO,
    }
}

/// Hears nothing.
#[derive(Debug)]
struct Deaf;

impl Watcher for Deaf {
    fn fails(&self, _: Failing, _: &io::Error) {}

    fn works(&self, _: Failing) {}
}

/// Opens a store, once.
pub(crate) fn open(settings: Settings, disk: DiskSettings) -> Result<TestStore, OpenError> {
    Store::open(settings, disk, Arc::new(Deaf))
}

/// Waits until a condition holds.
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < deadline, "{what} took too long");
        thread::park_timeout(Duration::from_millis(1));
    }
}

/// Opens a store, as soon as the threads of one before have let go of the folder, and waits until its index is
/// complete.
pub(crate) fn open_ready(settings: Settings, disk: DiskSettings) -> TestStore {
    let mut opened = None;
    until("the lock", || match open(settings.clone(), disk.clone()) {
        Ok(store) => {
            opened = Some(store);
            true
        }
        Err(OpenError::InUse(_)) => false,
        Err(error) => panic!("{error}"),
    });
    let store = opened.unwrap();
    settled(&store, |stats| stats.ready);
    store
}

/// Waits until the counts of the disk are as they should be.
pub(crate) fn settled(store: &TestStore, mut holds: impl FnMut(&DiskStats) -> bool) {
    until("the disk", || holds(&store.disk_stats().unwrap()));
}

pub(crate) fn after_a_restart(place: &Place, store: TestStore) -> TestStore {
    close(place, store);
    place.open()
}

/// Drops a store, and waits until its threads have let go of the folder.
pub(crate) fn close(place: &Place, store: TestStore) {
    drop(store);
    let lock = fs::File::open(place.path().join("portcullis-cache")).unwrap();
    until("the threads", || lock.try_lock().is_ok());
}

/// Returns the entries of a key on the disk.
pub(crate) fn on_disk(store: &TestStore, key: &Key) -> Vec<Arc<Entry<TestHead>>> {
    let Some(lookup) = store.find_on_disk(key.bytes()) else { return Vec::new() };
    let mut lookup = Box::pin(lookup);
    wait(|cx| lookup.as_mut().poll(cx))
}

/// Returns the body that a path has in a version. Each byte depends on all of it.
pub(crate) fn body(path: &str, version: u64, size: usize) -> Vec<u8> {
    let seed = path
        .bytes()
        .fold(version.wrapping_mul(0x9e37_79b9), |seed, byte| seed.wrapping_mul(31) ^ u64::from(byte));
    (0..size as u64).map(|at| ((seed ^ (at >> 3)).wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as u8).collect()
}

/// Stores a response, and waits until it is on the disk.
pub(crate) fn stored(store: &TestStore, path: &str, version: u64, tags: &[&[u8]], size: usize) {
    filled(store, &key(path), b"", version, tags, &body(path, version, size));
    let there = || on_disk(store, &key(path)).iter().any(|entry| entry.head().version == version);
    until("the file", there);
}

pub(crate) fn faults(store: &TestStore) -> &Faults {
    &store.0.disk.as_ref().unwrap().0.folder.faults
}
