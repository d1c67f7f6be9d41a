//! The body of a response on the disk, read a block at a time.
//!
//! A block that the page cache has is read by the thread that wants it, which takes some microseconds and cannot wait
//! for the disk (`RWF_NOWAIT`). Any other is read by the threads of the store, some blocks at once and ahead of the
//! reader. Each is compared with its checksum when it comes from the disk. As long as the body is open and the page
//! cache has a block, it is not checked again: it may be sent from there without being copied.

use std::fs::File;
use std::future::Future;
use std::io::{self, IoSliceMut};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll};

use bytes::Bytes;
use rustix::io::{ReadWriteFlags, preadv2};

use super::core::Core;
use super::format::{BLOCK, block_checksum};
use super::pool::{Answer, Pool, promise};
use super::stamp::Stamp;
use crate::store::growing::ReadError;

/// How many blocks the threads of the store read at once.
const AT_ONCE: u64 = 4;

/// How many blocks are sent at once without being copied.
const SENT_AT_ONCE: u64 = 16;

/// What happens to a file that is not what was written.
pub(crate) trait Owner: Send + Sync {
    /// Removes the file.
    fn damaged(&self);
}

/// A file that is open to be read. There is a bounded number of them.
#[derive(Debug)]
pub(crate) struct OpenFile {
    file: File,
    open: Arc<AtomicUsize>,
}

impl OpenFile {
    /// Counts a file. `None` if there are too many, even without those that stay open for the next request.
    pub(crate) fn new(core: &Core, file: File) -> Option<Arc<Self>> {
        let (max, open) = (core.settings().open_files_max, Arc::clone(&core.open_files));
        let more = |files| (files < max).then_some(files + 1);
        while open.fetch_update(Relaxed, Relaxed, more).is_err() {
            // Closed without the lock.
            let _closed = core.state.lock().index.close_oldest()?;
        }
        Some(Arc::new(Self { file, open }))
    }
}

impl Drop for OpenFile {
    fn drop(&mut self) {
        self.open.fetch_sub(1, Relaxed);
    }
}

/// A stretch of a body that can be sent from its file: it was checked, and the page cache has it.
#[derive(Debug, Clone)]
pub struct FilePart {
    file: Arc<OpenFile>,
    offset: u64,
    bytes: u64,
}

impl FilePart {
    /// Returns where in the file it begins.
    #[must_use]
    pub const fn offset(&self) -> u64 {
        self.offset
    }

    /// Returns how many bytes it has: at least one.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "it is never empty")]
    pub const fn len(&self) -> u64 {
        self.bytes
    }
}

impl AsFd for FilePart {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.file.as_fd()
    }
}

/// The body of a response on the disk.
pub(crate) struct FileBody {
    /// `None` if all of it was read when the response was found.
    pub(crate) file: Option<Arc<OpenFile>>,
    /// The offset in the file at which it begins.
    pub(crate) start: u64,
    pub(crate) bytes: u64,
    pub(crate) nonce: u64,
    /// All of it, if it is one block.
    pub(crate) first: Bytes,
    /// The checksums of its blocks.
    pub(crate) sums: Box<[u32]>,
    /// The file as it was when it was opened.
    pub(crate) stamp: Stamp,
    /// A bit for each block that was checked since it came from the disk.
    pub(crate) checked: Box<[AtomicU64]>,
    pub(crate) pool: Arc<Pool>,
    pub(crate) owner: Arc<dyn Owner>,
}

impl std::fmt::Debug for FileBody {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("FileBody").field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

/// Returns bits for so many blocks, of which none was checked.
pub(crate) fn unchecked(blocks: usize) -> Box<[AtomicU64]> {
    (0..blocks.div_ceil(64)).map(|_| AtomicU64::new(0)).collect()
}

impl FileBody {
    /// Returns a reader of a part, or `None` if the body is shorter.
    pub(crate) fn read(self: &Arc<Self>, start: u64, end: u64) -> Option<FileReader> {
        (start <= end && end <= self.bytes).then(|| FileReader {
            body: Arc::clone(self),
            at: start,
            end,
            here: Piece::default(),
            read: Read::default(),
        })
    }

