//! The folder: its files, and who may use it.
//!
//! ```text
//! portcullis-cache     the lock of the process that uses the folder, which also says that the folder is a cache
//! next                 the lock of a process that waits for that one
//! purges               what was purged (purge_log.rs)
//! new/<number>         files that are being written
//! <a>/<bc>/<name>      finished files; the name is a hash of the key and one of the variant, a and bc its first digits
//! ```

use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{PoisonError, RwLock};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{Access, access};
use sha2::{Digest, Sha256};

/// The name of a file: what a key and a variant are hashed to. It does not depend on the process.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct FileName {
    pub(crate) key: u128,
    pub(crate) variant: u64,
}

impl FileName {
    /// Returns the name for a key and a variant.
    pub(crate) fn new(key: &[u8], variant: &[u8]) -> Self {
        let variant = Sha256::digest(variant);
        let variant = variant.iter().take(8).fold(0, |all, byte| (all << 8) | u64::from(*byte));
        Self { key: hash_key(key), variant }
    }

    /// Reads a name.
    fn parse(name: &str) -> Option<Self> {
        let (key, variant) = name.split_once('-')?;
        let parsed = Self {
            key: u128::from_str_radix(key, 16).ok()?,
            variant: u64::from_str_radix(variant, 16).ok()?,
        };
        (parsed.to_string() == name).then_some(parsed)
    }
}

impl fmt::Display for FileName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:032x}-{:016x}", self.key, self.variant)
    }
}

impl fmt::Debug for FileName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

/// Returns the part of a name that is the key's: the first 128 bits of its SHA-256.
pub(crate) fn hash_key(key: &[u8]) -> u128 {
    Sha256::digest(key).iter().take(16).fold(0, |all, byte| (all << 8) | u128::from(*byte))
}

/// The folder of a store.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    /// Held while something in the folder is changed. `None` once the folder belongs to another process.
    lock: RwLock<Option<File>>,
    /// Whether the folder was removed, and made anew, so that nothing is in it that was there.
    was_lost: AtomicBool,
    next_new: AtomicU64,
    #[cfg(test)]
    pub(crate) faults: super::faults::Faults,
}

const LOCK: &str = "portcullis-cache";

/// The lock of a process that waits for the other one.
const NEXT: &str = "next";

/// How many folders there are that have files.
pub(crate) const LEAVES: u16 = 1 << 12;

/// How often it is tried to take a lock that another process is about to release.
const LOCK_EVERY: Duration = Duration::from_millis(20);

/// Says why a folder cannot be used, as far as that shows without changing anything.
///
/// # Errors
/// The reason, as part of a sentence, with what to do.
pub(crate) fn check(path: &Path) -> Result<(), String> {
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == ErrorKind::NotFound => return check_parent(path),
        Err(error) => return Err(error.to_string()),
    };
    if !metadata.is_dir() {
        return Err("it is not a folder".into());
    }
    let user = rustix::process::geteuid().as_raw();
    // Root may well look at the config of another user's gateway.
    if metadata.uid() != user && user != 0 {
        return Err(format!("it belongs to user {}, and this is user {user}", metadata.uid()));
    }
    if let Err(error) = access(path, Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK) {
        return Err(format!("it cannot be written to: {}", io::Error::from(error)));
    }
    check_content(path)
}

/// The folder itself is made if it is missing, and not those above: a disk that is not mounted is not replaced by
/// what is below its mount point.
fn check_parent(path: &Path) -> Result<(), String> {
    let parent = path.parent().unwrap_or(Path::new("/"));
    let shown = parent.display();
    if !parent.is_dir() {
        return Err(format!("{shown} does not exist; make that folder, or mount what belongs there"));
    }
    access(parent, Access::WRITE_OK | Access::EXEC_OK)
        .map_err(|error| format!("it cannot be made in {shown}: {}", io::Error::from(error)))
}

/// Files are removed in it, so nothing else may be there.
fn check_content(path: &Path) -> Result<(), String> {
    if path.join(LOCK).exists() {
        return Ok(());
    }
    for entry in fs::read_dir(path).map_err(|error| error.to_string())? {
        let entry = entry.map_err(|error| error.to_string())?;
        // What file systems make at their root.
        if entry.file_name() != "lost+found" {
            return Err("it has other files in it; name a folder of its own".into());
        }
    }
    Ok(())
}

fn open_lock(path: &Path, name: &str) -> io::Result<File> {
    private(OpenOptions::new().write(true).create(true).truncate(false)).open(path.join(name))
}

/// Takes a lock, if no other process has it.
fn try_lock(lock: &File) -> io::Result<bool> {
    match lock.try_lock() {
        Ok(()) => Ok(true),
        Err(fs::TryLockError::WouldBlock) => Ok(false),
        Err(fs::TryLockError::Error(error)) => Err(error),
    }
}

