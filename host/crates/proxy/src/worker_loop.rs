//! A worker's loop: one thread that serves connections from accept to close, and shares nothing that has a lock.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use portcullis_model::Name;
use portcullis_net::{AcceptSettings, ConnectionCount, Connector, Drain, ListenerState, Tasks, accept_loop};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::outbound::OutboundClient;
use crate::serve_connection::serve_connection;
use crate::worker::{Published, Worker};

/// How often a worker closes connections that were idle for too long and hands over its log lines.
const HOUSEKEEPING: Duration = Duration::from_millis(100);

/// How long exchanges that a drain cuts off have for their completed hooks and their records.
const CUT_OFF_GRACE: Duration = Duration::from_secs(1);

/// What the control side asks of a worker.
#[derive(Debug)]
pub(crate) enum Command {
    /// Serve a listener.
    Listen(Box<Listen>),
    /// Stop serving the listener with this id. Its connections end with their exchanges.
    Close(u64),
    /// Stop serving all, wait for the connections to end, and end those that are left after this time.
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

/// Runs a worker until it has drained, or until all senders of `commands` are dropped. Returns how many connections
/// were cut off. Must run in a `LocalSet`.
pub(crate) async fn run(
    index: usize,
    published: Arc<Published>,
    outbound: OutboundClient,
    mut commands: mpsc::Receiver<Command>,
) -> usize {
    let worker = Rc::new(Worker::new(index, published, Rc::new(Connector::new())));
    outbound.serve(worker.connector.clone());
    let tasks = Tasks::new();
    let mut listeners: HashMap<u64, Drain> = HashMap::new();
    let mut loops: Vec<JoinHandle<()>> = Vec::new();
    let mut housekeeping = tokio::time::interval(HOUSEKEEPING);
    housekeeping.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let timeout = loop {
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
                Some(Command::Drain(timeout)) => break timeout,
                None => break Duration::ZERO,
            },
            _ = housekeeping.tick() => worker.housekeeping(),
        }
    };
    for drain in listeners.values() {
        drain.start();
    }
    let ended = async {
        // They end by themselves, once they have accepted what waits in their sockets' queues.
        for accepting in loops {
            if accepting.await.is_err() {
                tracing::error!("an accept loop had panicked");
            }
        }
        drain(&worker, &tasks, timeout).await
    };
    let mut ended = std::pin::pin!(ended);
    let cut_off = loop {
        tokio::select! {
            cut_off = &mut ended => break cut_off,
            // Records of a long drain are written as exchanges end, because the process may be killed before the
            // drain's end.
            _ = housekeeping.tick() => worker.housekeeping(),
        }
    };
    // No client is left that reads them.
    worker.fills().abort_all();
    worker.fills().wait_idle().await;
    worker.access_log.borrow_mut().flush();
    cut_off
}

/// Waits for the connections to end, ends those that are left after `timeout`, and returns how many they were.
async fn drain(worker: &Worker, tasks: &Tasks, timeout: Duration) -> usize {
    if tokio::time::timeout(timeout, tasks.wait_idle()).await.is_ok() {
        return 0;
    }
    let cut_off = tasks.len();
    worker.end_drain();
    tasks.wake_all();
    if tokio::time::timeout(CUT_OFF_GRACE, tasks.wait_idle()).await.is_err() {
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
    // Not one of `tasks`, which are the connections.
    Ok(tokio::task::spawn_local(accept_loop(socket, settings, move |accepted| {
        serve_connection(worker.clone(), accepted)
    })))
}
