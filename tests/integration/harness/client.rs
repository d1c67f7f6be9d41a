//! A well-behaved client.

use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use hyper::client::conn::{http1, http2};
use hyper::ext::Protocol;
use hyper::header::{HOST, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, Uri, Version};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

use super::tls::Authority;
use super::upstream::joined;
use super::within;

/// The host that requests are for unless a test says otherwise.
pub const HOST_NAME: &str = "gateway.test";

type Failure = Box<dyn std::error::Error + Send + Sync>;
type RequestBody = UnsyncBoxBody<Bytes, Failure>;

/// One connection to the gateway. Dropping it closes it.
#[derive(Debug)]
pub struct TestClient {
    sender: Sender,
    scheme: &'static str,
    task: JoinHandle<()>,
}

#[derive(Debug)]
enum Sender {
    Http1(http1::SendRequest<RequestBody>),
    Http2(http2::SendRequest<RequestBody>),
}

/// A response, read to its end.
#[derive(Debug)]
pub struct Reply {
    /// Its status.
    pub status: u16,
    /// Its version.
    pub version: Version,
    /// Its fields.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
    /// Its trailers.
    pub trailers: Option<HeaderMap>,
}

impl Reply {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The lines of a field, joined; empty if there is none.
    pub fn header(&self, name: &str) -> String {
        joined(&self.headers, name)
    }
}

impl TestClient {
    /// HTTP/1.1 without TLS.
    pub async fn h1(address: SocketAddr) -> Self {
        Self::handshake_h1(connect(address).await, "http").await
    }

    /// The same of a server that may have ended: then there is none.
    pub async fn try_h1(address: SocketAddr) -> Option<Self> {
        let stream = TcpStream::connect(address).await.ok()?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.ok()?;
        let task = tokio::spawn(async move { drop(connection.with_upgrades().await) });
        Some(Self { sender: Sender::Http1(sender), scheme: "http", task })
    }

    /// HTTP/2 by prior knowledge, of a server that may have ended: then there is none.
    pub async fn try_h2(address: SocketAddr) -> Option<Self> {
        let stream = TcpStream::connect(address).await.ok()?;
        let handshake = http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
        let (sender, connection) = handshake.await.ok()?;
        let task = tokio::spawn(async move { drop(connection.await) });
        Some(Self { sender: Sender::Http2(sender), scheme: "http", task })
    }

    /// HTTP/2 by prior knowledge.
    pub async fn h2(address: SocketAddr) -> Self {
        Self::handshake_h2(connect(address).await, "http").await
    }

    /// HTTP/1.1 over TLS to `name`, which `authority` must have signed.
    pub async fn h1_tls(address: SocketAddr, authority: &Authority, name: &str) -> Self {
        Self::handshake_h1(connect_tls(address, authority, name, "http/1.1").await, "https").await
    }

    /// HTTP/2 over TLS to `name`, which `authority` must have signed.
    pub async fn h2_tls(address: SocketAddr, authority: &Authority, name: &str) -> Self {
        Self::handshake_h2(connect_tls(address, authority, name, "h2").await, "https").await
    }

    async fn handshake_h1(
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        scheme: &'static str,
    ) -> Self {
        let (sender, connection) =
            within("an HTTP/1.1 connection", http1::handshake(TokioIo::new(stream))).await.unwrap();
        let task = tokio::spawn(async move { drop(connection.with_upgrades().await) });
        Self { sender: Sender::Http1(sender), scheme, task }
    }

    async fn handshake_h2(
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        scheme: &'static str,
    ) -> Self {
        let handshake = http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
        let (sender, connection) = within("an HTTP/2 connection", handshake).await.unwrap();
        let task = tokio::spawn(async move { drop(connection.await) });
        Self { sender: Sender::Http2(sender), scheme, task }
    }

    /// GET without further fields.
    pub async fn get(&mut self, path: &str) -> Reply {
        self.send(Method::GET, path, &[], "").await
    }

    /// GET with further fields.
    pub async fn get_with(&mut self, path: &str, fields: &[(&str, &str)]) -> Reply {
        self.send(Method::GET, path, fields, "").await
    }

