//! What purges do to the files, in their order, on a thread of its own.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::core::{Core, Log, Opened, Unusable, WAITING_MAX};
use super::folder::{FileName, hash_key};
use super::pool::{Answer, promise};
use super::purge_log::Record;
use crate::store::purges::{Mode, Purge, Ticket};

/// With more than this the log is written anew, when everything in it is done.
const LOG_MAX: usize = 1 << 20;

/// Purges on the disk. Nothing that is purged is found any more when it returns. Returns how many entries that were,
/// and what says when the purge is written down, so that a kill does not undo it: `false` if that failed.
pub(crate) fn purge(
    core: &Arc<Core>,
    what: &Purge<'_>,
    mode: Mode,
    number: u64,
    now: u64,
) -> (usize, Answer<bool>) {
    let (what, mode) = match core.keeper.waiting() {
        0..WAITING_MAX => (*what, mode),
        _ => (Purge::Prefix(b""), Mode::Hard),
    };
    let record = Record::new(&what, mode, number, now);
    let (mut found, complete) = {
        let mut state = core.state.lock();
        if !state.index.complete {
            state.bans.add(&core.hashes, &record);
        }
        let found = match what {
            Purge::Key(key) => state.index.of_key(hash_key(key)),
            Purge::Url(url) => state.index.named(core.hashes.url(url)),
            Purge::Tag(tag) => state.index.named(core.hashes.tag(tag)),
            Purge::Prefix(_) => Vec::new(),
        };
        (found, state.index.complete)
    };
    if let Purge::Prefix(prefix) = what {
        let mut from = Some(0);
        while let Some(at) = from {
            let (some, next) = core.state.lock().index.with_prefix(prefix, at);
            found.extend(some);
            from = next;
        }
    }
    // In parts, so that lookups do not wait for long.
    for found in found.chunks(256) {
        let mut state = core.state.lock();
        for name in found {
            match mode {
                Mode::Hard => drop(state.index.remove(*name)),
                Mode::Soft => {
                    state.index.get_mut(*name).into_iter().for_each(|found| found.stale_since = now.max(1));
                    state.index.changed(*name);
                }
            }
        }
    }
    // All files are known, and none of them is meant: there is nothing that could come back.
    if complete && found.is_empty() && !core.leftovers.load(Relaxed) {
        return (0, Answer::ready(true));
    }
    let (promise, answer) = promise();
    let (count, weak) = (found.len(), Arc::downgrade(core));
    core.keeper.add_next(move || {
        if let Some(core) = weak.upgrade() {
            promise.keep(write_down(&core, &record));
            match mode {
                Mode::Hard => core.remove(found),
                Mode::Soft => found.into_iter().for_each(|name| mark(&core, name, now.max(1))),
            }
            let log = core.log.lock();
            let (long, lost) = (log.bytes > LOG_MAX, log.file.is_none());
            drop(log);
            if long || lost {
                shorten_log(&core, lost);
            }
        }
    });
    (count, answer)
}

/// If the folder was removed, forgets what was in it.
pub(crate) fn after_loss(core: &Arc<Core>) {
    if core.folder.was_lost() {
        core.state.lock().index.clear();
        core.leftovers.store(false, Relaxed);
        shorten_log(core, true);
    }
}

/// Appends a purge to the log. Returns whether that was possible.
fn write_down(core: &Core, record: &Record) -> bool {
    let mut bytes = Vec::new();
    record.encode(&mut bytes);
    let mut log = core.log.lock();
    let appended = match &mut log.file {
        Some(file) => core.folder.append_to_log(file, &bytes),
        None => Err(io::ErrorKind::NotFound.into()),
    };
    match &appended {
        Ok(()) => log.bytes += bytes.len(),
        Err(error) => {
            core.health.write_error(error);
            // Nothing would be read after half a record.
            let whole = log.bytes as u64;
            let is_there = error.kind() != io::ErrorKind::NotFound;
            log.file = log.file.take().filter(|file| is_there && file.set_len(whole).is_ok());
        }
    }
    appended.is_ok()
}

/// Begins a new log, if nothing in the old one is needed any more: all files are in the index, and what was purged is
/// removed. `always` begins one also if the old is short. What must be kept stays in the old log.
pub(crate) fn shorten_log(core: &Arc<Core>, always: bool) {
    let weak = Arc::downgrade(core);
    core.keeper.add_next(move || {
        let Some(core) = weak.upgrade() else { return };
        let complete = core.state.lock().index.complete;
        let mut log = core.log.lock();
        if !complete || core.leftovers.load(Relaxed) || !(always || log.bytes > LOG_MAX) {
            return;
        }
        let mut content = Vec::new();
        Record::base(core.purges.ticket().0).encode(&mut content);
        // On file systems with a journal this brings the removals before it to the disk as well.
        match core.folder.replace_log(&content) {
            Ok(file) => {
                *log = Log { file: Some(file), bytes: content.len() };
                core.unlogged.store(false, Relaxed);
            }
            Err(error) => core.health.write_error(&error),
        }
        drop(log);
        after_loss(&core);
    });
}

/// Opens a finished file to change its head, with the lock of its name held.
fn change(
    core: &Core,
    name: FileName,
    change: impl FnOnce(&Opened) -> Option<(u64, Vec<u8>)>,
) -> Result<(), Unusable> {
    let opened = Opened::read(core.folder.open_to_change(name)?, name)?;
    let (at, bytes) = change(&opened).ok_or(Unusable::Damaged)?;
    Ok(core.folder.write(&opened.file, &bytes, at)?)
}

/// Marks a file as softly purged.
fn mark(core: &Core, name: FileName, now: u64) {
    let result = {
        let _held = core.stripe(name).lock();
        change(core, name, |opened| Some((opened.meta.mark_at(&opened.read)?, now.to_le_bytes().to_vec())))
    };
    settle(core, name, result);
}

/// Replaces the head of a file after a validation, unless the file was purged or replaced since. A head that is too
/// long for its place removes the file.
pub(crate) fn update(core: &Arc<Core>, name: FileName, nonce: u64, ticket: Ticket, head: Vec<u8>) {
    let weak = Arc::downgrade(core);
    let added = core.keeper.add(move || {
        let Some(core) = weak.upgrade() else { return };
        let result = {
            let _held = core.stripe(name).lock();
            {
                let mut state = core.state.lock();
                let Some(record) =
                    state.index.get_mut(name).filter(|record| record.ready && record.nonce == nonce)
                else {
                    return;
                };
                if core.purges.since(ticket, &record.names, &record.url) {
                    return;
                }
                // A soft purge after this moment marks it again, here and in the file, after this job.
                record.stale_since = 0;
            }
            let changed = change(&core, name, |opened| opened.meta.next_head(&opened.read, ticket.0, &head));
            core.state.lock().index.changed(name);
            changed
        };
        settle(&core, name, result);
    });
    if !added {
        // The head of before is right, and will be validated again.
        core.health.refused();
    }
}

/// Removes a file that could not be changed: its old head must not come back.
fn settle(core: &Core, name: FileName, result: Result<(), Unusable>) {
    match result {
        Ok(()) | Err(Unusable::Gone | Unusable::TooMany) => return,
        Err(Unusable::Damaged) => {}
        Err(Unusable::Failed(error)) => core.health.write_error(&error),
    }
    core.state.lock().index.remove(name);
    core.remove([name]);
}
