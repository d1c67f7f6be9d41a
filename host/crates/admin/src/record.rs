//! `record`: exchanges of clients, with all that their policies did, for a replay.

use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::Request;

/// Asks to record the next exchanges that match. The answer comes when all of them have ended, the time has passed, or
/// a [`RecordEndRequest`] ends it. A client that disconnects before ends the recording without an answer.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct RecordRequest {
    /// Of this route.
    pub route: String,
    /// With this method.
    pub method: Option<String>,
    /// With this path, or with one that begins with it if it ends in `*`.
    pub path: Option<String>,
    /// With a line of this field that has this value; without a value it must only be there.
    pub fields: Vec<(String, Option<String>)>,
    /// Of this client.
    pub client: Option<IpAddr>,
    /// How many: 1 to [`Self::COUNT_MAX`].
    pub count: usize,
    /// Seconds after which it ends: 1 to [`Self::SECONDS_MAX`].
    pub seconds: u64,
    /// Bytes of notes that are kept of each: up to [`Self::BYTES_MAX`] over all of them.
    pub bytes: usize,
    /// Fields that are kept although their names say that they are secret.
    pub keep_fields: Vec<String>,
    /// A name by which it can be ended early; empty for none.
    pub id: String,
}

/// Asks to end a recording now, which is then answered with what it has.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct RecordEndRequest {
    /// The [`RecordRequest::id`] of the recording.
    pub id: String,
}

impl Request for RecordEndRequest {
    type Answer = ();
    const NAME: &'static str = "record-end";
    const CHANGES: bool = true;
}

/// What was recorded.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct RecordAnswer {
    /// The records, in the order in which the exchanges ended.
    pub records: Vec<serde_json::Value>,
}

impl RecordRequest {
    /// Exchanges that one request may ask for.
    pub const COUNT_MAX: usize = 100;
    /// Seconds that it may take.
    pub const SECONDS_MAX: u64 = 600;
    /// Bytes of notes over all of them. As JSON they can be twice that, which an answer has room for.
    pub const BYTES_MAX: usize = 16 << 20;
}

impl Request for RecordRequest {
    type Answer = RecordAnswer;
    const NAME: &'static str = "record";
    /// It changes nothing, but the log should show that traffic was recorded, and by which user.
    const CHANGES: bool = true;
    const TIMEOUT: Duration = Duration::from_secs(Self::SECONDS_MAX + 10);
}
