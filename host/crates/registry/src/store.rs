//! The folder of content from registries, each piece under its digest.
//!
//! Content is checked against its digest when it is read, so the folder need not be trusted; a damaged piece is dropped
//! and counts as missing. Pieces are written to a temporary file and moved into place, so a crash leaves no partial
//! piece and several gateways may share a folder.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::hash::{BuildHasher as _, RandomState};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, MutexGuard};
use std::time::{Duration, SystemTime};

use portcullis_model::{ContentDigest, Lock};

use crate::manifest::{MANIFEST_BYTES_MAX, Manifest};

/// Bytes of the stored signatures of an image.
const SIGNATURES_BYTES_MAX: u64 = 4 << 20;
/// A piece that was used is marked as such no more often than this: a mark is a write.
const MARK_EVERY: Duration = Duration::from_secs(3600);
/// A file that is being written for longer was left behind.
const ABANDONED_AFTER: Duration = Duration::from_secs(3600);

/// Why the folder cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("the plugin store {} cannot be {action}: {reason}", path.display())]
pub struct StoreError {
    path: PathBuf,
    action: &'static str,
    reason: io::Error,
}

/// The folder.
#[derive(Debug, Clone)]
pub struct Store {
    content: PathBuf,
    signatures: PathBuf,
    /// Keeps what would be written, if the folder must not be changed.
    memory: Option<Arc<Memory>>,
}

/// What would have been written, by path. It has as many pieces as one configuration names.
#[derive(Debug, Default)]
pub struct Memory(Lock<BTreeMap<PathBuf, Vec<u8>>>);

impl Memory {
    // Its content is valid at every moment, so a panic elsewhere does not spoil it.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<PathBuf, Vec<u8>>> {
        self.0.lock()
    }
}

/// One file of the folder.
#[derive(Debug)]
struct Piece {
    path: PathBuf,
    used: SystemTime,
    bytes: u64,
    kept: bool,
}

impl Store {
    /// Returns the store in the folder `dir`, which need not exist before something is written.
    #[must_use]
    pub fn new(dir: &Path) -> Self {
        Self { content: dir.join("sha256"), signatures: dir.join("signatures"), memory: None }
    }

    /// Returns the same, but puts everything that would be written into `memory`: the folder is only read.
    #[must_use]
    pub fn untouched(self, memory: Arc<Memory>) -> Self {
        Self { memory: Some(memory), ..self }
    }

    fn read_piece(&self, path: &Path, bytes_max: u64) -> Result<Option<Vec<u8>>, StoreError> {
        let Some(memory) = &self.memory else { return read_file(path, bytes_max, true) };
        let kept = memory.lock().get(path).cloned();
        kept.map_or_else(|| read_file(path, bytes_max, false), |bytes| Ok(Some(bytes)))
    }

    fn write_piece(&self, folder: &Path, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        let Some(memory) = &self.memory else { return write_file(folder, name, bytes) };
        memory.lock().insert(folder.join(name), bytes.to_vec());
        Ok(())
    }

    /// Returns the content of that digest, of at most `bytes_max` bytes, or `None` if it is missing or damaged.
    pub(crate) fn read(&self, digest: ContentDigest, bytes_max: u64) -> Result<Option<Vec<u8>>, StoreError> {
        let path = self.content.join(digest.hex());
        let Some(bytes) = self.read_piece(&path, bytes_max)? else { return Ok(None) };
        if crate::digest(&bytes) == digest {
            return Ok(Some(bytes));
        }
        if self.memory.is_some() {
            return Ok(None);
        }
        tracing::warn!(path = %path.display(), "a piece of the plugin store was damaged, and is dropped");
        match fs::remove_file(&path) {
            // Another gateway that shares the folder has removed it as well.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            outcome => outcome.map(|()| None).map_err(fail(&path, "mended")),
        }
    }

    /// Returns whether there is content under that digest. It may be damaged.
    #[must_use]
    pub fn has(&self, digest: ContentDigest) -> bool {
        let path = self.content.join(digest.hex());
        self.memory.as_ref().is_some_and(|memory| memory.lock().contains_key(&path)) || path.is_file()
    }

    /// Writes content under its digest.
    pub(crate) fn write(&self, bytes: &[u8]) -> Result<ContentDigest, StoreError> {
        let digest = crate::digest(bytes);
        self.write_piece(&self.content, &digest.hex(), bytes)?;
        Ok(digest)
    }

    /// Returns the stored signatures of an image.
    pub(crate) fn read_signatures(&self, manifest: ContentDigest) -> Result<Option<Vec<u8>>, StoreError> {
        self.read_piece(&self.signatures.join(manifest.hex()), SIGNATURES_BYTES_MAX)
    }

    pub(crate) fn write_signatures(&self, manifest: ContentDigest, bytes: &[u8]) -> Result<(), StoreError> {
        self.write_piece(&self.signatures, &manifest.hex(), bytes)
    }

