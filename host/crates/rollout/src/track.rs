//! What a shadow does with one exchange: the hooks that wait for it, and what it keeps between them.

use std::collections::VecDeque;

use portcullis_policy::{BodySide, Exchange, Hook, PolicySlot};
use portcullis_traffic::Permit;

use crate::compare::Decided;
use crate::stream::Stream;

/// Bytes of bodies that wait for a shadow in one exchange. They are not copied, but kept from being freed. No
/// exchange waits for its shadow; one that does not keep up sees no more of the exchange.
const WAITING_BYTES_MAX: usize = 1 << 20;
/// Hooks that wait for it there, each with copies of the heads.
const WAITING_MAX: usize = 32;

/// What the shadow does with one exchange.
pub(crate) struct Track {
    /// What the shadow keeps from hook to hook, apart from what the active version does.
    slot: PolicySlot,
    waiting: VecDeque<Job>,
    waiting_bytes: usize,
    /// The bodies of request and response.
    streams: [Stream; 2],
    /// Whether its hooks are being run.
    running: bool,
    /// Held until the shadow has done with the exchange: it has run its last hook, it has decided otherwise, so that
    /// the two go different ways from here on, or it has failed.
    permit: Option<Permit>,
    faulted: bool,
}

/// A hook that the shadow has to run. Of a body it has what is new in the piece.
pub(crate) struct Job {
    pub(crate) hook: Hook,
    /// The exchange as the active version was given it.
    pub(crate) before: Box<Exchange>,
    pub(crate) decided: Decided,
    /// The exchange as the active version left it.
    pub(crate) after: Box<Exchange>,
}

impl Track {
    /// Returns a track that has seen nothing yet. The permit is for being with the exchange.
    pub(crate) fn new(permit: Permit) -> Self {
        Self {
            slot: PolicySlot::default(),
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            streams: Default::default(),
            running: false,
            permit: Some(permit),
            faulted: false,
        }
    }

    /// Returns whether the shadow has done with the exchange.
    pub(crate) fn is_over(&self) -> bool {
        self.permit.is_none()
    }

    /// Ends what the shadow does with the exchange.
    pub(crate) fn end(&mut self) {
        self.waiting.clear();
        self.waiting_bytes = 0;
        // What it holds back, and an instance that it may hold, are of no more use.
        self.streams = Default::default();
        self.slot = PolicySlot::default();
        self.permit = None;
    }

    /// Adds a hook. Returns `false`, and ends the track, if too much waits already.
    pub(crate) fn add(&mut self, job: Job) -> bool {
        let bytes = self.waiting_bytes + bytes(&job.hook);
        if bytes > WAITING_BYTES_MAX || self.waiting.len() >= WAITING_MAX {
            self.end();
            return false;
        }
        self.waiting_bytes = bytes;
        self.waiting.push_back(job);
        true
    }

    /// Returns whether its hooks were not being run; from now on they are.
    pub(crate) fn start(&mut self) -> bool {
        !std::mem::replace(&mut self.running, true)
    }

    /// Returns the next hook to run and what the shadow has kept for it, or `None` if no hook waits: then they are no
    /// longer being run.
    pub(crate) fn next(&mut self) -> Option<(Job, PolicySlot)> {
        let Some(job) = self.waiting.pop_front() else {
            self.running = false;
            return None;
        };
        self.waiting_bytes = self.waiting_bytes.saturating_sub(bytes(&job.hook));
        Some((job, std::mem::take(&mut self.slot)))
    }

    /// Keeps what the shadow keeps until its next hook.
    pub(crate) fn keep(&mut self, slot: PolicySlot) {
        self.slot = slot;
    }

    /// Notes that the shadow has failed. Returns whether it is the first time in this exchange.
    pub(crate) fn fail(&mut self) -> bool {
        !std::mem::replace(&mut self.faulted, true)
    }

    /// Returns one of the two bodies.
    pub(crate) fn stream(&mut self, side: BodySide) -> &mut Stream {
        &mut self.streams[side as usize]
    }
}

fn bytes(hook: &Hook) -> usize {
    hook.piece().map_or(0, |(_, chunk, _)| chunk.len())
}
