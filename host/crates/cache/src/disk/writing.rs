//! Writing a response to the disk.
//!
//! The worker that receives it collects blocks; the threads of the store write them, one thread at a time for each
//! response. If the disk cannot keep up, or fails, the response is not stored, and its readers do not notice.

use std::collections::VecDeque;
use std::mem::take;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll, Waker};

use portcullis_model::Lock;

use super::core::{Core, NO_ROOM};
use super::folder::FileName;
use super::format::{BLOCK, Meta};
use super::health::Failing;
use super::keeper;
use super::written::{Finish, Written};
use crate::store::entry::Entry;
use crate::store::purges::Names;

/// What the heads of later validations may be longer than the first.
const HEAD_SPARE: usize = 256;

/// A response that is being written. Dropped before [`Writing::finish`], it leaves nothing.
#[derive(Debug)]
pub(crate) struct Writing {
    core: Arc<Core>,
    shared: Arc<Lock<Shared>>,
    meta: Meta,
    names: Names,
    /// What stands before the body, but for the length of that.
    head: Vec<u8>,
    block: Vec<u8>,
    finished: bool,
}

/// What the worker and the thread that writes have in common.
#[derive(Debug, Default)]
struct Shared {
    blocks: VecDeque<Vec<u8>>,
    waiting: usize,
    /// Whether a thread is writing, or a job for it is in the queue.
    running: bool,
    failed: bool,
    end: Option<End>,
    written: Written,
    waker: Option<Waker>,
}

#[derive(Debug)]
enum End {
    Finish(Box<Finish>),
    Abort,
}

impl Writing {
    /// Begins to write a response. `None` if it cannot be stored: the files of before are not all known yet, or its
    /// body is too long.
    pub(crate) fn begin<H>(
        core: &Arc<Core>,
        entry: &Entry<H>,
        tags: &[&[u8]],
        head: Vec<u8>,
    ) -> Option<Self> {
        if core.closed.load(Relaxed) || !core.state.lock().index.complete {
            return None;
        }
        if core.unlogged.load(Relaxed) {
            if core.keeper.waiting() == 0 {
                keeper::shorten_log(core, true);
            }
            return None;
        }
        let mut meta = Meta {
            key: entry.key.clone(),
            variant: entry.variant.clone(),
            tags: tags.iter().map(|tag| (*tag).into()).collect(),
            head_max: (head.len() + HEAD_SPARE).next_multiple_of(256),
            padding: 0,
            body_bytes: 0,
            ticket: entry.ticket.0,
            nonce: entry.nonce,
        };
        let mut start = meta.encode(&head)?.len();
        if entry.body.len().is_none_or(|bytes| bytes > BLOCK as u64) {
            meta.pad(start);
            start += meta.padding;
        }
        let (start, nonce) = (start as u64, meta.nonce);
        let written = Written { start, nonce, ..Written::default() };
        let shared = Arc::new(Lock::new(Shared { written, ..Shared::default() }));
        let (names, block) = (entry.names.clone(), Vec::new());
        Some(Self { core: Arc::clone(core), shared, meta, names, head, block, finished: false })
    }

    /// Appends bytes. Returns `false` if the response is not stored any more.
    pub(crate) fn append(&mut self, mut bytes: &[u8]) -> bool {
        self.meta.body_bytes += bytes.len() as u64;
        if self.meta.body_bytes > self.core.settings().object_bytes_max {
            return false;
        }
        while !bytes.is_empty() {
            if self.block.len() == BLOCK && !self.push_block() {
                return false;
            }
            let (part, rest) = bytes.split_at(bytes.len().min(BLOCK - self.block.len()));
            self.block.extend_from_slice(part);
            bytes = rest;
        }
        !self.shared.lock().failed
    }

