//! What the threads of a disk store work on.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};
use bytes::Bytes;
use portcullis_model::Lock;

use super::folder::{FileName, Folder};
use super::format::{BLOCK, HeadSlot, Meta, SUM, block_checksum, body_start, decode_sums};
use super::health::{Health, Watcher};
use super::index::Index;
use super::pool::{Limits, Pool};
use super::purge_log::Bans;
use super::stamp::Stamp;
use crate::store::purges::{Hashes, Purges};

/// What an operator sets of a store on the disk. All but the folder may change while it is open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskSettings {
    /// The folder. It is used by one process at a time, and nothing else belongs into it.
    pub folder: PathBuf,
    /// What its files may take.
    pub bytes_max: u64,
    /// How many files. Each takes about 300 bytes of memory in the index.
    pub files_max: usize,
    /// The body of an entry.
    pub object_bytes_max: u64,
    /// How many variants of a key. The oldest goes.
    pub variants_max: usize,
    /// How many threads read and write.
    pub threads: usize,
    /// How many reads and writes may wait. One more is a miss, or not stored. Of what is to be written a block of 64
    /// KiB may wait for each of them.
    pub queue: usize,
    /// How long the oldest of them may have waited. Until it is done, all others are misses, or not stored.
    pub timeout: Duration,
    /// How many files may be open to be read piece by piece. One more is a miss.
    pub open_files_max: usize,
    /// How many bytes of one response may wait to be written. With more it is not stored.
    pub pending_bytes: usize,
    /// Whether a file is on the disk itself before it is found. Without, a loss of power may lose entries, and never
    /// makes one wrong.
    pub sync: bool,
    /// How long another process may take to release the folder.
    pub lock_wait: Duration,
}

/// Counts of a store on the disk.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DiskStats {
    /// How many files there are.
    pub files: usize,
    /// What they take.
    pub bytes: u64,
    /// Whether all files that were there at the start are known. Before, they are found and nothing is stored.
    pub ready: bool,
    /// How many files made room for others.
    pub evictions: u64,
    /// How many files were not what was written, and were removed.
    pub damaged: u64,
    /// How many reads failed.
    pub read_errors: u64,
    /// How many writes failed, on a full disk for instance.
    pub write_errors: u64,
    /// How many reads and writes did not happen because too much was waiting, and lookups that took too long.
    pub busy: u64,
    /// Whether the last read and the last write worked, and the last lookup was in time.
    pub good: bool,
    /// The newest error.
    pub last_error: Option<String>,
}

/// What the index and the purges of the time before it was complete have in common: their lock.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) index: Index,
    pub(crate) bans: Bans,
}

/// The log of purges.
#[derive(Debug)]
pub(crate) struct Log {
    /// `None` if nothing more can be appended to it.
    pub(crate) file: Option<File>,
    pub(crate) bytes: usize,
}

#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) folder: Folder,
    settings: ArcSwap<DiskSettings>,
    /// Whether the folder is given up: nothing is found any more, and nothing is stored.
    pub(crate) closed: AtomicBool,
    /// Whether this process could not begin its log of purges, because the disk is full. Until it can, nothing is
    /// stored: a purge could not be told from one before it.
    pub(crate) unlogged: AtomicBool,
    /// Bytes that wait to be written.
    pub(crate) unwritten: AtomicUsize,
    /// Files that are open to be read piece by piece.
    pub(crate) open_files: Arc<AtomicUsize>,
    pub(crate) state: Lock<State>,
    /// Held while the file of a name is finished, changed or removed, so that what is done to it and what the index
    /// knows of it agree. Only threads of the store take one, and none takes two.
    stripes: Box<[Lock<()>]>,
    pub(crate) pool: Arc<Pool>,
    /// A thread that writes the log of purges, and does what is logged, in their order.
    pub(crate) keeper: Pool,
    /// Only for the keeper.
    pub(crate) log: Lock<Log>,
    pub(crate) purges: Arc<Purges>,
    pub(crate) hashes: Arc<Hashes>,
    pub(crate) health: Health,
    /// Whether there may be files that the index does not know, because removing or reading one failed. The log of
    /// purges is kept whole then, for the next start.
    pub(crate) leftovers: AtomicBool,
}

const STRIPES: usize = 64;

/// How many changes of heads and purges may wait to be made and written down. Of the changes more are dropped; in
/// place of more purges everything is purged.
pub(crate) const WAITING_MAX: usize = 10_000;

/// How often a process that ends looks whether another one waits for its folder.
const WANTED_EVERY: Duration = Duration::from_millis(20);

/// What is returned if everything that might make room is being written. No file fails so.
pub(crate) const NO_ROOM: io::ErrorKind = io::ErrorKind::ResourceBusy;

/// What the threads are called.
const POOL: &str = "cache";

fn limits(settings: &DiskSettings) -> Limits {
    Limits { jobs: settings.queue, age: settings.timeout }
}

/// What is read at once of a file: the first block of the body with it, in most cases.
const FIRST_READ: u64 = BLOCK as u64 + 8 * 1024;

