//! A small web server on the control runtime, for what is not traffic: the metrics, and the upstreams of the demo.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// Connections at once; more wait in the socket's queue.
const CONNECTIONS_MAX: usize = 256;

/// A server that stops when it is dropped.
#[derive(Debug)]
pub(crate) struct Server {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Server {
    /// Listens on `address` and answers each request by `answer`, which must not block.
    ///
    /// # Errors
    /// Where the address cannot be listened on.
    pub(crate) async fn start<A>(address: SocketAddr, answer: A) -> io::Result<Self>
    where
        A: Fn(&Request<Incoming>) -> Response<Full<Bytes>> + Clone + Send + 'static,
    {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        Ok(Self { address, task: tokio::spawn(accept(listener, answer)) })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Dropping it ends all connections.
async fn accept<A>(listener: TcpListener, answer: A)
where
    A: Fn(&Request<Incoming>) -> Response<Full<Bytes>> + Clone + Send + 'static,
{
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept(), if connections.len() < CONNECTIONS_MAX => accepted,
            Some(_) = connections.join_next() => continue,
        };
        match accepted {
            Ok((stream, _)) => drop(connections.spawn(serve(stream, answer.clone()))),
            Err(error) => {
                tracing::warn!("an internal web server cannot accept a connection: {error}");
                // Such as too many open files, which an immediate second try would meet as well.
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn serve<A>(stream: TcpStream, answer: A)
where
    A: Fn(&Request<Incoming>) -> Response<Full<Bytes>> + Send + 'static,
{
    let answer = service_fn(move |request| {
        let response = answer(&request);
        async move { Ok::<_, Infallible>(response) }
    });
    let mut http = hyper::server::conn::http1::Builder::new();
    // hyper's own bound for a head that does not come, 30 s, needs a timer.
    http.timer(TokioTimer::new());
    if let Err(error) = http.serve_connection(TokioIo::new(stream), answer).await {
        tracing::debug!("a connection to an internal web server ended: {error}");
    }
}