    /// Waits until there is room for more.
    pub(crate) fn poll_room(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut shared = self.shared.lock();
        if !self.is_behind(&shared) {
            return Poll::Ready(());
        }
        shared.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Returns how many bytes were written, if there is no room for more.
    pub(crate) fn behind(&self) -> Option<u64> {
        let shared = self.shared.lock();
        self.is_behind(&shared).then(|| self.meta.body_bytes.saturating_sub(shared.waiting as u64))
    }

    fn is_behind(&self, shared: &Shared) -> bool {
        !shared.failed && shared.waiting * 2 > self.core.settings().pending_bytes
    }

    /// Ends the response. It is found when all of it is written, unless it was purged by then.
    pub(crate) fn finish(mut self) {
        if self.core.is_behind() {
            // Dropped unfinished. What is there is older.
            self.core.health.refused();
            self.core.forget(FileName::new(self.meta.key.bytes(), &self.meta.variant));
            return;
        }
        let (meta, names, head) = (self.meta.clone(), self.names.clone(), take(&mut self.head));
        let last = take(&mut self.block);
        self.finished = true;
        self.core.unwritten.fetch_add(last.len(), Relaxed);
        let finish = End::Finish(Box::new(Finish { meta, names, head }));
        let start = {
            let mut shared = self.shared.lock();
            shared.blocks.extend(Some(last).filter(|last| !last.is_empty()));
            shared.end = Some(finish);
            !std::mem::replace(&mut shared.running, true)
        };
        if start {
            self.start(false);
        }
    }

    fn push_block(&mut self) -> bool {
        let block = take(&mut self.block);
        if self.core.is_behind() {
            self.core.health.refused();
            return false;
        }
        let start = {
            let mut shared = self.shared.lock();
            if shared.failed || shared.waiting + block.len() > self.core.settings().pending_bytes {
                return false;
            }
            shared.waiting += block.len();
            self.core.unwritten.fetch_add(block.len(), Relaxed);
            shared.blocks.push_back(block);
            !std::mem::replace(&mut shared.running, true)
        };
        if start {
            self.start(false);
        }
        true
    }

    /// Has a thread write. `always` also if the queue is full.
    fn start(&self, always: bool) {
        let (weak, shared) = (Arc::downgrade(&self.core), Arc::clone(&self.shared));
        let job = move || {
            if let Some(core) = weak.upgrade() {
                write(&core, &shared);
            }
        };
        if always {
            self.core.pool.add_next(job);
        } else if !self.core.pool.add(job) {
            self.core.health.refused();
            fail(&self.core, &self.shared);
            let begun = {
                let mut shared = self.shared.lock();
                shared.running = shared.written.file.is_some();
                shared.running
            };
            if begun {
                // Only to remove what was written.
                self.start(true);
            }
        }
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        if !self.finished {
            let start = {
                let mut shared = self.shared.lock();
                shared.end = Some(End::Abort);
                let begun = shared.running || shared.written.file.is_some();
                begun && !std::mem::replace(&mut shared.running, true)
            };
            if start {
                self.start(true);
            }
        }
    }
}

/// What to do next for a response.
enum Step {
    Block(Vec<u8>),
    Finish(Box<Finish>),
    Abort,
}

/// Returns what to do next. If there is nothing, the file waits for more in `shared`.
fn next_step(core: &Core, shared: &Lock<Shared>, written: &mut Written) -> Option<Step> {
    let mut all = shared.lock();
    if all.failed || matches!(all.end, Some(End::Abort)) {
        return Some(Step::Abort);
    }
    if let Some(block) = all.blocks.pop_front() {
        core.unwritten.fetch_sub(block.len(), Relaxed);
        return Some(Step::Block(block));
    }
    if let Some(End::Finish(finish)) = all.end.take() {
        return Some(Step::Finish(finish));
    }
    all.written = take(written);
    all.running = false;
    None
}

/// Writes what there is to write.
fn write(core: &Arc<Core>, shared: &Lock<Shared>) {
    let mut written = take(&mut shared.lock().written);
    while let Some(step) = next_step(core, shared, &mut written) {
        let result = match step {
            Step::Block(block) => {
                let result = written.write_block(core, &block);
                wake(shared, block.len());
                result
            }
            Step::Finish(finish) => {
                let name = finish.name();
                let result = written.finish(core, *finish);
                if result.is_ok() {
                    return core.health.works(Failing::Writes);
                }
                core.forget(name);
                result
            }
            Step::Abort => {
                fail(core, shared);
                return written.discard(core);
            }
        };
        if let Err(error) = result {
            if error.kind() != NO_ROOM {
                core.health.write_error(&error);
            }
            fail(core, shared);
            return written.discard(core);
        }
    }
}

/// Notes that the response is not stored. If its end came already, only this removes the file that it would
/// replace.
fn fail(core: &Arc<Core>, shared: &Lock<Shared>) {
    let (waker, end) = {
        let mut all = shared.lock();
        (all.failed, all.running) = (true, false);
        let unwritten: usize = all.blocks.drain(..).map(|block| block.len()).sum();
        core.unwritten.fetch_sub(unwritten, Relaxed);
        (all.waker.take(), all.end.take())
    };
    if let Some(End::Finish(finish)) = end {
        core.forget(finish.name());
    }
    waker.into_iter().for_each(Waker::wake);
}

fn wake(shared: &Lock<Shared>, written: usize) {
    let waker = {
        let mut shared = shared.lock();
        shared.waiting = shared.waiting.saturating_sub(written);
        shared.waker.take()
    };
    waker.into_iter().for_each(Waker::wake);
}
