//! All workers, as the control side sees them: start, apply a generation, drain.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwap;
use portcullis_model::Name;
use portcullis_net::{BindError, ConnectionCount, ListenerState, bind};
use tokio::sync::{mpsc, oneshot};

use crate::outbound::OutboundClient;
use crate::recording::Recordings;
use crate::snapshot::Snapshot;
use crate::worker::{self, Command, Listen, Published};

/// Commands that wait for a worker. A reload sends one for each listener that it changes.
const COMMANDS_MAX: usize = 1024;

/// The threads that serve traffic. Dropping it without [`Workers::drain`] cuts all connections off.
#[derive(Debug)]
pub struct Workers {
    published: Arc<Published>,
    threads: Vec<Thread>,
    listeners: Mutex<BTreeMap<Name, Bound>>,
}

#[derive(Debug)]
struct Thread {
    commands: mpsc::Sender<Command>,
    ended: oneshot::Receiver<usize>,
    handle: JoinHandle<()>,
}

/// A listener whose sockets are open.
#[derive(Debug)]
struct Bound {
    /// As configured.
    wanted: SocketAddr,
    /// With the port that port 0 became.
    actual: SocketAddr,
    state: Arc<ArcSwap<ListenerState>>,
    connections: Arc<ConnectionCount>,
}

/// Why workers could not start, or could not take a generation.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A thread could not be had.
    #[error("cannot start a worker thread: {0}")]
    Thread(std::io::Error),
    /// An address could not be listened on.
    #[error("listener `{listener}`: {reason}")]
    Bind {
        /// The listener.
        listener: Name,
        /// Why.
        reason: BindError,
    },
    /// A worker does not take commands any more.
    #[error("a worker has stopped")]
    Stopped,
}

/// A listener that is open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listening {
    /// Its name.
    pub name: Name,
    /// Where it listens, with the port that port 0 became.
    pub address: SocketAddr,
    /// Whether it speaks TLS.
    pub tls: bool,
    /// Connections that are open.
    pub connections: u32,
}

/// How a drain went.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DrainReport {
    /// Connections that were still open at the deadline, and were cut off.
    pub cut_off: usize,
}

impl Workers {
    /// Starts `count` workers on `snapshot`, with its listeners open. They carry out what `outbound` is asked to send.
    ///
    /// # Errors
    /// When a thread cannot be had or an address cannot be listened on; nothing runs then.
    pub fn start(count: usize, snapshot: Snapshot, outbound: &OutboundClient) -> Result<Self, StartError> {
        let published = Arc::new(Published {
            generation: AtomicU64::new(snapshot.generation),
            snapshot: ArcSwap::from_pointee(snapshot),
            recordings: Recordings::default(),
        });
        let threads = (0..count.max(1))
            .map(|at| Thread::start(at, published.clone(), outbound.clone()).map_err(StartError::Thread));
        let threads = threads.collect::<Result<Vec<_>, _>>()?;
        let workers = Self { published, threads, listeners: Mutex::default() };
        let opened = workers.open(&workers.snapshot())?;
        workers.listen(opened)?;
        Ok(workers)
    }

    /// Where exchanges can be asked for to be recorded.
    #[must_use]
    pub fn recordings(&self) -> Recordings {
        self.published.recordings.clone()
    }

    /// Makes `snapshot` the current generation. New listeners are opened first, so that a failure leaves everything as it
    /// was; exchanges that are under way end on the generation they began on; listeners that are gone stop accepting, and
    /// their connections end with their exchanges.
    ///
    /// # Errors
    /// When an address cannot be listened on; the old generation goes on then.
    pub fn apply(&self, snapshot: Snapshot) -> Result<(), StartError> {
        let opened = self.open(&snapshot)?;
        let kept: Vec<(Name, Arc<ListenerState>)> =
            snapshot.listeners.iter().map(|(name, state)| (name.clone(), state.clone())).collect();
        let generation = snapshot.generation;
        self.published.snapshot.store(Arc::new(snapshot));
        self.published.generation.store(generation, Ordering::Release);

        let mut gone = Vec::new();
        {
            let mut listeners = self.lock();
            listeners.retain(|name, bound| {
                let stays = kept
                    .iter()
                    .find(|(kept, state)| kept == name && state.listener().address == bound.wanted);
                match stays {
                    Some((_, state)) => bound.state.store(state.clone()),
                    None => gone.push(name.clone()),
                }
                stays.is_some()
            });
        }
        for name in gone {
            self.send(|_| Command::Close(name.clone()))?;
        }
        self.listen(opened)
    }

