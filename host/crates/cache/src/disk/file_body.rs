//! The body of a response on the disk, read a few blocks at a time.

use std::fs::File;
use std::future::Future;
use std::io;
use std::os::unix::fs::FileExt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;

use super::format::{BLOCK, STORED_BLOCK, checked_block};
use super::pool::{Answer, Pool, promise};
use crate::store::growing::ReadError;

/// How many blocks are read at once.
const AT_ONCE: u64 = 4;

/// What happens to a file that is not what was written.
pub(crate) trait Owner: Send + Sync {
    /// Removes the file.
    fn damaged(&self);
}

/// The body of a response on the disk.
pub(crate) struct FileBody {
    pub(crate) file: File,
    /// The offset in the file at which it begins.
    pub(crate) start: u64,
    pub(crate) bytes: u64,
    pub(crate) nonce: u64,
    /// Its first block, which was checked when the response was found.
    pub(crate) first: Bytes,
    pub(crate) pool: Arc<Pool>,
    pub(crate) owner: Box<dyn Owner>,
}

impl std::fmt::Debug for FileBody {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("FileBody").field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

impl FileBody {
    /// Returns a reader of a part, or `None` if the body is shorter.
    pub(crate) fn read(self: &Arc<Self>, start: u64, end: u64) -> Option<FileReader> {
        (start <= end && end <= self.bytes).then(|| FileReader {
            body: Arc::clone(self),
            at: start,
            end,
            here: None,
            read: Read::default(),
        })
    }

    /// Reads and checks blocks. For a thread of the pool.
    fn blocks(&self, first: u64, last: u64) -> io::Result<Blocks> {
        let from = first * BLOCK as u64;
        let bytes = ((last + 1) * BLOCK as u64).min(self.bytes) - from;
        let mut stored = vec![0; usize::try_from(bytes + 4 * (last + 1 - first)).map_err(io::Error::other)?];
        self.file.read_exact_at(&mut stored, self.start + first * STORED_BLOCK as u64)?;
        for (block, stored) in (first..).zip(stored.chunks(STORED_BLOCK)) {
            checked_block(self.nonce, block, stored).ok_or(io::ErrorKind::InvalidData)?;
        }
        Ok(Blocks { from, stored: stored.into() })
    }

    /// Reads and checks all of the body. For a thread of the pool.
    pub(crate) fn all(&self) -> io::Result<Bytes> {
        if self.bytes == self.first.len() as u64 {
            return Ok(self.first.clone());
        }
        let blocks = self.blocks(0, (self.bytes - 1) / BLOCK as u64)?;
        let (mut all, mut at) = (Vec::with_capacity(blocks.stored.len()), 0);
        while let Some(piece) = blocks.cut(&mut at, self.bytes) {
            all.extend_from_slice(&piece);
        }
        Ok(all.into())
    }
}

/// Some blocks of a body, as they are in the file.
#[derive(Debug, Clone)]
struct Blocks {
    /// The offset in the body of the first one.
    from: u64,
    stored: Bytes,
}

impl Blocks {
    /// Takes what is asked for out of the block that has the offset `at`. `None` if none of them has.
    fn cut(&self, at: &mut u64, end: u64) -> Option<Bytes> {
        let offset = usize::try_from(end.min(*at).checked_sub(self.from)?).ok()?;
        let (block, within) = (offset / BLOCK * STORED_BLOCK, offset % BLOCK);
        let stop = self.stored.len().min(block + STORED_BLOCK).checked_sub(4)?;
        let start = block + within;
        let wanted = usize::try_from(end - (*at).min(end)).unwrap_or(usize::MAX);
        let stop = stop.min(start.saturating_add(wanted));
        if start >= stop {
            return None;
        }
        *at += (stop - start) as u64;
        Some(self.stored.slice(start..stop))
    }
}

/// Reads a body on the disk.
#[derive(Debug)]
pub(crate) struct FileReader {
    body: Arc<FileBody>,
    at: u64,
    end: u64,
    /// What was read and not returned yet.
    here: Option<Blocks>,
    read: Read,
}

#[derive(Debug, Default)]
enum Read {
    #[default]
    Nothing,
    /// What is read next.
    Coming(Answer<io::Result<Blocks>>),
    Failed,
}

impl FileReader {
    /// Returns the next piece, or `None` at the end.
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, ReadError>>> {
        if self.at >= self.end {
            return Poll::Ready(None);
        }
        let first = self.body.first.len() as u64;
        if self.at < first {
            // Both are within the first block.
            let (from, to) = (self.at as usize, self.end.min(first) as usize);
            self.at = to as u64;
            self.read_ahead(self.at);
            return Poll::Ready(Some(Ok(self.body.first.slice(from..to))));
        }
        loop {
            if let Some(piece) = self.here.as_ref().and_then(|here| here.cut(&mut self.at, self.end)) {
                return Poll::Ready(Some(Ok(piece)));
            }
            match &mut self.read {
                Read::Failed => return Poll::Ready(Some(Err(ReadError::Damaged))),
                Read::Nothing => self.read_ahead(self.at),
                Read::Coming(answer) => match std::task::ready!(Pin::new(answer).poll(cx)) {
                    Some(Ok(blocks)) => {
                        let next = blocks.from + AT_ONCE * BLOCK as u64;
                        (self.here, self.read) = (Some(blocks), Read::Nothing);
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

    /// Returns how many bytes are still to come.
    pub(crate) const fn remaining(&self) -> u64 {
        self.end - self.at
    }
}
