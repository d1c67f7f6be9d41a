//! A client for registries (OCI distribution specification 1.1): manifests, blobs, referrers, and who may read them.
//!
//! A small one of our own. Libraries for this bring an HTTP client with a TLS set-up and a way of following redirects of
//! their own; here TLS and the authorities are those of the `net` crate, and what a registry refers to is followed as warily
//! as it deserves. It is cold code that runs while a configuration is loaded, so each request has a connection to itself.

use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use portcullis_model::{ContentDigest, Registry, UpstreamProtocol, UpstreamTls};
use portcullis_net::{ConnectErrorKind, Connector, Stream, SystemRoots, UpstreamTlsContext};
use tokio::task::JoinHandle;

use crate::address::is_public;
use crate::auth::{self, Challenge};
use crate::error::Error;
use crate::manifest::{ACCEPT, MANIFEST_BYTES_MAX};
use crate::url::{Url, query_value};

/// How long a registry may take.
const PATIENCE: Patience = Patience {
    connect: Duration::from_secs(10),
    head: Duration::from_secs(30),
    idle: Duration::from_secs(30),
};
/// Hops from one address to the next: a storage service behind a registry makes one.
const REDIRECTS_MAX: usize = 5;
/// Bytes of what a token server answers.
const TOKEN_BYTES_MAX: u64 = 64 << 10;

/// How long a registry may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// To connect, TLS included.
    connect: Duration,
    /// From a request to the head of its answer.
    head: Duration,
    /// Without a byte of a body.
    idle: Duration,
}

/// A conversation with one registry, about one repository.
pub(crate) struct Client<'a> {
    registry: &'a Registry,
    repository: &'a str,
    connector: Connector,
    roots: SystemRoots,
    patience: Patience,
    /// What `Authorization` says, once it was asked for. Told to the registry's own address and to nobody else.
    authorization: Option<String>,
    /// Whether the registry itself is at an address that is not public; `None` before the first connection.
    is_near: Option<bool>,
}

/// An answer whose body is still to be read, and the connection that it comes on.
struct Answer {
    response: Response<Incoming>,
    _connection: Ended,
}

