//! A worker: one thread that serves connections from accept to close, with nothing shared that has a lock.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use portcullis_http::{Fields, Known, http_date};
use portcullis_model::Name;
use portcullis_net::{AcceptSettings, ConnectionCount, Connector, Drain, ListenerState, Tasks, accept_loop};
use portcullis_policy::Exchange;
use portcullis_telemetry::{AccessLogWriter, RouteMetrics};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::connection;
use crate::local::Local;
use crate::outbound::OutboundClient;
use crate::recording::Recordings;
use crate::snapshot::Snapshot;

/// Exchanges that a worker keeps for reuse. A few hundred are as many as are ever in use at the same moment between two
/// waits; more would only hold memory.
const KEEP_MAX: usize = 256;

/// How often a worker closes what was idle for too long and hands on its log lines.
const HOUSEKEEPING: Duration = Duration::from_millis(100);

/// How long what is cut off at the end of a drain has for its completed hooks and its record.
const FAREWELL: Duration = Duration::from_secs(1);

/// What all workers look at.
#[derive(Debug)]
pub(crate) struct Published {
    pub(crate) snapshot: ArcSwap<Snapshot>,
    /// The snapshot's number, for a look that costs no reference count.
    pub(crate) generation: AtomicU64,
    pub(crate) recordings: Recordings,
}

/// What the control side asks of a worker.
#[derive(Debug)]
pub(crate) enum Command {
    /// Serve a listener.
    Listen(Box<Listen>),
    /// Stop serving the one of this id; its connections end with their exchanges.
    Close(u64),
    /// Stop serving all, wait for the connections to end, and end those that are left after that time.
    Drain(Duration),
}

/// A listener for one worker.
#[derive(Debug)]
pub(crate) struct Listen {
    pub(crate) id: u64,
    pub(crate) name: Name,
    pub(crate) socket: std::net::TcpListener,
    pub(crate) state: Arc<ArcSwap<ListenerState>>,
    pub(crate) connections: Arc<ConnectionCount>,
}

/// One worker's own things.
pub(crate) struct Worker {
    /// Its number, from 0.
    pub(crate) index: usize,
    published: Arc<Published>,
    local: RefCell<Rc<Local>>,
    connector: Rc<Connector>,
    #[expect(clippy::vec_box, reason = "the boxes are what is reused")]
    exchanges: RefCell<Vec<Box<Exchange>>>,
    /// A drain has lasted as long as it may: exchanges and tunnels end now. Looked at by whoever waits in a connection's
    /// task, all of which are woken when it turns true.
    cutting_off: Cell<bool>,
    /// The second, and how Date says it.
    date: Cell<(u64, [u8; 29])>,
    pub(crate) access_log: RefCell<AccessLogWriter>,
    /// Counts exchanges that no route took.
    pub(crate) unrouted: Arc<RouteMetrics>,
    /// Reused by whatever needs bytes for a moment.
    pub(crate) scratch: RefCell<Vec<u8>>,
}

impl Worker {
    fn new(index: usize, published: Arc<Published>) -> Self {
        let connector = Rc::new(Connector::new());
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
            cutting_off: Cell::new(false),
            date: Cell::new((0, http_date(0))),
            access_log,
            unrouted,
            scratch: RefCell::default(),
        }
    }

    /// The current generation as this worker has it. An exchange asks once and keeps the answer to its end.
    pub(crate) fn current(&self) -> Rc<Local> {
        let newest = self.published.generation.load(Ordering::Acquire);
        if self.local.borrow().snapshot.generation < newest {
            self.update();
        }
        self.local.borrow().clone()
    }

    /// Whether a drain has lasted as long as it may, so that what is under way ends now.
    pub(crate) fn is_cutting_off(&self) -> bool {
        self.cutting_off.get()
    }

    fn housekeeping(&self) {
        // Also when no exchange asks: what an old generation holds is let go soon after a reload.
        self.current().sweep();
        self.access_log.borrow_mut().tick();
    }

    /// Who asked for exchanges to be recorded.
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

    /// A cleared exchange.
    pub(crate) fn take_exchange(&self) -> Box<Exchange> {
        self.exchanges.borrow_mut().pop().unwrap_or_default()
    }

    /// Takes an exchange back for reuse.
    pub(crate) fn give_back_exchange(&self, exchange: Option<Box<Exchange>>) {
        let mut kept = self.exchanges.borrow_mut();
        if let Some(mut exchange) = exchange
            && kept.len() < KEEP_MAX
        {
            exchange.clear();
            kept.push(exchange);
        }
    }

    /// Adds Date where it is missing: a recipient with a clock must (RFC 9110, 6.6.1), and the gateway's own responses
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
        // A full section goes without: its sender's fault, and no harm.
        let _full = fields.append_checked(Known::Date.name(), &text).is_err();
    }
}

