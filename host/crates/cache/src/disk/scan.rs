//! Reading what was there at the start, beside everything else.
//!
//! Until the index is complete, entries are found by the names of their files, each is compared with all purges that
//! the log has, and nothing is stored, so that the bounds hold.

use std::fs::File;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Weak};

use super::core::{Core, Opened, Unusable};
use super::folder::{FileName, LEAVES};
use super::index::Record;
use super::keeper;
use super::purge_log::{Bans, Standing};
use crate::store::eviction::Heat;

/// Reads all files. Ends early if the store is dropped.
pub(crate) fn run(core: &Weak<Core>) {
    for leaf in 0..LEAVES {
        let Some(core) = core.upgrade() else { return };
        match core.folder.names(leaf) {
            Ok(names) => names.into_iter().for_each(|name| {
                take_in(&core, name);
                core.remove_surplus(name.key);
            }),
            Err(error) => {
                core.leftovers.store(true, Relaxed);
                core.health.read_error(&error);
            }
        }
    }
    if let Some(core) = core.upgrade() {
        finish(&core);
    }
}

/// Notes that all files are known.
pub(crate) fn finish(core: &Arc<Core>) {
    {
        let mut state = core.state.lock();
        state.index.complete = true;
        state.bans = Bans::default();
    }
    keeper::shorten_log(core, true);
}

/// Adds a file to the index, or removes it.
fn take_in(core: &Arc<Core>, name: FileName) {
    let opened = File::open(core.folder.file(name)).map_err(Unusable::from);
    match opened.and_then(|file| Opened::read(file, name)) {
        Ok(opened) => add(core, name, &opened),
        Err(Unusable::Gone | Unusable::TooMany) => {}
        Err(Unusable::Damaged) => core.remove_damaged(name, None),
        Err(Unusable::Failed(error)) => {
            core.leftovers.store(true, Relaxed);
            core.health.read_error(&error);
        }
    }
}

fn add(core: &Arc<Core>, name: FileName, opened: &Opened) {
    let meta = &opened.meta;
    let tags: Vec<&[u8]> = meta.tags.iter().map(|tag| &**tag).collect();
    let names = core.hashes.names(&meta.key, &tags);
    let mut state = core.state.lock();
    let stale_since = match state.bans.standing(&names, meta.key.url(), meta.ticket, opened.head.ticket) {
        Standing::Kept => opened.head.stale_since,
        Standing::StaleSince(since) => since,
        Standing::Removed => {
            drop(state);
            core.remove([name]);
            return;
        }
    };
    let (url, heat) = (meta.key.url().into(), Heat::default());
    let record = Record {
        name,
        names,
        url,
        stale_since,
        heat,
        ready: true,
        added: 0,
        nonce: meta.nonce,
        changes: 0,
        open: None,
    };
    state.index.insert(record, opened.bytes);
}
