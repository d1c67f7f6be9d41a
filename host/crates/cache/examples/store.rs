//! Measures the store in memory: the cost of a hit alone, from several threads on one entry, and while another thread
//! fills and purges; of a fill; what an entry takes; and a hit from the disk, with the CPU time of all threads.
//!
//! `cargo run --release -p portcullis-cache --example store`

#![expect(clippy::print_stdout, reason = "what it measures is its output")]

use std::hint::black_box;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use portcullis_cache::store::{
    DiskSettings, Failing, Head, Key, MemoryBounds, Mode, NewEntry, Purge, Settings, Store, Watcher,
};

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

/// Hears nothing of the disk.
#[derive(Debug)]
struct Deaf;

impl Watcher for Deaf {
    fn fails(&self, _: Failing, _: &io::Error) {}

    fn works(&self, _: Failing) {}
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
        only_in_memory: false,
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

struct Unpark(thread::Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Waits on this thread until `poll` is ready.
fn wait<T>(mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>) -> T {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    loop {
        match poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(ready) => return ready,
            Poll::Pending => thread::park(),
        }
    }
}

/// Returns the CPU time of the process, in hundredths of a second.
fn cpu() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    stat.split(' ').skip(13).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum()
}

/// Reads a body of so many bytes from the disk again and again.
fn disk(settings: Settings, bytes: usize, rounds: u32) {
    let folder = std::env::temp_dir().join(format!("portcullis-cache-example-{}", std::process::id()));
    let disk = DiskSettings {
        folder: folder.clone(),
        bytes_max: 1 << 30,
        files_max: 1000,
        object_bytes_max: 1 << 30,
        variants_max: 8,
        threads: 2,
        queue: 100,
        timeout: Duration::from_secs(60),
        open_files_max: 100,
        pending_bytes: 64 << 20,
        sync: false,
        lock_wait: Duration::ZERO,
    };
    let Ok(store) = Store::<Nothing>::open(settings, disk, Arc::new(Deaf)) else { return };
    while !store.disk_stats().is_some_and(|stats| stats.ready) {
        thread::yield_now();
    }
    let (key, body) = (key(0), Bytes::from(vec![7; bytes]));
    let new = NewEntry {
        key: key.clone(),
        variant: b"",
        head: Nothing,
        tags: &[],
        length: None,
        object_bytes_max: 1 << 30,
        only_in_memory: false,
    };
    if let Ok(mut fill) = store.begin(store.ticket(), new) {
        fill.append(&body);
        drop(fill.commit());
    }
    while store.find_on_disk(key.bytes()).is_none() {
        thread::yield_now();
    }
    let (begin, before) = (Instant::now(), cpu());
    let mut read = 0;
    for _ in 0..rounds {
        let Some(mut lookup) = store.find_on_disk(key.bytes()) else { continue };
        let entries = wait(|cx| Pin::new(&mut lookup).poll(cx));
        let Some(mut reader) = entries.first().and_then(|entry| entry.body().read()) else { continue };
        while let Some(Ok(piece)) = wait(|cx| reader.poll_next(cx)) {
            read += black_box(piece).len();
        }
    }
    let cpu = Duration::from_millis((cpu() - before) * 10) / rounds;
    println!("{bytes} bytes from the disk {:?}, CPU {cpu:?}, {read} read", begin.elapsed() / rounds);
    drop(store);
    drop(std::fs::remove_dir_all(folder));
}

/// Returns the bytes of memory that the process has.
fn resident() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    pages.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).unwrap_or_default() * 4096
}

fn main() {
    let little = MemoryBounds { bytes_max: 1 << 20, entries_max: 1, object_bytes_max: 0, variants_max: 1 };
    for (bytes, rounds) in [(100, 20_000), (10_000, 20_000), (1 << 20, 2_000)] {
        disk(Settings { memory: little, window_bytes: 0, tags_max: 1 }, bytes, rounds);
    }
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
