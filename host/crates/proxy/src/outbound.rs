//! Requests that policies send by themselves, over the workers' connections.
//!
//! A policy's hook waits on a fiber, in a future that may move between threads; connections belong to a worker's
//! thread. So a call is given to a task on the worker that made it, and the hook waits for a message. Calls of
//! `on-tick`, which has a thread of its own, are spread over the workers.

mod tls;

#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::collections::HashMap;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use portcullis_http::{ResponseHead, strip_response_hop_by_hop};
use portcullis_model::{FieldCase, HttpGrant, Lock};
use portcullis_net::{ConnectError, ConnectErrorKind, Connector, SystemRoots, TlsClientError};
use portcullis_policy::outbound::{Outbound, OutboundError, OutboundRequest, OutboundResponse, Outgoing};
use portcullis_traffic::{Permit, Permits};
use tokio::sync::{mpsc, oneshot};

use self::tls::{Contexts, Trusted};
use crate::addresses::Addresses;
use crate::body::{Body, BodyError, Frame};
use crate::call::{Call, CallError, CallEvent};
use crate::h1::{ClientCall, ClientConnection};
use crate::pool::Pool;

/// Servers whose connections a worker keeps.
const SERVERS_MAX: usize = 64;
/// Idle connections that a worker keeps to one server: as many as to an endpoint of an upstream. With fewer, a
/// policy that sends requests often would open connections all the time.
const IDLE_MAX: usize = 64;
/// How long a connection stays idle.
const IDLE_FOR: Duration = Duration::from_secs(30);
/// How often connections that were idle for too long are closed.
const SWEEP: Duration = Duration::from_secs(5);
/// Bytes of a response's head.
const HEAD_BYTES_MAX: usize = 64 << 10;

/// Sends requests of policies. One for the process; [`Workers::start`](crate::Workers::start) gives it threads.
#[derive(Debug, Clone)]
pub struct OutboundClient(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    workers: Lock<Vec<Jobs>>,
    turn: AtomicUsize,
    tls: Contexts,
    /// Calls that are outstanding.
    calls: Permits,
}

/// The queue of a worker. It has room for every call that may be outstanding.
type Jobs = mpsc::Sender<Job>;

/// A call, and the sender of its answer.
#[derive(Debug)]
struct Job {
    request: OutboundRequest,
    permit: Permit,
    answer: oneshot::Sender<Result<OutboundResponse, OutboundError>>,
}

thread_local! {
    /// The queue of this thread, if it is a worker.
    static HERE: RefCell<Option<(Arc<Shared>, Jobs)>> = const { RefCell::new(None) };
}

impl OutboundClient {
    /// A client without threads. At most `calls_max` calls (at least one) are outstanding at once, over all threads.
    #[must_use]
    pub fn new(calls_max: u32) -> Self {
        Self(Arc::new(Shared {
            workers: Lock::default(),
            turn: AtomicUsize::new(0),
            tls: Contexts::default(),
            calls: Permits::new(calls_max.max(1)),
        }))
    }

    /// Checks that policies can still reach servers that the machine's authorities judge, if `system` are those
    /// from now on.
    ///
    /// # Errors
    /// If policies have reached such servers, and the machine has no authorities any more.
    pub fn check(&self, system: &SystemRoots) -> Result<(), TlsClientError> {
        if self.0.tls.uses_system() { system.check() } else { Ok(()) }
    }

    /// Trusts `system` as the machine's authorities from now on. Returns whether that differs from before, if
    /// policies have sent requests that needed them.
    pub fn trust(&self, system: Arc<SystemRoots>) -> bool {
        self.0.tls.trust(system)
    }

    /// Makes this thread send requests, for as long as its `LocalSet` runs.
    pub(crate) fn serve(&self, connector: Rc<Connector>) {
        let (sender, jobs) = mpsc::channel(self.0.calls.max() as usize);
        HERE.set(Some((self.0.clone(), sender.clone())));
        self.workers().push(sender);
        let client = Rc::new(Client { shared: self.0.clone(), connector, servers: RefCell::default() });
        tokio::task::spawn_local(client.run(jobs));
    }