    /// Removes the least recently used content until at most `bytes_max` bytes are left. Content that the manifests in
    /// `keep` name is never removed, so more may be left. Returns the bytes that were removed.
    ///
    /// # Errors
    /// If the folder cannot be read. A file that cannot be removed stays.
    pub fn prune(&self, bytes_max: u64, keep: &BTreeSet<ContentDigest>) -> Result<u64, StoreError> {
        if self.memory.is_some() {
            return Ok(0);
        }
        let keep = self.closure(keep)?;
        let mut pieces = Vec::new();
        for folder in [&self.content, &self.signatures] {
            list(folder, &keep, &mut pieces)?;
        }
        let mut total: u64 = pieces.iter().map(|piece| piece.bytes).sum();
        let before = total;
        pieces.sort_by_key(|piece| piece.used);
        for piece in pieces.iter().filter(|piece| !piece.kept) {
            if total <= bytes_max {
                break;
            }
            match fs::remove_file(&piece.path) {
                Ok(()) => total = total.saturating_sub(piece.bytes),
                // Another gateway was faster. If it were not counted, too much would be removed.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    total = total.saturating_sub(piece.bytes);
                }
                Err(error) => {
                    tracing::warn!(path = %piece.path.display(), "a plugin that is not used cannot be removed: {error}")
                }
            }
        }
        Ok(before - total)
    }

    /// Returns these manifests, and everything that they name, as far as the store has it.
    fn closure(&self, manifests: &BTreeSet<ContentDigest>) -> Result<BTreeSet<ContentDigest>, StoreError> {
        let mut all = manifests.clone();
        let mut next: Vec<ContentDigest> = manifests.iter().copied().collect();
        while let Some(digest) = next.pop() {
            let Some(bytes) = self.read(digest, MANIFEST_BYTES_MAX)? else { continue };
            let Ok(manifest) = Manifest::parse(&bytes) else { continue };
            let named = manifest.descriptors().iter().filter_map(|descriptor| descriptor.digest().ok());
            let is_index = matches!(manifest, Manifest::Index(_));
            for digest in named {
                // A layer is not a manifest, and may be large.
                if all.insert(digest) && is_index {
                    next.push(digest);
                }
            }
        }
        Ok(all)
    }
}

fn fail(path: &Path, action: &'static str) -> impl Fn(io::Error) -> StoreError {
    move |reason| StoreError { path: path.to_path_buf(), action, reason }
}

/// Returns the bytes of a file, or `None` if there is none, or a larger one. With `mark` it is marked as used.
fn read_file(path: &Path, bytes_max: u64, mark: bool) -> Result<Option<Vec<u8>>, StoreError> {
    // Before it is opened: opening a pipe would wait for its writer.
    let metadata = match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        outcome => outcome.map_err(fail(path, "read"))?,
    };
    if !metadata.is_file() || metadata.len() > bytes_max {
        return Ok(None);
    }
    let file = match File::open(path) {
        // Another gateway has removed it at this moment.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        outcome => outcome.map_err(fail(path, "read"))?,
    };
    let mut bytes = Vec::new();
    (&file).take(bytes_max).read_to_end(&mut bytes).map_err(fail(path, "read"))?;
    let now = SystemTime::now();
    let marked =
        !mark || metadata.modified().is_ok_and(|at| now.duration_since(at).is_ok_and(|age| age < MARK_EVERY));
    // A folder that may only be read, such as one in an image, is not pruned.
    if !marked && let Err(error) = file.set_modified(now) {
        tracing::debug!(path = %path.display(), "a plugin cannot be marked as used: {error}");
    }
    Ok(Some(bytes))
}

/// Writes a file completely or not at all.
fn write_file(folder: &Path, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    make_private(folder).map_err(fail(folder, "made"))?;
    // Gateways in containers that share a folder may all be process 1, and one that crashed half-way may have left such
    // a name behind: a random number makes names unique.
    let chance = RandomState::new().hash_one((std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed)));
    let beside = folder.join(format!(".{name}.{chance:016x}"));
    let written = File::create_new(&beside).and_then(|mut file| {
        file.write_all(bytes)?;
        // Otherwise a crash may leave an empty file under the name.
        file.sync_all()
    });
    let moved = written.and_then(|()| fs::rename(&beside, folder.join(name)));
    moved.map_err(|error| {
        // Nothing more can be done here; the file is removed later.
        drop(fs::remove_file(&beside));
        fail(folder, "written to")(error)
    })
}

/// Only its owner can read it, because other users need not see which plugins a gateway runs.
fn make_private(folder: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

fn list(folder: &Path, keep: &BTreeSet<ContentDigest>, pieces: &mut Vec<Piece>) -> Result<(), StoreError> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        outcome => outcome.map_err(fail(folder, "read"))?,
    };
    for entry in entries {
        let entry = entry.map_err(fail(folder, "read"))?;
        let (path, name) = (entry.path(), entry.file_name());
        // Another gateway may have removed it at this moment.
        let Ok(metadata) = entry.metadata() else { continue };
        let used = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
        let digest = name.to_str().and_then(ContentDigest::from_hex);
        let age = SystemTime::now().duration_since(used).unwrap_or_default();
        match digest {
            Some(digest) if metadata.is_file() => {
                pieces.push(Piece { path, used, bytes: metadata.len(), kept: keep.contains(&digest) });
            }
            None if name.as_encoded_bytes().starts_with(b".") && age > ABANDONED_AFTER => {
                drop(fs::remove_file(&path));
            }
            // Not ours.
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
