//! A well-behaved upstream server whose answers a test chooses.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{CONNECTION, HeaderMap, HeaderName, HeaderValue, UPGRADE};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode, Uri, Version};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

use super::tls::Issued;

/// A server on a free loopback port. Dropping it closes the port and all connections.
#[derive(Debug)]
pub struct TestUpstream {
    address: SocketAddr,
    recorded: Arc<Recorded>,
    task: JoinHandle<()>,
}

/// A request as the upstream got it.
#[derive(Debug, Clone)]
pub struct Received {
    /// Its method.
    pub method: Method,
    /// Its target.
    pub uri: Uri,
    /// Its version.
    pub version: Version,
    /// Its fields.
    pub headers: HeaderMap,
    /// Its body; empty for a streaming handler.
    pub body: Bytes,
    /// Its trailers.
    pub trailers: Option<HeaderMap>,
    /// Which connection of this upstream it came on, from 0.
    pub connection: usize,
}

impl Received {
    /// The path without the query.
    pub fn path(&self) -> &str {
        self.uri.path()
    }

    /// The lines of a field, joined; empty if there is none.
    pub fn header(&self, name: &str) -> String {
        joined(&self.headers, name)
    }
}

/// What an upstream answers.
#[derive(Debug, Default)]
pub struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Answer {
    /// 200 with a text.
    pub fn text(text: impl Into<String>) -> Self {
        Self { body: Bytes::from(text.into()), ..Self::default() }
    }

    /// Sets the status.
    pub fn status(mut self, status: u16) -> Self {
        self.status = StatusCode::from_u16(status).unwrap();
        self
    }

    /// Adds a field.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        self.headers.append(name, HeaderValue::from_str(value).unwrap());
        self
    }

    /// Sets the body.
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }
}

/// The body of a streaming handler's answer.
pub type StreamBody = UnsyncBoxBody<Bytes, Infallible>;

type Handled = Pin<Box<dyn Future<Output = Response<StreamBody>> + Send>>;
type Handler = Arc<dyn Fn(Request<Incoming>, usize, Arc<Recorded>) -> Handled + Send + Sync>;

#[derive(Debug, Default)]
struct Recorded {
    requests: Mutex<Vec<Received>>,
    connections: AtomicUsize,
    open: AtomicUsize,
}

/// Requests that are remembered: a soak of ten minutes makes millions of them.
const REQUESTS_MAX: usize = 100_000;

impl Recorded {
    fn add(&self, request: Received) {
        let mut requests = self.requests.lock().unwrap();
        if requests.len() == REQUESTS_MAX {
            requests.clear();
        }
        requests.push(request);
    }
}

impl TestUpstream {
    /// HTTP/1.1.
    pub async fn h1(answer: impl Fn(&Received) -> Answer + Send + Sync + 'static) -> Self {
        Self::start(false, None, whole(answer)).await
    }

    /// HTTP/2 by prior knowledge.
    pub async fn h2(answer: impl Fn(&Received) -> Answer + Send + Sync + 'static) -> Self {
        Self::start(true, None, whole(answer)).await
    }

    /// HTTP/1.1 over TLS.
    pub async fn h1_tls(
        issued: &Issued,
        answer: impl Fn(&Received) -> Answer + Send + Sync + 'static,
    ) -> Self {
        Self::start(false, Some(TlsAcceptor::from(issued.server(&["http/1.1"]))), whole(answer)).await
    }

    /// HTTP/2 over TLS.
    pub async fn h2_tls(
        issued: &Issued,
        answer: impl Fn(&Received) -> Answer + Send + Sync + 'static,
    ) -> Self {
        Self::start(true, Some(TlsAcceptor::from(issued.server(&["h2"]))), whole(answer)).await
    }

