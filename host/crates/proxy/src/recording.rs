//! Records exchanges that an operator has asked for.
//!
//! A worker reads one flag for each exchange. It does more only while a recording runs, and only for exchanges that
//! match. Recorded exchanges go through a bounded channel to the command that asked for them.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, MutexGuard};

use portcullis_http::{RequestHead, ResponseHead};
use portcullis_model::{Lock, Name};
use portcullis_policy::recorder::{Effects, HookRecord, Recorder};
use portcullis_policy::{ClientInfo, Exchange};
use tokio::sync::mpsc;

use crate::snapshot::Snapshot;

/// Recordings that may run at the same time.
const RECORDINGS_MAX: usize = 8;

/// Which exchanges to record (those that meet all conditions), and how many.
#[derive(Debug, Clone)]
pub struct RecordingRequest {
    /// Of this route.
    pub route: Name,
    /// With this method.
    pub method: Option<String>,
    /// With this path, or with one that begins with it if it ends in `*`.
    pub path: Option<String>,
    /// With a line of this field that has this value; `None` asks only that it is there.
    pub fields: Vec<(String, Option<String>)>,
    /// Of this client.
    pub client: Option<IpAddr>,
    /// How many of them.
    pub count: usize,
    /// Bytes of notes that are kept of each.
    pub bytes_max: usize,
}

/// An exchange that was recorded.
#[derive(Debug)]
pub struct Recorded {
    /// The generation that it ran on.
    pub snapshot: Arc<Snapshot>,
    /// Its route.
    pub route: Name,
    /// The upstreams among which its policies could choose.
    pub upstreams: Arc<[Name]>,
    /// Its trace id.
    pub trace_id: String,
    /// Who sent the request.
    pub client: ClientInfo,
    /// The request as its first policy saw it.
    pub request: RequestHead,
    /// The response as its first policy saw it; `None` if none did.
    pub response: Option<ResponseHead>,
    /// The hooks that ran, in order.
    pub hooks: Vec<HookRecord>,
    /// Notes that were dropped at the limit.
    pub left_out: usize,
    /// The status that the client got; 0 if it got none.
    pub status: u16,
}

/// The recordings that run. Cheap to clone; all clones are one.
#[derive(Debug, Clone, Default)]
pub struct Recordings(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// Whether a recording runs.
    active: AtomicBool,
    running: Lock<Vec<Arc<ActiveRecording>>>,
}

#[derive(Debug)]
struct ActiveRecording {
    request: RecordingRequest,
    /// Exchanges that may still be recorded.
    left: AtomicUsize,
    send: mpsc::Sender<Box<Recorded>>,
}

/// Recorded exchanges, in the order in which they end. Dropping it ends the recording.
#[derive(Debug)]
pub struct RecordingStream {
    recordings: Recordings,
    active: Arc<ActiveRecording>,
    receive: mpsc::Receiver<Box<Recorded>>,
}

/// Too many recordings run already.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("{RECORDINGS_MAX} recordings are under way already")]
pub struct TooManyRecordings;

impl Recordings {
    /// Records exchanges that begin from now on.
    ///
    /// # Errors
    /// If too many recordings run already.
    pub fn start(&self, request: RecordingRequest) -> Result<RecordingStream, TooManyRecordings> {
        let mut list = self.lock();
        if list.len() >= RECORDINGS_MAX {
            return Err(TooManyRecordings);
        }
        let (send, receive) = mpsc::channel(request.count.max(1));
        let active = Arc::new(ActiveRecording { left: AtomicUsize::new(request.count), request, send });
        list.push(active.clone());
        self.0.active.store(true, Ordering::Relaxed);
        Ok(RecordingStream { recordings: self.clone(), active, receive })
    }

    /// Returns whether a recording runs.
    #[inline]
    pub(crate) fn is_active(&self) -> bool {
        self.0.active.load(Ordering::Relaxed)
    }

    /// Starts to record `exchange`, whose route was found and whose policies have not run, if a recording wants it.
    #[cold]
    pub(crate) fn begin(&self, exchange: &mut Exchange, snapshot: &Arc<Snapshot>) -> Option<Box<Recording>> {
        let fits = |active: &&Arc<ActiveRecording>| active.request.fits(exchange) && active.take();
        let active = self.lock().iter().find(fits)?.clone();
        let recorder = Recorder::new(Effects::All);
        exchange.recorder = Some(Box::new(recorder.with_bytes_max(active.request.bytes_max)));
        Some(Box::new(Recording {
            snapshot: snapshot.clone(),
            request: exchange.request.clone(),
            client: exchange.client.clone(),
            active: Some(active),
        }))
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<ActiveRecording>>> {
        self.0.running.lock()
    }
}

impl RecordingRequest {
    fn fits(&self, exchange: &Exchange) -> bool {
        let request = &exchange.request;
        let path = self.path.as_deref().is_none_or(|path| match path.strip_suffix('*') {
            Some(start) => request.path().starts_with(start),
            None => request.path() == path,
        });
        let field = |(name, value): &(String, Option<String>)| request.fields.holds(name, value.as_deref());
        self.route == exchange.route
            && self.method.as_ref().is_none_or(|method| *method == request.method)
            && path
            && self.client.is_none_or(|client| client == exchange.client.address)
            && self.fields.iter().all(field)
    }
}

impl ActiveRecording {
    /// Counts one exchange. Returns `false` if there were enough.
    fn take(&self) -> bool {
        self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
    }
}

impl RecordingStream {
    /// Returns the next exchange as soon as it has ended. Dropping the future loses none.
    pub async fn next(&mut self) -> Option<Box<Recorded>> {
        self.receive.recv().await
    }

    /// Returns the next exchange that has ended already.
    pub fn next_ended(&mut self) -> Option<Box<Recorded>> {
        self.receive.try_recv().ok()
    }
}

impl Drop for RecordingStream {
    fn drop(&mut self) {
        let mut list = self.recordings.lock();
        list.retain(|active| !Arc::ptr_eq(active, &self.active));
        self.recordings.0.active.store(!list.is_empty(), Ordering::Relaxed);
    }
}

/// An exchange that is being recorded. If it is dropped before its end, another one may be recorded instead.
#[derive(Debug)]
pub(crate) struct Recording {
    snapshot: Arc<Snapshot>,
    request: RequestHead,
    client: ClientInfo,
    active: Option<Arc<ActiveRecording>>,
}

impl Recording {
    /// Hands the exchange over, after its last hook.
    pub(crate) fn end(mut self: Box<Self>, exchange: &mut Exchange, status: u16) {
        let (Some(active), Some(recorder)) = (self.active.take(), exchange.recorder.take()) else { return };
        let response = recorder.response().cloned();
        let left_out = recorder.left_out();
        let recorded = Recorded {
            snapshot: self.snapshot.clone(),
            route: exchange.route.clone(),
            upstreams: exchange.upstreams.clone(),
            trace_id: exchange.trace_id.clone(),
            client: std::mem::take(&mut self.client),
            request: std::mem::take(&mut self.request),
            response,
            hooks: recorder.into_hooks(),
            left_out,
            status,
        };
        // There is room for all that were started. The receiver may be gone.
        let _unheard = active.send.try_send(Box::new(recorded)).is_err();
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        if let Some(active) = self.active.take() {
            active.left.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests;
