//! Asks a running gateway, from the command line.

use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::StatusCode;
use hyper::header::{CONTENT_TYPE, HOST};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::net::UnixStream;

use crate::server::PREFIX;
use crate::{Refused, Request, private_folder};

/// The largest answer: the status of ten thousand routes is a tenth of that.
const ANSWER_BYTES_MAX: usize = 64 << 20;
/// Added to the time that the gateway takes to answer: for connecting, and for the transfer of the answer.
const EXTRA_TIME: Duration = Duration::from_secs(10);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AskError {
    /// No gateway listens at any of the places.
    #[error("no gateway answers; its control socket was looked for at {}", list(places))]
    NotRunning {
        /// The places that were tried.
        places: Vec<PathBuf>,
    },
    /// There is a socket, and it cannot be used.
    #[error("the control socket {} cannot be used: {reason}", path.display())]
    Unusable {
        /// The socket.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// The gateway refused.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// This process could not ask.
    #[error("the control socket cannot be asked: {0}")]
    Runtime(io::Error),
}

fn list(places: &[PathBuf]) -> String {
    let places: Vec<String> = places.iter().map(|place| place.display().to_string()).collect();
    places.join(", ")
}

/// Asks the gateway whose socket is at the first of `places` at which one listens, and waits for the answer. It
/// blocks the thread, and is not for one that has a runtime.
///
/// # Errors
/// If no gateway listens, if it is another user's, and if it refuses.
pub fn ask<R: Request>(places: &[PathBuf], request: &R) -> Result<R::Answer, AskError> {
    ask_known(places, request, |_, _| ())
}

/// As [`ask`], and calls `of_another` with the socket and its user if the gateway is another user's, which root may
/// ask.
///
/// # Errors
/// As [`ask`].
pub fn ask_known<R: Request>(
    places: &[PathBuf],
    request: &R,
    of_another: impl FnOnce(&Path, u32),
) -> Result<R::Answer, AskError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(AskError::Runtime)?.block_on(async {
        for place in places {
            if let Some((stream, peer)) = connect(place).await? {
                if peer != private_folder::user() {
                    of_another(place, peer);
                }
                return exchange(place, stream, request).await;
            }
        }
        Err(AskError::NotRunning { places: places.to_vec() })
    })
}

/// Returns a connection to the gateway at `path` and the user that it runs as, or `None` if none listens there.
async fn connect(path: &Path) -> Result<Option<(UnixStream, u32)>, AskError> {
    let unusable = |reason: String| AskError::Unusable { path: path.to_path_buf(), reason };
    let stream = match within(EXTRA_TIME, UnixStream::connect(path)).await.map_err(unusable)? {
        Ok(stream) => stream,
        // A gateway that was killed leaves its socket behind.
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
            return Ok(None);
        }
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            return Err(unusable("it is another user's; ask as that user or as root".to_owned()));
        }
        Err(error) => return Err(unusable(error.to_string())),
    };
    let peer = stream.peer_cred().map_err(|error| unusable(error.to_string()))?.uid();
    let user = private_folder::user();
    // Root may ask every gateway; any other user trusts only a gateway of its own or of root.
    if peer != user && peer != 0 && user != 0 {
        return Err(unusable(format!("user {peer} answers there, and this is user {user}")));
    }
    Ok(Some((stream, peer)))
}

/// What a gateway returns instead of an answer.
#[derive(Deserialize)]
struct Complaint {
    error: Refused,
}

async fn exchange<R: Request>(path: &Path, stream: UnixStream, request: &R) -> Result<R::Answer, AskError> {
    let unusable = |reason: String| AskError::Unusable { path: path.to_path_buf(), reason };
    let body = serde_json::to_vec(request).map_err(|error| unusable(error.to_string()))?;
    let (status, body) = within(R::TIMEOUT + EXTRA_TIME, send(stream, R::NAME, body))
        .await
        .and_then(|answer| answer)
        .map_err(unusable)?;
    if status == StatusCode::OK {
        return serde_json::from_slice(&body).map_err(|error| {
            unusable(format!("the answer to `{}` is not what was expected: {error}", R::NAME))
        });
    }
    Err(match serde_json::from_slice::<Complaint>(&body) {
        Ok(complaint) => AskError::Refused(complaint.error),
        Err(_) => unusable(format!("what answers there is no gateway: it said {status}")),
    })
}

async fn send(stream: UnixStream, name: &str, body: Vec<u8>) -> Result<(StatusCode, Bytes), String> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(|error| text(&error))?;
    let request = hyper::Request::post(format!("{PREFIX}{name}"))
        .header(HOST, "portcullis")
        .header(CONTENT_TYPE, "application/json")
        .body(Full::new(Bytes::from(body)))
        .map_err(|error| text(&error))?;
    let asked = async {
        let response = sender.send_request(request).await.map_err(|error| text(&error))?;
        let status = response.status();
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
        Ok((status, body.map_err(|error| text(&error))?.to_bytes()))
    };
    tokio::pin!(connection);
    let mut asked = std::pin::pin!(asked);
    tokio::select! {
        answer = &mut asked => answer,
        // Data that was read before the connection ended can still be used.
        ended = &mut connection => match ended {
            Ok(()) => asked.await,
            Err(error) => Err(text(&error)),
        },
    }
}

async fn within<T>(timeout: Duration, future: impl Future<Output = T>) -> Result<T, String> {
    tokio::time::timeout(timeout, future).await.map_err(|_| format!("it gave no answer within {timeout:?}"))
}
