//! A small web server that tells who it is and what it was sent, to stand behind the gateway.

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue, SERVER};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// Connections at once; the gateway is its only client.
const CONNECTIONS_MAX: usize = 256;

/// A server that stops when it is dropped.
#[derive(Debug)]
pub(crate) struct Server {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Server {
    /// Listens on a free port of the loopback address.
    ///
    /// # Errors
    /// Where there is none.
    pub(crate) async fn start(name: &'static str) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        Ok(Self { address, task: tokio::spawn(accept(listener, name)) })
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
async fn accept(listener: TcpListener, name: &'static str) {
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept(), if connections.len() < CONNECTIONS_MAX => accepted,
            Some(_) = connections.join_next() => continue,
        };
        match accepted {
            Ok((stream, _)) => drop(connections.spawn(serve(stream, name))),
            Err(error) => {
                tracing::warn!("the demo's upstream server cannot accept a connection: {error}");
                // Such as too many open files, which an immediate second try would meet as well.
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn serve(stream: TcpStream, name: &'static str) {
    let answer = service_fn(move |request| async move { Ok::<_, Infallible>(answer(name, &request)) });
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new());
    if let Err(error) = http.serve_connection(TokioIo::new(stream), answer).await {
        tracing::debug!("a connection to the demo's upstream server ended: {error}");
    }
}

fn answer(name: &str, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(echo(name, request))));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(SERVER, HeaderValue::from_static("portcullis-demo-upstream"));
    response
}

/// The name of the server, and the request as it arrived.
fn echo<B>(name: &str, request: &Request<B>) -> String {
    let mut text = format!(
        "hello from upstream {name}\n\n{} {} {:?}\n",
        request.method(),
        request.uri(),
        request.version()
    );
    for (field, value) in request.headers() {
        text.push_str(&format!("{field}: {}\n", String::from_utf8_lossy(value.as_bytes())));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::echo;

    #[test]
    fn tells_its_name_and_the_request() {
        let request = hyper::Request::get("/a?b").header("x-forwarded-for", "127.0.0.1").body(()).unwrap();
        assert_eq!(
            echo("one", &request),
            "hello from upstream one\n\nGET /a?b HTTP/1.1\nx-forwarded-for: 127.0.0.1\n"
        );
    }
}
