//! The folder: its files, and who may use it.
//!
//! ```text
//! portcullis-cache     the lock of the process that uses the folder, which also says that the folder is a cache
//! purges               what was purged (purge_log.rs)
//! new/<number>         files that are being written
//! <a>/<bc>/<name>      finished files; the name is a hash of the key and one of the variant, a and bc its first digits
//! ```

use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

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
    /// Its lock ends with it.
    _lock: File,
    next_new: AtomicU64,
    #[cfg(test)]
    pub(crate) faults: super::faults::Faults,
}

const LOCK: &str = "portcullis-cache";

/// How many folders there are that have files.
pub(crate) const LEAVES: u16 = 1 << 12;

impl Folder {
    /// Opens or makes the folder, and takes its lock. `None` if another process has it.
    ///
    /// # Errors
    /// If the disk fails, or there is something else in the folder: files would be removed in it.
    pub(crate) fn open(path: &Path) -> io::Result<Option<Self>> {
        make(path)?;
        let lock = path.join(LOCK);
        if !lock.exists() && fs::read_dir(path)?.next().is_some() {
            return Err(io::Error::other("it has other files in it"));
        }
        // Another user who can write there could make entries.
        if fs::metadata(path)?.permissions().mode() & 0o077 != 0 {
            fs::set_permissions(path, Permissions::from_mode(0o700))?;
        }
        let lock = private(OpenOptions::new().write(true).create(true).truncate(false)).open(lock)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => return Ok(None),
            Err(fs::TryLockError::Error(error)) => return Err(error),
        }
        let folder = Self {
            path: path.into(),
            _lock: lock,
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
        let file = private(OpenOptions::new().write(true).read(true).create_new(true)).open(&path)?;
        Ok((file, path))
    }

    /// Opens a finished file to change something in it.
    pub(crate) fn open_to_change(&self, name: FileName) -> io::Result<File> {
        OpenOptions::new().read(true).write(true).open(self.file(name))
    }

    /// Writes all bytes.
    pub(crate) fn write(&self, file: &File, bytes: &[u8], at: u64) -> io::Result<()> {
        self.may_write(bytes.len())?;
        file.write_all_at(bytes, at)
    }

    /// Makes a written file a finished one.
    pub(crate) fn finish(&self, written: &Path, name: FileName) -> io::Result<()> {
        self.may_write(0)?;
        let path = self.file(name);
        match fs::rename(written, &path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                make(&self.leaf_of(name.key))?;
                fs::rename(written, &path)
            }
            done => done,
        }
    }

    /// Removes a finished file. One that is not there is removed.
    pub(crate) fn remove(&self, name: FileName) -> io::Result<()> {
        remove(&self.file(name))
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
        remove(&new)?;
        let mut file = private(OpenOptions::new().append(true).create_new(true)).open(&new)?;
        self.may_write(content.len())?;
        file.write_all(content)?;
        file.sync_data()?;
        fs::rename(&new, self.path.join("purges"))?;
        File::open(&self.path)?.sync_all()?;
        Ok(file)
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
pub(crate) fn remove(path: &Path) -> io::Result<()> {
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

fn make(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}
