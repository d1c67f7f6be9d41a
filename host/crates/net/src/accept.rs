//! The accept loop: from a listening socket to a connection that is ready for HTTP.

mod open;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::net::{TcpListener, TcpStream};

use self::open::Opened;
use crate::connect::is_exhausted;
use crate::count::{ConnectionCount, ConnectionPermit};
use crate::descriptors::{self, ClientPlace};
use crate::drain::{self, DrainSignal};
use crate::listen::BACKLOG;
use crate::state::ListenerState;
use crate::stream::Stream;
use crate::tasks::Tasks;
use crate::tls_server::TlsInfo;

/// How long an accept loop pauses if a connection fails for lack of file descriptors. Other connections end meanwhile,
/// and those that wait in the queue are kept.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(50);

/// How long a running TLS handshake, or the header of a load balancer, may continue once a drain has begun: a round
/// trip or two.
const DRAIN_GRACE: Duration = Duration::from_secs(2);

/// The things that an accept loop needs. One for each worker and listener.
#[derive(Debug)]
pub struct AcceptSettings {
    /// The listener's settings, read for each connection, so that a reload swaps them under the open socket.
    pub state: Arc<ArcSwap<ListenerState>>,
    /// The listener's connections, shared by the workers.
    pub connections: Arc<ConnectionCount>,
    /// Ends the loop. The connections get it too.
    pub drain: DrainSignal,
    /// The worker's tasks; each connection is one.
    pub tasks: Tasks,
}

/// A connection that is ready. The header of a load balancer was read, and over TLS the handshake is done.
#[derive(Debug)]
pub struct Accepted {
    /// The connection.
    pub stream: Stream,
    /// The client: the peer, or the one that a load balancer named in a header of the PROXY protocol.
    pub peer: SocketAddr,
    /// The address that the client connected to.
    pub local: SocketAddr,
    /// The peer, if it is a load balancer that named the client.
    pub proxy: Option<SocketAddr>,
    /// What TLS agreed on.
    pub tls: Option<TlsInfo>,
    /// The listener as it was when the connection was accepted.
    pub state: Arc<ListenerState>,
    /// Signals that the listener ends.
    pub drain: DrainSignal,
    /// The connection's permit in the listener's count, to be kept as long as the connection. An `async move` block
    /// that names only other fields does not capture it, and it is dropped at once.
    pub permit: ConnectionPermit,
}

/// Accepts connections until the drain starts, and runs `handle` for each in a task of its own on this worker. Then it
/// accepts the connections that wait in the socket's queue, closes the socket and returns; connections live on in
/// `tasks`.
///
/// It neither waits for a handshake nor ends because of one bad connection. Connections beyond the listener's limit are
/// closed at once; without file descriptors it pauses for a moment. Both are logged at most once a second.
///
/// Dropping the future closes the socket, and with it the connections in its queue. It must run in a `LocalSet`.
pub async fn accept_loop<H, F>(listener: TcpListener, settings: AcceptSettings, handle: H)
where
    H: Fn(Accepted) -> F + 'static,
    F: Future<Output = ()> + 'static,
{
    let (settings, handle) = (Rc::new(settings), Rc::new(handle));
    let mut drained = std::pin::pin!(settings.drain.wait());
    loop {
        let accepted = tokio::select! {
            biased;
            () = &mut drained => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((tcp, peer)) => {
                let place = match ClientPlace::take() {
                    Some(place) => place,
                    // This one waits for a permit, and so do all behind it in the socket's queue.
                    None => tokio::select! {
                        biased;
                        () = &mut drained => ClientPlace::beyond(),
                        place = wait_for_place(&settings) => place,
                    },
                };
                start(&settings, &handle, (tcp, peer), place);
            }
            Err(error) => {
                if let Some(pause) = failed(&settings, &error) {
                    tokio::select! {
                        biased;
                        () = &mut drained => break,
                        () = tokio::time::sleep(pause) => {}
                    }
                }
            }
        }
    }
    // For the client, a connection that the kernel has set up is accepted. Closing the socket would reset it.
    let Ok(listener) = listener.into_std() else { return };
    for _ in 0..BACKLOG {
        let Ok((tcp, peer)) = listener.accept() else { return };
        let tcp = tcp.set_nonblocking(true).and_then(|()| TcpStream::from_std(tcp));
        if let Ok(tcp) = tcp {
            start(&settings, &handle, (tcp, peer), ClientPlace::take().unwrap_or(ClientPlace::beyond()));
        }
    }
}

