//! Compiled functions, kept one by one: an image of a new configuration differs from the last in its memory alone, so
//! its functions need not be compiled again. (Nineteen in twenty are not: what Cranelift hashes is not quite the same
//! each time.)
//!
//! What is kept is machine code and nothing of a component's memory: what `configure` was given (keys, secrets) is
//! never in it, which is why an image is compiled through this and not through the cache of whole components. The files
//! lie beside that cache, in the folder that only the gateway's user may write, and carry a digest, so that a damaged
//! one is compiled anew and not run.

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::HashMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, MutexGuard, PoisonError, RwLock};
use std::time::SystemTime;

use portcullis_model::Lock;
use portcullis_model::text::hex;

use sha2::{Digest as _, Sha256};
use wasmtime::CacheStore;

/// Bytes of the functions of one component: CPython's are some 60 MB.
const PACK_BYTES_MAX: usize = 256 << 20;
/// Bytes of the functions of all components, if there is no folder for them.
const MEMORY_BYTES_MAX: usize = 64 << 20;
/// Files that are kept; the one that was longest not used makes place.
const FILES_MAX: usize = 64;
/// First of all in a file. Another layout, or another way of making functions, has another number: those of 1 could
/// have values of configured globals in them.
const MAGIC: &[u8] = b"portcullis functions 2\n";
const DIGEST_BYTES: usize = 32;

/// The functions of the component that is being compiled, and where those of all are kept.
#[derive(Debug)]
pub(crate) struct Functions {
    dir: Option<PathBuf>,
    /// What is kept if there is no folder.
    memory: Lock<HashMap<[u8; 32], Pack>>,
    current: RwLock<Pack>,
}

/// The functions of one component, by the digest of what each was compiled of.
#[derive(Debug, Default)]
struct Pack {
    functions: HashMap<Box<[u8]>, Arc<[u8]>>,
    bytes: usize,
    /// Bytes that were there at first.
    known: usize,
}

impl Functions {
    /// Keeps them in `dir`, which exists and is private. Without one it keeps some in memory. What another version of
    /// the gateway has left there is removed.
    pub(crate) fn new(dir: Option<PathBuf>) -> Arc<Self> {
        if let Some(dir) = &dir
            && let Err(error) = remove_others(dir)
        {
            tracing::warn!("compiled functions of before cannot be removed from {}: {error}", dir.display());
        }
        Arc::new(Self { dir, memory: Lock::default(), current: RwLock::default() })
    }

    /// Runs `compile` with what is known of the component with that digest, and keeps what came to it. One at a time:
    /// the caller sees to it.
    pub(crate) fn with<T>(&self, component: &[u8; 32], compile: impl FnOnce() -> T) -> T {
        let path = self.dir.as_ref().map(|dir| dir.join(hex(component)));
        let known = match &path {
            Some(path) => Pack::load(path),
            None => self.memory().remove(component),
        };
        *self.write() = known.unwrap_or_default();
        let compiled = compile();
        let pack = std::mem::take(&mut *self.write());
        match path {
            Some(path) if pack.is_worth_storing() => {
                if let Err(error) = pack.store(&path) {
                    tracing::warn!("compiled functions cannot be kept in {}: {error}", path.display());
                }
            }
            Some(_) => {}
            None => self.remember(component, pack),
        }
        compiled
    }

    fn remember(&self, component: &[u8; 32], mut pack: Pack) {
        let mut memory = self.memory();
        let bytes: usize = memory.values().map(|pack| pack.bytes).sum();
        if bytes + pack.bytes > MEMORY_BYTES_MAX {
            memory.clear();
        }
        if pack.bytes <= MEMORY_BYTES_MAX {
            pack.known = pack.bytes;
            memory.insert(*component, pack);
        }
    }

