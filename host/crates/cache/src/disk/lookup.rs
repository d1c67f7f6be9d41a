//! Finding a response on the disk.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, ready};

use bytes::Bytes;

use super::core::{Core, Unusable};
use super::file_body::{FileBody, Owner};
use super::folder::{FileName, hash_key};
use super::pool::{Answer, promise};
use super::purge_log::Standing;
use crate::store::body::{Body, Place};
use crate::store::entry::Entry;
use crate::store::eviction::Heat;
use crate::store::head::Head;

/// The variants of a key on the disk, when they have been read. What could not be read is missing.
#[derive(Debug)]
pub struct Lookup<H>(Answer<Vec<Arc<Entry<H>>>>);

impl<H> Future for Lookup<H> {
    type Output = Vec<Arc<Entry<H>>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(ready!(Pin::new(&mut self.0).poll(cx)).unwrap_or_default())
    }
}

/// Looks for the variants of a key. `None` if there are surely none, or too much is waiting for the disk.
pub(crate) fn find<H: Head>(core: &Arc<Core>, key: &[u8]) -> Option<Lookup<H>> {
    let hash = hash_key(key);
    let (names, complete) = {
        let state = core.state.lock();
        (state.index.find(hash), state.index.complete)
    };
    if complete && names.is_empty() {
        return None;
    }
    let key: Box<[u8]> = key.into();
    read(core, move |core| {
        let mut names = if complete { names } else { core.folder.names_of(hash).unwrap_or_default() };
        names.truncate(core.settings.variants_max.max(1));
        entries(core, names, |entry: &Entry<H>| entry.key.bytes() == &*key)
    })
}

/// Reads the responses with a URL, of those that are in the index.
pub(crate) fn inspect<H: Head>(core: &Arc<Core>, url: &[u8]) -> Option<Lookup<H>> {
    let names = core.state.lock().index.named(core.hashes.url(url));
    let url: Box<[u8]> = url.into();
    read(core, move |core| entries(core, names, |entry: &Entry<H>| entry.key.url() == &*url))
}

/// Runs a job for a lookup.
fn read<H: Head>(
    core: &Arc<Core>,
    job: impl FnOnce(&Arc<Core>) -> Vec<Arc<Entry<H>>> + Send + 'static,
) -> Option<Lookup<H>> {
    let (promise, answer) = promise();
    let weak = Arc::downgrade(core);
    let added = core.pool.add(move || {
        if let Some(core) = weak.upgrade() {
            promise.keep(job(&core));
        }
    });
    if !added {
        core.counters.queue_full.fetch_add(1, Relaxed);
    }
    added.then_some(Lookup(answer))
}

fn entries<H: Head>(
    core: &Arc<Core>,
    names: Vec<FileName>,
    meant: impl Fn(&Entry<H>) -> bool,
) -> Vec<Arc<Entry<H>>> {
    let read = names.into_iter().filter_map(|name| {
        match entry(core, name).or_else(|error| again(core, name, error)) {
            Ok(entry) => Some(Arc::new(entry)),
            Err(error) => {
                match error {
                    // It was purged or evicted just now.
                    Unusable::Gone => core.forget_missing(name),
                    Unusable::Damaged => core.remove_damaged(name, None),
                    Unusable::Failed(error) => core.counters.read_error(&error),
                }
                None
            }
        }
    });
    read.filter(|entry| meant(entry)).collect()
}

/// Reads a response once more that was broken: its head may just have been written.
fn again<H: Head>(core: &Arc<Core>, name: FileName, error: Unusable) -> Result<Entry<H>, Unusable> {
    if !matches!(error, Unusable::Damaged) {
        return Err(error);
    }
    let _held = core.stripe(name).lock();
    entry(core, name)
}

/// Reads one response.
fn entry<H: Head>(core: &Arc<Core>, name: FileName) -> Result<Entry<H>, Unusable> {
    // Before the file is read: what is purged from now on is not kept in memory either.
    let ticket = core.purges.ticket();
    let opened = core.open(name)?;
    let head = H::decode(&opened.head.head).ok_or(Unusable::Damaged)?;
    let first = opened.first_block()?;
    let meta = opened.meta;
    let tags: Vec<&[u8]> = meta.tags.iter().map(|tag| &**tag).collect();
    let names = core.hashes.names(&meta.key, &tags);
    let stale_since = {
        let state = core.state.lock();
        match state.index.get(name) {
            Some(record) if record.ready && record.nonce == meta.nonce => record.stale_since,
            _ if state.index.complete => return Err(Unusable::Gone),
            _ => match state.bans.standing(&names, meta.key.url(), meta.ticket, opened.head.ticket) {
                Standing::Kept => opened.head.stale_since,
                Standing::StaleSince(since) => since,
                Standing::Removed => return Err(Unusable::Gone),
            },
        }
    };
    let owner = Box::new(FileOwner { core: Arc::downgrade(core), name, nonce: meta.nonce });
    let body = FileBody {
        file: opened.file,
        start: opened.start as u64,
        bytes: meta.body_bytes,
        nonce: meta.nonce,
        first,
        pool: Arc::clone(&core.pool),
        owner,
    };
    Ok(Entry {
        key: meta.key,
        variant: meta.variant,
        names,
        head,
        body: Body(Place::File(Arc::new(body))),
        ticket,
        nonce: meta.nonce,
        stale_since: AtomicU64::new(stale_since),
        heat: Heat::default(),
        slot: AtomicU32::new(0),
        reserved: None,
    })
}

/// Reads an entry with its whole body, on a thread of the store, and passes them on.
pub(crate) fn read_whole<H: Head>(
    core: &Arc<Core>,
    name: FileName,
    pass_on: impl FnOnce(Entry<H>, Bytes) + Send + 'static,
) {
    let weak = Arc::downgrade(core);
    core.pool.add(move || {
        let read = weak.upgrade().and_then(|core| entry::<H>(&core, name).ok());
        if let Some(entry) = read
            && let Place::File(body) = &entry.body.0
        {
            match body.all() {
                Ok(bytes) => pass_on(entry, bytes),
                Err(_) => body.owner.damaged(),
            }
        }
    });
}

struct FileOwner {
    core: Weak<Core>,
    name: FileName,
    nonce: u64,
}

impl Owner for FileOwner {
    fn damaged(&self) {
        if let Some(core) = self.core.upgrade() {
            core.remove_damaged(self.name, Some(self.nonce));
        }
    }
}
