//! One request of a client: the connection to a server, directly or through a proxy, and its answer.

use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use portcullis_model::text::one_line;
use portcullis_model::{UpstreamProtocol, UpstreamTls};
use portcullis_net::{ConnectErrorKind, Connector, Stream, UpstreamTlsContext};
use tokio::task::JoinHandle;

use super::{Client, referred};
use crate::address::{is_near, may_be_at, may_lead_to};
use crate::error::Error;
use crate::proxy::Proxy;
use crate::url::Url;

/// The User-Agent.
const USER_AGENT: &str = concat!("portcullis/", env!("CARGO_PKG_VERSION"));

/// A request.
pub(super) struct Asked<'a> {
    pub(super) accept: &'a str,
    /// The value of `Authorization`.
    pub(super) authorization: Option<&'a str>,
    /// The form to post; without one the request is a GET.
    pub(super) form: Option<String>,
}

/// An answer whose body was not read yet, and its connection.
pub(super) struct Answer {
    response: Response<Incoming>,
    _connection: Ended,
}

impl Answer {
    pub(super) fn status(&self) -> StatusCode {
        self.response.status()
    }

    pub(super) fn headers(&self) -> &HeaderMap {
        self.response.headers()
    }
}

/// Ends a task when it is dropped.
struct Ended(JoinHandle<()>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Why there is no connection, and the error of connecting if that failed.
struct Failed {
    error: Error,
    kind: Option<ConnectErrorKind>,
}

impl Failed {
    fn is(&self, kind: ConnectErrorKind) -> bool {
        self.kind == Some(kind)
    }
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self { error, kind: None }
    }
}

