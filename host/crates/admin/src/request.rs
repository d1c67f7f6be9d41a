//! What can be asked of a running gateway: requests as types, and the table that finds who answers one.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// One thing that can be asked of a running gateway. The fields of the type are its parameters; both sides of the
/// socket have the type, so that a request that one of them writes is one that the other reads.
///
/// What a later version adds to a request or an answer must have a default (`#[serde(default)]`): the command line and
/// the gateway that runs may be of different versions for a while.
pub trait Request: Serialize + DeserializeOwned + Send + 'static {
    /// What the gateway answers.
    type Answer: Serialize + DeserializeOwned + Send + 'static;

    /// Its name: its path is `/v1/NAME`.
    const NAME: &'static str;

    /// Whether it changes what runs. One that does is told in the log, with who asked; one that does not can be asked
    /// by GET as well.
    const CHANGES: bool;

    /// How long the answer may take.
    const TIMEOUT: Duration = Duration::from_secs(10);
}

/// Who answers requests of one kind: what the gateway gives the socket implements this for each.
pub trait Answers<R: Request>: Send + Sync + 'static {
    /// Returns the answer. The future is dropped when the client goes away or [`Request::TIMEOUT`] is over.
    fn answer(&self, request: R) -> impl Future<Output = Result<R::Answer, Refused>> + Send;
}

/// A request was understood and not carried out, or not understood. It reads as an error of the command line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// What was refused and why, lower case without a full stop.
    pub message: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
}

impl Refused {
    /// A refusal without advice.
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

/// One kind of request, its types forgotten.
pub(crate) struct Kind<H> {
    pub(crate) changes: bool,
    pub(crate) timeout: Duration,
    answer: for<'h> fn(&'h H, &[u8]) -> Result<Answering<'h>, serde_json::Error>,
}

/// The bytes of an answer, to come.
pub(crate) type Answering<'h> = Pin<Box<dyn Future<Output = Result<Vec<u8>, Refused>> + Send + 'h>>;

impl<H: Send + Sync + 'static> Requests<H> {
    /// None yet; `handle` will answer them.
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

    /// The names of all, for who asked for another.
    pub(crate) fn names(&self) -> Vec<&'static str> {
        self.kinds.keys().copied().collect()
    }

    /// The longest that any answer may take.
    pub(crate) fn timeout_max(&self) -> Duration {
        self.kinds.values().map(|kind| kind.timeout).max().unwrap_or_default()
    }

    /// Begins to answer a request of that kind. The error says that `body` is none.
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
    // A request without parameters need not be written.
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