    /// Where the gateway listens, by name.
    #[must_use]
    pub fn listening(&self) -> Vec<Listening> {
        let listeners = self.lock();
        let listening = listeners.iter().map(|(name, bound)| Listening {
            name: name.clone(),
            address: bound.actual,
            tls: bound.state.load().tls().is_some(),
            connections: bound.connections.open(),
        });
        listening.collect()
    }

    /// The current generation.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.published.snapshot.load_full()
    }

    /// Stops accepting, lets exchanges and tunnels end, and cuts off what is left after `patience`. Dropping the future
    /// leaves the workers to end by themselves.
    pub async fn drain(self, patience: Duration) -> DrainReport {
        let mut report = DrainReport::default();
        for thread in &self.threads {
            // One that has stopped has nothing left to drain.
            let _stopped = thread.commands.try_send(Command::Drain(patience)).is_err();
        }
        for thread in self.threads {
            report.cut_off += thread.ended.await.unwrap_or(0);
            if thread.handle.join().is_err() {
                tracing::error!("a worker thread had panicked");
            }
        }
        report
    }

    /// Opens the sockets of listeners that are new or have moved.
    fn open(&self, snapshot: &Snapshot) -> Result<Vec<Opened>, StartError> {
        let bound = self.lock();
        let mut opened = Vec::new();
        for (name, state) in &snapshot.listeners {
            let address = state.listener().address;
            if bound.get(name).is_some_and(|bound| bound.wanted == address) {
                continue;
            }
            let sockets = bind(address, self.threads.len())
                .map_err(|reason| StartError::Bind { listener: name.clone(), reason })?;
            if let Some(actual) = sockets.first().and_then(|socket| socket.local_addr().ok()) {
                state.listens_on(actual.port());
            }
            opened.push(Opened { name: name.clone(), wanted: address, sockets, state: state.clone() });
        }
        Ok(opened)
    }

    /// Hands opened sockets to the workers.
    fn listen(&self, opened: Vec<Opened>) -> Result<(), StartError> {
        for Opened { name, wanted, sockets, state } in opened {
            let state = Arc::new(ArcSwap::new(state));
            let connections = ConnectionCount::new();
            let actual = sockets.first().and_then(|socket| socket.local_addr().ok()).unwrap_or(wanted);
            let mut sockets = sockets.into_iter();
            for thread in &self.threads {
                let Some(socket) = sockets.next() else { break };
                let listen = Listen {
                    name: name.clone(),
                    socket,
                    state: state.clone(),
                    connections: connections.clone(),
                };
                let sent = thread.commands.try_send(Command::Listen(Box::new(listen)));
                sent.map_err(|_| StartError::Stopped)?;
            }
            self.lock().insert(name, Bound { wanted, actual, state, connections });
        }
        Ok(())
    }

    fn send(&self, command: impl Fn(usize) -> Command) -> Result<(), StartError> {
        for (at, thread) in self.threads.iter().enumerate() {
            thread.commands.try_send(command(at)).map_err(|_| StartError::Stopped)?;
        }
        Ok(())
    }

    // What is in it is whole at every moment, so a panic elsewhere does not spoil it.
    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<Name, Bound>> {
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Opened {
    name: Name,
    wanted: SocketAddr,
    sockets: Vec<std::net::TcpListener>,
    state: Arc<ListenerState>,
}

impl Thread {
    fn start(at: usize, published: Arc<Published>, outbound: OutboundClient) -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (commands, received) = mpsc::channel(COMMANDS_MAX);
        let (ending, ended) = oneshot::channel();
        let handle = std::thread::Builder::new().name(format!("worker-{at}")).spawn(move || {
            let local = tokio::task::LocalSet::new();
            let cut_off = local.block_on(&runtime, worker::run(at, published, outbound, received));
            // Nobody may be waiting for the count.
            let _unheard = ending.send(cut_off).is_err();
        })?;
        Ok(Self { commands, ended, handle })
    }
}