/// Opens the lock of a folder and takes it. If another process has it, that is asked for it, and is given the time
/// `wait`. `None` if it keeps it for longer.
fn take_lock(path: &Path, wait: Duration) -> io::Result<Option<File>> {
    let lock = open_lock(path, LOCK)?;
    if try_lock(&lock)? {
        return Ok(Some(lock));
    }
    let (asks, until) = (open_lock(path, NEXT)?, Instant::now() + wait);
    let mut is_asking = false;
    while Instant::now() < until {
        is_asking = is_asking || try_lock(&asks)?;
        thread::park_timeout(LOCK_EVERY);
        if try_lock(&lock)? {
            return Ok(Some(lock));
        }
    }
    Ok(None)
}

impl Folder {
    /// Opens or makes the folder, which was [checked](check()), and takes its lock. `None` if another process has it
    /// for longer than `wait`.
    ///
    /// # Errors
    /// If the disk fails.
    pub(crate) fn open(path: &Path, wait: Duration) -> io::Result<Option<Self>> {
        make(path)?;
        // Another user who can write there could make entries.
        if fs::metadata(path)?.permissions().mode() & 0o077 != 0 {
            fs::set_permissions(path, Permissions::from_mode(0o700))?;
        }
        let Some(lock) = take_lock(path, wait)? else { return Ok(None) };
        let folder = Self {
            path: path.into(),
            lock: RwLock::new(Some(lock)),
            was_lost: AtomicBool::new(false),
            next_new: AtomicU64::new(0),
            #[cfg(test)]
            faults: super::faults::Faults::default(),
        };
        make(&folder.new_files())?;
        for left_over in fs::read_dir(folder.new_files())? {
            remove(&left_over?.path())?;
        }
        Ok(Some(folder))
    }

    /// Lets another process have the folder. Nothing in it is changed from then on.
    pub(crate) fn release(&self) {
        *self.lock.write().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Whether another process waits for the folder.
    pub(crate) fn is_wanted(&self) -> bool {
        // A lock that was taken here is released at once.
        open_lock(&self.path, NEXT).and_then(|lock| try_lock(&lock)).is_ok_and(|taken| !taken)
    }

    /// Holds the right to change something in the folder.
    fn held(&self) -> io::Result<impl Drop + '_> {
        let held = self.lock.read().unwrap_or_else(PoisonError::into_inner);
        if held.is_some() { Ok(held) } else { Err(io::Error::other("the folder was released")) }
    }

    /// Makes the folder anew if it was removed, and what else is missing in it.
    fn mend(&self) -> io::Result<()> {
        let mut lock = self.lock.write().unwrap_or_else(PoisonError::into_inner);
        let Some(held) = &*lock else { return Err(io::Error::other("the folder was released")) };
        let ours = held.metadata()?;
        let is_ours = |found: fs::Metadata| (found.dev(), found.ino()) == (ours.dev(), ours.ino());
        if !fs::metadata(self.path.join(LOCK)).is_ok_and(is_ours) {
            make(&self.path)?;
            let taken = take_lock(&self.path, Duration::ZERO)?;
            *lock = Some(taken.ok_or_else(|| io::Error::other("another process uses the folder"))?);
            self.was_lost.store(true, Relaxed);
        }
        make(&self.new_files())
    }