/// Ends a task when it is dropped.
struct Ended(JoinHandle<()>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl<'a> Client<'a> {
    pub(crate) fn new(registry: &'a Registry, repository: &'a str) -> Self {
        let (connector, roots) = (Connector::new(), SystemRoots::new());
        Self {
            registry,
            repository,
            connector,
            roots,
            patience: PATIENCE,
            authorization: None,
            is_near: None,
        }
    }

    /// The manifest that a tag or digest stands for, as it was pushed.
    pub(crate) async fn manifest(&mut self, name: &str) -> Result<Vec<u8>, Error> {
        let (target, what) = (self.target("manifests", name), format!("{}:{name}", self.repository));
        self.get(target, ACCEPT, MANIFEST_BYTES_MAX, &what).await
    }

    /// The manifest of that digest.
    pub(crate) async fn manifest_by_digest(&mut self, digest: ContentDigest) -> Result<Vec<u8>, Error> {
        let name = digest.to_string();
        let (target, what) = (self.target("manifests", &name), format!("{}@{name}", self.repository));
        let bytes = self.get(target, ACCEPT, MANIFEST_BYTES_MAX, &what).await?;
        expect(what, bytes, digest)
    }

    /// The blob of that digest, of at most `bytes_max` bytes.
    pub(crate) async fn blob(&mut self, digest: ContentDigest, bytes_max: u64) -> Result<Vec<u8>, Error> {
        let name = digest.to_string();
        let (target, what) = (self.target("blobs", &name), format!("{} of {}", name, self.repository));
        let bytes = self.get(target, "*/*", bytes_max, &what).await?;
        expect(what, bytes, digest)
    }

    /// The index of what refers to the manifest `digest` and is of the type `kind`.
    pub(crate) async fn referrers(&mut self, digest: ContentDigest, kind: &str) -> Result<Vec<u8>, Error> {
        let name = format!("{digest}?artifactType={}", query_value(kind));
        let (target, what) = (self.target("referrers", &name), format!("referrers of {}", self.repository));
        self.get(target, ACCEPT, MANIFEST_BYTES_MAX, &what).await
    }

    fn target(&self, kind: &str, name: &str) -> String {
        format!("/v2/{}/{kind}/{name}", self.repository)
    }

    /// Gets `target` of the registry. Dropping the future ends the request.
    async fn get(
        &mut self,
        target: String,
        accept: &str,
        bytes_max: u64,
        what: &str,
    ) -> Result<Vec<u8>, Error> {
        let registry = self.registry;
        // What everybody calls docker.io is served elsewhere.
        let host = if &*registry.host == "docker.io" { "registry-1.docker.io" } else { &registry.host };
        let first = Url::of_host(host, !registry.plain_http, target)
            .ok_or_else(|| Error::Local(format!("`{host}` is no host")))?;
        let mut url = first.clone();
        let (mut hops, mut introduced) = (0, false);
        loop {
            let at_home = url.same_server(&first);
            // Who answers elsewhere is not to learn who we are.
            let authorization = self.authorization.clone().filter(|_| at_home);
            let answer = self.send(&url, &first, accept, authorization.as_deref()).await?;
            let status = answer.response.status();
            let host = || url.host_field();
            match status {
                StatusCode::OK => return body(answer, bytes_max, self.patience.idle, &url, what).await,
                StatusCode::UNAUTHORIZED if at_home && !introduced => {
                    introduced = true;
                    let headers = answer.response.headers().clone();
                    drop(answer);
                    self.introduce(&headers, &first, what).await?;
                }
                StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                    return Err(self.denied(host(), what));
                }
                StatusCode::NOT_FOUND => return Err(Error::NotFound { host: host(), what: what.to_owned() }),
                StatusCode::MOVED_PERMANENTLY
                | StatusCode::FOUND
                | StatusCode::SEE_OTHER
                | StatusCode::TEMPORARY_REDIRECT
                | StatusCode::PERMANENT_REDIRECT => {
                    hops += 1;
                    let location =
                        answer.response.headers().get(header::LOCATION).and_then(|value| value.to_str().ok());
                    let location = location.unwrap_or_default();
                    let next = Url::parse(location, Some(&url))
                        .ok_or_else(|| referred(&url, location, "which is no address"))?;
                    if hops > REDIRECTS_MAX {
                        return Err(referred(&url, &next.to_string(), "one redirect too many"));
                    }
                    url = next;
                }
                status => {
                    return Err(Error::Status {
                        host: host(),
                        what: what.to_owned(),
                        status: status.as_u16(),
                    });
                }
            }
        }
    }

    fn denied(&self, host: String, what: &str) -> Error {
        let who = match &self.registry.credentials {
            Some((user, _)) => format!("user {user}"),
            None => "anonymous users".to_owned(),
        };
        Error::Denied { host, who, what: what.to_owned() }
    }

    /// Says who we are in the way that the registry asks for.
    async fn introduce(&mut self, headers: &HeaderMap, first: &Url, what: &str) -> Result<(), Error> {
        let fields = headers.get_all(header::WWW_AUTHENTICATE).iter().filter_map(|field| field.to_str().ok());
        let challenge = fields.filter_map(Challenge::parse).next();
        let credentials = self.registry.credentials.as_ref().map(auth::basic);
        let malformed = |reason: &str| Error::Malformed {
            what: format!("what {} wants to know", first.host_field()),
            reason: reason.to_owned(),
        };
        match challenge {
            None => Err(malformed("it names neither Basic nor Bearer")),
            Some(Challenge::Basic) => {
                self.authorization = Some(credentials.ok_or_else(|| self.denied(first.host_field(), what))?);
                Ok(())
            }
            Some(Challenge::Bearer { realm, service }) => {
                let mut url =
                    Url::parse(&realm, None).ok_or_else(|| referred(first, &realm, "which is no address"))?;
                url.target.push(if url.target.contains('?') { '&' } else { '?' });
                // What the registry would like us to ask for does not matter: this is all that we need.
                url.target.push_str(&format!(
                    "scope={}",
                    query_value(&format!("repository:{}:pull", self.repository))
                ));
                if let Some(service) = service {
                    url.target.push_str(&format!("&service={}", query_value(&service)));
                }
                let answer = self.send(&url, first, "application/json", credentials.as_deref()).await?;
                match answer.response.status() {
                    StatusCode::OK => {}
                    StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                        return Err(self.denied(url.host_field(), what));
                    }
                    status => {
                        let what = format!("a token for {}", self.repository);
                        return Err(Error::Status { host: url.host_field(), what, status: status.as_u16() });
                    }
                }
                let answer = body(answer, TOKEN_BYTES_MAX, self.patience.idle, &url, "the token").await?;
                let malformed = || Error::Malformed {
                    what: format!("the token of {}", url.host_field()),
                    reason: "there is none in the answer".to_owned(),
                };
                self.authorization = Some(auth::bearer(&answer).ok_or_else(malformed)?);
                Ok(())
            }
        }
    }

    /// Asks for `url`, to which the registry at `first` has led.
    async fn send(
        &mut self,
        url: &Url,
        first: &Url,
        accept: &str,
        authorization: Option<&str>,
    ) -> Result<Answer, Error> {
        let unreachable = |reason: String| Error::Unreachable { host: url.host_field(), reason };
        let may_be_plain = self.registry.plain_http && url.host == first.host;
        if !url.https && !may_be_plain {
            return Err(referred(first, &url.to_string(), "which has no TLS"));
        }
        let at_home = url.same_server(first);
        let private = || referred(first, &url.to_string(), "which is at a private address");
        let may_lead_to = |address: IpAddr| url.host == first.host || may_lead_to(address, self.is_near);
        if url.host.parse().is_ok_and(|address| !may_lead_to(address)) {
            return Err(private());
        }
        let stream = self.connect(url, first).await?;
        let peer = stream.peer_address().map_err(|error| unreachable(error.to_string()))?;
        // Else a registry could have us ask what only this machine can reach, such as a cloud's service of secrets. The
        // address is the one that was connected to, so that no second answer of a name server gets around it.
        if !may_lead_to(peer.ip()) {
            return Err(private());
        }
        if at_home {
            self.is_near = Some(!is_public(peer.ip().to_canonical()));
        }

        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| unreachable(error.to_string()))?;
        let connection = Ended(tokio::spawn(async move {
            // Its end is an error of the request or the body.
            drop(connection.await);
        }));
        let mut request = Request::get(&url.target)
            .header(header::HOST, url.host_field())
            .header(header::USER_AGENT, concat!("portcullis/", env!("CARGO_PKG_VERSION")))
            .header(header::ACCEPT, accept);
        if let Some(authorization) = authorization {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        let request = request
            .body(Empty::<Bytes>::new())
            .map_err(|error| Error::Local(format!("{url} cannot be asked for: {error}")))?;
        let response = tokio::time::timeout(self.patience.head, sender.send_request(request))
            .await
            .map_err(|_| unreachable(format!("no answer within {:?}", self.patience.head)))?
            .map_err(|error| unreachable(reason(&error)))?;
        Ok(Answer { response, _connection: connection })
    }

    /// A connection. The registry's own authorities are asked first, the system's where they vouch for nobody there: what
    /// an internal registry refers to may be internal or not.
    async fn connect(&self, url: &Url, first: &Url) -> Result<Stream, Error> {
        let unreachable = |reason: String| Error::Unreachable { host: url.host_field(), reason };
        let address = url.address();
        if !url.https {
            let connected = self.connector.connect(&address, None, self.patience.connect).await;
            return connected.map_err(|error| unreachable(error.to_string()));
        }
        let context = |ca| {
            let tls = UpstreamTls { server_name: None, ca, verify: true };
            UpstreamTlsContext::build(&tls, UpstreamProtocol::Http1, &self.roots)
                .map_err(|error| unreachable(error.to_string()))
        };
        let own = self.registry.ca.clone();
        let has_own = own.is_some();
        let connected = self.connector.connect(&address, Some(&context(own)?), self.patience.connect).await;
        match connected {
            Err(error) if has_own && error.kind() == ConnectErrorKind::Tls && url.host != first.host => {
                let connected =
                    self.connector.connect(&address, Some(&context(None)?), self.patience.connect).await;
                connected.map_err(|error| unreachable(error.to_string()))
            }
            outcome => outcome.map_err(|error| unreachable(error.to_string())),
        }
    }
}

/// Reads a body of at most `bytes_max` bytes.
async fn body(
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

/// Whether a registry may refer to another host at `address`: to every public one, and to others where it is itself such.
fn may_lead_to(address: IpAddr, registry_is_near: Option<bool>) -> bool {
    is_public(address.to_canonical()) || registry_is_near == Some(true)
}

fn expect(what: String, bytes: Vec<u8>, expected: ContentDigest) -> Result<Vec<u8>, Error> {
    match crate::digest(&bytes) {
        found if found == expected => Ok(bytes),
        found => Err(Error::Digest { what, expected, found }),
    }
}

fn referred(from: &Url, to: &str, why: &'static str) -> Error {
    Error::Referred { host: from.host_field(), to: printable(to, 200), why }
}

/// An error with its causes, of which hyper's own says little.
fn reason(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}

/// What a stranger wrote, for one line of a terminal.
pub(crate) fn printable(text: &str, letters_max: usize) -> String {
    let clean = text.chars().map(|letter| if letter.is_control() { '\u{fffd}' } else { letter });
    clean.take(letters_max).collect()
}

#[cfg(test)]
mod tests;
