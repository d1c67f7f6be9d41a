//! Limits how many lines one place in the code may log, because data of a peer can cause many of them.
//!
//! The gateway limits its own lines about peers where it writes them. This limit is for places where that was
//! forgotten, and for libraries, which log whatever a client causes: a line for each odd frame is ten times the
//! client's bytes.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use portcullis_model::Lock;

use tracing::callsite::Identifier;
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Filter};

/// The time for which lines are counted together.
const WINDOW: Duration = Duration::from_secs(1);

/// Lines of one place in the gateway's crates in a window: more than a reload or an outage of a whole upstream writes.
const LINES_MAX: u32 = 100;

/// The same for a library.
const LIBRARY_LINES_MAX: u32 = 5;

/// Places that are counted separately. There are some hundred in the whole program.
const PLACES_MAX: usize = 1000;

/// Lets the first lines of each place in each window through.
#[derive(Debug)]
pub(crate) struct LineLimit {
    places: Lock<HashMap<Identifier, Place>>,
    /// Gets the target of a place and the number of its lines that were dropped.
    report: fn(&'static str, u64),
}

/// The lines that one place has logged.
#[derive(Debug)]
struct Place {
    target: &'static str,
    begun: Instant,
    lines: u32,
    left_out: u64,
}

impl LineLimit {
    /// Returns a limit that reports dropped lines to `report`, at the latest with the next line of any place.
    pub(crate) fn new(report: fn(&'static str, u64)) -> Self {
        Self { places: Lock::default(), report }
    }

    /// Returns whether a line may be written at `now`.
    fn admit(&self, metadata: &Metadata<'static>, now: Instant) -> bool {
        let Some(lines_max) = lines_max(metadata.target()) else { return true };
        let mut places = self.places.lock();
        let mut left_out = Vec::new();
        places.retain(|_, place| {
            let is_over = now.duration_since(place.begun) >= WINDOW;
            if is_over && place.left_out > 0 {
                left_out.push((place.target, place.left_out));
            }
            !is_over
        });
        let is_known = places.contains_key(&metadata.callsite());
        let admitted = if is_known || places.len() < PLACES_MAX {
            let new = || Place { target: metadata.target(), begun: now, lines: 0, left_out: 0 };
            let place = places.entry(metadata.callsite()).or_insert_with(new);
            let fits = place.lines < lines_max;
            place.lines += u32::from(fits);
            place.left_out += u64::from(!fits);
            fits
        } else {
            false
        };
        drop(places);
        for (target, lines) in left_out {
            (self.report)(target, lines);
        }
        admitted
    }
}

/// Returns how many lines a place with this target may log. Lines of policies have a limit that the operator sets, and
/// what the program itself logs does not depend on peers.
fn lines_max(target: &str) -> Option<u32> {
    match target.strip_prefix("portcullis") {
        Some("") => None,
        Some(rest) if rest.starts_with("::") => None,
        Some(_) => Some(LINES_MAX),
        None => Some(LIBRARY_LINES_MAX),
    }
}

impl<S: Subscriber> Filter<S> for LineLimit {
    fn enabled(&self, _metadata: &Metadata<'_>, _context: &Context<'_, S>) -> bool {
        true
    }

    fn event_enabled(&self, event: &Event<'_>, _context: &Context<'_, S>) -> bool {
        self.admit(event.metadata(), Instant::now())
    }
}

#[cfg(test)]
mod tests;
