//! Writing a body in memory, while it is read.

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;

use super::budget::Reservation;
use super::growing::{MemoryBody, Piece, State};

/// The largest block. A larger one would waste more at the end, a smaller one would make more pieces.
const BLOCK_MAX: usize = 64 << 10;
/// The first block of a body whose length is not known.
const BLOCK_MIN: usize = 4 << 10;
/// What a block costs beside its bytes, rounded up.
const BLOCK_COST: usize = 64;
/// Pieces below this size are joined in a body that is passed on, so that tiny ones do not cost more than they have.
const JOINED_BELOW: usize = 1 << 10;

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

    /// Appends a piece of another body, which shares its block: nothing is copied, and it is counted for both.
    pub(crate) fn share(&mut self, block: &Bytes, reserve: impl Fn(u64) -> Option<Reservation>) {
        let size = block.len() as u64;
        let reserved = if self.passing_on || self.end + size > self.max {
            None
        } else {
            reserve(size + BLOCK_COST as u64)
        };
        let Some(reserved) = reserved else {
            return self.append(block, reserve);
        };
        let mut growing = self.body.growing.lock();
        growing.seal();
        match &mut growing.reserved {
            Some(all) => all.merge(reserved),
            none => *none = Some(reserved),
        }
        growing.end += size;
        self.end = growing.end;
        growing.pieces.push_back(Piece { end: self.end, bytes: block.clone() });
        let waiting = growing.readers.waiting();
        drop(growing);
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
            // A reader of a part may wait for what is not there yet.
            Some(fastest) if self.end.saturating_sub(fastest) <= self.window / 2 => Poll::Ready(true),
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
