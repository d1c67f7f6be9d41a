//! Sorts the records of several workers by the end of their exchanges.
//!
//! Each worker hands over batches, each in the right order. A record may be written once every worker has announced
//! that it will hand over nothing older: a worker does so with each batch, and at every tick while it is idle. If it
//! does not, because something keeps its thread busy, the others wait for it no longer than [`WAIT_MAX`].

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use portcullis_model::Lock;

/// How long a record waits for a worker that announces nothing.
pub(crate) const WAIT_MAX: Duration = Duration::from_millis(300);

/// Bytes that may wait for their turn. Beyond that they are written out of order: memory matters more than order.
const WAITING_BYTES_MAX: usize = 8 << 20;

/// The end of one record: when its exchange ended, in nanoseconds of the [`Clock`], and its bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mark {
    pub(crate) ended: u64,
    pub(crate) bytes: u32,
}

/// What one worker hands over: whole lines and a mark for each.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub(crate) lines: Vec<u8>,
    pub(crate) marks: Vec<Mark>,
}

/// Until when each worker has handed over everything. Clones are the same clock.
#[derive(Debug, Clone)]
pub(crate) struct Clock(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    epoch: Instant,
    workers: Lock<Vec<Arc<AtomicU64>>>,
}

impl Clock {
    /// Returns a clock without workers that starts now.
    pub(crate) fn new() -> Self {
        Self(Arc::new(Shared { epoch: Instant::now(), workers: Lock::default() }))
    }

    /// Returns `at` as nanoseconds; 0 if it was before the clock's start.
    pub(crate) fn nanos(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.0.epoch).as_nanos()).unwrap_or(u64::MAX)
    }

    /// Returns a worker's part of it.
    pub(crate) fn worker(&self) -> HandedOver {
        let until = Arc::new(AtomicU64::new(self.nanos(Instant::now())));
        self.0.workers.lock().push(Arc::clone(&until));
        HandedOver { clock: self.clone(), until }
    }

    /// Returns the time until which all workers have handed over everything. Call it before taking the batches: a
    /// worker hands over first, and announces it afterwards.
    pub(crate) fn handed_over(&self) -> u64 {
        let floor = self.nanos(Instant::now()).saturating_sub(nanos(WAIT_MAX));
        let mut workers = self.0.workers.lock();
        workers.retain(|until| until.load(Ordering::Acquire) != u64::MAX);
        workers.iter().map(|until| until.load(Ordering::Acquire)).min().unwrap_or(u64::MAX).max(floor)
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Announces until when a worker has handed over everything. Dropping it announces that nothing more follows.
#[derive(Debug)]
pub(crate) struct HandedOver {
    pub(crate) clock: Clock,
    until: Arc<AtomicU64>,
}

impl HandedOver {
    /// Announces that everything that ended before `at` was handed over.
    pub(crate) fn until(&self, at: Instant) {
        self.until.store(self.clock.nanos(at), Ordering::Release);
    }
}

impl Drop for HandedOver {
    fn drop(&mut self) {
        self.until.store(u64::MAX, Ordering::Release);
    }
}

/// Batches that wait for their turn.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    /// By the next record of each, the oldest first.
    batches: BinaryHeap<Reverse<Next>>,
    bytes: usize,
    number: u64,
}

/// A batch whose next record ended at `ended`. `number` is the batch's own, so that no two are equal and those of one
/// worker stay in their order.
#[derive(Debug)]
struct Next {
    ended: u64,
    number: u64,
    batch: Batch,
    /// Records and bytes of it that were taken.
    taken: (usize, usize),
}

impl Ord for Next {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.ended, self.number).cmp(&(other.ended, other.number))
    }
}

impl PartialOrd for Next {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Next {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl Eq for Next {}

impl Waiting {
    /// Returns whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    /// Returns whether so much waits that it must be written in any order.
    pub(crate) fn is_full(&self) -> bool {
        self.bytes > WAITING_BYTES_MAX
    }

    /// Adds a batch.
    pub(crate) fn push(&mut self, batch: Batch) {
        if let Some(first) = batch.marks.first() {
            self.bytes += batch.lines.len();
            self.number += 1;
            let next = Next { ended: first.ended, number: self.number, batch, taken: (0, 0) };
            self.batches.push(Reverse(next));
        }
    }

    /// Appends the records that ended by `until` to `out`, the oldest first, until it has `bytes_max`. Returns how many
    /// were appended; 0 if none are left.
    pub(crate) fn take(&mut self, until: u64, bytes_max: usize, out: &mut Vec<u8>) -> u64 {
        let mut records = 0;
        while out.len() < bytes_max
            && let Some(mut first) = self.batches.peek_mut()
            && first.0.ended <= until
        {
            let Next { batch, taken: (record, start), ended, .. } = &mut first.0;
            let end = *start + batch.marks[*record].bytes as usize;
            out.extend_from_slice(&batch.lines[*start..end]);
            records += 1;
            match batch.marks.get(*record + 1) {
                Some(next) => {
                    // A worker's records are in order; if one were not, it would not delay the others.
                    *ended = next.ended.max(*ended);
                    (*record, *start) = (*record + 1, end);
                }
                None => {
                    self.bytes -= batch.lines.len();
                    std::collections::binary_heap::PeekMut::pop(first);
                }
            }
        }
        records
    }
}

#[cfg(test)]
mod tests;