    /// Does something that needs the folder, once more if that was removed.
    fn mended<T>(&self, mut work: impl FnMut() -> io::Result<T>) -> io::Result<T> {
        match work() {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                self.mend()?;
                work()
            }
            done => done,
        }
    }

    /// Returns whether the folder was removed and made anew since it was last asked.
    pub(crate) fn was_lost(&self) -> bool {
        self.was_lost.load(Relaxed) && self.was_lost.swap(false, Relaxed)
    }

    fn new_files(&self) -> PathBuf {
        self.path.join("new")
    }

    fn leaf(&self, leaf: u16) -> PathBuf {
        self.path.join(format!("{:x}", leaf >> 8)).join(format!("{:02x}", leaf & 0xff))
    }

    fn leaf_of(&self, key: u128) -> PathBuf {
        self.leaf((key >> 116) as u16)
    }

    /// Returns the path of a finished file.
    pub(crate) fn file(&self, name: FileName) -> PathBuf {
        self.leaf_of(name.key).join(name.to_string())
    }

    /// Makes a file to write.
    pub(crate) fn create(&self) -> io::Result<(File, PathBuf)> {
        self.may_write(0)?;
        let path = self.new_files().join(self.next_new.fetch_add(1, Relaxed).to_string());
        let file = self.mended(|| {
            let _held = self.held()?;
            private(OpenOptions::new().write(true).read(true).create_new(true)).open(&path)
        })?;
        Ok((file, path))
    }

    /// Opens a finished file to change something in it.
    pub(crate) fn open_to_change(&self, name: FileName) -> io::Result<File> {
        let _held = self.held()?;
        OpenOptions::new().read(true).write(true).open(self.file(name))
    }

    /// Writes all bytes.
    pub(crate) fn write(&self, file: &File, bytes: &[u8], at: u64) -> io::Result<()> {
        self.may_write(bytes.len())?;
        let _held = self.held()?;
        file.write_all_at(bytes, at)
    }

    /// Makes a written file a finished one.
    pub(crate) fn finish(&self, written: &Path, name: FileName) -> io::Result<()> {
        self.may_write(0)?;
        let _held = self.held()?;
        let path = self.file(name);
        match fs::rename(written, &path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let leaf = self.leaf_of(name.key);
                leaf.parent().map_or(Ok(()), make)?;
                make(&leaf)?;
                fs::rename(written, &path)
            }
            done => done,
        }
    }

    /// Removes a finished file. One that is not there is removed.
    pub(crate) fn remove(&self, name: FileName) -> io::Result<()> {
        let _held = self.held()?;
        remove(&self.file(name))
    }

    /// Removes a file that was being written.
    pub(crate) fn remove_new(&self, path: &Path) -> io::Result<()> {
        let _held = self.held()?;
        remove(path)
    }

    /// Returns the finished files of one of the folders, in no order. What else is there is not ours, and stays.
    pub(crate) fn names(&self, leaf: u16) -> io::Result<Vec<FileName>> {
        names_in(&self.leaf(leaf))
    }

    /// Returns the finished files of a key.
    pub(crate) fn names_of(&self, key: u128) -> io::Result<Vec<FileName>> {
        let mut names = names_in(&self.leaf_of(key))?;
        names.retain(|name| name.key == key);
        Ok(names)
    }

    /// Whether it surely has no finished files.
    pub(crate) fn is_new(&self) -> bool {
        (0..1 << 4).all(|first| !self.path.join(format!("{first:x}")).exists())
    }

    /// Reads the whole log of purges. `None` if it does not exist.
    pub(crate) fn read_log(&self) -> io::Result<Option<Vec<u8>>> {
        match fs::read(self.path.join("purges")) {
            Ok(log) => Ok(Some(log)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Replaces the log of purges by a new one, durably. Returns it, to append to.
    pub(crate) fn replace_log(&self, content: &[u8]) -> io::Result<File> {
        let new = self.path.join("purges.new");
        self.mended(|| {
            let _held = self.held()?;
            remove(&new)?;
            let mut file = private(OpenOptions::new().append(true).create_new(true)).open(&new)?;
            self.may_write(content.len())?;
            file.write_all(content)?;
            file.sync_data()?;
            fs::rename(&new, self.path.join("purges"))?;
            File::open(&self.path)?.sync_all()?;
            Ok(file)
        })
    }

    /// Appends to the log of purges, durably.
    ///
    /// # Errors
    /// If the disk fails, or the log is not in the folder any more.
    pub(crate) fn append_to_log(&self, log: &mut File, bytes: &[u8]) -> io::Result<()> {
        self.may_write(bytes.len())?;
        let _held = self.held()?;
        log.write_all(bytes)?;
        log.sync_data()?;
        if log.metadata()?.nlink() == 0 { Err(ErrorKind::NotFound.into()) } else { Ok(()) }
    }

    /// Removes all finished files.
    pub(crate) fn clear(&self) -> io::Result<()> {
        for leaf in 0..LEAVES {
            for name in self.names(leaf)? {
                self.remove(name)?;
            }
        }
        Ok(())
    }

    #[cfg(test)]
    pub(crate) fn may_write(&self, bytes: usize) -> io::Result<()> {
        self.faults.write(bytes)
    }

    #[cfg(not(test))]
    #[expect(clippy::unused_self, clippy::unnecessary_wraps, reason = "tests have a disk that becomes full")]
    pub(crate) const fn may_write(&self, _: usize) -> io::Result<()> {
        Ok(())
    }
}

/// Removes a file. One that is not there is removed.
fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn names_in(leaf: &Path) -> io::Result<Vec<FileName>> {
    let entries = match fs::read_dir(leaf) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut names = Vec::new();
    for entry in entries {
        names.extend(entry?.file_name().to_str().and_then(FileName::parse));
    }
    Ok(names)
}

fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    options.mode(0o600)
}

/// Makes a folder, if it is missing. The one above must exist.
fn make(path: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}
