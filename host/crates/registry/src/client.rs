//! A client for registries (OCI distribution specification 1.1): manifests, blobs, referrers, and authentication.
//!
//! A small client of our own. Libraries for this bring an HTTP client with its own TLS set-up and its own way to follow
//! redirects. Here TLS and the authorities are those of the `net` crate, and the references of a registry are followed
//! with care. This is cold code that runs while a configuration is loaded, so each request has its own connection.

mod transport;

use std::time::Duration;

use http::{HeaderMap, StatusCode, header};
use portcullis_model::text::one_line;
use portcullis_model::{ContentDigest, Registry};
use portcullis_net::{Connector, SystemRoots};

use crate::auth::{self, Challenge};
use crate::credentials::Credentials;
use crate::environment::Environment;
use crate::error::Error;
use crate::manifest::{ACCEPT, MANIFEST_BYTES_MAX};
use crate::proxy::is_this_machine;
use crate::url::{Url, query_value};
use transport::{Asked, body};

/// How long a registry may take.
const TIMEOUTS: Timeouts = Timeouts {
    connect: Duration::from_secs(10),
    head: Duration::from_secs(30),
    idle: Duration::from_secs(30),
};
/// Redirects in a row: a storage service behind a registry needs one.
const REDIRECTS_MAX: usize = 5;
/// The largest answer of a token server.
const TOKEN_BYTES_MAX: u64 = 64 << 10;

/// How long a registry may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Timeouts {
    /// To connect, TLS included.
    connect: Duration,
    /// From a request to the head of its answer.
    head: Duration,
    /// Without a byte of a body.
    idle: Duration,
}

/// A session with one registry, for one repository.
pub(crate) struct Client<'a> {
    registry: &'a Registry,
    repository: &'a str,
    environment: &'a Environment,
    connector: Connector,
    roots: SystemRoots,
    timeouts: Timeouts,
    /// The value of `Authorization`, once the registry has asked for it. It is sent only to the registry's own address.
    authorization: Option<String>,
    /// The credentials, once the registry has asked for them.
    identity: Option<Identity>,
    /// Whether the registry itself is at an address that is not public; `None` before the first connection.
    is_near: Option<bool>,
}

/// The identity that the gateway uses.
#[derive(Debug, Clone)]
struct Identity {
    credentials: Option<Credentials>,
    /// Its name in messages.
    who: String,
    /// Why there are no better credentials.
    hint: Option<String>,
}

impl<'a> Client<'a> {
    pub(crate) fn new(registry: &'a Registry, repository: &'a str, environment: &'a Environment) -> Self {
        let (connector, roots) = (Connector::new(), SystemRoots::new());
        Self {
            registry,
            repository,
            environment,
            connector,
            roots,
            timeouts: TIMEOUTS,
            authorization: None,
            identity: None,
            is_near: None,
        }
    }

    /// Returns the raw manifest of a tag or digest.
    pub(crate) async fn manifest(&mut self, name: &str) -> Result<Vec<u8>, Error> {
        let (target, what) = (self.target("manifests", name), format!("{}:{name}", self.repository));
        self.get(target, ACCEPT, MANIFEST_BYTES_MAX, &what).await
    }

    /// Returns the manifest of that digest.
    pub(crate) async fn manifest_by_digest(&mut self, digest: ContentDigest) -> Result<Vec<u8>, Error> {
        let name = digest.to_string();
        let (target, what) = (self.target("manifests", &name), format!("{}@{name}", self.repository));
        let bytes = self.get(target, ACCEPT, MANIFEST_BYTES_MAX, &what).await?;
        expect(what, bytes, digest)
    }

    /// Returns the blob of that digest, of at most `bytes_max` bytes.
    pub(crate) async fn blob(&mut self, digest: ContentDigest, bytes_max: u64) -> Result<Vec<u8>, Error> {
        let name = digest.to_string();
        let (target, what) = (self.target("blobs", &name), format!("{} of {}", name, self.repository));
        let bytes = self.get(target, "*/*", bytes_max, &what).await?;
        expect(what, bytes, digest)
    }

