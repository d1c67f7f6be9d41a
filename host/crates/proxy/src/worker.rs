//! The state of one worker: its view of the snapshot, its buffers, its access log. None of it is shared with other
//! threads. The loop that serves connections with it is in `worker_loop.rs`.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use arc_swap::ArcSwap;
use portcullis_compress::Pool;
use portcullis_files::FilePool;
use portcullis_http::{Fields, Known, http_date};
use portcullis_net::{Connector, Tasks};
use portcullis_policy::Exchange;
use portcullis_telemetry::{AccessLogWriter, RouteMetrics};

use crate::decompress::Decoders;
use crate::local::Local;
use crate::recording::Recordings;
use crate::snapshot::Snapshot;

/// Exchanges that a worker keeps for reuse. No more than a few hundred are ever in use between two waits; a larger
/// number would only hold memory.
const KEEP_MAX: usize = 256;

/// What all workers read.
#[derive(Debug)]
pub(crate) struct Published {
    pub(crate) snapshot: ArcSwap<Snapshot>,
    /// The snapshot's number, which can be compared without counting a reference.
    pub(crate) generation: AtomicU64,
    pub(crate) recordings: Recordings,
    /// Reads the files of routes.
    pub(crate) files: FilePool,
}

/// The state of one worker.
pub(crate) struct Worker {
    /// Its number, from 0.
    pub(crate) index: usize,
    published: Arc<Published>,
    local: RefCell<Rc<Local>>,
    pub(crate) connector: Rc<Connector>,
    #[expect(clippy::vec_box, reason = "the boxes are what is reused")]
    exchanges: RefCell<Vec<Box<Exchange>>>,
    /// The drain's timeout has passed: exchanges and tunnels end now. Every task of a connection checks it, and all of
    /// them are woken when it turns true.
    drain_over: Cell<bool>,
    /// The current second, and its text in Date.
    date: Cell<(u64, [u8; 29])>,
    pub(crate) access_log: RefCell<AccessLogWriter>,
    /// Counts exchanges without a route.
    pub(crate) unrouted: Arc<RouteMetrics>,
    /// What goes on for a cache without a client.
    fills: Tasks,
    /// What encodes responses.
    pub(crate) encoders: Pool,
    /// What decodes bodies.
    pub(crate) decoders: Decoders,
    /// A buffer for short use.
    pub(crate) scratch: RefCell<Vec<u8>>,
}

impl Worker {
    /// Returns worker number `index`, which connects to endpoints with `connector`.
    pub(crate) fn new(index: usize, published: Arc<Published>, connector: Rc<Connector>) -> Self {
        let snapshot = published.snapshot.load_full();
        let access_log = RefCell::new(snapshot.access_log.worker());
        let unrouted = snapshot.metrics.unrouted();
        let local = RefCell::new(Rc::new(Local::new(snapshot, &connector, None)));
        Self {
            index,
            published,
            local,
            connector,
            exchanges: RefCell::default(),
            drain_over: Cell::new(false),
            date: Cell::new((0, http_date(0))),
            access_log,
            unrouted,
            fills: Tasks::new(),
            encoders: Pool::default(),
            decoders: Decoders::default(),
            scratch: RefCell::default(),
        }
    }

    /// Returns the current generation as this worker has it. An exchange calls this once and keeps the result to its
    /// end.
    pub(crate) fn current(&self) -> Rc<Local> {
        let newest = self.published.generation.load(Ordering::Acquire);
        if self.local.borrow().snapshot.generation < newest {
            self.update();
        }
        self.local.borrow().clone()
    }

    /// Returns whether the drain's timeout has passed, so that open exchanges end now.
    pub(crate) fn is_drain_over(&self) -> bool {
        self.drain_over.get()
    }

    /// Ends open exchanges and tunnels, once the tasks of the connections are woken.
    pub(crate) fn end_drain(&self) {
        self.drain_over.set(true);
    }

    /// Closes connections that were idle for too long and hands over log lines.
    pub(crate) fn housekeeping(&self) {
        // Also without any exchange, what an old generation holds is released soon after a reload.
        self.current().sweep();
        self.access_log.borrow_mut().tick();
    }

    /// Returns what reads the files of routes.
    pub(crate) fn files(&self) -> &FilePool {
        &self.published.files
    }

    /// Returns the recordings that operators have started.
    pub(crate) fn recordings(&self) -> &Recordings {
        &self.published.recordings
    }

    #[cold]
    fn update(&self) {
        let snapshot = self.published.snapshot.load_full();
        let old = self.local.borrow().clone();
        if !snapshot.access_log.is_same(&old.snapshot.access_log) {
            *self.access_log.borrow_mut() = snapshot.access_log.worker();
        }
        let new = Rc::new(Local::new(snapshot, &self.connector, Some(&old)));
        old.retire(&new);
        *self.local.borrow_mut() = new;
    }

    /// The responses that are taken into a cache or renewed there, each as a task. They end with the worker.
    pub(crate) fn fills(&self) -> &Tasks {
        &self.fills
    }

    /// Returns a cleared exchange.
    pub(crate) fn take_exchange(&self) -> Box<Exchange> {
        self.exchanges.borrow_mut().pop().unwrap_or_default()
    }

    /// Takes an exchange back for reuse.
    pub(crate) fn release_exchange(&self, exchange: Option<Box<Exchange>>) {
        let mut kept = self.exchanges.borrow_mut();
        if let Some(mut exchange) = exchange
            && kept.len() < KEEP_MAX
        {
            exchange.clear();
            kept.push(exchange);
        }
    }

    /// Adds Date if it is missing: a recipient with a clock must (RFC 9110, 6.6.1), and the gateway's own responses
    /// need one as well.
    pub(crate) fn add_date(&self, fields: &mut Fields) {
        if fields.get_known(Known::Date).is_some() {
            return;
        }
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let (second, mut text) = self.date.get();
        if second != now {
            text = http_date(now);
            self.date.set((now, text));
        }
        // A full section goes without Date, which harms only its sender.
        let _full = fields.append_checked(Known::Date.name(), &text).is_err();
    }
}

impl std::fmt::Debug for Worker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Worker").finish_non_exhaustive()
    }
}
