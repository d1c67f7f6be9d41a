//! All workers, as the control side sees them: start, apply a generation, drain.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwap;
use portcullis_model::{Lock, Name};
use portcullis_net::{BindError, ConnectionCount, ListenerState, bind, bind_beside, overlap};
use tokio::sync::{mpsc, oneshot};

use crate::outbound::OutboundClient;
use crate::recording::Recordings;
use crate::snapshot::Snapshot;
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
    /// What workers know it by: its name may change.
    id: u64,
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
        let workers =
            Self { published, threads, listeners: Lock::default(), listeners_opened: AtomicU64::new(0) };
        workers.put_into_effect(None)?;
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
    /// Sockets go by their address: a listener that has another name than before, or two that swap their addresses, keep
    /// them with what waits in their queues.
    ///
    /// # Errors
    /// When an address cannot be listened on, or a worker takes no commands; the old generation goes on then.
    pub fn apply(&self, snapshot: Snapshot) -> Result<(), StartError> {
        self.put_into_effect(Some(snapshot))
    }

    /// Carries out what `snapshot` says of listeners, and publishes it; without one it is the first, which is published.
    fn put_into_effect(&self, snapshot: Option<Snapshot>) -> Result<(), StartError> {
        let wanted: Vec<(Name, Arc<ListenerState>)> = {
            let current = self.snapshot();
            let listeners = snapshot.as_ref().map_or(&current.listeners, |snapshot| &snapshot.listeners);
            listeners.iter().map(|(name, state)| (name.clone(), state.clone())).collect()
        };
        let mut bound = self.lock();
        let plan = plan(&wanted, &bound, self.threads.len())?;
        let opened = plan.iter().filter(|planned| matches!(planned.sockets, Sockets::Opened(_))).count();
        let closed = bound.len() - (plan.len() - opened);
        // All that can fail comes before anything is in effect.
        let places: Result<Vec<_>, _> =
            self.threads.iter().map(|thread| thread.commands.try_reserve_many(opened + closed)).collect();
        let mut places = places.map_err(|_| StartError::Stopped)?;

        if let Some(snapshot) = snapshot {
            let generation = snapshot.generation;
            self.published.snapshot.store(Arc::new(snapshot));
            self.published.generation.store(generation, Ordering::Release);
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
        // Last, so that one that takes the place of another is there before the other is gone.
        for gone in before.values() {
            send(&mut || Some(Command::Close(gone.id)));
        }
        Ok(())
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

    // What is in it is whole at every moment, so a panic elsewhere does not spoil it.
    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<Name, Bound>> {
        self.listeners.lock()
    }
}

/// What becomes of a listener.
struct Planned {
    name: Name,
    state: Arc<ListenerState>,
    sockets: Sockets,
}

/// Where its sockets come from.
enum Sockets {
    /// They are those of the listener that had this name.
    Kept(Name),
    /// They are new, one for each worker.
    Opened(Vec<std::net::TcpListener>),
}

/// Finds the sockets of each listener in `wanted`, and opens those that are not there: `count` of each.
fn plan(
    wanted: &[(Name, Arc<ListenerState>)],
    bound: &BTreeMap<Name, Bound>,
    count: usize,
) -> Result<Vec<Planned>, StartError> {
    // One that took a free port may be named by that port later.
    let is_at = |bound: &Bound, address| bound.wanted == address || bound.actual == address;
    let fits = |name: &Name, state: &ListenerState| {
        bound.get(name).is_some_and(|bound| is_at(bound, state.listener().address))
    };
    // By name first: of two that want any free port, each keeps its own.
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
        // What is in the way goes when this one is there.
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
            // Nobody may be waiting for the count.
            let _unheard = ending.send(cut_off).is_err();
        })?;
        Ok(Self { commands, ended, handle })
    }
}