impl Client<'_> {
    /// Requests `url`, to which the registry at `first` has redirected.
    pub(super) async fn send(&mut self, url: &Url, first: &Url, asked: Asked<'_>) -> Result<Answer, Error> {
        let unreachable = |reason: String| Error::Unreachable { host: url.host_field(), reason };
        // Its storage may be another server of the same machine, which gets no credentials.
        let may_be_plain = self.registry.plain_http && url.host == first.host;
        if !url.https && !may_be_plain {
            return Err(referred(first, &url.to_string(), "which has no TLS"));
        }
        // The registry itself is at the address that the operator names, and stays there: a later answer of its name
        // server leads only to addresses that a redirect may have.
        let is_named = url.same_server(first) && self.is_near.is_none();
        let private = || referred(first, &url.to_string(), "which is at a private address");
        let may = {
            let (registry_is_near, host) = (self.is_near == Some(true), &url.host);
            move |address: IpAddr| match is_named {
                true => may_be_at(host, address),
                false => may_lead_to(address, registry_is_near),
            }
        };
        let literal: Option<IpAddr> = url.host.parse().ok();
        if literal.is_some_and(|address| !may(address)) {
            return Err(private());
        }
        let environment = self.environment;
        let proxy = environment.proxies.of(url)?;
        if let Some(Proxy { variable, address, .. }) = proxy {
            tracing::debug!(
                host = url.host_field(),
                proxy = address,
                variable,
                "a registry is asked by way of a proxy"
            );
        }
        // Otherwise a registry could make the gateway connect to what only this machine can reach, such as a cloud's
        // service of secrets. The addresses of a name are checked before one of them is connected to: how long
        // connecting took, or how it failed, would tell a registry which ports are open nearby.
        let stream = self.connect(url, first, proxy, &may).await?.ok_or_else(private)?;
        if is_named {
            self.is_near = Some(match proxy {
                None => {
                    let peer = stream.peer_address().map_err(|error| unreachable(error.to_string()))?;
                    is_near(peer.ip())
                }
                // The proxy resolves names, and decides which ones it allows.
                Some(_) => literal.is_some_and(is_near),
            });
        }
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| unreachable(error.to_string()))?;
        let connection = Ended(tokio::spawn(async move {
            // If it fails, the request or the body fails.
            drop(connection.await);
        }));
        let request = request(url, asked, proxy.filter(|_| !url.https))?;
        let response = tokio::time::timeout(self.timeouts.head, sender.send_request(request))
            .await
            .map_err(|_| unreachable(format!("no answer within {:?}", self.timeouts.head)))?
            .map_err(|error| unreachable(reason(&error)))?;
        match proxy {
            Some(proxy) if !url.https && response.status() == StatusCode::PROXY_AUTHENTICATION_REQUIRED => {
                Err(refused(proxy, url, response.status()))
            }
            _ => Ok(Answer { response, _connection: connection }),
        }
    }

    /// Returns a connection to an address that `may` allows, or `None` if the name has none. The registry's own
    /// authorities are tried first, then the system's if the server is not trusted by them: servers that an internal
    /// registry refers to may be internal or not.
    async fn connect(
        &self,
        url: &Url,
        first: &Url,
        proxy: Option<&Proxy>,
        may: &impl Fn(IpAddr) -> bool,
    ) -> Result<Option<Stream>, Error> {
        let outcome = if url.https {
            let context = |ca| {
                let tls = UpstreamTls { server_name: None, ca, verify: true };
                UpstreamTlsContext::build(&tls, UpstreamProtocol::Http1, &self.roots)
                    .map_err(|error| Error::Unreachable { host: url.host_field(), reason: error.to_string() })
            };
            let own = self.registry.ca.clone();
            let has_own = own.is_some();
            match self.open(url, Some(&context(own)?), proxy, may).await {
                Err(failed) if has_own && failed.is(ConnectErrorKind::Tls) && url.host != first.host => {
                    self.open(url, Some(&context(None)?), proxy, may).await
                }
                outcome => outcome,
            }
        } else {
            self.open(url, None, proxy, may).await
        };
        match outcome {
            Ok(stream) => Ok(Some(stream)),
            Err(failed) if failed.is(ConnectErrorKind::Forbidden) => Ok(None),
            Err(failed) => Err(failed.error),
        }
    }

    /// Returns a connection to the server of `url`, over TLS if `tls` is given. Without TLS and with a proxy, it is a
    /// connection to the proxy, to which each request names its server.
    async fn open(
        &self,
        url: &Url,
        tls: Option<&UpstreamTlsContext>,
        proxy: Option<&Proxy>,
        may: &impl Fn(IpAddr) -> bool,
    ) -> Result<Stream, Failed> {
        let (address, timeout) = (url.address(), self.timeouts.connect);
        let opened = match (proxy, tls) {
            (None, tls) => self.connector.connect_where(&address, tls, timeout, may).await,
            (Some(proxy), None) => return Ok(self.reach(url, proxy).await?),
            (Some(proxy), Some(tls)) => {
                let tunnel = self.tunnel(self.reach(url, proxy).await?, url, proxy).await?;
                Connector::secure(tunnel, &address, tls, timeout).await
            }
        };
        opened.map_err(|error| {
            let kind = Some(error.kind());
            Failed { error: Error::Unreachable { host: url.host_field(), reason: error.to_string() }, kind }
        })
    }

    /// Returns a connection to the proxy.
    async fn reach(&self, url: &Url, proxy: &Proxy) -> Result<Stream, Error> {
        let connected = self.connector.connect(&proxy.address, None, self.timeouts.connect).await;
        connected.map_err(|error| proxy_error(proxy, url, error.to_string()))
    }

    /// Makes the proxy connect to the server of `url` (RFC 9110, 9.3.6).
    pub(super) async fn tunnel(&self, stream: Stream, url: &Url, proxy: &Proxy) -> Result<Stream, Error> {
        let proxy_error = |reason: String| proxy_error(proxy, url, reason);
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| proxy_error(reason(&error)))?;
        let _connection = Ended(tokio::spawn(async move {
            // If it fails, the request fails.
            drop(connection.with_upgrades().await);
        }));
        let mut request = Request::connect(url.address())
            .header(header::HOST, url.address())
            .header(header::USER_AGENT, USER_AGENT);
        if let Some(authorization) = proxy.authorization() {
            request = request.header(header::PROXY_AUTHORIZATION, authorization);
        }
        let request = request
            .body(Full::<Bytes>::default())
            .map_err(|error| Error::Local(format!("{url} cannot be asked for: {error}")))?;
        let response = tokio::time::timeout(self.timeouts.head, sender.send_request(request))
            .await
            .map_err(|_| proxy_error(format!("no answer within {:?}", self.timeouts.head)))?
            .map_err(|error| proxy_error(reason(&error)))?;
        if !response.status().is_success() {
            return Err(refused(proxy, url, response.status()));
        }
        let upgraded = hyper::upgrade::on(response).await.map_err(|error| proxy_error(reason(&error)))?;
        let parts = upgraded
            .downcast::<TokioIo<Stream>>()
            .map_err(|_| proxy_error("its answer is no tunnel".to_owned()))?;
        // The server sends nothing before the client does (RFC 8446, 2).
        if !parts.read_buf.is_empty() {
            return Err(proxy_error("it sent bytes of its own into the tunnel".to_owned()));
        }
        Ok(parts.io.into_inner())
    }
}