    /// Returns the queue for a call of this thread.
    fn worker(&self) -> Option<Jobs> {
        let here = HERE.with_borrow(|here| {
            here.as_ref().filter(|(shared, _)| Arc::ptr_eq(shared, &self.0)).map(|(_, sender)| sender.clone())
        });
        if here.is_some() {
            return here;
        }
        let mut workers = self.workers();
        workers.retain(|sender| !sender.is_closed());
        let turn = self.0.turn.fetch_add(1, Ordering::Relaxed);
        workers.get(turn.checked_rem(workers.len())?).cloned()
    }

    fn workers(&self) -> std::sync::MutexGuard<'_, Vec<Jobs>> {
        self.0.workers.lock()
    }
}

impl Outbound for OutboundClient {
    fn send(&self, request: OutboundRequest) -> Outgoing {
        let (answer, answered) = oneshot::channel();
        let sent = self.0.calls.acquire().is_some_and(|permit| {
            self.worker().is_some_and(|worker| worker.try_send(Job { request, permit, answer }).is_ok())
        });
        Box::pin(async move {
            if !sent {
                return Err(OutboundError::Busy);
            }
            // A worker that ends drops its calls.
            answered.await.unwrap_or(Err(OutboundError::Busy))
        })
    }
}

/// The server and the rules that a connection was made for. Calls with the same ones may use it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Server {
    address: String,
    tls: bool,
    private: bool,
    /// The TLS context in which its certificate was verified.
    trust: Option<u64>,
}

impl Server {
    fn of(request: &OutboundRequest, trusted: Option<&Trusted>) -> Self {
        let HttpGrant { tls, private, .. } = &request.grant;
        let trust = trusted.map(|trusted| trusted.id);
        Self { address: request.address(), tls: *tls, private: *private, trust }
    }
}

/// One worker's connections to a server.
struct Connections {
    addresses: Rc<Addresses>,
    pool: Rc<Pool<ClientConnection>>,
}

/// One worker's client.
struct Client {
    shared: Arc<Shared>,
    connector: Rc<Connector>,
    servers: RefCell<HashMap<Server, Rc<Connections>>>,
}

impl Client {
    async fn run(self: Rc<Self>, mut jobs: mpsc::Receiver<Job>) {
        let mut sweep = tokio::time::interval(SWEEP);
        loop {
            tokio::select! {
                job = jobs.recv() => match job {
                    Some(job) => self.clone().start_call(job),
                    None => return,
                },
                _ = sweep.tick() => self.sweep(),
            }
        }
    }

    fn start_call(self: Rc<Self>, job: Job) {
        let Job { request, permit, mut answer } = job;
        tokio::task::spawn_local(async move {
            let outcome = tokio::select! {
                // The caller has gone: what was opened for it is closed.
                () = answer.closed() => return,
                outcome = tokio::time::timeout(request.timeout, self.call(&request)) => outcome,
            };
            // Before the caller can send its next request.
            drop(permit);
            let _gone = answer.send(outcome.unwrap_or(Err(OutboundError::Timeout))).is_err();
        });
    }

    async fn call(&self, request: &OutboundRequest) -> Result<OutboundResponse, OutboundError> {
        let HttpGrant { tls, ca, .. } = &request.grant;
        let trusted = if *tls { Some(self.shared.tls.get(ca.as_ref()).await?) } else { None };
        let server = self.server(Server::of(request, trusted.as_ref()));
        let mut response = ResponseHead::default();
        let peer = server.addresses.next();
        if let Some(connection) = server.pool.reuse(peer, None) {
            let mut call = start(connection, request, &server.pool, true);
            match final_head(&mut call, &mut response).await {
                // The server closed the connection while it was idle.
                Err(CallError::Closed { maybe_stale: true, .. }) if request.head.is_idempotent() => {}
                outcome => {
                    outcome.map_err(call_error)?;
                    return read(call, response, request.response_bytes_max).await;
                }
            }
            response.clear();
        }
        let connection = Box::new(self.connect(request, trusted.as_ref(), &server.addresses, peer).await?);
        let mut call = start(connection, request, &server.pool, false);
        final_head(&mut call, &mut response).await.map_err(call_error)?;
        read(call, response, request.response_bytes_max).await
    }

