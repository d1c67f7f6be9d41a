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
            read: Read::default(),
        })
    }

    /// Reads and checks blocks. Returns their bytes of the body. For a thread of the pool.
    pub(crate) fn blocks(&self, first: u64, last: u64) -> io::Result<Bytes> {
        let from = first * BLOCK as u64;
        if self.bytes == 0 {
            return Ok(Bytes::new());
        }
        let bytes = ((last + 1) * BLOCK as u64).min(self.bytes) - from;
        let count = last + 1 - first;
        let mut read = vec![0; usize::try_from(bytes + 4 * count).map_err(io::Error::other)?];
        self.file.read_exact_at(&mut read, self.start + first * STORED_BLOCK as u64)?;
        // Moves the bytes together, over the checksums between them.
        let mut length = 0;
        for (block, stored) in (first..).zip((0..read.len()).step_by(STORED_BLOCK)) {
            let stored = stored..read.len().min(stored + STORED_BLOCK);
            let checked = checked_block(self.nonce, block, &read[stored.clone()]);
            let bytes = checked.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))?.len();
            read.copy_within(stored.start..stored.start + bytes, length);
            length += bytes;
        }
        read.truncate(length);
        Ok(read.into())
    }
}

/// Reads a body on the disk.
#[derive(Debug)]
pub(crate) struct FileReader {
    body: Arc<FileBody>,
    at: u64,
    end: u64,
    read: Read,
}

#[derive(Debug, Default)]
enum Read {
    #[default]
    Nothing,
    /// The offset in the body of what is read next, and its coming.
    Coming(u64, Answer<io::Result<Bytes>>),
    Failed,
}

impl FileReader {
    /// Returns the next piece, or `None` at the end.
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, ReadError>>> {
        if self.at >= self.end {
            return Poll::Ready(None);
        }
        loop {
            match &mut self.read {
                Read::Failed => return Poll::Ready(Some(Err(ReadError::Damaged))),
                Read::Nothing if self.at < self.body.first.len() as u64 => {
                    let piece = self.cut(0, &self.body.first.clone());
                    self.read_ahead();
                    return Poll::Ready(Some(Ok(piece)));
                }
                Read::Nothing => self.read_ahead(),
                Read::Coming(from, answer) => {
                    let from = *from;
                    match std::task::ready!(Pin::new(answer).poll(cx)) {
                        Some(Ok(bytes)) => {
                            self.read = Read::Nothing;
                            let piece = self.cut(from, &bytes);
                            self.read_ahead();
                            return Poll::Ready(Some(Ok(piece)));
                        }
                        // The pool has ended, or the disk has failed.
                        None | Some(Err(_)) => self.read = Read::Failed,
                    }
                }
            }
        }
    }

    /// Takes what is asked for out of bytes that begin at `from`.
    fn cut(&mut self, from: u64, bytes: &Bytes) -> Bytes {
        // Both are within the bytes.
        let to = self.end.min(from + bytes.len() as u64);
        let piece = bytes.slice((self.at - from) as usize..(to - from) as usize);
        self.at = to;
        piece
    }

    /// Begins to read what comes next, while what came before is being sent.
    fn read_ahead(&mut self) {
        if self.at >= self.end {
            return;
        }
        let first = self.at / BLOCK as u64;
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
        self.read = Read::Coming(first * BLOCK as u64, answer);
    }

    /// Returns how many bytes are still to come.
    pub(crate) const fn remaining(&self) -> u64 {
        self.end - self.at
    }
}
