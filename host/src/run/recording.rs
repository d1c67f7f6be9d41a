//! Recordings from the gateway's side: begins one, collects its exchanges, ends it early.

use std::collections::BTreeMap;
use std::sync::{Arc, MutexGuard};
use std::time::Duration;

use portcullis_admin::{RecordAnswer, RecordRequest, Refused};
use portcullis_inspect::recording_to_json;
use portcullis_model::text::escape as shown;
use portcullis_model::{Lock, Name};
use portcullis_proxy::{RecordingRequest, RecordingStream, Recordings, Snapshot};
use serde_json::Value;
use tokio::sync::Notify;

use crate::words::counted;

/// Begins what was asked for. Gives the recording, and when it ends.
///
/// # Errors
/// If it is out of bounds, or names a route that is not running.
pub(crate) fn begin(
    recordings: &Recordings,
    snapshot: &Snapshot,
    request: &RecordRequest,
) -> Result<(RecordingStream, Duration), Refused> {
    let routes = &snapshot.gateway().routes;
    let Some(route) = routes.iter().find(|route| *route.name == *request.route) else {
        let names: Vec<&str> = routes.iter().map(|route| &*route.name).collect();
        let refused = Refused::new(format!("there is no route `{}`", shown(&request.route)));
        return Err(refused.help(format!("the routes are {}", names.join(", "))));
    };
    for (what, value, max) in [
        ("exchanges", request.count, RecordRequest::COUNT_MAX),
        (
            "seconds",
            usize::try_from(request.seconds).unwrap_or(usize::MAX),
            RecordRequest::SECONDS_MAX as usize,
        ),
        ("bytes of all of them", request.count.saturating_mul(request.bytes), RecordRequest::BYTES_MAX),
    ] {
        if !(1..=max).contains(&value) {
            return Err(Refused::new(format!("a recording of {value} {what} is out of bounds: 1 to {max}")));
        }
    }
    let filter = RecordingRequest {
        route: Name::clone(&route.name),
        method: request.method.clone(),
        path: request.path.clone(),
        fields: request.fields.clone(),
        client: request.client,
        count: request.count,
        bytes_max: request.bytes,
    };
    let stream = recordings.start(filter).map_err(|error| Refused::new(error.to_string()))?;
    let (route, count, seconds) = (&*route.name, request.count, request.seconds);
    tracing::info!(
        event = "recording",
        state = "begun",
        route,
        "recording up to {} of route `{route}`, for up to {seconds} s",
        counted(count as u64, "exchange")
    );
    Ok((stream, Duration::from_secs(request.seconds)))
}

/// Waits for the exchanges, up to `time` or until `end` is notified. Dropping the future ends the recording.
pub(crate) async fn collect(
    stream: RecordingStream,
    time: Duration,
    request: &RecordRequest,
    end: &End,
) -> RecordAnswer {
    let mut collected =
        Collected { route: &request.route, stream: Some(stream), records: Vec::new(), heard: false };
    let all = async {
        while collected.records.len() < request.count {
            let Some(stream) = &mut collected.stream else { break };
            let Some(recorded) = stream.next().await else { break };
            collected.records.push(recording_to_json(&recorded, &request.keep_fields));
        }
    };
    tokio::select! {
        _in_time = tokio::time::timeout(time, all) => {}
        () = end.told.notified() => {}
    }
    // Exchanges that have ended by then are in the answer, also if they were not taken from the channel yet.
    while let Some(recorded) = collected.stream.as_mut().and_then(RecordingStream::next_ended) {
        collected.records.push(recording_to_json(&recorded, &request.keep_fields));
    }
    collected.heard = true;
    collected.end();
    RecordAnswer { records: std::mem::take(&mut collected.records) }
}

/// The records so far. Its end is logged, even if the client is gone.
struct Collected<'a> {
    route: &'a str,
    stream: Option<RecordingStream>,
    records: Vec<Value>,
    /// Whether the client is still connected.
    heard: bool,
}

impl Collected<'_> {
    fn end(&mut self) {
        if self.stream.take().is_none() {
            return;
        }
        let (route, count) = (self.route, self.records.len());
        let unheard = if self.heard { "" } else { ", and the command that asked for it is gone" };
        tracing::info!(
            event = "recording",
            state = "ended",
            route,
            count,
            "the recording of route `{route}` has ended with {}{unheard}",
            counted(count as u64, "exchange")
        );
    }
}

impl Drop for Collected<'_> {
    fn drop(&mut self) {
        self.end();
    }
}

/// The recordings that can be ended early, by their names. Cheap to clone; all clones are one.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ends(Arc<Lock<BTreeMap<String, Arc<Notify>>>>);

/// A recording that can be ended early, for as long as this is kept.
#[derive(Debug)]
pub(crate) struct End {
    ends: Ends,
    id: String,
    told: Arc<Notify>,
}

impl Ends {
    /// A recording of that name. There are no more of them than there are recordings, of which there is a bounded
    /// number.
    pub(crate) fn of(&self, id: &str) -> End {
        let end = End { ends: self.clone(), id: id.to_owned(), told: Arc::default() };
        if !id.is_empty() {
            self.lock().insert(end.id.clone(), end.told.clone());
        }
        end
    }

    /// Ends the recording of that name, and says whether there is one.
    pub(crate) fn end(&self, id: &str) -> bool {
        let told = self.lock().get(id).cloned();
        told.is_some_and(|told| {
            told.notify_one();
            true
        })
    }

    // Nothing is done under the lock that could panic half-way.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Notify>>> {
        self.0.lock()
    }
}

impl Drop for End {
    fn drop(&mut self) {
        let mut ends = self.ends.lock();
        // Another may have taken the name since.
        if ends.get(&self.id).is_some_and(|told| Arc::ptr_eq(told, &self.told)) {
            ends.remove(&self.id);
        }
    }
}
