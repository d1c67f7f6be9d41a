//! Exchanges that somebody asked to be recorded.
//!
//! A worker looks at one flag for each exchange; only while somebody asks, and only for exchanges that fit, is more done
//! than that. What was recorded goes through a bounded channel to whoever asked.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, MutexGuard};

use portcullis_http::{RequestHead, ResponseHead};
use portcullis_model::{Lock, Name};
use portcullis_policy::recorder::{Effects, HookRecord, Recorder};
use portcullis_policy::{ClientInfo, Exchange};
use tokio::sync::mpsc;

use crate::snapshot::Snapshot;

/// Who may ask at the same time.
const ASKED_MAX: usize = 8;

/// Which exchanges are wanted: all conditions hold.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Of this route.
    pub route: Name,
    /// With this method.
    pub method: Option<String>,
    /// With this path, or with one that begins with it where it ends in `*`.
    pub path: Option<String>,
    /// With a line of this field that has this value; `None` asks only that it is there.
    pub fields: Vec<(String, Option<String>)>,
    /// Of this client.
    pub client: Option<IpAddr>,
    /// So many of them.
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
    /// The request as its first policy met it.
    pub request: RequestHead,
    /// The response as its first policy met it; `None` where none did.
    pub response: Option<ResponseHead>,
    /// The hooks that ran, in order.
    pub hooks: Vec<HookRecord>,
    /// Notes that found no place.
    pub left_out: usize,
    /// The status that the client got; 0 where it got none.
    pub status: u16,
}

/// All who ask. Cheap to clone; all clones are one.
#[derive(Debug, Clone, Default)]
pub struct Recordings(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// Whether anybody asks.
    active: AtomicBool,
    asked: Lock<Vec<Arc<Asked>>>,
}

#[derive(Debug)]
struct Asked {
    wanted: Wanted,
    /// Exchanges that may still be begun.
    left: AtomicUsize,
    send: mpsc::Sender<Box<Recorded>>,
}

/// Recorded exchanges as they come. Dropping it ends the recording.
#[derive(Debug)]
pub struct Asking {
    recordings: Recordings,
    asked: Arc<Asked>,
    receive: mpsc::Receiver<Box<Recorded>>,
}

/// Too many ask already.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("{ASKED_MAX} recordings are under way already")]
pub struct TooManyRecordings;

impl Recordings {
    /// Records exchanges that begin from now on.
    ///
    /// # Errors
    /// Where too many ask already.
    pub fn ask(&self, wanted: Wanted) -> Result<Asking, TooManyRecordings> {
        let mut list = self.lock();
        if list.len() >= ASKED_MAX {
            return Err(TooManyRecordings);
        }
        let (send, receive) = mpsc::channel(wanted.count.max(1));
        let asked = Arc::new(Asked { left: AtomicUsize::new(wanted.count), wanted, send });
        list.push(asked.clone());
        self.0.active.store(true, Ordering::Relaxed);
        Ok(Asking { recordings: self.clone(), asked, receive })
    }

    /// Whether anybody asks.
    #[inline]
    pub(crate) fn is_active(&self) -> bool {
        self.0.active.load(Ordering::Relaxed)
    }

    /// Begins to record `exchange`, whose route was found and whose policies have not run, if somebody wants it.
    #[cold]
    pub(crate) fn begin(&self, exchange: &mut Exchange, snapshot: &Arc<Snapshot>) -> Option<Box<Recording>> {
        let fits = |asked: &&Arc<Asked>| asked.wanted.fits(exchange) && asked.take();
        let asked = self.lock().iter().find(fits)?.clone();
        let recorder = Recorder::new(Effects::All);
        exchange.recorder = Some(Box::new(recorder.with_bytes_max(asked.wanted.bytes_max)));
        Some(Box::new(Recording {
            snapshot: snapshot.clone(),
            request: exchange.request.clone(),
            client: exchange.client.clone(),
            asked: Some(asked),
        }))
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Asked>>> {
        self.0.asked.lock()
    }
}

impl Wanted {
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

impl Asked {
    /// Takes one of those that may be begun.
    fn take(&self) -> bool {
        self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
    }
}

impl Asking {
    /// The next one, as soon as its exchange has ended. Dropping the future loses none.
    pub async fn next(&mut self) -> Option<Box<Recorded>> {
        self.receive.recv().await
    }

    /// Returns the next one whose exchange has ended already.
    pub fn next_ended(&mut self) -> Option<Box<Recorded>> {
        self.receive.try_recv().ok()
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        let mut list = self.recordings.lock();
        list.retain(|asked| !Arc::ptr_eq(asked, &self.asked));
        self.recordings.0.active.store(!list.is_empty(), Ordering::Relaxed);
    }
}

/// An exchange that is being recorded. Where it is dropped before its end, another one may take its place.
#[derive(Debug)]
pub(crate) struct Recording {
    snapshot: Arc<Snapshot>,
    request: RequestHead,
    client: ClientInfo,
    asked: Option<Arc<Asked>>,
}

impl Recording {
    /// The exchange has ended, its last hook included.
    pub(crate) fn end(mut self: Box<Self>, exchange: &mut Exchange, status: u16) {
        let (Some(asked), Some(recorder)) = (self.asked.take(), exchange.recorder.take()) else { return };
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
        // There is room for as many as were begun; whoever asked may have gone.
        let _unheard = asked.send.try_send(Box::new(recorded)).is_err();
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        if let Some(asked) = self.asked.take() {
            asked.left.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests;
