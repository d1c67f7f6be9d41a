//! All workers, as the control side sees them: start, apply a generation, drain.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwap;
use portcullis_files::FilePool;
use portcullis_model::{Lock, Name};
use portcullis_net::{BindError, ConnectionCount, ListenerState, bind, bind_beside, overlap};
use portcullis_traffic::{Edit, EditError};
use tokio::sync::{mpsc, oneshot};

use crate::outbound::OutboundClient;
use crate::recording::Recordings;
use crate::snapshot::Snapshot;
use crate::upkeep::Upkeep;
use crate::worker::Published;
use crate::worker_loop::{self, Command, Listen};

/// Commands that wait for a worker. A reload sends one for each listener that it changes.
const COMMANDS_MAX: usize = 1024;

/// The threads that serve traffic. Dropping it without [`Workers::drain`] cuts all connections off.
#[derive(Debug)]
pub struct Workers {
    published: Arc<Published>,
    threads: Vec<Thread>,
    listeners: Lock<BTreeMap<Name, Bound>>,
    listeners_opened: AtomicU64,
    /// Looks after upstreams, once one needs it.
    upkeep: Lock<Option<Upkeep>>,
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
    /// The id that workers know it by, because its name may change.
    id: u64,
    /// As configured.
    wanted: SocketAddr,
    /// With the real port in place of port 0.
    actual: SocketAddr,
    state: Arc<ArcSwap<ListenerState>>,
    connections: Arc<ConnectionCount>,
}

/// Why workers could not start, or could not take a generation.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A thread could not be started.
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
    /// A worker takes no more commands.
    #[error("a worker has stopped")]
    Stopped,
}

/// A listener that is open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listening {
    /// Its name.
    pub name: Name,
    /// Its address, with the real port in place of port 0.
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
    /// If a thread cannot be started or an address cannot be listened on. Nothing runs then.
    pub fn start(count: usize, snapshot: Snapshot, outbound: &OutboundClient) -> Result<Self, StartError> {
        let server = &snapshot.gateway.server;
        let published = Arc::new(Published {
            files: FilePool::new(server.file_reads_max as usize, server.open_files_max),
            generation: AtomicU64::new(snapshot.generation),
            snapshot: ArcSwap::from_pointee(snapshot),
            recordings: Recordings::default(),
        });
        let threads = (0..count.max(1))
            .map(|at| Thread::start(at, published.clone(), outbound.clone()).map_err(StartError::Thread));
        let threads = threads.collect::<Result<Vec<_>, _>>()?;
        let workers = Self {
            published,
            threads,
            listeners: Lock::default(),
            listeners_opened: AtomicU64::new(0),
            upkeep: Lock::default(),
        };
        workers.put_into_effect(None)?;
        Ok(workers)
    }

    /// Returns the recordings, which can be started there.
    #[must_use]
    pub fn recordings(&self) -> Recordings {
        self.published.recordings.clone()
    }

    /// Makes `snapshot` the current generation. New listeners are opened first, so that a failure leaves everything as
    /// it was. Running exchanges end on the generation on which they began. Removed listeners stop accepting, and their
    /// connections end with their exchanges.
    ///
    /// Sockets are matched by address: a listener with a new name, or two that swap their addresses, keep their sockets
    /// with the connections that wait in their queues.
    ///
    /// # Errors
    /// If an address cannot be listened on, or a worker takes no commands. The old generation then continues.
    pub fn apply(&self, snapshot: Snapshot) -> Result<(), StartError> {
        self.put_into_effect(Some(snapshot))
    }

    /// Opens and closes the listeners as `snapshot` says, and publishes it. `None` stands for the first snapshot, which
    /// is published already.
    fn put_into_effect(&self, snapshot: Option<Snapshot>) -> Result<(), StartError> {
        let wanted: Vec<(Name, Arc<ListenerState>)> = {
            let current = self.snapshot();
            let listeners = snapshot.as_ref().map_or(&current.listeners, |snapshot| &snapshot.listeners);
            listeners.iter().map(|(name, state)| (name.clone(), state.clone())).collect()
        };
        let needs_upkeep =
            snapshot.as_ref().map_or_else(|| self.snapshot().needs_upkeep(), Snapshot::needs_upkeep);
        let mut upkeep = self.upkeep.lock();
        if needs_upkeep && upkeep.is_none() {
            *upkeep = Some(Upkeep::start(self.published.clone()).map_err(StartError::Thread)?);
        }
        let mut bound = self.lock();
        let plan = plan(&wanted, &bound, self.threads.len())?;
        let opened = plan.iter().filter(|planned| matches!(planned.sockets, Sockets::Opened(_))).count();
        let closed = bound.len() - (plan.len() - opened);
        // Everything that can fail is done before anything takes effect.
        let places: Result<Vec<_>, _> =
            self.threads.iter().map(|thread| thread.commands.try_reserve_many(opened + closed)).collect();
        let mut places = places.map_err(|_| StartError::Stopped)?;

        if let Some(snapshot) = snapshot {
            let generation = snapshot.generation;
            snapshot.begin();
            self.published.snapshot.store(Arc::new(snapshot));
            self.published.generation.store(generation, Ordering::Release);
        }
        if let Some(upkeep) = &*upkeep {
            upkeep.look();
        }
        let mut send = |command: &mut dyn FnMut() -> Option<Command>| {
            for of_worker in &mut places {
                if let (Some(command), Some(place)) = (command(), of_worker.next()) {
                    place.send(command);
                }
            }
        };
        let mut before = std::mem::take(&mut *bound);
        for Planned { name, state, sockets } in plan {
            let sockets = match sockets {
                Sockets::Kept(old) => {
                    if let Some(mut kept) = before.remove(&old) {
                        kept.wanted = state.listener().address;
                        state.listens_on(kept.actual.port());
                        kept.state.store(state);
                        bound.insert(name, kept);
                    }
                    continue;
                }
                Sockets::Opened(sockets) => sockets,
            };
            let wanted = state.listener().address;
            let actual = sockets.first().and_then(|socket| socket.local_addr().ok()).unwrap_or(wanted);
            let id = self.listeners_opened.fetch_add(1, Ordering::Relaxed);
            let (state, connections) = (Arc::new(ArcSwap::new(state)), ConnectionCount::new());
            let mut sockets = sockets.into_iter();
            send(&mut || {
                let (name, state, connections) = (name.clone(), state.clone(), connections.clone());
                Some(Command::Listen(Box::new(Listen {
                    id,
                    name,
                    socket: sockets.next()?,
                    state,
                    connections,
                })))
            });
            bound.insert(name, Bound { id, wanted, actual, state, connections });
        }
        // Last, so that a listener that replaces another is open before the other closes.
        for gone in before.values() {
            send(&mut || Some(Command::Close(gone.id)));
        }
        Ok(())
    }

    /// Returns the open listeners.
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

    /// Returns the current generation.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.published.snapshot.load_full()
    }

    /// Changes an endpoint of an upstream of the current generation. Exchanges that choose one from now on heed it. The
    /// change holds until it is undone or the process ends, for as long as the upstream and the endpoint are in the
    /// configuration. Returns `None` if there is no upstream of that name.
    #[must_use]
    pub fn edit_endpoint(&self, upstream: &str, address: &Name, edit: Edit) -> Option<Result<(), EditError>> {
        let edited = self.snapshot().edit_endpoint(upstream, address, edit);
        if let Some(upkeep) = &*self.upkeep.lock() {
            upkeep.look();
        }
        edited
    }

    /// Stops accepting, lets exchanges and tunnels end, and cuts off those that are left after `timeout`. If the future
    /// is dropped, the workers end by themselves.
    pub async fn drain(self, timeout: Duration) -> DrainReport {
        let mut report = DrainReport::default();
        // Before the addresses: a successor that can listen can also have the folders.
        self.snapshot().hand_over_caches();
        for thread in &self.threads {
            // A worker that has stopped has nothing left to drain.
            let _stopped = thread.commands.try_send(Command::Drain(timeout)).is_err();
        }
        for thread in self.threads {
            report.cut_off += thread.ended.await.unwrap_or(0);
            if thread.handle.join().is_err() {
                tracing::error!("a worker thread had panicked");
            }
        }
        report
    }

    // Its content is valid at every moment, so a panic elsewhere does not spoil it.
    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<Name, Bound>> {
        self.listeners.lock()
    }
}