impl std::fmt::Debug for Worker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Worker").finish_non_exhaustive()
    }
}

/// Runs a worker until it has drained, or until `commands` has no sender. Gives how many connections were cut off. Must
/// run in a `LocalSet`.
pub(crate) async fn run(
    index: usize,
    published: Arc<Published>,
    outbound: OutboundClient,
    mut commands: mpsc::Receiver<Command>,
) -> usize {
    let worker = Rc::new(Worker::new(index, published));
    outbound.serve(worker.connector.clone());
    let tasks = Tasks::new();
    let mut listeners: HashMap<u64, Drain> = HashMap::new();
    let mut loops: Vec<JoinHandle<()>> = Vec::new();
    let mut housekeeping = tokio::time::interval(HOUSEKEEPING);
    housekeeping.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let patience = loop {
        tokio::select! {
            command = commands.recv() => match command {
                Some(Command::Listen(listen)) => {
                    let drain = Drain::new();
                    let (id, name) = (listen.id, listen.name.clone());
                    match serve(&worker, &tasks, &drain, *listen) {
                        Ok(accepting) => loops.push(accepting),
                        Err(error) => {
                            tracing::error!(listener = %name, %error, "a worker cannot use the listener's socket");
                        }
                    }
                    loops.retain(|accepting| !accepting.is_finished());
                    listeners.insert(id, drain);
                }
                Some(Command::Close(id)) => {
                    if let Some(drain) = listeners.remove(&id) {
                        drain.start();
                    }
                }
                Some(Command::Drain(patience)) => break patience,
                None => break Duration::ZERO,
            },
            _ = housekeeping.tick() => worker.housekeeping(),
        }
    };
    for drain in listeners.values() {
        drain.start();
    }
    let ended = async {
        // They end by themselves, once they have taken what already waits in their sockets' queues.
        for accepting in loops {
            if accepting.await.is_err() {
                tracing::error!("an accept loop had panicked");
            }
        }
        drain(&worker, &tasks, patience).await
    };
    let mut ended = std::pin::pin!(ended);
    let cut_off = loop {
        tokio::select! {
            cut_off = &mut ended => break cut_off,
            // Records of a long drain are written as exchanges end: the process may be killed before the drain's end.
            _ = housekeeping.tick() => worker.housekeeping(),
        }
    };
    worker.access_log.borrow_mut().flush();
    cut_off
}

/// Waits for the connections to end, ends those that are left after `patience`, and returns how many they were.
async fn drain(worker: &Worker, tasks: &Tasks, patience: Duration) -> usize {
    if tokio::time::timeout(patience, tasks.wait_idle()).await.is_ok() {
        return 0;
    }
    let cut_off = tasks.len();
    worker.cutting_off.set(true);
    tasks.wake_all();
    if tokio::time::timeout(FAREWELL, tasks.wait_idle()).await.is_err() {
        tasks.abort_all();
        tasks.wait_idle().await;
    }
    cut_off
}

fn serve(
    worker: &Rc<Worker>,
    tasks: &Tasks,
    drain: &Drain,
    listen: Listen,
) -> std::io::Result<JoinHandle<()>> {
    let socket = tokio::net::TcpListener::from_std(listen.socket)?;
    let settings = AcceptSettings {
        state: listen.state,
        connections: listen.connections,
        drain: drain.signal(),
        tasks: tasks.clone(),
    };
    let worker = worker.clone();
    // Not among the tasks, which are the connections.
    Ok(tokio::task::spawn_local(accept_loop(socket, settings, move |accepted| {
        connection::serve(worker.clone(), accepted)
    })))
}
