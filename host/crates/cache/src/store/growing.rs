//! A body in memory that readers can read while it is being written, each at its own pace.
//!
//! The writer copies what comes into blocks that the store's budget counts before they are allocated. A reader shares
//! the full ones, and copies what it needs of the one that is being filled. When the body is complete, its pieces
//! move to a list that readers find without a lock. If it cannot be stored (it is too large, or there is no room), it
//! is only *passed on*: the readers that are there go on, new ones are refused, and what every reader has read is
//! dropped. A reader that falls too far behind the fastest one fails then, because waiting for it would slow the
//! others and keeping everything for it would have no bound.

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use portcullis_model::Lock;

use super::budget::Reservation;
use super::readers::Readers;

/// Why a body ended too early.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// Writing it failed.
    #[error("the response that is being stored ended early")]
    Aborted,
    /// It is not stored, and this reader fell too far behind the others.
    #[error("fell too far behind the other readers of a response that is not stored")]
    Lagged,
    /// What is on the disk could not be read, or is not what was written.
    #[error("the stored body could not be read from the disk")]
    Damaged,
}

/// A piece of a body, and the offset in the body at which it ends.
#[derive(Debug, Clone)]
pub(crate) struct Piece {
    pub(crate) end: u64,
    pub(crate) bytes: Bytes,
}

/// A body in memory.
#[derive(Debug, Default)]
pub(crate) struct MemoryBody {
    /// What is known of its length before it is complete.
    pub(crate) announced: Option<u64>,
    pub(crate) whole: OnceLock<Box<[Piece]>>,
    pub(crate) growing: Lock<Growing>,
}

#[derive(Debug, Default)]
pub(crate) struct Growing {
    /// What is written, but for the block that is being filled.
    pub(crate) pieces: VecDeque<Piece>,
    /// The block that is being filled. Its capacity was reserved.
    pub(crate) open: Vec<u8>,
    /// How long the body is so far.
    pub(crate) end: u64,
    pub(crate) state: State,
    pub(crate) readers: Readers,
    pub(crate) writer: Option<Waker>,
    /// The bytes of the blocks. They are counted until the body is dropped.
    pub(crate) reserved: Option<Reservation>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    #[default]
    Storing,
    /// Not to be stored.
    PassingOn {
        /// So many bytes are kept for slow readers.
        keep: u64,
        /// Up to here the bytes are counted in the budget.
        counted: u64,
    },
    Complete,
    Failed,
}

impl MemoryBody {
    /// Returns an empty body to which a `Writer` appends.
    pub(crate) fn new(announced: Option<u64>) -> Arc<Self> {
        Arc::new(Self { announced, ..Self::default() })
    }

    /// Returns its length, if that is known.
    pub(crate) fn len(&self) -> Option<u64> {
        match self.whole.get() {
            Some(pieces) => Some(pieces.last().map_or(0, |piece| piece.end)),
            None => self.announced,
        }
    }

    /// Returns its pieces if it is complete and stored.
    pub(crate) fn whole(&self) -> Option<&[Piece]> {
        self.whole.get().map(|pieces| &**pieces)
    }

    /// Returns a reader from the start, or `None` if the start is gone already.
    pub(crate) fn read(self: &Arc<Self>) -> Option<MemoryReader> {
        if let Some(end) = self.whole().map(|pieces| pieces.last().map_or(0, |piece| piece.end)) {
            return Some(MemoryReader { body: Arc::clone(self), at: 0, end, place: None });
        }
        let mut growing = self.growing.lock();
        if self.whole().is_some() {
            // It was completed just now.
            drop(growing);
            return self.read();
        }
        let all_there = growing.state != State::Failed && growing.start() == 0;
        if !all_there {
            return None;
        }
        let place = growing.readers.add(0);
        Some(MemoryReader { body: Arc::clone(self), at: 0, end: u64::MAX, place: Some(place) })
    }

    /// Returns a reader of a part of a body, which is stored, or will be: what is not there yet is waited for.
    pub(crate) fn read_range(self: &Arc<Self>, start: u64, end: u64) -> Option<MemoryReader> {
        if start > end || end > self.len()? {
            return None;
        }
        let reader = |place| MemoryReader { body: Arc::clone(self), at: start, end, place };
        if self.whole().is_some() {
            return Some(reader(None));
        }
        let mut growing = self.growing.lock();
        if self.whole().is_some() {
            // It was completed just now.
            return Some(reader(None));
        }
        let all_there = growing.state != State::Failed && growing.start() == 0;
        all_there.then(|| reader(Some(growing.readers.add(start))))
    }

    /// Returns how much of it is there.
    pub(crate) fn written(&self) -> u64 {
        match self.whole() {
            Some(pieces) => pieces.last().map_or(0, |piece| piece.end),
            None => self.growing.lock().end,
        }
    }
}

