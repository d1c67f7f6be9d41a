//! `reload`: load the configuration again, and return the outcome.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::Request;

/// Asks the gateway to load its configuration again, as SIGHUP does, and waits for the outcome.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ReloadRequest {}

impl Request for ReloadRequest {
    type Answer = ReloadAnswer;
    const NAME: &'static str = "reload";
    const CHANGES: bool = true;
    /// A plugin that contains a language runtime takes a minute to compile, and the load before it may have one as
    /// well.
    const TIMEOUT: Duration = Duration::from_secs(600);
}

/// The outcome of a reload.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ReloadAnswer {
    /// The generation that runs now: the next one, or the one before if it was refused.
    pub generation: u64,
    /// What is wrong with the configuration, as `portcullis validate` prints it; absent if it runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
    /// The number of mistakes in `refused`.
    pub errors: usize,
    /// What has changed, in a sentence.
    pub changes: String,
    /// Settings that have changed and wait for a restart.
    pub restart: Vec<String>,
    /// Milliseconds that it took.
    pub took_ms: u64,
}
