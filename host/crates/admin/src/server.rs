//! Answers requests on the control socket.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use serde_json::json;
use tokio::net::UnixStream;

use crate::request::Requests;
use crate::{Refused, private_folder, web};

/// The largest request: it has parameters, not documents.
pub(crate) const REQUEST_BYTES_MAX: usize = 64 << 10;
/// For reading a request, and for writing an answer.
const TRANSFER_TIMEOUT: Duration = Duration::from_secs(10);
/// The path of requests. A change that old command lines cannot read would have another.
pub(crate) const PREFIX: &str = "/v1/";

/// Serves one connection: one request of a permitted user.
pub(crate) async fn serve<H: Send + Sync + 'static>(stream: UnixStream, requests: Arc<Requests<H>>) {
    let peer = match stream.peer_cred() {
        Ok(peer) => peer,
        Err(error) => return tracing::warn!("the control socket cannot tell who asks: {error}"),
    };
    let uid = peer.uid();
    // The socket's mode keeps other users away already. This holds even if an operator has changed the mode.
    if !may_ask(uid, private_folder::user()) {
        return tracing::warn!(uid, "the control socket was asked by another user, who gets no answer");
    }
    let timeout = requests.timeout_max() + 3 * TRANSFER_TIMEOUT;
    let asker = Asker { uid, pid: peer.pid() };
    let spoken = web::speak(stream, false, |request| answer(requests.clone(), asker, request));
    match tokio::time::timeout(timeout, spoken).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!("a connection to the control socket ended: {error}"),
        Err(_) => tracing::debug!("a connection to the control socket took longer than {timeout:?}"),
    }
}

/// Returns whether a gateway of `user` answers this peer.
pub(crate) fn may_ask(peer: u32, user: u32) -> bool {
    peer == user || peer == 0
}

/// The user and process that ask, for the log.
#[derive(Debug, Clone, Copy)]
struct Asker {
    uid: u32,
    pid: Option<i32>,
}

async fn answer<H: Send + Sync + 'static>(
    requests: Arc<Requests<H>>,
    asker: Asker,
    request: Request<Incoming>,
) -> Response<Full<Bytes>> {
    match try_answer(&requests, asker, request).await {
        Ok(body) => response(StatusCode::OK, body),
        Err((status, refused)) => {
            let body = json!({ "error": refused }).to_string().into_bytes();
            let mut response = response(status, body);
            if status == StatusCode::METHOD_NOT_ALLOWED {
                response.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
            }
            response
        }
    }
}

async fn try_answer<H: Send + Sync + 'static>(
    requests: &Requests<H>,
    asker: Asker,
    request: Request<Incoming>,
) -> Result<Vec<u8>, (StatusCode, Refused)> {
    let (parts, body) = request.into_parts();
    let name = parts.uri.path().strip_prefix(PREFIX).unwrap_or_default();
    let Some(kind) = requests.find(name) else {
        return Err((StatusCode::NOT_FOUND, unknown(parts.uri.path(), &requests.names())));
    };
    let may_ask = parts.method == Method::POST || (parts.method == Method::GET && !kind.changes);
    if !may_ask {
        let refused = Refused::new(format!("`{name}` cannot be asked by {}", parts.method));
        return Err((StatusCode::METHOD_NOT_ALLOWED, refused.help("use POST with its parameters as JSON")));
    }
    let body = receive(name, body).await?;
    let answering = requests.begin(kind, &body).map_err(|error| {
        (StatusCode::BAD_REQUEST, Refused::new(format!("these are no parameters of `{name}`: {error}")))
    })?;
    if kind.changes {
        tracing::info!(
            event = "control",
            request = name,
            uid = asker.uid,
            pid = asker.pid,
            "control: {name}"
        );
    } else {
        tracing::debug!(request = name, uid = asker.uid, pid = asker.pid, "control: {name}");
    }
    match tokio::time::timeout(kind.timeout, answering).await {
        Ok(answer) => answer.map_err(|refused| (StatusCode::CONFLICT, refused)),
        Err(_) => {
            let refused = Refused::new(format!("`{name}` took longer than {:?}", kind.timeout));
            Err((StatusCode::GATEWAY_TIMEOUT, refused))
        }
    }
}

async fn receive(name: &str, body: Incoming) -> Result<Bytes, (StatusCode, Refused)> {
    let collected = tokio::time::timeout(TRANSFER_TIMEOUT, Limited::new(body, REQUEST_BYTES_MAX).collect());
    match collected.await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            let refused =
                Refused::new(format!("the parameters of `{name}` take more than {REQUEST_BYTES_MAX} bytes"));
            Err((StatusCode::PAYLOAD_TOO_LARGE, refused))
        }
        Ok(Err(error)) => {
            Err((StatusCode::BAD_REQUEST, Refused::new(format!("the request is not whole: {error}"))))
        }
        Err(_) => Err((StatusCode::REQUEST_TIMEOUT, Refused::new("the request did not come"))),
    }
}

fn unknown(path: &str, names: &[&str]) -> Refused {
    let version = env!("CARGO_PKG_VERSION");
    let refused =
        Refused::new(format!("the gateway that runs (portcullis {version}) answers nothing at {path}"));
    match path.strip_prefix(PREFIX) {
        // The command line is of a later version, which knows the request.
        Some(_) => refused.help(format!(
            "restart the gateway with the version of portcullis that asks; what runs knows {}",
            names.join(", ")
        )),
        None => refused.help(format!("ask for {PREFIX}{}", names.join(&format!(", {PREFIX}")))),
    }
}

fn response(status: StatusCode, mut body: Vec<u8>) -> Response<Full<Bytes>> {
    body.push(b'\n');
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
