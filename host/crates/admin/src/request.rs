//! Requests to a running gateway as types, and the table of their handlers.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// A request to a running gateway. The fields of the type are its parameters. Both sides of the socket use the type, so
/// each side can read what the other writes.
///
/// Fields that a later version adds to a request or an answer must have a default (`#[serde(default)]`): the command
/// line and the running gateway may be of different versions for a while.
pub trait Request: Serialize + DeserializeOwned + Send + 'static {
    /// The answer.
    type Answer: Serialize + DeserializeOwned + Send + 'static;

    /// Its name: its path is `/v1/NAME`.
    const NAME: &'static str;

    /// Whether it changes what runs. A request that does is logged with its user; one that does not can also be sent by
    /// GET.
    const CHANGES: bool;

    /// How long the answer may take.
    const TIMEOUT: Duration = Duration::from_secs(10);
}

/// Answers requests of one kind. The handle that the gateway passes to the socket implements this for each.
pub trait Answers<R: Request>: Send + Sync + 'static {
    /// Returns the answer. The future is dropped when the client disconnects or [`Request::TIMEOUT`] has passed.
    fn answer(&self, request: R) -> impl Future<Output = Result<R::Answer, Refused>> + Send;
}

/// A request that was refused or not understood. It reads as an error of the command line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// What was refused and why; lower case, without a full stop.
    pub message: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
}

impl Refused {
    /// Returns a refusal without advice.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), help: None }
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn help(self, help: impl Into<String>) -> Self {
        Self { help: Some(help.into()), ..self }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match &self.help {
            Some(help) => write!(f, "\n  = help: {help}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Refused {}

/// The requests that a gateway answers, by name.
pub struct Requests<H> {
    handle: H,
    kinds: BTreeMap<&'static str, Kind<H>>,
}

/// One kind of request, without its types.
pub(crate) struct Kind<H> {
    pub(crate) changes: bool,
    pub(crate) timeout: Duration,
    answer: for<'h> fn(&'h H, &[u8]) -> Result<Answering<'h>, serde_json::Error>,
}

/// A future of the bytes of an answer.
pub(crate) type Answering<'h> = Pin<Box<dyn Future<Output = Result<Vec<u8>, Refused>> + Send + 'h>>;

impl<H: Send + Sync + 'static> Requests<H> {
    /// Returns an empty set, whose requests `handle` will answer.
    pub fn new(handle: H) -> Self {
        Self { handle, kinds: BTreeMap::new() }
    }

    /// Adds a kind.
    #[must_use]
    pub fn with<R: Request>(mut self) -> Self
    where
        H: Answers<R>,
    {
        let kind = Kind { changes: R::CHANGES, timeout: R::TIMEOUT, answer: answer::<H, R> };
        self.kinds.insert(R::NAME, kind);
        self
    }

    pub(crate) fn find(&self, name: &str) -> Option<&Kind<H>> {
        self.kinds.get(name)
    }

    /// Returns all names, for the answer to an unknown request.
    pub(crate) fn names(&self) -> Vec<&'static str> {
        self.kinds.keys().copied().collect()
    }

    /// Returns the longest timeout of all.
    pub(crate) fn timeout_max(&self) -> Duration {
        self.kinds.values().map(|kind| kind.timeout).max().unwrap_or_default()
    }

    /// Starts to answer a request of that kind. Returns an error if `body` is not such a request.
    pub(crate) fn begin<'h>(
        &'h self,
        kind: &Kind<H>,
        body: &[u8],
    ) -> Result<Answering<'h>, serde_json::Error> {
        (kind.answer)(&self.handle, body)
    }
}

fn answer<'h, H: Answers<R>, R: Request>(
    handle: &'h H,
    body: &[u8],
) -> Result<Answering<'h>, serde_json::Error> {
    // A request without parameters may have an empty body.
    let body = if body.trim_ascii().is_empty() { b"{}" } else { body };
    let request: R = serde_json::from_slice(body)?;
    Ok(Box::pin(async move {
        let answer = handle.answer(request).await?;
        serde_json::to_vec(&answer)
            .map_err(|error| Refused::new(format!("the answer to `{}` cannot be written: {error}", R::NAME)))
    }))
}

impl<H> fmt::Debug for Requests<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.kinds.keys()).finish()
    }
}