    /// Returns the index of what refers to the manifest `digest` and has the type `kind`.
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
        // docker.io is served at another host.
        let host = if &*registry.host == "docker.io" { "registry-1.docker.io" } else { &registry.host };
        let first = Url::of_host(host, !registry.plain_http, target)
            .ok_or_else(|| Error::Local(format!("`{host}` is no host")))?;
        let mut url = first.clone();
        let (mut hops, mut introduced) = (0, false);
        loop {
            let at_home = url.same_server(&first);
            // Another server must not get the credentials.
            let authorization = self.authorization.clone().filter(|_| at_home);
            let asked = Asked { accept, authorization: authorization.as_deref(), form: None };
            let answer = self.send(&url, &first, asked).await?;
            let status = answer.status();
            let host = || url.host_field();
            match status {
                StatusCode::OK => return body(answer, bytes_max, self.timeouts.idle, &url, what).await,
                StatusCode::UNAUTHORIZED if at_home && !introduced => {
                    introduced = true;
                    let headers = answer.headers().clone();
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
                        answer.headers().get(header::LOCATION).and_then(|value| value.to_str().ok());
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
        let anonymous = "anonymous users".to_owned();
        let (who, hint) = match (&self.identity, &self.registry.credentials) {
            (Some(identity), _) => (identity.who.clone(), identity.hint.clone()),
            (None, Some((user, _))) => (format!("user {user}"), None),
            (None, None) => (anonymous, None),
        };
        Error::Denied { host, who, what: what.to_owned(), hint }
    }

    /// Returns the identity for the registry at `first`: from the configuration, otherwise from the credential files.
    fn identity(&self, first: &Url) -> Result<Identity, Error> {
        if let Some((user, password)) = &self.registry.credentials {
            let credentials = Credentials::Password(user.clone(), password.clone());
            return Ok(Identity { credentials: Some(credentials), who: format!("user {user}"), hint: None });
        }
        let found = self.environment.files.find(&self.registry.host, self.repository)?;
        let anonymous = |hint| Identity { credentials: None, who: "anonymous users".to_owned(), hint };
        let Some((credentials, path)) = found.credentials else { return Ok(anonymous(found.hint)) };
        // The same rule applies to the configuration.
        if !first.https && !is_this_machine(&first.host) {
            let hint = format!("those in {} are not sent without TLS", path.display());
            return Ok(anonymous(Some(hint)));
        }
        tracing::debug!(registry = %self.registry.host, file = %path.display(), "credentials of a file are used");
        let who = match &credentials {
            Credentials::Password(user, _) => format!("user {}", one_line(user, 100)),
            Credentials::Identity(_) | Credentials::Token(_) => "the holder of the token".to_owned(),
        };
        Ok(Identity {
            credentials: Some(credentials),
            who: format!("{who} of {}", path.display()),
            hint: None,
        })
    }

    /// Authenticates in the way that the registry asks for.
    async fn introduce(&mut self, headers: &HeaderMap, first: &Url, what: &str) -> Result<(), Error> {
        let fields = headers.get_all(header::WWW_AUTHENTICATE).iter().filter_map(|field| field.to_str().ok());
        let challenge = fields.filter_map(Challenge::parse).next();
        let malformed = |reason: &str| Error::Malformed {
            what: format!("what {} wants to know", first.host_field()),
            reason: reason.to_owned(),
        };
        let challenge = challenge.ok_or_else(|| malformed("it names neither Basic nor Bearer"))?;
        let identity = self.identity(first)?;
        let credentials = identity.credentials.clone();
        self.identity = Some(identity);
        self.authorization = Some(match (challenge, credentials) {
            // The registry has issued this token before.
            (_, Some(Credentials::Token(token))) => {
                auth::bearer_of(&token).ok_or_else(|| self.denied(first.host_field(), what))?
            }
            (Challenge::Basic, Some(Credentials::Password(user, password))) => auth::basic(&(user, password)),
            (Challenge::Basic, _) => return Err(self.denied(first.host_field(), what)),
            (Challenge::Bearer { realm, service }, credentials) => {
                self.token(&realm, service.as_deref(), credentials, first, what).await?
            }
        });
        Ok(())
    }

    /// Returns the value of `Authorization` with a token of the service at `realm`, to which the registry at `first`
    /// refers.
    async fn token(
        &mut self,
        realm: &str,
        service: Option<&str>,
        credentials: Option<Credentials>,
        first: &Url,
        what: &str,
    ) -> Result<String, Error> {
        let mut url = Url::parse(realm, None).ok_or_else(|| referred(first, realm, "which is no address"))?;
        // The scope that the registry suggests does not matter: this is all that is needed.
        let mut query = format!("scope={}", query_value(&format!("repository:{}:pull", self.repository)));
        if let Some(service) = service {
            query.push_str(&format!("&service={}", query_value(service)));
        }
        let (authorization, form) = match credentials {
            // RFC 6749, 6.
            Some(Credentials::Identity(token)) => {
                let token = query_value(&String::from_utf8_lossy(token.expose()));
                let who = format!("&client_id=portcullis&grant_type=refresh_token&refresh_token={token}");
                (None, Some(query + &who))
            }
            Some(Credentials::Password(user, password)) => {
                url.add_query(&query);
                (Some(auth::basic(&(user, password))), None)
            }
            Some(Credentials::Token(_)) | None => {
                url.add_query(&query);
                (None, None)
            }
        };
        let asked = Asked { accept: "application/json", authorization: authorization.as_deref(), form };
        let answer = self.send(&url, first, asked).await?;
        match answer.status() {
            StatusCode::OK => {}
            // An OAuth service answers 400 to a token that it does not know (RFC 6749, 5.2).
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::BAD_REQUEST => {
                return Err(self.denied(url.host_field(), what));
            }
            status => {
                let what = format!("a token for {}", self.repository);
                return Err(Error::Status { host: url.host_field(), what, status: status.as_u16() });
            }
        }
        let answer = body(answer, TOKEN_BYTES_MAX, self.timeouts.idle, &url, "the token").await?;
        auth::bearer(&answer).ok_or_else(|| Error::Malformed {
            what: format!("the token of {}", url.host_field()),
            reason: "there is none in the answer".to_owned(),
        })
    }
}

fn expect(what: String, bytes: Vec<u8>, expected: ContentDigest) -> Result<Vec<u8>, Error> {
    match crate::digest(&bytes) {
        found if found == expected => Ok(bytes),
        found => Err(Error::Digest { what, expected, found }),
    }
}

fn referred(from: &Url, to: &str, why: &'static str) -> Error {
    Error::Referred { host: from.host_field(), to: one_line(to, 200), why }
}

#[cfg(test)]
mod tests;