    /// Whether the file is as it was when it was opened: no other process has written to it.
    pub(crate) fn is_unchanged(&self) -> bool {
        let metadata = self.open_file().and_then(File::metadata);
        metadata.is_ok_and(|metadata| Stamp::of(&metadata) == self.stamp)
    }

    fn open_file(&self) -> io::Result<&File> {
        self.file.as_ref().map(|open| &open.file).ok_or(io::ErrorKind::NotFound.into())
    }

    /// Reads and checks blocks. For a thread of the pool.
    fn blocks(&self, first: u64, last: u64) -> io::Result<Piece> {
        let from = first * BLOCK as u64;
        let bytes = ((last + 1) * BLOCK as u64).min(self.bytes) - from;
        let mut read = vec![0; usize::try_from(bytes).map_err(io::Error::other)?];
        self.open_file()?.read_exact_at(&mut read, self.start + from)?;
        for (block, bytes) in (first..).zip(read.chunks(BLOCK)) {
            self.check(block, bytes)?;
        }
        Ok(Piece { from, bytes: read.into() })
    }

    /// Reads a block if the page cache has all of it. Takes no longer than copying it.
    fn cached_block(&self, block: u64) -> Option<io::Result<Piece>> {
        let from = block * BLOCK as u64;
        let bytes = usize::try_from(self.bytes.checked_sub(from)?).map_or(BLOCK, |rest| rest.min(BLOCK));
        let mut read = vec![0; bytes];
        let got = self.peek(&mut read, from)?;
        if got < bytes {
            return None;
        }
        Some(self.check(block, &read).map(|()| Piece { from, bytes: read.into() }))
    }

    /// Reads what the page cache has at an offset of the body. `None` if it has nothing there.
    fn peek(&self, into: &mut [u8], at: u64) -> Option<usize> {
        let file = self.open_file().ok()?;
        let read = preadv2(file, &mut [IoSliceMut::new(into)], self.start + at, ReadWriteFlags::NOWAIT);
        // A file system without it is read by the threads of the store.
        read.ok().filter(|bytes| *bytes > 0)
    }

    fn check(&self, block: u64, bytes: &[u8]) -> io::Result<()> {
        let sum = usize::try_from(block).ok().and_then(|block| self.sums.get(block));
        if sum != Some(&block_checksum(self.nonce, block, bytes)) {
            return Err(io::ErrorKind::InvalidData.into());
        }
        if let Some(bits) = self.checked.get((block / 64) as usize) {
            bits.fetch_or(1 << (block % 64), Relaxed);
        }
        Ok(())
    }

    fn is_checked(&self, block: u64) -> bool {
        let bits = self.checked.get((block / 64) as usize);
        bits.is_some_and(|bits| bits.load(Relaxed) & (1 << (block % 64)) != 0)
    }

    /// Has all blocks checked again, because the page cache has let go of some.
    fn forget_checked(&self) {
        self.checked.iter().for_each(|bits| bits.store(0, Relaxed));
    }

    /// Returns what of the part from `at` to `end` was checked and is in the page cache, as far as a byte of each
    /// block shows.
    fn part(&self, at: u64, end: u64) -> Option<FilePart> {
        let file = self.file.as_ref()?;
        let (first, size) = (at / BLOCK as u64, BLOCK as u64);
        let mut to = at;
        for block in (first..first + SENT_AT_ONCE).take_while(|block| self.is_checked(*block)) {
            let (probe, until) = ((block * size).max(at), ((block + 1) * size).min(end));
            if probe >= until {
                break;
            }
            if self.peek(&mut [0], probe).is_none() || self.peek(&mut [0], until - 1).is_none() {
                self.forget_checked();
                break;
            }
            to = until;
        }
        (to > at).then(|| FilePart { file: Arc::clone(file), offset: self.start + at, bytes: to - at })
    }

    /// Reads and checks all of the body. For a thread of the pool.
    pub(crate) fn all(&self) -> io::Result<Bytes> {
        if self.bytes == self.first.len() as u64 {
            return Ok(self.first.clone());
        }
        Ok(self.blocks(0, (self.bytes - 1) / BLOCK as u64)?.bytes)
    }

