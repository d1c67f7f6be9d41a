//! What is noted of an exchange on its way, for its record, its policies and its metrics.

use std::rc::Rc;

use portcullis_traffic::InFlight;
use tokio::time::Instant;

use crate::recording::Recording;
use crate::upstream::LocalUpstream;

/// Notes of one exchange.
#[derive(Debug)]
pub(crate) struct Trace {
    /// When its head was complete.
    pub(crate) started: Instant,
    /// When its upstream was asked.
    pub(crate) forwarded: Option<Instant>,
    /// When the upstream's head was there.
    pub(crate) answered: Option<Instant>,
    /// Endpoints that were tried.
    pub(crate) attempts: u32,
    /// The last endpoint that was tried: its upstream and its index. Its name, which all workers share, is looked up when
    /// it is needed: counting references to it would have the workers fight for one cache line.
    pub(crate) asked: Option<(Rc<LocalUpstream>, usize)>,
    /// Counts as under way at the endpoint for as long as this is kept.
    pub(crate) in_flight: Option<InFlight>,
    /// What went wrong.
    pub(crate) error: Option<String>,
    /// Where somebody asked for it to be recorded.
    pub(crate) recording: Option<Box<Recording>>,
}

impl Trace {
    /// Notes of an exchange that starts now.
    pub(crate) fn start() -> Self {
        Self {
            started: Instant::now(),
            forwarded: None,
            answered: None,
            attempts: 0,
            asked: None,
            in_flight: None,
            error: None,
            recording: None,
        }
    }

    /// The address of the last endpoint that was tried.
    pub(crate) fn endpoint(&self) -> Option<&str> {
        self.asked.as_ref().map(|(upstream, at)| upstream.address(*at))
    }

    /// Keeps the first thing that went wrong: what follows is mostly its consequence.
    pub(crate) fn fail(&mut self, error: &dyn std::fmt::Display) {
        if self.error.is_none() {
            self.error = Some(error.to_string());
        }
    }
}