    /// HTTP/1.1 with a handler that reads the body as it comes and may answer, or upgrade, before it has ended.
    pub async fn streaming_h1<F>(handler: impl Fn(Request<Incoming>) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Response<StreamBody>> + Send + 'static,
    {
        Self::start(false, None, streaming(handler)).await
    }

    /// The same at an address that was in use a moment ago, or at a free one.
    pub async fn streaming_h1_at<F>(
        address: Option<SocketAddr>,
        handler: impl Fn(Request<Incoming>) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Response<StreamBody>> + Send + 'static,
    {
        let free = || SocketAddr::from(([127, 0, 0, 1], 0));
        let listener = TcpListener::bind(address.unwrap_or_else(free)).await.unwrap();
        Self::start_on(listener, false, None, streaming(handler))
    }

    /// HTTP/2 with such a handler.
    pub async fn streaming_h2<F>(handler: impl Fn(Request<Incoming>) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Response<StreamBody>> + Send + 'static,
    {
        Self::start(true, None, streaming(handler)).await
    }

    /// HTTP/1.1, answering with a name, for telling upstreams apart.
    pub async fn named(name: &str) -> Self {
        let name = name.to_owned();
        Self::h1(move |_| Answer::text(name.clone())).await
    }

    /// HTTP/1.1, accepting every upgrade to what was asked for and sending back what comes; other requests get a text.
    pub async fn echo() -> Self {
        Self::streaming_h1(|mut request| async move {
            let mut response = Response::new(Full::from("no upgrade").boxed_unsync());
            let Some(protocol) = request.headers().get(UPGRADE).cloned() else { return response };
            *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
            *response.body_mut() = StreamBody::default();
            response.headers_mut().insert(UPGRADE, protocol);
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("upgrade"));
            let upgrade = hyper::upgrade::on(&mut request);
            tokio::spawn(async move {
                if let Ok(upgraded) = upgrade.await {
                    let (mut read, mut write) = tokio::io::split(TokioIo::new(upgraded));
                    // How it ends is for the client to see.
                    drop(tokio::io::copy(&mut read, &mut write).await);
                    drop(tokio::io::AsyncWriteExt::shutdown(&mut write).await);
                }
            });
            response
        })
        .await
    }

    /// Two that answer with names over HTTP/1.1, with one port and two addresses: 127.0.0.1 and 127.0.0.2.
    pub async fn named_pair(names: [&str; 2]) -> [Self; 2] {
        let (first, second) = loop {
            let first = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let port = first.local_addr().unwrap().port();
            // Another process may have that port there; then the next one is tried.
            if let Ok(second) = TcpListener::bind(("127.0.0.2", port)).await {
                break (first, second);
            }
        };
        let start = |name: &str, listener| {
            let name = name.to_owned();
            Self::start_on(listener, false, None, whole(move |_| Answer::text(name.clone())))
        };
        [start(names[0], first), start(names[1], second)]
    }

    async fn start(h2: bool, tls: Option<TlsAcceptor>, handler: Handler) -> Self {
        Self::start_on(TcpListener::bind("127.0.0.1:0").await.unwrap(), h2, tls, handler)
    }

    fn start_on(listener: TcpListener, h2: bool, tls: Option<TlsAcceptor>, handler: Handler) -> Self {
        let address = listener.local_addr().unwrap();
        let recorded = Arc::new(Recorded::default());
        let task = tokio::spawn(accept(listener, h2, tls, handler, Arc::clone(&recorded)));
        Self { address, recorded, task }
    }

    /// The address that it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Forgets the requests so far, for a test that makes very many.
    pub fn forget(&self) {
        self.recorded.requests.lock().unwrap().clear();
    }

    /// The requests so far.
    pub fn requests(&self) -> Vec<Received> {
        self.recorded.requests.lock().unwrap().clone()
    }

    /// The last request.
    pub fn last_request(&self) -> Received {
        self.requests().pop().unwrap()
    }

    /// How many connections were made so far.
    pub fn connections(&self) -> usize {
        self.recorded.connections.load(Ordering::SeqCst)
    }

    /// How many connections are open.
    pub fn open_connections(&self) -> usize {
        self.recorded.open.load(Ordering::SeqCst)
    }
}

impl Drop for TestUpstream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn whole(answer: impl Fn(&Received) -> Answer + Send + Sync + 'static) -> Handler {
    let answer = Arc::new(answer);
    Arc::new(move |request, connection, recorded| {
        let answer = Arc::clone(&answer);
        Box::pin(async move {
            let (head, body) = request.into_parts();
            let Ok(collected) = body.collect().await else {
                return Response::new(Full::default().boxed_unsync());
            };
            let trailers = collected.trailers().cloned();
            let received = received(&head, collected.to_bytes(), trailers, connection);
            recorded.add(received.clone());
            let Answer { status, headers, body } = answer(&received);
            let mut response = Response::new(Full::new(body).boxed_unsync());
            *response.status_mut() = status;
            *response.headers_mut() = headers;
            response
        })
    })
}

fn streaming<F>(handler: impl Fn(Request<Incoming>) -> F + Send + Sync + 'static) -> Handler
where
    F: Future<Output = Response<StreamBody>> + Send + 'static,
{
    Arc::new(move |request, connection, recorded| {
        let (head, body) = request.into_parts();
        recorded.add(received(&head, Bytes::new(), None, connection));
        Box::pin(handler(Request::from_parts(head, body)))
    })
}

fn received(
    head: &hyper::http::request::Parts,
    body: Bytes,
    trailers: Option<HeaderMap>,
    connection: usize,
) -> Received {
    Received {
        method: head.method.clone(),
        uri: head.uri.clone(),
        version: head.version,
        headers: head.headers.clone(),
        body,
        trailers,
        connection,
    }
}

async fn accept(
    listener: TcpListener,
    h2: bool,
    tls: Option<TlsAcceptor>,
    handler: Handler,
    recorded: Arc<Recorded>,
) {
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
        };
        let Ok((stream, _)) = accepted else { continue };
        let number = recorded.connections.fetch_add(1, Ordering::SeqCst);
        recorded.open.fetch_add(1, Ordering::SeqCst);
        let (tls, handler, recorded) = (tls.clone(), Arc::clone(&handler), Arc::clone(&recorded));
        connections.spawn(async move {
            connection(stream, h2, tls, handler, number, &recorded).await;
            recorded.open.fetch_sub(1, Ordering::SeqCst);
        });
    }
}

async fn connection(
    stream: TcpStream,
    h2: bool,
    tls: Option<TlsAcceptor>,
    handler: Handler,
    number: usize,
    recorded: &Arc<Recorded>,
) {
    match tls {
        None => serve(stream, h2, handler, number, recorded).await,
        // A client that does not believe the certificate goes away.
        Some(tls) => {
            if let Ok(stream) = tls.accept(stream).await {
                serve(stream, h2, handler, number, recorded).await;
            }
        }
    }
}

async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    h2: bool,
    handler: Handler,
    number: usize,
    recorded: &Arc<Recorded>,
) {
    let service = service_fn(|request| {
        let answered = handler(request, number, Arc::clone(recorded));
        async move { Ok::<_, Infallible>(answered.await) }
    });
    let stream = TokioIo::new(stream);
    // How a connection ends is for the client to see.
    if h2 {
        drop(
            hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                .serve_connection(stream, service)
                .await,
        );
    } else {
        let http = hyper::server::conn::http1::Builder::new();
        drop(http.serve_connection(stream, service).with_upgrades().await);
    }
}

/// The lines of a field, joined by `, `.
pub(super) fn joined(headers: &HeaderMap, name: &str) -> String {
    let lines: Vec<_> =
        headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
    lines.join(", ")
}
