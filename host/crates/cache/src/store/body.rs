//! Bodies of stored responses, wherever they are.

use std::ops::Range;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;

use super::growing::{MemoryBody, MemoryReader, ReadError};
use super::tier::Tier;
use crate::disk::file_body::{FileBody, FilePart, FileReader};

/// The body of a stored response, or of one that is being stored. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Body(pub(crate) Place);

#[derive(Debug, Clone)]
pub(crate) enum Place {
    Memory(Arc<MemoryBody>),
    File(Arc<FileBody>),
}

impl Body {
    /// Returns its length, if that is known.
    #[must_use]
    pub fn len(&self) -> Option<u64> {
        match &self.0 {
            Place::Memory(body) => body.len(),
            Place::File(body) => Some(body.bytes),
        }
    }

    /// Whether it is known to be empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == Some(0)
    }

    /// Returns all of it, if it is complete and in one piece in memory, as small bodies are, also those from the
    /// disk.
    #[must_use]
    pub fn in_one_piece(&self) -> Option<Bytes> {
        match &self.0 {
            Place::Memory(body) => match body.whole()? {
                [] => Some(Bytes::new()),
                [piece] => Some(piece.bytes.clone()),
                _ => None,
            },
            Place::File(body) => body.file.is_none().then(|| body.first.clone()),
        }
    }

    /// Returns a reader from the start, or `None` if the start is gone: writing it has failed, or it is not stored
    /// and only passed on.
    #[must_use]
    pub fn read(&self) -> Option<Reader> {
        match &self.0 {
            Place::Memory(body) => body.read().map(From::Memory).map(Reader),
            Place::File(body) => body.read(0, body.bytes).map(From::File).map(Reader),
        }
    }

    /// Returns a reader of a part of a body. What is not there yet is waited for. `None` if the length is not known yet
    /// or less than the part's end, or the start of the body is gone.
    #[must_use]
    pub fn read_range(&self, range: Range<u64>) -> Option<Reader> {
        match &self.0 {
            Place::Memory(body) => body.read_range(range.start, range.end).map(From::Memory).map(Reader),
            Place::File(body) => body.read(range.start, range.end).map(From::File).map(Reader),
        }
    }

    /// Returns how many bytes of it have been written.
    #[must_use]
    pub fn written(&self) -> u64 {
        match &self.0 {
            Place::Memory(body) => body.written(),
            Place::File(body) => body.bytes,
        }
    }

    /// Whether all of it has been written.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        match &self.0 {
            Place::Memory(body) => body.whole().is_some(),
            Place::File(_) => true,
        }
    }

    pub(crate) const fn tier(&self) -> Tier {
        match &self.0 {
            Place::Memory(_) => Tier::Memory,
            Place::File(_) => Tier::Disk,
        }
    }
}

/// Reads a body at its own pace. It may be dropped at any time.
#[derive(Debug)]
pub struct Reader(From);

#[derive(Debug)]
enum From {
    Memory(MemoryReader),
    File(FileReader),
}

impl Reader {
    /// Returns the next piece, which is not empty, or `None` at the end. After an error it fails again.
    ///
    /// # Errors
    /// If the body ends too early.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, ReadError>>> {
        match &mut self.0 {
            From::Memory(reader) => reader.poll_next(cx),
            From::File(reader) => reader.poll_next(cx),
        }
    }

    /// Returns what comes next if it is in a file from which it can be sent without being copied. It is checked, and in
    /// the page cache. [`Reader::advance`] says how much of it was sent; then the next part is asked for, or the rest
    /// is read.
    pub fn file_part(&mut self) -> Option<FilePart> {
        match &mut self.0 {
            From::Memory(_) => None,
            From::File(reader) => reader.part(),
        }
    }

    /// Goes on behind what was sent of a part of a file.
    pub fn advance(&mut self, sent: u64) {
        match &mut self.0 {
            From::Memory(_) => {}
            From::File(reader) => reader.advance(sent),
        }
    }

    /// Returns how many bytes are still to come, if that is known.
    #[must_use]
    pub fn remaining(&self) -> Option<u64> {
        match &self.0 {
            From::Memory(reader) => reader.remaining(),
            From::File(reader) => Some(reader.remaining()),
        }
    }
}
