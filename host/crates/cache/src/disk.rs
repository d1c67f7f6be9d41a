//! The store on the disk: a file for each entry, and an index in memory.
//!
//! It survives restarts and kills. A file is written beside the others and renamed when it is complete; what a kill
//! leaves of it is removed at the next start. Each part of a file has a checksum, so that nothing else than what was
//! written is returned. The disk is never waited for by the threads that ask: they poll, and if it fails, is full or
//! cannot keep up, there is no entry.
//!
//! | file | subject |
//! |---|---|
//! | `folder.rs` | the folder, its lock, names of files |
//! | `format.rs` | what is in a file |
//! | `index.rs` | what is known of the files, and which goes |
//! | `scan.rs` | reading what was there at the start |
//! | `lookup.rs`, `file_body.rs` | reading an entry |
//! | `writing.rs`, `written.rs` | writing an entry |
//! | `purge_log.rs`, `keeper.rs` | purges, and changes of heads |
//! | `pool.rs` | threads |
//! | `health.rs` | what is counted, and what an operator hears |

mod core;
#[cfg(test)]
mod faults;
pub(crate) mod file_body;
mod folder;
mod format;
pub(crate) mod health;
mod index;
mod keeper;
pub(crate) mod lookup;
pub(crate) mod pool;
mod purge_log;
mod scan;
mod stamp;
#[cfg(test)]
mod tests;
mod writing;
mod written;

use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::Duration;

use bytes::Bytes;

use self::core::{Core, Log};
pub use self::core::{DiskSettings, DiskStats};
use folder::{FileName, Folder};
use health::Watcher;
pub use lookup::Lookup;
use pool::Answer;
use purge_log::{Bans, Record};
pub(crate) use writing::Writing;

use crate::store::entry::Entry;
use crate::store::head::Head;
use crate::store::purges::{Hashes, Mode, Purge, Purges, Ticket};

/// Why a folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process uses it.
    #[error("the folder {0} is used by another process; end that, or name another folder")]
    InUse(String),
    /// It is not fit for it, or not there.
    #[error("the folder {0} cannot be used: {1}")]
    Unfit(String, String),
    /// The disk failed.
    #[error("the folder {0} cannot be used: {1}")]
    Failed(String, io::Error),
}

/// Says whether a folder could be opened, as far as that shows without changing anything.
///
/// # Errors
/// Why not.
pub fn check_folder(path: &Path) -> Result<(), OpenError> {
    folder::check(path).map_err(|reason| OpenError::Unfit(path.display().to_string(), reason))
}

/// A store on the disk.
#[derive(Debug)]
pub(crate) struct Disk(Arc<Core>);

impl Disk {
    /// Opens a folder. Returns the store with the numbers of purges, which go on after those of before.
    pub(crate) fn open(
        settings: DiskSettings,
        hashes: &Arc<Hashes>,
        watcher: Arc<dyn Watcher>,
    ) -> Result<(Self, Arc<Purges>), OpenError> {
        check_folder(&settings.folder)?;
        let path = settings.folder.display().to_string();
        let failed = |error| OpenError::Failed(path.clone(), error);
        let folder = Folder::open(&settings.folder, settings.lock_wait).map_err(failed)?;
        let folder = folder.ok_or_else(|| OpenError::InUse(path.clone()))?;
        Self::start(folder, settings, hashes, watcher).map_err(failed)
    }

