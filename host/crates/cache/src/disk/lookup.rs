//! Finding a response on the disk.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::Bytes;

use super::core::{Core, Unusable};
use super::file_body::{FileBody, OpenFile, Owner, unchecked};
use super::folder::{FileName, hash_key};
use super::health::Failing;
use super::index::Open;
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
    if core.closed.load(Relaxed) {
        return None;
    }
    let hash = hash_key(key);
    let (names, complete, open) = {
        let state = core.state.lock();
        let names = state.index.find(hash);
        let open: Option<Vec<_>> = names.iter().map(|name| state.index.open(*name)).collect();
        (names, state.index.complete, open)
    };
    if complete && names.is_empty() {
        return None;
    }
    let open = open.filter(|_| complete).and_then(|open| {
        let entries = open.into_iter().map(|entry| entry.downcast::<Entry<H>>().ok());
        entries.map(|entry| entry.filter(|entry| is_unchanged(entry))).collect::<Option<Vec<_>>>()
    });
    if let Some(mut open) = open {
        open.retain(|entry| entry.key.bytes() == key);
        return Some(Lookup(Answer::ready(open)));
    }
    let key: Box<[u8]> = key.into();
    read(core, move |core| {
        let mut names = if complete { names } else { core.folder.names_of(hash).unwrap_or_default() };
        names.truncate(core.settings().variants_max.max(1));
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
    let (weak, since) = (Arc::downgrade(core), Instant::now());
    let added = core.pool.add(move || {
        if let Some(core) = weak.upgrade() {
            promise.keep(job(&core));
            if since.elapsed() <= core.settings().timeout {
                core.health.works(Failing::Answers);
            }
        }
    });
    if !added {
        core.health.refused();
    }
    added.then_some(Lookup(answer))
}

fn entries<H: Head>(
    core: &Arc<Core>,
    names: Vec<FileName>,
    meant: impl Fn(&Entry<H>) -> bool,
) -> Vec<Arc<Entry<H>>> {
    let read = names.into_iter().filter_map(|name| {
        match entry_to_keep(core, name).or_else(|error| again(core, name, error)) {
            Ok(entry) => {
                core.health.works(Failing::Reads);
                Some(entry)
            }
            Err(error) => {
                match error {
                    // It was purged or evicted just now.
                    Unusable::Gone => core.forget_missing(name),
                    Unusable::Damaged => core.remove_damaged(name, None),
                    Unusable::TooMany => core.health.refused(),
                    Unusable::Failed(error) => core.health.read_error(&error),
                }
                None
            }
        }
    });
    read.filter(|entry| meant(entry)).collect()
}

/// Reads a response once more that was broken: its head may just have been written.
fn again<H: Head>(core: &Arc<Core>, name: FileName, error: Unusable) -> Result<Arc<Entry<H>>, Unusable> {
    if !matches!(error, Unusable::Damaged) {
        return Err(error);
    }
    let _held = core.stripe(name).lock();
    entry(core, name).map(Arc::new)
}

/// Reads one response, and has it stay open if it is read piece by piece, so that the next request need not wait for
/// a thread.
fn entry_to_keep<H: Head>(core: &Arc<Core>, name: FileName) -> Result<Arc<Entry<H>>, Unusable> {
    let changes = {
        let mut state = core.state.lock();
        // It is not read for nothing: another process has written to the file.
        let closed = state.index.get_mut(name).and_then(|record| record.open.take());
        let changes = state.index.get(name).map(|record| record.changes);
        drop(state);
        drop(closed);
        changes
    };
    let entry = Arc::new(entry::<H>(core, name)?);
    if let (Some(changes), Place::File(body)) = (changes, &entry.body.0)
        && body.file.is_some()
        && body.stamp.is_settled()
    {
        let mut state = core.state.lock();
        state.index.keep_open(name, (entry.nonce, changes), Arc::clone(&entry) as Open);
    }
    Ok(entry)
}

fn is_unchanged<H>(entry: &Entry<H>) -> bool {
    matches!(&entry.body.0, Place::File(body) if body.is_unchanged())
}

/// Whether an entry is the one that the index has. `None` if not all files are known.
pub(crate) fn is_current<H>(core: &Core, entry: &Entry<H>) -> Option<bool> {
    let name = FileName::new(entry.key.bytes(), &entry.variant);
    let state = core.state.lock();
    let known = || state.index.get(name).is_some_and(|record| record.nonce == entry.nonce);
    state.index.complete.then(known)
}

/// Reads one response.
fn entry<H: Head>(core: &Arc<Core>, name: FileName) -> Result<Entry<H>, Unusable> {
    // Before the file is read: what is purged from now on is not kept in memory either.
    let ticket = core.purges.ticket();
    let opened = core.open(name)?;
    let stamp = opened.stamp;
    let head = H::decode(&opened.head.head).ok_or(Unusable::Damaged)?;
    let (first, sums) = opened.first_block()?;
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
    let owner = Arc::new(FileOwner { core: Arc::downgrade(core), name, nonce: meta.nonce });
    let (file, first) = match first.len() as u64 == meta.body_bytes {
        true => (None, first),
        false => (Some(OpenFile::new(core, opened.file).ok_or(Unusable::TooMany)?), Bytes::new()),
    };
    let body = FileBody {
        file,
        start: opened.start as u64,
        bytes: meta.body_bytes,
        nonce: meta.nonce,
        first,
        checked: unchecked(sums.len()),
        stamp,
        sums,
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