/// Why a file gives no response.
#[derive(Debug)]
pub(crate) enum Unusable {
    /// It is not there.
    Gone,
    /// It is not what was written.
    Damaged,
    /// It is right, and too many files are open to be read.
    TooMany,
    /// The disk failed.
    Failed(io::Error),
}

impl From<io::Error> for Unusable {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Self::Gone,
            io::ErrorKind::UnexpectedEof => Self::Damaged,
            _ => Self::Failed(error),
        }
    }
}

/// A file that was opened, with what stands before its body.
pub(crate) struct Opened {
    pub(crate) file: File,
    /// What was read of it, at least up to its body.
    pub(crate) read: Bytes,
    pub(crate) start: usize,
    pub(crate) meta: Meta,
    pub(crate) head: HeadSlot,
    pub(crate) bytes: u64,
    pub(crate) stamp: Stamp,
}

impl Opened {
    /// Reads and checks what stands before the body of a file, and that nothing is missing after it.
    pub(crate) fn read(file: File, name: FileName) -> Result<Self, Unusable> {
        let metadata = file.metadata()?;
        let (bytes, stamp) = (metadata.len(), Stamp::of(&metadata));
        let mut read = vec![0; usize::try_from(bytes.min(FIRST_READ)).unwrap_or_default()];
        file.read_exact_at(&mut read, 0)?;
        let start = body_start(&read).filter(|start| *start as u64 <= bytes).ok_or(Unusable::Damaged)?;
        if start > read.len() {
            read.resize(start, 0);
            file.read_exact_at(&mut read, 0)?;
        }
        let meta = Meta::decode(&read[..start]).ok_or(Unusable::Damaged)?;
        let head = meta.head(&read[..start]).ok_or(Unusable::Damaged)?;
        let right =
            meta.file_bytes(start as u64) == bytes && FileName::new(meta.key.bytes(), &meta.variant) == name;
        if !right {
            return Err(Unusable::Damaged);
        }
        Ok(Self { file, read: read.into(), start, meta, head, bytes, stamp })
    }

    /// Returns the first block of the body, checked, and the checksums of all blocks.
    pub(crate) fn first_block(&self) -> Result<(Bytes, Box<[u32]>), Unusable> {
        let blocks = usize::try_from(self.meta.blocks()).unwrap_or(usize::MAX);
        let sums = self.part(self.start as u64 + self.meta.body_bytes, blocks.saturating_mul(SUM))?;
        let sums = decode_sums(&sums);
        let Some(sum) = sums.first() else { return Ok((Bytes::new(), sums)) };
        let bytes = usize::try_from(self.meta.body_bytes).map_or(BLOCK, |bytes| bytes.min(BLOCK));
        let block = self.part(self.start as u64, bytes)?;
        match block_checksum(self.meta.nonce, 0, &block) == *sum {
            true => Ok((block, sums)),
            false => Err(Unusable::Damaged),
        }
    }

    /// Returns a part of the file, whose length was checked.
    fn part(&self, at: u64, bytes: usize) -> io::Result<Bytes> {
        let start = usize::try_from(at).map_err(io::Error::other)?;
        match self.read.get(start..start.saturating_add(bytes)) {
            Some(_) => Ok(self.read.slice(start..start + bytes)),
            None => {
                let mut part = vec![0; bytes];
                self.file.read_exact_at(&mut part, at)?;
                Ok(part.into())
            }
        }
    }
}

impl Core {
    pub(crate) fn new(
        folder: Folder,
        settings: DiskSettings,
        purges: Arc<Purges>,
        hashes: Arc<Hashes>,
        bans: Bans,
        log: Log,
        watcher: Arc<dyn Watcher>,
    ) -> io::Result<Self> {
        let index = Index::new(settings.bytes_max, settings.files_max, settings.variants_max);
        Ok(Self {
            folder,
            state: Lock::new(State { index, bans }),
            stripes: (0..STRIPES).map(|_| Lock::default()).collect(),
            pool: Arc::new(Pool::start(POOL, settings.threads, limits(&settings))?),
            keeper: Pool::start("cache-purge", 1, Limits { jobs: WAITING_MAX, age: Duration::MAX })?,
            log: Lock::new(log),
            settings: ArcSwap::from_pointee(settings),
            closed: AtomicBool::new(false),
            unlogged: AtomicBool::new(false),
            unwritten: AtomicUsize::new(0),
            open_files: Arc::default(),
            purges,
            hashes,
            health: Health::new(watcher),
            leftovers: AtomicBool::new(false),
        })
    }

    /// Returns what the operator has set.
    pub(crate) fn settings(&self) -> Guard<Arc<DiskSettings>> {
        self.settings.load()
    }

    /// Goes on with other settings. What is too much by them is removed in the background.
    pub(crate) fn set(self: &Arc<Self>, settings: DiskSettings) -> io::Result<()> {
        self.pool.set(POOL, settings.threads, limits(&settings))?;
        self.state.lock().index.set_bounds(settings.bytes_max, settings.files_max, settings.variants_max);
        self.settings.store(Arc::new(settings));
        let weak = Arc::downgrade(self);
        self.keeper.add_next(move || {
            if let Some(core) = weak.upgrade() {
                core.remove_surplus(0);
            }
        });
        Ok(())
    }