    fn start(
        folder: Folder,
        settings: DiskSettings,
        hashes: &Arc<Hashes>,
        watcher: Arc<dyn Watcher>,
    ) -> io::Result<(Self, Arc<Purges>)> {
        let before = folder.read_log()?.and_then(|log| purge_log::read(&log));
        let before = match before {
            Some(before) => before,
            None => {
                // Which purges there were is not known.
                folder.clear()?;
                Vec::new()
            }
        };
        let (epoch, number) = Record::next_epoch(purge_log::newest(&before));
        let (mut bans, mut content) = (Bans::default(), Vec::new());
        for record in std::iter::once(&epoch).chain(&before) {
            record.encode(&mut content);
            bans.add(hashes, record);
        }
        let is_full =
            |error: &io::Error| matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded);
        let mut file = folder.replace_log(&content);
        if file.as_ref().is_err_and(is_full) {
            // All of the cache is a better price than no gateway.
            folder.clear()?;
            file = folder.replace_log(&content);
        }
        let (file, full) = match file {
            // Others have filled the disk. Nothing is stored until there is room for the log.
            Err(error) if is_full(&error) => (None, Some(error)),
            file => (Some(file?), None),
        };
        let log = Log { file, bytes: content.len() };
        let purges = Arc::new(Purges::after(number));
        let core = Core::new(folder, settings, Arc::clone(&purges), Arc::clone(hashes), bans, log, watcher)?;
        let core = Arc::new(core);
        if let Some(error) = full {
            core.unlogged.store(true, Relaxed);
            core.health.write_error(&error);
        }
        if core.folder.is_new() {
            scan::finish(&core);
        } else {
            let weak = Arc::downgrade(&core);
            thread::Builder::new().name("cache-scan".into()).spawn(move || scan::run(&weak))?;
        }
        Ok((Self(core), purges))
    }

    /// Looks for the variants of a key. `None` if there are surely none.
    pub(crate) fn find<H: Head>(&self, key: &[u8]) -> Option<Lookup<H>> {
        lookup::find(&self.0, key)
    }

    /// Reads the responses with a URL.
    pub(crate) fn inspect<H: Head>(&self, url: &[u8]) -> Option<Lookup<H>> {
        lookup::inspect(&self.0, url)
    }

    /// Begins to write a response.
    pub(crate) fn begin<H: Head>(&self, tags: &[&[u8]], entry: &Entry<H>) -> Option<Writing> {
        let mut encoded = Vec::new();
        entry.head.encode(&mut encoded);
        Writing::begin(&self.0, entry, tags, encoded)
    }

    /// Removes the entry of a key and a variant, if it is there: a newer response is not stored here.
    pub(crate) fn forget(&self, key: &[u8], variant: &[u8]) {
        self.0.forget(FileName::new(key, variant));
    }

    /// Writes the head that an entry has after a validation.
    pub(crate) fn update<H: Head>(&self, entry: &Entry<H>, ticket: Ticket) {
        let name = FileName::new(entry.key.bytes(), &entry.variant);
        let mut encoded = Vec::new();
        entry.head.encode(&mut encoded);
        keeper::update(&self.0, name, entry.nonce, ticket, encoded);
    }

    /// Removes or marks entries. See [`keeper::purge`].
    pub(crate) fn purge(&self, what: &Purge<'_>, mode: Mode, number: u64, now: u64) -> (usize, Answer<bool>) {
        keeper::purge(&self.0, what, mode, number, now)
    }

    /// Reads an entry and its body again, on a thread of the store, and passes them on, if the entry was used more
    /// than once lately and the queue is not full.
    pub(crate) fn read_hot<H: Head>(
        &self,
        entry: &Entry<H>,
        pass_on: impl FnOnce(Entry<H>, Bytes) + Send + 'static,
    ) {
        let name = FileName::new(entry.key.bytes(), &entry.variant);
        let hot = self.0.state.lock().index.get(name).is_some_and(|record| record.heat.get() > 1);
        if hot {
            lookup::read_whole(&self.0, name, pass_on);
        }
    }

    /// Returns the largest body.
    pub(crate) fn object_bytes_max(&self) -> u64 {
        self.0.settings().object_bytes_max
    }

    /// Whether an entry is still stored. `None` if not all files are known.
    pub(crate) fn is_current<H>(&self, entry: &Entry<H>) -> Option<bool> {
        lookup::is_current(&self.0, entry)
    }

    /// Goes on with other settings of the same folder.
    pub(crate) fn set(&self, settings: DiskSettings) -> io::Result<()> {
        self.0.set(settings)
    }

    /// Lets another process have the folder as soon as it waits for it: from then on nothing is found and nothing is
    /// stored.
    pub(crate) fn hand_over(&self) -> io::Result<()> {
        self.0.hand_over()
    }

    /// Notes that a lookup was given up because it took too long.
    pub(crate) fn too_slow(&self, waited: Duration) {
        self.0.health.too_slow(waited);
    }

    pub(crate) fn stats(&self) -> DiskStats {
        self.0.stats()
    }
}
