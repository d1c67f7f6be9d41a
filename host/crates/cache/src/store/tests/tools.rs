//! What the tests of the stores share.

use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;

use bytes::Bytes;

use crate::memory::MemoryBounds;
use crate::store::{Entry, Head, Key, NewEntry, ReadError, Reader, Settings, Store};

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TestHead {
    pub(crate) version: u64,
}

pub(crate) fn head(version: u64) -> TestHead {
    TestHead { version }
}

impl Head for TestHead {
    fn cost(&self) -> usize {
        100
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.version.to_le_bytes());
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        Some(Self { version: u64::from_le_bytes(bytes.try_into().ok()?) })
    }
}

pub(crate) fn settings() -> Settings {
    let memory =
        MemoryBounds { bytes_max: 8 << 20, entries_max: 2_000, object_bytes_max: 1 << 20, variants_max: 4 };
    Settings { memory, window_bytes: 128 << 10, tags_max: 3 }
}

pub(crate) fn store() -> Store<TestHead> {
    Store::new(settings())
}

/// A key for a path, in some space of keys.
pub(crate) fn key(path: &str) -> Key {
    let bytes = format!("route 1 https://host{path} fields");
    Key::new(bytes.as_bytes(), 8..bytes.len() - 7)
}

pub(crate) fn new_entry<'a>(
    key: &Key,
    variant: &'a [u8],
    version: u64,
    tags: &'a [&'a [u8]],
    length: Option<u64>,
) -> NewEntry<'a, TestHead> {
    NewEntry {
        key: key.clone(),
        variant,
        head: head(version),
        tags,
        length,
        object_bytes_max: u64::MAX,
        only_in_memory: false,
    }
}

/// Stores a response.
pub(crate) fn filled(
    store: &Store<TestHead>,
    key: &Key,
    variant: &[u8],
    version: u64,
    tags: &[&[u8]],
    body: &[u8],
) -> Arc<Entry<TestHead>> {
    let new = new_entry(key, variant, version, tags, Some(body.len() as u64));
    let mut fill = store.begin(store.ticket(), new).unwrap();
    fill.append(&Bytes::copy_from_slice(body));
    fill.commit().unwrap()
}

pub(crate) fn content(entry: &Entry<TestHead>) -> Vec<u8> {
    read_all(entry.body().read().unwrap()).unwrap()
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Waits on this thread until `poll` is ready.
pub(crate) fn wait<T>(mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>) -> T {
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    loop {
        match poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(ready) => return ready,
            Poll::Pending => std::thread::park(),
        }
    }
}

/// Reads to the end.
pub(crate) fn read_all(mut reader: Reader) -> Result<Vec<u8>, ReadError> {
    let mut all = Vec::new();
    while let Some(bytes) = wait(|cx| reader.poll_next(cx)) {
        let bytes = bytes?;
        assert!(!bytes.is_empty());
        all.extend_from_slice(&bytes);
    }
    Ok(all)
}