/// Returns the request. For a proxy that passes it on, it names the server (RFC 9112, 3.2.2) and has the proxy's
/// credentials.
fn request(url: &Url, asked: Asked<'_>, proxy: Option<&Proxy>) -> Result<Request<Full<Bytes>>, Error> {
    let target = match proxy {
        Some(_) => format!("http://{}{}", url.host_field(), url.target),
        None => url.target.clone(),
    };
    let mut request = Request::builder()
        .uri(target)
        .header(header::HOST, url.host_field())
        .header(header::USER_AGENT, USER_AGENT)
        .header(header::ACCEPT, asked.accept);
    if let Some(authorization) = asked.authorization {
        request = request.header(header::AUTHORIZATION, authorization);
    }
    if let Some(authorization) = proxy.and_then(Proxy::authorization) {
        request = request.header(header::PROXY_AUTHORIZATION, authorization);
    }
    let body = match asked.form {
        Some(form) => {
            request = request
                .method(Method::POST)
                .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
            Full::from(form)
        }
        None => Full::default(),
    };
    request.body(body).map_err(|error| Error::Local(format!("{url} cannot be asked for: {error}")))
}

fn proxy_error(proxy: &Proxy, url: &Url, reason: String) -> Error {
    let Proxy { variable, address, .. } = proxy;
    Error::Proxy { host: url.host_field(), proxy: address.clone(), variable, reason }
}

/// Returns the error for the proxy's status, if it refuses.
fn refused(proxy: &Proxy, url: &Url, status: StatusCode) -> Error {
    let reason = match (status, &proxy.credentials) {
        (StatusCode::PROXY_AUTHENTICATION_REQUIRED, None) => {
            "it wants to know who asks (407), and no user is named".to_owned()
        }
        (StatusCode::PROXY_AUTHENTICATION_REQUIRED, Some((user, _))) => {
            format!("it does not let user {} through (407)", one_line(user, 100))
        }
        (status, _) => format!("it answered {}", status.as_u16()),
    };
    proxy_error(proxy, url, reason)
}

/// Reads a body of at most `bytes_max` bytes.
pub(super) async fn body(
    mut answer: Answer,
    bytes_max: u64,
    idle: Duration,
    url: &Url,
    what: &str,
) -> Result<Vec<u8>, Error> {
    let unreachable = |reason: String| Error::Unreachable { host: url.host_field(), reason };
    let mut bytes = Vec::new();
    let body = answer.response.body_mut();
    loop {
        let frame = tokio::time::timeout(idle, body.frame())
            .await
            .map_err(|_| unreachable(format!("nothing came for {idle:?}")))?;
        let Some(frame) = frame else { return Ok(bytes) };
        let frame = frame.map_err(|error| unreachable(reason(&error)))?;
        let Some(data) = frame.data_ref() else { continue };
        if bytes.len() as u64 + data.len() as u64 > bytes_max {
            return Err(Error::TooLarge { what: what.to_owned(), max: bytes_max });
        }
        bytes.extend_from_slice(data);
    }
}

/// Returns an error with its causes, of which hyper's own text has few.
fn reason(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}