impl Growing {
    /// Returns the offset of the oldest byte that is still there.
    pub(crate) fn start(&self) -> u64 {
        self.pieces.front().map_or_else(|| self.open_start(), |piece| piece.end - piece.bytes.len() as u64)
    }

    /// Returns the offset at which the block begins that is being filled.
    pub(crate) fn open_start(&self) -> u64 {
        self.end - self.open.len() as u64
    }

    /// Returns what a reader at `at` reads next, or `None` if there is nothing yet.
    pub(crate) fn next(&self, at: &mut u64) -> Option<Bytes> {
        let index = self.pieces.partition_point(|piece| piece.end <= *at);
        if let Some(piece) = self.pieces.get(index) {
            return Some(take(at, u64::MAX, piece));
        }
        // It is within the block, whose length is a `usize`.
        let open = self.open.get((*at - self.open_start()) as usize..)?;
        *at = self.end;
        (!open.is_empty()).then(|| Bytes::copy_from_slice(open))
    }

    /// Makes a piece of the block that is being filled. What is reserved and not used is given back.
    pub(crate) fn seal(&mut self) {
        if !self.open.is_empty() {
            let open = std::mem::take(&mut self.open);
            if let Some(reserved) = &mut self.reserved {
                reserved.release((open.capacity() - open.len()) as u64);
            }
            self.pieces.push_back(Piece { end: self.end, bytes: open.into_boxed_slice().into() });
        }
    }

    /// Drops of a body that is passed on what all have read, and what would be more than is kept for the slow ones.
    pub(crate) fn trim(&mut self) {
        let State::PassingOn { keep, counted } = self.state else { return };
        let slowest = self.readers.slowest().unwrap_or(self.end);
        while let Some(oldest) = self.pieces.front()
            && (oldest.end <= slowest || self.end - oldest.end >= keep)
        {
            self.pieces.pop_front();
        }
        if self.start() >= counted {
            self.reserved = None;
        }
    }
}

/// Reads a body in memory.
#[derive(Debug)]
pub(crate) struct MemoryReader {
    body: Arc<MemoryBody>,
    at: u64,
    end: u64,
    /// Its place among the readers of a growing body.
    place: Option<usize>,
}

impl MemoryReader {
    /// Returns the next piece, or `None` at the end.
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, ReadError>>> {
        if self.at >= self.end {
            return Poll::Ready(None);
        }
        if let Some(pieces) = self.body.whole() {
            let index = pieces.partition_point(|piece| piece.end <= self.at);
            return Poll::Ready(pieces.get(index).map(|piece| Ok(take(&mut self.at, self.end, piece))));
        }
        let Some(place) = self.place else { return Poll::Ready(None) };
        let mut growing = self.body.growing.lock();
        if self.body.whole().is_some() {
            // It was completed just now.
            drop(growing);
            return self.poll_next(cx);
        }
        if growing.state == State::Failed {
            return Poll::Ready(Some(Err(ReadError::Aborted)));
        }
        if self.at < growing.start() {
            return Poll::Ready(Some(Err(ReadError::Lagged)));
        }
        let Some(mut bytes) = growing.next(&mut self.at) else {
            if growing.state == State::Complete {
                return Poll::Ready(None);
            }
            growing.readers.wait(place, cx.waker());
            return Poll::Pending;
        };
        if let Some(beyond) = self.at.checked_sub(self.end) {
            // It is less than the piece, which has a byte that is wanted.
            bytes.truncate(bytes.len() - beyond as usize);
            self.at = self.end;
        }
        growing.readers.moved(place, self.at);
        let writer = growing.writer.take();
        drop(growing);
        if let Some(writer) = writer {
            writer.wake();
        }
        Poll::Ready(Some(Ok(bytes)))
    }

    /// Returns how many bytes are still to come, if that is known.
    pub(crate) fn remaining(&self) -> Option<u64> {
        let end = if self.end == u64::MAX { self.body.len()? } else { self.end };
        Some(end.saturating_sub(self.at))
    }
}

/// Takes what a reader at `at` needs of a piece that it is in.
fn take(at: &mut u64, end: u64, piece: &Piece) -> Bytes {
    let start = piece.end - piece.bytes.len() as u64;
    // Both are within the piece, whose length is a `usize`.
    let (from, to) = ((*at - start) as usize, (end.min(piece.end) - start) as usize);
    *at = start + to as u64;
    piece.bytes.slice(from..to)
}

impl Drop for MemoryReader {
    fn drop(&mut self) {
        if let Some(place) = self.place {
            let writer = {
                let mut growing = self.body.growing.lock();
                growing.readers.remove(place);
                growing.writer.take()
            };
            if let Some(writer) = writer {
                writer.wake();
            }
        }
    }
}