    /// Whether so much waits to be written that nothing may be added: a block for each job that may wait.
    pub(crate) fn is_behind(&self) -> bool {
        self.unwritten.load(Relaxed) > self.settings().queue.saturating_mul(BLOCK)
    }

    /// Gives the folder up as soon as another process waits for it. Until then it is used: what a request changes while
    /// this process ends must not come back in the next.
    pub(crate) fn hand_over(self: &Arc<Self>) -> io::Result<()> {
        let weak = Arc::downgrade(self);
        let waiting = thread::Builder::new().name("cache-next".into()).spawn(move || {
            while let Some(core) = weak.upgrade() {
                if core.folder.is_wanted() {
                    return core.close();
                }
                drop(core);
                thread::park_timeout(WANTED_EVERY);
            }
        });
        waiting.map(drop)
    }

    /// Gives the folder up, once what is waiting of purges is done.
    fn close(self: &Arc<Self>) {
        self.closed.store(true, Relaxed);
        self.health.end();
        let core = Arc::clone(self);
        self.keeper.add_next(move || core.folder.release());
    }

    /// Returns the lock of a name.
    pub(crate) fn stripe(&self, name: FileName) -> &Lock<()> {
        &self.stripes[(name.key ^ u128::from(name.variant)) as usize % STRIPES]
    }

    /// Opens a finished file.
    pub(crate) fn open(&self, name: FileName) -> Result<Opened, Unusable> {
        Opened::read(File::open(self.folder.file(name))?, name)
    }

    /// Removes files that the index has let go, unless it knows a newer one of the same name by now.
    pub(crate) fn remove(&self, names: impl IntoIterator<Item = FileName>) {
        for name in names {
            let _held = self.stripe(name).lock();
            if self.state.lock().index.get(name).is_none()
                && let Err(error) = self.folder.remove(name)
            {
                self.leftovers.store(true, Relaxed);
                self.health.write_error(&error);
            }
        }
    }

    /// Removes a file that is not what was written, or not the one that was meant.
    pub(crate) fn remove_damaged(&self, name: FileName, nonce: Option<u64>) {
        let known = {
            let mut state = self.state.lock();
            let same =
                state.index.get(name).is_some_and(|record| nonce.is_none_or(|nonce| record.nonce == nonce));
            let ready = state.index.get(name).is_none_or(|record| record.ready);
            same && ready && state.index.remove(name)
        };
        if known || nonce.is_none() {
            self.health.damaged.fetch_add(1, Relaxed);
            self.remove([name]);
        }
    }

    /// Takes a file out of the index that is not there any more.
    pub(crate) fn forget_missing(&self, name: FileName) {
        let _held = self.stripe(name).lock();
        let mut state = self.state.lock();
        if state.index.get(name).is_some_and(|record| record.ready) && !self.folder.file(name).exists() {
            state.index.remove(name);
        }
    }

    /// Removes the file of a name, if there is one: a newer response is not written.
    pub(crate) fn forget(self: &Arc<Self>, name: FileName) {
        let known = {
            let mut state = self.state.lock();
            state.index.remove(name) || !state.index.complete
        };
        if known {
            let weak = Arc::downgrade(self);
            self.keeper.add_next(move || {
                if let Some(core) = weak.upgrade() {
                    core.remove([name]);
                }
            });
        }
    }

    /// Makes room for what is about to be written.
    pub(crate) fn make_room(&self, bytes: u64) -> io::Result<()> {
        let evicted = self.state.lock().index.write(bytes);
        let evicted = evicted.ok_or(NO_ROOM)?;
        self.evicted(evicted);
        Ok(())
    }

    /// Removes what the index has more than it may have, after something was added for a key.
    pub(crate) fn remove_surplus(&self, key: u128) {
        loop {
            let surplus = {
                let index = &mut self.state.lock().index;
                index.surplus_variant(key).or_else(|| index.evict_surplus())
            };
            let Some(name) = surplus else { return };
            self.evicted([name]);
        }
    }

    fn evicted(&self, names: impl IntoIterator<Item = FileName>) {
        self.remove(names.into_iter().inspect(|_| {
            self.health.evictions.fetch_add(1, Relaxed);
        }));
    }

    pub(crate) fn stats(&self) -> DiskStats {
        let ((files, bytes), ready) = {
            let state = self.state.lock();
            (state.index.size(), state.index.complete)
        };
        DiskStats {
            files,
            bytes,
            ready,
            evictions: self.health.evictions.load(Relaxed),
            damaged: self.health.damaged.load(Relaxed),
            read_errors: self.health.read_errors.load(Relaxed),
            write_errors: self.health.write_errors.load(Relaxed),
            busy: self.health.busy.load(Relaxed),
            good: self.health.is_good(),
            last_error: self.health.last_error(),
        }
    }
}
