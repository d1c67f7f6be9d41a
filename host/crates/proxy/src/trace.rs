//! What is noted of an exchange on its way, for its record, its policies and its metrics.

use portcullis_model::Name;
use portcullis_traffic::InFlight;
use tokio::time::Instant;

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
    /// The last endpoint that was tried.
    pub(crate) endpoint: Option<Name>,
    /// Counts as under way at the endpoint for as long as this is kept.
    pub(crate) in_flight: Option<InFlight>,
    /// What went wrong.
    pub(crate) error: Option<String>,
}

impl Trace {
    /// Notes of an exchange that starts now.
    pub(crate) fn start() -> Self {
        Self {
            started: Instant::now(),
            forwarded: None,
            answered: None,
            attempts: 0,
            endpoint: None,
            in_flight: None,
            error: None,
        }
    }

    /// Keeps the first thing that went wrong: what follows is mostly its consequence.
    pub(crate) fn fail(&mut self, error: &dyn std::fmt::Display) {
        if self.error.is_none() {
            self.error = Some(error.to_string());
        }
    }
}
