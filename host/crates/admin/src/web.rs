//! Accepts connections and speaks HTTP/1 on them, for everything that is not traffic: the control socket, the metrics,
//! and the upstreams of the demo.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio::task::{JoinHandle, JoinSet};

/// Connections of a web server at once; more wait in the socket's queue.
const CONNECTIONS_MAX: usize = 256;
/// A head that does not arrive within this time ends its connection.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// The pause after a failed accept, for example with too many open files, which an immediate second try would meet as
/// well.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A small web server that stops when it is dropped.
#[derive(Debug)]
pub struct WebServer {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl WebServer {
    /// Listens on `address` and answers each request by `answer`, which must not block.
    ///
    /// # Errors
    /// If the address cannot be listened on.
    pub async fn start<A>(address: SocketAddr, answer: A) -> io::Result<Self>
    where
        A: Fn(&Request<Incoming>) -> Response<Full<Bytes>> + Clone + Send + 'static,
    {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let serve = move |stream| {
            let answer = answer.clone();
            async move {
                let answer = move |request| std::future::ready(answer(&request));
                if let Err(error) = speak(stream, true, answer).await {
                    tracing::debug!("a connection to an internal web server ended: {error}");
                }
            }
        };
        Ok(Self { address, task: tokio::spawn(accept(listener, CONNECTIONS_MAX, serve)) })
    }

    /// Returns the address on which it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends it. When this returns, its address is free and its connections are closed. Dropping the future ends it as
    /// well, a moment later.
    pub async fn stop(mut self) {
        self.task.abort();
        // The error only says that it was aborted.
        let _aborted = (&mut self.task).await.is_err();
    }
}

impl Drop for WebServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A source of connections.
pub(crate) trait Listen: Send + 'static {
    type Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static;

    /// Returns the next connection. Dropping the future loses none.
    fn next(&self) -> impl Future<Output = io::Result<Self::Stream>> + Send;
}

impl Listen for TcpListener {
    type Stream = tokio::net::TcpStream;

    async fn next(&self) -> io::Result<Self::Stream> {
        Ok(self.accept().await?.0)
    }
}

impl Listen for UnixListener {
    type Stream = UnixStream;

    async fn next(&self) -> io::Result<Self::Stream> {
        Ok(self.accept().await?.0)
    }
}

/// Accepts connections for ever, at most `connections_max` at once. Dropping it ends all of them.
pub(crate) async fn accept<L: Listen, F>(
    listener: L,
    connections_max: usize,
    serve: impl Fn(L::Stream) -> F + Send + 'static,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.next(), if connections.len() < connections_max => accepted,
            Some(_) = connections.join_next() => continue,
        };
        match accepted {
            Ok(stream) => drop(connections.spawn(serve(stream))),
            Err(error) => {
                tracing::warn!("an internal web server cannot accept a connection: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Answers the requests of a connection; without `keep_alive` only the first.
pub(crate) async fn speak<S, F>(
    stream: S,
    keep_alive: bool,
    answer: impl Fn(Request<Incoming>) -> F + Send,
) -> hyper::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
    F: Future<Output = Response<Full<Bytes>>> + Send,
{
    let service = service_fn(move |request| {
        let answer = answer(request);
        async move { Ok::<_, Infallible>(answer.await) }
    });
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).keep_alive(keep_alive);
    http.serve_connection(TokioIo::new(stream), service).await
}