    fn memory(&self) -> MutexGuard<'_, HashMap<[u8; 32], Pack>> {
        self.memory.lock()
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, Pack> {
        self.current.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl CacheStore for Functions {
    fn get(&self, key: &[u8]) -> Option<Cow<'_, [u8]>> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        current.functions.get(key).map(|code| Cow::Owned(code.to_vec()))
    }

    fn insert(&self, key: &[u8], value: Vec<u8>) -> bool {
        self.write().insert(key, value.into())
    }
}

impl Pack {
    /// Whether there is enough of what the file has not: some is new each time.
    fn is_worth_storing(&self) -> bool {
        self.bytes > self.known + self.known / 4
    }

    fn insert(&mut self, key: &[u8], code: Arc<[u8]>) -> bool {
        let bytes = self.bytes + key.len() + code.len();
        if bytes > PACK_BYTES_MAX {
            return false;
        }
        self.bytes = bytes;
        self.functions.insert(key.into(), code);
        true
    }

    /// Returns what a file holds, or `None` if there is none or it is not as it was written.
    fn load(path: &Path) -> Option<Self> {
        let bytes = std::fs::read(path).ok()?;
        let Some(pack) = Self::parse(&bytes) else {
            tracing::warn!("{} is damaged: what was in it is compiled again", path.display());
            return None;
        };
        // Its age is how long it was not used.
        if let Ok(file) = std::fs::File::open(path) {
            drop(file.set_modified(SystemTime::now()));
        }
        Some(pack)
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let (body, digest) = bytes.split_at_checked(bytes.len().checked_sub(DIGEST_BYTES)?)?;
        if Sha256::digest(body).as_slice() != digest {
            return None;
        }
        let mut rest = body.strip_prefix(MAGIC)?;
        let mut pack = Self::default();
        while !rest.is_empty() {
            let key = take(&mut rest)?;
            let code = take(&mut rest)?;
            if !pack.insert(key, code.into()) {
                return None;
            }
        }
        pack.known = pack.bytes;
        Some(pack)
    }

    /// Writes the file whole or not at all.
    fn store(&self, path: &Path) -> std::io::Result<()> {
        let dir = path.parent().unwrap_or(path);
        make_room(dir)?;
        let mut bytes = MAGIC.to_vec();
        for (key, code) in &self.functions {
            for part in [&**key, &**code] {
                // A pack is smaller than 4 GiB.
                bytes.extend_from_slice(&u32::try_from(part.len()).unwrap_or(u32::MAX).to_le_bytes());
                bytes.extend_from_slice(part);
            }
        }
        bytes.extend_from_slice(&Sha256::digest(&bytes));
        // Another gateway may write the same at the same time.
        let unfinished = path.with_extension(format!("{}.new", std::process::id()));
        write_private(&unfinished, &bytes)
            .and_then(|()| std::fs::rename(&unfinished, path))
            .inspect_err(|_| drop(std::fs::remove_file(&unfinished)))
    }
}

#[cfg(unix)]
fn write_private(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600).open(path)?.write_all(bytes)
}

#[cfg(not(unix))]
fn write_private(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    std::fs::write(path, bytes)
}

/// Removes the files of another layout.
fn remove_others(dir: &Path) -> std::io::Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        let mut magic = Vec::new();
        let file = std::fs::File::open(&path);
        let read = file.and_then(|file| file.take(MAGIC.len() as u64).read_to_end(&mut magic));
        match read {
            // Another gateway may write it at this moment.
            Ok(_) if magic.is_empty() || magic == MAGIC => {}
            Ok(_) => std::fs::remove_file(&path)?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Removes the oldest files, so that one more has place.
fn make_room(dir: &Path) -> std::io::Result<()> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        files.push((entry.metadata()?.modified()?, entry.path()));
    }
    files.sort();
    let excess = (files.len() + 1).saturating_sub(FILES_MAX);
    for (_, path) in files.iter().take(excess) {
        std::fs::remove_file(path)?;
    }
    Ok(())
}

/// A length and as many bytes.
fn take<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, after) = rest.split_first_chunk::<4>()?;
    let (part, after) = after.split_at_checked(usize::try_from(u32::from_le_bytes(*length)).ok()?)?;
    *rest = after;
    Some(part)
}
