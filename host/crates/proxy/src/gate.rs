//! The way to an upstream that bounds its exchanges: through at once, or after a wait.

use std::sync::Arc;

use portcullis_model::UpstreamLimits;
use portcullis_telemetry::UpstreamMetrics;
use portcullis_traffic::{Counts, InFlight, Limiter, NoPick, Pick};
use tokio::sync::Notify;

/// Bounds the exchanges of an upstream on all workers. It outlives reloads.
#[derive(Debug)]
pub(crate) struct Gate {
    limiter: Limiter,
    /// Wakes the request that has waited for longest.
    freed: Notify,
    metrics: Arc<UpstreamMetrics>,
}

/// The room of one exchange. Dropping it wakes the next request that waits.
#[derive(Debug)]
pub(crate) struct Room(Arc<Gate>);

/// A request that waits until this is dropped.
#[derive(Debug)]
pub(crate) struct Waiting(Arc<Gate>);

/// An exchange that is under way at an endpoint until this is dropped.
// In this order: the request that is woken must find the endpoint's count lowered.
#[derive(Debug)]
pub(crate) struct UnderWay {
    _in_flight: InFlight,
    _room: Option<Room>,
}

impl UnderWay {
    pub(crate) fn new(in_flight: InFlight, room: Option<Room>) -> Self {
        Self { _in_flight: in_flight, _room: room }
    }
}

impl Gate {
    /// A gate to an upstream without exchanges.
    pub(crate) fn new(metrics: Arc<UpstreamMetrics>) -> Self {
        Self { limiter: Limiter::default(), freed: Notify::new(), metrics }
    }

    /// Takes room for an exchange at the endpoint that `pick` chooses. While others wait, only one that `waits` itself
    /// gets in.
    pub(crate) fn enter(
        self: &Arc<Self>,
        limits: &UpstreamLimits,
        waits: bool,
        pick: impl FnOnce() -> Result<Pick, NoPick>,
    ) -> Result<(Pick, Room), NoPick> {
        let mut why = NoPick::Full;
        let picked =
            self.limiter.enter(limits.requests_max, waits, || pick().map_err(|error| why = error).ok());
        let pick = picked.ok_or(why)?;
        self.metrics.enter();
        Ok((pick, Room(self.clone())))
    }

    /// Chooses another endpoint for an exchange that has its room.
    pub(crate) fn again(&self, pick: impl FnOnce() -> Result<Pick, NoPick>) -> Result<Pick, NoPick> {
        self.limiter.locked(pick)
    }

    /// Has a request wait, unless as many do as may.
    pub(crate) fn wait(self: &Arc<Self>, limits: &UpstreamLimits) -> Option<Waiting> {
        self.limiter.begin_waiting(limits.waiting_max).then(|| {
            self.metrics.begin_waiting();
            Waiting(self.clone())
        })
    }

    /// Returns the notification of a request that waits. Only those that are enabled are woken.
    pub(crate) fn freed(&self) -> tokio::sync::futures::Notified<'_> {
        self.freed.notified()
    }

    /// Wakes all that wait: there may be room for several.
    pub(crate) fn wake(&self) {
        self.freed.notify_waiters();
    }

    /// Returns how many exchanges are under way, and how many requests wait.
    pub(crate) fn counts(&self) -> Counts {
        self.limiter.counts()
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.0.metrics.leave();
        if self.0.limiter.leave() {
            self.0.freed.notify_one();
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.metrics.end_waiting();
        // There may be room for the next one as well; if not, it goes on waiting.
        if self.0.limiter.end_waiting() {
            self.0.freed.notify_one();
        }
    }
}
