//! Fills and purges at once.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::thread;

use bytes::Bytes;

use super::tools::{TestHead, key, new_entry, store};
use crate::store::{Mode, Purge, Store};

/// An upstream whose content is a number that grows, and what was purged last.
#[derive(Default)]
struct Upstream {
    version: AtomicU64,
    purged: AtomicU64,
    done: AtomicBool,
}

/// Asks the upstream and stores what it returns, as often as there is time for.
fn fill(store: &Store<TestHead>, upstream: &Upstream) {
    let at = key("/a");
    while !upstream.done.load(SeqCst) {
        let ticket = store.ticket();
        let version = upstream.version.load(SeqCst);
        // It is refused if it was purged meanwhile, and its end is if it was purged after that.
        if let Ok(mut fill) = store.begin(ticket, new_entry(&at, b"", version, &[b"red"], Some(1))) {
            fill.append(&Bytes::from_static(b"x"));
            drop(fill.commit());
        }
        thread::yield_now();
    }
}

/// Reads, and checks that nothing is older than what was purged when it began to read.
fn read(store: &Store<TestHead>, upstream: &Upstream) -> usize {
    let at = key("/a");
    let mut hits = 0;
    while !upstream.done.load(SeqCst) {
        let purged = upstream.purged.load(SeqCst);
        if let Some(entry) = store.find(at.bytes()).and_then(|variants| variants.hit(0)) {
            assert!(entry.head().version >= purged, "{} was purged up to {purged}", entry.head().version);
            hits += 1;
        }
        thread::yield_now();
    }
    hits
}

#[test]
fn nothing_that_was_purged_is_seen_again() {
    for what in [
        Purge::Key(key("/a").bytes()),
        Purge::Url(b"https://host/a"),
        Purge::Prefix(b"https://host/"),
        Purge::Tag(b"red"),
    ] {
        let (store, upstream) = (store(), Upstream::default());
        let hits: usize = thread::scope(|scope| {
            let fills = [(); 2].map(|()| scope.spawn(|| fill(&store, &upstream)));
            let reads = [(); 2].map(|()| scope.spawn(|| read(&store, &upstream)));
            for version in 1..100 {
                upstream.version.store(version, SeqCst);
                store.purge(&what, Mode::Hard, 1);
                upstream.purged.store(version, SeqCst);
                thread::yield_now();
            }
            // At least one fill is stored after the last purge, so that the readers have something.
            while store.find(key("/a").bytes()).is_none() {
                thread::yield_now();
            }
            upstream.done.store(true, SeqCst);
            fills.into_iter().for_each(|fill| fill.join().unwrap());
            reads.into_iter().map(|read| read.join().unwrap()).sum()
        });
        assert!(hits > 0 || store.stats().entries == 1);
    }
}