    /// Any request with a body that is at hand. A field `host` replaces [`HOST_NAME`].
    pub async fn send(
        &mut self,
        method: Method,
        path: &str,
        fields: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Reply {
        match self.try_send(method, path, fields, body).await {
            Ok(reply) => reply,
            Err(error) => panic!("{path}: {error}"),
        }
    }

    /// As [`Self::send`], if the connection may fail.
    pub async fn try_send(
        &mut self,
        method: Method,
        path: &str,
        fields: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> hyper::Result<Reply> {
        let response = self.begin(method, path, fields, Full::new(body.into())).await?;
        let (head, body) = response.into_parts();
        let collected = within(&format!("the body of {path}"), body.collect()).await?;
        Ok(Reply {
            status: head.status.as_u16(),
            version: head.version,
            headers: head.headers,
            trailers: collected.trailers().cloned(),
            body: collected.to_bytes(),
        })
    }

    /// Sends a request whose body may stream, and gives the response when its head is there.
    pub async fn begin<B>(
        &mut self,
        method: Method,
        path: &str,
        fields: &[(&str, &str)],
        body: B,
    ) -> hyper::Result<Response<Incoming>>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Failure>,
    {
        let body = body.map_err(Into::into).boxed_unsync();
        let request = self.request(method, path, fields, body);
        within(&format!("the response to {path}"), async {
            match &mut self.sender {
                Sender::Http1(sender) => {
                    sender.ready().await?;
                    sender.send_request(request).await
                }
                Sender::Http2(sender) => {
                    sender.ready().await?;
                    sender.send_request(request).await
                }
            }
        })
        .await
    }

    /// CONNECT over HTTP/2: with a protocol as RFC 8441 extends it, to a path; without one plainly, to an authority.
    pub async fn connect(
        &mut self,
        protocol: Option<&'static str>,
        target: &str,
    ) -> hyper::Result<Response<Incoming>> {
        let mut request = self.request(Method::CONNECT, "/", &[], UnsyncBoxBody::default());
        match protocol {
            Some(protocol) => {
                let uri = Uri::builder().scheme(self.scheme).authority(HOST_NAME).path_and_query(target);
                *request.uri_mut() = uri.build().unwrap();
                request.extensions_mut().insert(Protocol::from_static(protocol));
            }
            None => *request.uri_mut() = target.parse().unwrap(),
        }
        match &mut self.sender {
            Sender::Http1(_) => panic!("hyper's HTTP/1.1 client would take the tunnel for itself"),
            Sender::Http2(sender) => {
                within(&format!("the response to CONNECT {target}"), async {
                    sender.ready().await?;
                    sender.send_request(request).await
                })
                .await
            }
        }
    }

    fn request(
        &self,
        method: Method,
        path: &str,
        fields: &[(&str, &str)],
        body: RequestBody,
    ) -> Request<RequestBody> {
        let host = fields.iter().find(|(name, _)| *name == "host").map_or(HOST_NAME, |(_, value)| value);
        let mut request = Request::new(body);
        *request.method_mut() = method;
        *request.uri_mut() = match &self.sender {
            Sender::Http1(_) => {
                request.headers_mut().insert(HOST, HeaderValue::from_str(host).unwrap());
                path.parse().unwrap()
            }
            Sender::Http2(_) => {
                Uri::builder().scheme(self.scheme).authority(host).path_and_query(path).build().unwrap()
            }
        };
        for (name, value) in fields.iter().filter(|(name, _)| *name != "host") {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            request.headers_mut().append(name, HeaderValue::from_str(value).unwrap());
        }
        request
    }

    /// A second handle on the same HTTP/2 connection, for streams at the same time.
    pub fn share(&self) -> Self {
        match &self.sender {
            Sender::Http1(_) => panic!("HTTP/1.1 has one exchange at a time"),
            Sender::Http2(sender) => Self {
                sender: Sender::Http2(sender.clone()),
                scheme: self.scheme,
                task: tokio::spawn(async {}),
            },
        }
    }

    /// Whether the gateway has closed the connection.
    pub fn is_closed(&self) -> bool {
        match &self.sender {
            Sender::Http1(sender) => sender.is_closed(),
            Sender::Http2(sender) => sender.is_closed(),
        }
    }
}

impl Drop for TestClient {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn connect(address: SocketAddr) -> TcpStream {
    let stream = within("a connection", TcpStream::connect(address)).await.unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

async fn connect_tls(
    address: SocketAddr,
    authority: &Authority,
    name: &str,
    alpn: &str,
) -> tokio_rustls::client::TlsStream<TcpStream> {
    let connector = TlsConnector::from(authority.client(&[alpn]));
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let stream = within("a TLS handshake", connector.connect(name, connect(address).await)).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(alpn.as_bytes()), "another protocol was chosen");
    stream
}
