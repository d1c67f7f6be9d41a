//! A body in memory that readers can read while it is being written, each at its own pace.
//!
//! The writer copies what comes into blocks that the store's budget counts before they are allocated. A reader shares
//! the full ones, and copies what it needs of the one that is being filled. When the body is complete, its pieces
//! move to a list that readers find without a lock. If it cannot be stored (it is too large, or there is no room), it
//! is only *passed on*: the readers that are there go on, new ones are refused, and what every reader has read is
//! dropped. A reader that falls too far behind the fastest one fails then, because waiting for it would slow the
//! others and keeping everything for it would have no bound.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use portcullis_model::Lock;

use super::budget::Reservation;

/// The largest block. A larger one would waste more at the end, a smaller one would make more pieces.
const BLOCK_MAX: usize = 64 << 10;
/// The first block of a body whose length is not known.
const BLOCK_MIN: usize = 4 << 10;
/// What a block costs beside its bytes, rounded up.
const BLOCK_COST: usize = 64;
/// Pieces below this size are joined in a body that is passed on, so that tiny ones do not cost more than they have.
const JOINED_BELOW: usize = 1 << 10;

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
    announced: Option<u64>,
    whole: OnceLock<Box<[Piece]>>,
    growing: Lock<Growing>,
}

#[derive(Debug, Default)]
struct Growing {
    /// What is written, but for the block that is being filled.
    pieces: VecDeque<Piece>,
    /// The block that is being filled. Its capacity was reserved.
    open: Vec<u8>,
    /// How long the body is so far.
    end: u64,
    state: State,
    readers: Readers,
    writer: Option<Waker>,
    /// The bytes of the blocks. They are counted until the body is dropped.
    reserved: Option<Reservation>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
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
    /// Returns an empty body to which a [`Writer`] appends.
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

    /// Returns a reader of a part of a body that is complete and stored.
    pub(crate) fn read_range(self: &Arc<Self>, start: u64, end: u64) -> Option<MemoryReader> {
        let length = self.whole()?.last().map_or(0, |piece| piece.end);
        (start <= end && end <= length).then(|| MemoryReader {
            body: Arc::clone(self),
            at: start,
            end,
            place: None,
        })
    }
}

impl Growing {
    /// Returns the offset of the oldest byte that is still there.
    fn start(&self) -> u64 {
        self.pieces.front().map_or_else(|| self.open_start(), |piece| piece.end - piece.bytes.len() as u64)
    }

    /// Returns the offset at which the block begins that is being filled.
    fn open_start(&self) -> u64 {
        self.end - self.open.len() as u64
    }