/// What happens to a listener.
struct Planned {
    name: Name,
    state: Arc<ListenerState>,
    sockets: Sockets,
}

/// The source of its sockets.
enum Sockets {
    /// Those of the listener that had this name.
    Kept(Name),
    /// New ones, one for each worker.
    Opened(Vec<std::net::TcpListener>),
}

/// Finds the sockets of each listener in `wanted`, and opens the missing ones: `count` for each.
fn plan(
    wanted: &[(Name, Arc<ListenerState>)],
    bound: &BTreeMap<Name, Bound>,
    count: usize,
) -> Result<Vec<Planned>, StartError> {
    // A listener that took a free port may later be configured with that port.
    let is_at = |bound: &Bound, address| bound.wanted == address || bound.actual == address;
    let fits = |name: &Name, state: &ListenerState| {
        bound.get(name).is_some_and(|bound| is_at(bound, state.listener().address))
    };
    // By name first: if two want any free port, each keeps its own.
    let mut free: BTreeMap<&Name, &Bound> = bound.iter().collect();
    free.retain(|name, _| !wanted.iter().any(|(wanted, state)| wanted == *name && fits(name, state)));
    let mut moved: Vec<(&Name, &Arc<ListenerState>)> = Vec::new();
    let mut plan = Vec::new();
    for (name, state) in wanted {
        let address = state.listener().address;
        let kept = match fits(name, state) {
            true => Some(name.clone()),
            false => {
                let other = free.iter().find(|(_, bound)| is_at(bound, address));
                other.map(|(old, _)| Name::clone(old))
            }
        };
        match kept {
            Some(old) => {
                free.remove(&old);
                plan.push(Planned { name: name.clone(), state: state.clone(), sockets: Sockets::Kept(old) });
            }
            None => moved.push((name, state)),
        }
    }
    for (name, state) in moved {
        let address = state.listener().address;
        // A listener that is in the way closes once this one is open.
        let takes_over = free.values().any(|bound| overlap(bound.actual, address));
        let sockets = if takes_over { bind_beside(address, count) } else { bind(address, count) };
        let sockets = sockets.map_err(|reason| StartError::Bind { listener: name.clone(), reason })?;
        if let Some(actual) = sockets.first().and_then(|socket| socket.local_addr().ok()) {
            state.listens_on(actual.port());
        }
        plan.push(Planned { name: name.clone(), state: state.clone(), sockets: Sockets::Opened(sockets) });
    }
    Ok(plan)
}

impl Thread {
    fn start(at: usize, published: Arc<Published>, outbound: OutboundClient) -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (commands, received) = mpsc::channel(COMMANDS_MAX);
        let (ending, ended) = oneshot::channel();
        let handle = std::thread::Builder::new().name(format!("worker-{at}")).spawn(move || {
            let local = tokio::task::LocalSet::new();
            let cut_off = local.block_on(&runtime, worker_loop::run(at, published, outbound, received));
            // The receiver may be gone.
            let _unheard = ending.send(cut_off).is_err();
        })?;
        Ok(Self { commands, ended, handle })
    }
}
