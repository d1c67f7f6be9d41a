//! Measures the store in memory: the cost of a hit alone, from several threads on one entry, and while another thread
//! fills and purges; of a fill; and what an entry takes.
//!
//! `cargo run --release -p portcullis-cache --example store`

#![expect(clippy::print_stdout, reason = "what it measures is its output")]

use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use portcullis_cache::store::{Head, Key, MemoryBounds, Mode, NewEntry, Purge, Settings, Store};

#[derive(Debug)]
struct Nothing;

impl Head for Nothing {
    fn cost(&self) -> usize {
        0
    }

    fn encode(&self, _: &mut Vec<u8>) {}

    fn decode(_: &[u8]) -> Option<Self> {
        Some(Self)
    }
}

const KEYS: usize = 100_000;
const ROUND: u32 = 2_000_000;

fn key(number: usize) -> Key {
    let url = format!("https://www.example.com/assets/images/{number}.png");
    let bytes = format!("{url}\nroute assets, upstream main");
    Key::new(bytes.as_bytes(), 0..url.len())
}

fn fill(store: &Store<Nothing>, key: Key) {
    let body = Bytes::from_static(&[7; 100]);
    let new = NewEntry {
        key,
        variant: b"",
        head: Nothing,
        tags: &[],
        length: Some(body.len() as u64),
        object_bytes_max: 1 << 20,
    };
    if let Ok(mut fill) = store.begin(store.ticket(), new) {
        fill.append(&body);
        drop(fill.commit());
    }
}

fn hits(store: &Store<Nothing>, keys: &[Key]) -> Duration {
    let begin = Instant::now();
    for key in keys.iter().cycle().take(ROUND as usize) {
        black_box(store.find(key.bytes()).and_then(|variants| variants.hit(0)));
    }
    begin.elapsed() / ROUND
}

/// Returns the bytes of memory that the process has.
fn resident() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    pages.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).unwrap_or_default() * 4096
}

fn main() {
    let memory =
        MemoryBounds { bytes_max: 1 << 30, entries_max: 1 << 20, object_bytes_max: 1 << 20, variants_max: 8 };
    let store = Store::new(Settings { memory, window_bytes: 1 << 20, tags_max: 32 });
    let keys: Vec<_> = (0..KEYS).map(key).collect();
    let (before, begin) = (resident(), Instant::now());
    keys.iter().for_each(|key| fill(&store, key.clone()));
    let each = begin.elapsed() / KEYS as u32;
    let counted = store.stats().bytes as usize / KEYS;
    println!(
        "fill             {each:?}; an entry takes {} bytes, counted {counted}",
        (resident() - before) / KEYS
    );
    println!("hit, all keys    {:?}", hits(&store, &keys));
    println!("hit, one key     {:?}", hits(&store, &keys[..1]));
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let threads = [(); 2].map(|()| scope.spawn(|| hits(&store, &keys[..1])));
        let times = threads.map(|thread| thread.join().unwrap_or_default());
        println!("hit, one key, two threads {times:?}");
        let fills = scope.spawn(|| {
            let mut fills = 0;
            while !done.load(Relaxed) {
                fill(&store, keys[fills % KEYS].clone());
                fills += 1;
                if fills % 100_000 == 0 {
                    store.purge(&Purge::Prefix(b"https://no.example.com/"), Mode::Hard, 1);
                }
            }
            fills
        });
        let each = hits(&store, &keys);
        done.store(true, Relaxed);
        println!("hit beside {} fills {each:?}", fills.join().unwrap_or_default());
    });
}