    /// Returns what a reader at `at` reads next, or `None` if there is nothing yet.
    fn next(&self, at: &mut u64) -> Option<Bytes> {
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
    fn seal(&mut self) {
        if !self.open.is_empty() {
            let open = std::mem::take(&mut self.open);
            if let Some(reserved) = &mut self.reserved {
                reserved.release((open.capacity() - open.len()) as u64);
            }
            self.pieces.push_back(Piece { end: self.end, bytes: open.into_boxed_slice().into() });
        }
    }

    /// Drops of a body that is passed on what all have read, and what would be more than is kept for the slow ones.
    fn trim(&mut self) {
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
        let Some(bytes) = growing.next(&mut self.at) else {
            if growing.state == State::Complete {
                return Poll::Ready(None);
            }
            growing.readers.wait(place, cx.waker());
            return Poll::Pending;
        };
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

/// The readers of a growing body.
#[derive(Debug, Default)]
struct Readers {
    places: Vec<Option<Place>>,
    free: Vec<usize>,
}

#[derive(Debug, Default)]
struct Place {
    at: u64,
    waker: Option<Waker>,
}

impl Readers {
    fn add(&mut self, at: u64) -> usize {
        let place = Some(Place { at, waker: None });
        match self.free.pop() {
            Some(free) => {
                self.places[free] = place;
                free
            }
            None => {
                self.places.push(place);
                self.places.len() - 1
            }
        }
    }

    fn remove(&mut self, place: usize) {
        if self.places[place].take().is_some() {
            self.free.push(place);
        }
    }

    fn wait(&mut self, place: usize, waker: &Waker) {
        if let Some(place) = &mut self.places[place] {
            match &mut place.waker {
                Some(before) => before.clone_from(waker),
                none => *none = Some(waker.clone()),
            }
        }
    }

    fn moved(&mut self, place: usize, at: u64) {
        if let Some(place) = &mut self.places[place] {
            place.at = at;
        }
    }

    fn slowest(&self) -> Option<u64> {
        self.places.iter().flatten().map(|place| place.at).min()
    }

    fn fastest(&self) -> Option<u64> {
        self.places.iter().flatten().map(|place| place.at).max()
    }

    fn waiting(&mut self) -> Vec<Waker> {
        self.places.iter_mut().flatten().filter_map(|place| place.waker.take()).collect()
    }
}

/// Writes a body. Dropped before it is complete, it makes the body fail.
#[derive(Debug)]
pub(crate) struct Writer {
    body: Arc<MemoryBody>,
    /// How much a body may have that is stored.
    max: u64,
    /// How much is kept for slow readers of a body that is not stored.
    window: u64,
    end: u64,
    passing_on: bool,
    complete: bool,
}

impl Writer {
    /// Returns a writer of `body`, which is stored if it has at most `max` bytes.
    pub(crate) fn new(body: Arc<MemoryBody>, max: u64, window: u64) -> Self {
        Self { body, max, window, end: 0, passing_on: false, complete: false }
    }

    /// Returns how many bytes were written.
    pub(crate) const fn len(&self) -> u64 {
        self.end
    }

    /// Returns whether the body is only passed on.
    pub(crate) const fn passes_on(&self) -> bool {
        self.passing_on
    }

    /// Appends bytes and wakes the readers. `reserve` makes room in the store and counts it.
    pub(crate) fn append(&mut self, bytes: &Bytes, reserve: impl Fn(u64) -> Option<Reservation>) {
        let stored = if self.passing_on { 0 } else { self.store(bytes, &reserve) };
        if stored < bytes.len() {
            self.stop_storing();
            self.pass_on(bytes.slice(stored..));
        }
        let waiting = self.body.growing.lock().readers.waiting();
        waiting.into_iter().for_each(Waker::wake);
    }

    /// Copies bytes into blocks. Returns how many, which is not all if the body becomes too large or there is no
    /// room.
    fn store(&mut self, bytes: &[u8], reserve: &impl Fn(u64) -> Option<Reservation>) -> usize {
        let mut rest = bytes;
        while !rest.is_empty() {
            let mut growing = self.body.growing.lock();
            let spare = growing.open.capacity() - growing.open.len();
            if spare == 0 {
                drop(growing);
                if !self.open_block(rest.len(), reserve) {
                    break;
                }
                continue;
            }
            let (part, after) = rest.split_at(rest.len().min(spare));
            growing.open.extend_from_slice(part);
            growing.end += part.len() as u64;
            self.end = growing.end;
            if part.len() == spare {
                growing.seal();
            }
            rest = after;
        }
        bytes.len() - rest.len()
    }

    /// Begins a block. Returns `false` if the body becomes too large or there is no room.
    fn open_block(&self, coming: usize, reserve: &impl Fn(u64) -> Option<Reservation>) -> bool {
        let size = match self.body.announced.and_then(|length| length.checked_sub(self.end)) {
            Some(left) if left > 0 => usize::try_from(left).map_or(BLOCK_MAX, |left| left.min(BLOCK_MAX)),
            // As large as all before, so that the waste is bounded.
            _ => usize::try_from(self.end).unwrap_or(BLOCK_MAX).max(coming).clamp(BLOCK_MIN, BLOCK_MAX),
        };
        if self.end + coming.min(size) as u64 > self.max {
            return false;
        }
        let Some(reserved) = reserve((size + BLOCK_COST) as u64) else { return false };
        let mut growing = self.body.growing.lock();
        match &mut growing.reserved {
            Some(all) => all.merge(reserved),
            none => *none = Some(reserved),
        }
        growing.open = Vec::with_capacity(size);
        true
    }

    /// Gives up storing: from now on the body is only passed on to the readers that there are.
    pub(crate) fn stop_storing(&mut self) {
        if !self.passing_on {
            self.passing_on = true;
            // What was stored is counted, and is kept for those that have begun to read it.
            let keep = self.window.max(self.end);
            let mut growing = self.body.growing.lock();
            growing.seal();
            growing.state = State::PassingOn { keep, counted: self.end };
            growing.trim();
        }
    }

    fn pass_on(&mut self, bytes: Bytes) {
        self.end += bytes.len() as u64;
        let mut growing = self.body.growing.lock();
        // Before the piece is added: a reader could not have read it yet, however large it is.
        growing.trim();
        growing.end = self.end;
        let end = self.end;
        match growing.pieces.back_mut() {
            Some(last) if last.bytes.len() + bytes.len() <= JOINED_BELOW => {
                *last = Piece { end, bytes: [&*last.bytes, &*bytes].concat().into() };
            }
            _ => growing.pieces.push_back(Piece { end, bytes }),
        }
        if growing.readers.slowest().is_none() {
            growing.trim();
        }
    }

    /// Waits until the writer should go on with a body that is only passed on. `false` if it has no reader any more.
    pub(crate) fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        if !self.passing_on {
            return Poll::Ready(true);
        }
        let mut growing = self.body.growing.lock();
        match growing.readers.fastest() {
            None => Poll::Ready(false),
            Some(fastest) if self.end - fastest <= self.window / 2 => Poll::Ready(true),
            Some(_) => {
                growing.writer = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    /// Ends the body. It is stored if `store` is set and its length is what was announced. Returns whether it was.
    pub(crate) fn complete(mut self, store: bool) -> bool {
        let right = self.body.announced.is_none_or(|announced| announced == self.end);
        let store = store && !self.passing_on && right;
        self.complete = true;
        let waiting = {
            let mut growing = self.body.growing.lock();
            growing.seal();
            // A body that is shorter than its readers were promised has failed, not ended.
            growing.state = if right { State::Complete } else { State::Failed };
            if !right {
                growing.pieces.clear();
                growing.reserved = None;
            } else if store {
                let pieces = std::mem::take(&mut growing.pieces);
                // It was not set before: only a writer sets it, at its end, and a body has one.
                let _already_set = self.body.whole.set(pieces.into_iter().collect());
            }
            growing.readers.waiting()
        };
        waiting.into_iter().for_each(Waker::wake);
        store
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if !self.complete {
            let waiting = {
                let mut growing = self.body.growing.lock();
                growing.state = State::Failed;
                growing.pieces.clear();
                growing.open = Vec::new();
                growing.reserved = None;
                growing.readers.waiting()
            };
            waiting.into_iter().for_each(Waker::wake);
        }
    }
}