    async fn connect(
        &self,
        request: &OutboundRequest,
        trusted: Option<&Trusted>,
        addresses: &Addresses,
        peer: Option<SocketAddr>,
    ) -> Result<ClientConnection, OutboundError> {
        let tls = trusted.map(|trusted| &trusted.context);
        let may = |address| request.grant.may_reach(address);
        let connected = addresses.connect(&self.connector, tls, request.timeout, peer, may).await;
        let (stream, peer) = connected.map_err(connect_error)?;
        Ok(ClientConnection::new(stream, HEAD_BYTES_MAX, FieldCase::Lower, peer))
    }

    fn server(&self, server: Server) -> Rc<Connections> {
        let mut servers = self.servers.borrow_mut();
        if let Some(known) = servers.get(&server) {
            return known.clone();
        }
        let addresses = Rc::new(Addresses::of(server.address.as_str().into()));
        let pool = Rc::new(Pool::new(addresses.clone(), IDLE_MAX, IDLE_FOR));
        let connections = Rc::new(Connections { addresses, pool });
        // Grants name the servers, so there are more only after many reloads; then this one's connections are not kept.
        if servers.len() < SERVERS_MAX {
            servers.insert(server, connections.clone());
        }
        connections
    }

    /// Closes connections that were idle for too long, and drops servers that have no connection.
    fn sweep(&self) {
        self.servers.borrow_mut().retain(|_, server| {
            server.addresses.follow(&self.connector);
            server.pool.sweep();
            // Calls that are under way hold the pool, for their connection to come back to.
            !server.pool.is_empty() || Rc::strong_count(server) > 1 || Rc::strong_count(&server.pool) > 1
        });
    }
}

fn start(
    connection: Box<ClientConnection>,
    request: &OutboundRequest,
    pool: &Rc<Pool<ClientConnection>>,
    reused: bool,
) -> Box<ClientCall> {
    let body = if request.body.is_empty() { Body::Empty } else { Body::Full(request.body.clone()) };
    Box::new(connection.start(&request.head, &request.head.authority, body, Some(pool.clone()), reused))
}

async fn final_head(call: &mut ClientCall, head: &mut ResponseHead) -> Result<(), CallError> {
    while poll_fn(|cx| call.poll_event(cx, head)).await? == CallEvent::Informational {
        head.clear();
    }
    Ok(())
}

async fn read(
    call: Box<ClientCall>,
    mut head: ResponseHead,
    bytes_max: usize,
) -> Result<OutboundResponse, OutboundError> {
    let mut body = call.into_response(&head).body;
    strip_response_hop_by_hop(&mut head.fields);
    if body.length().is_some_and(|length| length > bytes_max as u64) {
        return Err(OutboundError::TooLarge);
    }
    let mut whole = BytesMut::new();
    while let Some(frame) = poll_fn(|cx| body.poll_next(cx)).await {
        // A policy cannot ask for trailers.
        let Frame::Data(piece) = frame.map_err(body_error)? else { continue };
        if whole.len() + piece.len() > bytes_max {
            return Err(OutboundError::TooLarge);
        }
        whole.extend_from_slice(&piece);
    }
    Ok(OutboundResponse { head, body: Bytes::from(whole) })
}

fn connect_error(error: ConnectError) -> OutboundError {
    match error.kind() {
        ConnectErrorKind::Forbidden => OutboundError::NotAllowed(error.to_string()),
        ConnectErrorKind::Timeout => OutboundError::Timeout,
        _ => OutboundError::Connect(error.to_string()),
    }
}

fn call_error(error: CallError) -> OutboundError {
    OutboundError::Protocol(error.to_string())
}

fn body_error(error: BodyError) -> OutboundError {
    OutboundError::Protocol(error.to_string())
}