/// Waits for a permit, because each client needs a descriptor for its upstream as well. Meanwhile asks idle clients of
/// the whole process to close, and logs it. Dropping the future gives up the turn.
async fn wait_for_place(settings: &AcceptSettings) -> ClientPlace {
    let mut place = std::pin::pin!(ClientPlace::wait());
    loop {
        drain::nudge();
        if let Some(suppressed) = settings.connections.accept_log.allow() {
            let state = settings.state.load();
            let hint = "raise the limit of open files (LimitNOFILE= of a systemd unit, ulimit -n)";
            tracing::error!(
                listener = %state.listener().name, clients = ClientPlace::max(), suppressed, hint,
                "no further client is accepted for now: the limit of open files suffices for these and their upstreams"
            );
        }
        if let Ok(place) = tokio::time::timeout(EXHAUSTED_PAUSE, &mut place).await {
            return place;
        }
    }
}

/// Logs an error of `accept`. Returns how long to wait before the next one, or `None` if only this connection was bad.
fn failed(settings: &AcceptSettings, error: &io::Error) -> Option<Duration> {
    // accept(2): these are errors of the new connection, not of the socket.
    let of_connection = matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
            | io::ErrorKind::TimedOut
            | io::ErrorKind::NetworkDown
            | io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::HostUnreachable
            // A firewall rule refuses it.
            | io::ErrorKind::PermissionDenied
    );
    if of_connection {
        return None;
    }
    if is_exhausted(error) {
        descriptors::exhausted();
    }
    if let Some(suppressed) = settings.connections.accept_log.allow() {
        let state = settings.state.load();
        let hint = if is_exhausted(error) { "raise the limit of open files (ulimit -n)" } else { "" };
        tracing::error!(listener = %state.listener().name, %error, suppressed, hint, "cannot accept connections");
    }
    Some(EXHAUSTED_PAUSE)
}

fn start<H, F>(
    settings: &Rc<AcceptSettings>,
    handle: &Rc<H>,
    (tcp, peer): (TcpStream, SocketAddr),
    place: ClientPlace,
) where
    H: Fn(Accepted) -> F + 'static,
    F: Future<Output = ()> + 'static,
{
    let state = settings.state.load_full();
    let limit = state.listener().limits.connections;
    let Some(permit) = settings.connections.try_open(limit, place) else {
        if let Some(suppressed) = settings.connections.refused_log.allow() {
            let listener = &state.listener().name;
            tracing::warn!(%listener, limit, %peer, suppressed, "too many connections: closed one at once");
        }
        return;
    };
    // The peer may have gone already.
    let Ok(local) = tcp.local_addr() else { return };
    // Linux copies the listening socket's setting; see `listen`.
    if !cfg!(target_os = "linux") && tcp.set_nodelay(true).is_err() {
        return;
    }
    let (drain, handle) = (settings.drain.clone(), Rc::clone(handle));
    if !state.opens_first() {
        let (stream, proxy, tls) = (Stream::Tcp(tcp), None, None);
        let accepted = Accepted { stream, peer, local, proxy, tls, state, drain, permit };
        return settings.tasks.spawn_local(handle(accepted));
    }
    let connections = Arc::clone(&settings.connections);
    settings.tasks.spawn_local(async move {
        let drained = async {
            drain.wait().await;
            tokio::time::sleep(DRAIN_GRACE).await;
        };
        // Boxed and dropped before the connection is served: its state is large and short-lived.
        let opened = tokio::select! {
            opened = Box::pin(open::open(tcp, peer, &state, &connections)) => opened,
            () = drained => None,
        };
        match opened {
            Some(Opened { stream, proxied, tls }) => {
                let proxy = proxied.map(|_| peer);
                let (peer, local) = proxied.map_or((peer, local), |ends| (ends.source, ends.destination));
                handle(Accepted { stream, peer, local, proxy, tls, state, drain, permit }).await;
            }
            None => connections.handshake_failed(),
        }
    });
}

#[cfg(test)]
mod tests;