    /// Has the file removed by a thread of the pool, because it is not what was written.
    fn is_damaged(&self) {
        let owner = Arc::clone(&self.owner);
        self.pool.add_next(move || owner.damaged());
    }
}

/// The blocks of a large file that was removed meanwhile are freed when it is closed, which takes a while.
const CLOSED_APART: u64 = 8 << 20;

impl Drop for FileBody {
    fn drop(&mut self) {
        if let Some(file) = self.file.take().filter(|_| self.bytes > CLOSED_APART) {
            self.pool.add_next(move || drop(file));
        }
    }
}

/// Some bytes of a body.
#[derive(Debug, Clone, Default)]
struct Piece {
    /// The offset in the body at which they begin.
    from: u64,
    bytes: Bytes,
}

impl Piece {
    /// Returns what is there from the offset `at` on, as far as the offset `end`.
    fn cut(&self, at: u64, end: u64) -> Option<Bytes> {
        let offset = usize::try_from(at.checked_sub(self.from)?).ok()?;
        let rest = self.bytes.len().checked_sub(offset)?;
        let wanted = usize::try_from(end - at).unwrap_or(usize::MAX).min(rest);
        (wanted > 0).then(|| self.bytes.slice(offset..offset + wanted))
    }
}

/// Reads a body on the disk.
#[derive(Debug)]
pub(crate) struct FileReader {
    body: Arc<FileBody>,
    at: u64,
    end: u64,
    /// What was read, and not returned yet or just now.
    here: Piece,
    read: Read,
}

#[derive(Debug, Default)]
enum Read {
    #[default]
    Nothing,
    /// What the threads of the store read.
    Coming(Answer<io::Result<Piece>>),
    Failed,
}

impl FileReader {
    /// Returns the next piece, or `None` at the end.
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, ReadError>>> {
        if self.at >= self.end {
            return Poll::Ready(None);
        }
        if !self.body.first.is_empty() {
            self.here = Piece { from: 0, bytes: self.body.first.clone() };
        }
        loop {
            if let Some(piece) = self.here.cut(self.at, self.end) {
                self.at += piece.len() as u64;
                return Poll::Ready(Some(Ok(piece)));
            }
            match &mut self.read {
                Read::Failed => return Poll::Ready(Some(Err(ReadError::Damaged))),
                Read::Nothing => match self.body.cached_block(self.at / BLOCK as u64) {
                    Some(Ok(piece)) => self.here = piece,
                    Some(Err(_)) => {
                        self.body.is_damaged();
                        self.read = Read::Failed;
                    }
                    None => self.read_ahead(self.at),
                },
                Read::Coming(answer) => match std::task::ready!(Pin::new(answer).poll(cx)) {
                    Some(Ok(piece)) => {
                        let next = piece.from + piece.bytes.len() as u64;
                        (self.here, self.read) = (piece, Read::Nothing);
                        self.read_ahead(next);
                    }
                    // The pool has ended, or the disk has failed.
                    None | Some(Err(_)) => self.read = Read::Failed,
                },
            }
        }
    }

    /// Begins to read what comes next, from the block of the offset `at` on, while what came before is being sent.
    fn read_ahead(&mut self, at: u64) {
        if at >= self.end {
            return;
        }
        let first = at / BLOCK as u64;
        let last = (first + AT_ONCE - 1).min((self.end - 1) / BLOCK as u64);
        let (promise, answer) = promise();
        let body = Arc::clone(&self.body);
        // Each reader has at most one.
        self.body.pool.add_next(move || {
            let read = body.blocks(first, last);
            if read.is_err() {
                body.owner.damaged();
            }
            promise.keep(read);
        });
        self.read = Read::Coming(answer);
    }

    /// Returns what comes next if it can be sent from the file. [`FileReader::advance`] says how much of it was.
    pub(crate) fn part(&mut self) -> Option<FilePart> {
        let waits = !matches!(self.read, Read::Nothing);
        if waits || self.at >= self.end || self.here.cut(self.at, self.end).is_some() {
            return None;
        }
        self.body.part(self.at, self.end)
    }

    /// Goes on behind what was sent from the file.
    pub(crate) fn advance(&mut self, sent: u64) {
        self.at = self.end.min(self.at.saturating_add(sent));
    }

    /// Returns how many bytes are still to come.
    pub(crate) const fn remaining(&self) -> u64 {
        self.end - self.at
    }
}
