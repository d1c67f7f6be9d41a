use std::cell::RefCell;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

use super::{LIBRARY_LINES_MAX, LINES_MAX, LineLimit, WINDOW, lines_max};

thread_local! {
    static TOLD: RefCell<Vec<(&'static str, u64)>> = const { RefCell::new(Vec::new()) };
}

fn report(target: &'static str, lines: u64) {
    TOLD.with_borrow_mut(|told| told.push((target, lines)));
}

/// Keeps the metadata of what is logged.
#[derive(Clone, Default)]
struct Keep(Arc<Mutex<Vec<&'static Metadata<'static>>>>);

impl<S: Subscriber> Layer<S> for Keep {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        self.0.lock().unwrap().push(event.metadata());
    }
}

/// The metadata of two places: a library's and a crate's.
fn places() -> [&'static Metadata<'static>; 2] {
    let kept = Keep::default();
    let subscriber = tracing_subscriber::registry().with(kept.clone());
    tracing::subscriber::with_default(subscriber, || {
        tracing::warn!(target: "h2::proto", "odd");
        tracing::warn!(target: "portcullis_net::accept", "odd");
    });
    let kept = kept.0.lock().unwrap();
    [kept[0], kept[1]]
}

fn admitted(limit: &LineLimit, place: &Metadata<'static>, times: u32, now: Instant) -> u32 {
    (0..times).map(|_| u32::from(limit.admit(place, now))).sum()
}

#[test]
fn a_place_logs_so_many_lines_in_a_window_and_the_rest_are_counted() {
    let [library, own] = places();
    let (limit, now) = (LineLimit::new(report), Instant::now());
    assert_eq!(admitted(&limit, library, 20_000, now), LIBRARY_LINES_MAX);
    // Other places have a count of their own.
    assert_eq!(admitted(&limit, own, 20_000, now), LINES_MAX);
    let last = now + WINDOW - Duration::from_nanos(1);
    assert!(!limit.admit(library, last) && !limit.admit(own, last));
    assert!(TOLD.with_borrow(Vec::is_empty));
    // The next line of any place reports what was left out of all of them.
    assert!(limit.admit(own, now + WINDOW));
    let mut told = TOLD.take();
    told.sort_unstable();
    assert_eq!(
        told,
        [
            ("h2::proto", 20_001 - u64::from(LIBRARY_LINES_MAX)),
            ("portcullis_net::accept", 20_001 - u64::from(LINES_MAX)),
        ]
    );
    assert!(limit.admit(library, now + WINDOW) && TOLD.with_borrow(Vec::is_empty));
}

#[test]
fn what_policies_and_the_program_itself_log_is_not_counted() {
    for target in ["portcullis", "portcullis::policy", "portcullis::run"] {
        assert_eq!(lines_max(target), None, "{target}");
    }
    assert_eq!(lines_max("portcullis_proxy::upstream"), Some(LINES_MAX));
    for target in ["h2", "log", "rustls::server", "portculli"] {
        assert_eq!(lines_max(target), Some(LIBRARY_LINES_MAX), "{target}");
    }
}

#[test]
fn it_holds_for_what_is_logged() {
    let kept = Keep::default();
    let layer = kept.clone().with_filter(LineLimit::new(report));
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
        for _ in 0..1000 {
            tracing::warn!(target: "h2", "received unexpected PING ack");
        }
    });
    // A slow machine may begin a window or more meanwhile, but not one for each line.
    let lines = kept.0.lock().unwrap().len();
    assert!((LIBRARY_LINES_MAX as usize..1000).contains(&lines), "{lines}");
}
