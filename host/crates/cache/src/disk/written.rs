//! The file of a response that is being written.

use std::fs::File;
use std::io;
use std::mem::take;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::core::Core;
use super::folder::FileName;
use super::format::{Meta, SUM, block_checksum};
use super::index::Record;
use super::keeper;
use crate::store::eviction::Heat;
use crate::store::purges::{Names, Ticket};

/// The file, as far as it is written.
#[derive(Debug, Default)]
pub(crate) struct Written {
    pub(crate) file: Option<(File, PathBuf)>,
    /// The offset at which its body begins.
    pub(crate) start: u64,
    pub(crate) nonce: u64,
    /// The bytes of the body that are written.
    pub(crate) bytes: u64,
    /// The checksums of its blocks.
    pub(crate) sums: Vec<u8>,
    /// What the index counts for it.
    pub(crate) reserved: u64,
}

/// What is written at the end.
#[derive(Debug)]
pub(crate) struct Finish {
    pub(crate) meta: Meta,
    pub(crate) names: Names,
    pub(crate) head: Vec<u8>,
}

impl Finish {
    pub(crate) fn name(&self) -> FileName {
        FileName::new(self.meta.key.bytes(), &self.meta.variant)
    }
}

impl Written {
    /// Makes the file, if it is not there, and room for more of it.
    fn grow(&mut self, core: &Arc<Core>, bytes: u64) -> io::Result<&File> {
        let bytes = if self.file.is_none() { bytes + self.start } else { bytes };
        core.make_room(bytes)?;
        self.reserved += bytes;
        let file = match self.file.take() {
            Some(file) => file,
            None => {
                let created = core.folder.create()?;
                keeper::after_loss(core);
                created
            }
        };
        Ok(&self.file.insert(file).0)
    }

    pub(crate) fn write_block(&mut self, core: &Arc<Core>, block: &[u8]) -> io::Result<()> {
        let (at, number) = (self.start + self.bytes, (self.sums.len() / SUM) as u64);
        core.folder.write(self.grow(core, (block.len() + SUM) as u64)?, block, at)?;
        self.sums.extend_from_slice(&block_checksum(self.nonce, number, block).to_le_bytes());
        self.bytes += block.len() as u64;
        Ok(())
    }

    /// Writes what stands before the body, and puts the file in its place. A response that was purged meanwhile
    /// is discarded.
    pub(crate) fn finish(&mut self, core: &Arc<Core>, finish: Finish) -> io::Result<()> {
        let name = finish.name();
        let Finish { meta, names, head } = finish;
        let head = meta.encode(&head).ok_or(io::ErrorKind::InvalidInput)?;
        let (sums, end) = (take(&mut self.sums), self.start + self.bytes);
        let file = self.grow(core, 0)?;
        core.folder.write(file, &head, 0)?;
        if !sums.is_empty() {
            core.folder.write(file, &sums, end)?;
        }
        if core.settings().sync {
            file.sync_data()?;
        }
        let finished = {
            let _held = core.stripe(name).lock();
            self.publish(core, name, &meta, names)
        };
        self.discard(core);
        core.remove_surplus(name.key);
        finished
    }

    /// Puts the file in its place. The lock of its name is held.
    fn publish(&mut self, core: &Core, name: FileName, meta: &Meta, names: Names) -> io::Result<()> {
        let url = meta.key.url().into();
        {
            let mut state = core.state.lock();
            // From here on a purge finds it in the index. What was purged before is known by its ticket.
            if core.purges.since(Ticket(meta.ticket), &names, meta.key.url()) {
                return Ok(());
            }
            let (stale_since, heat, nonce) = (0, Heat::default(), meta.nonce);
            let record = Record {
                name,
                names,
                url,
                stale_since,
                heat,
                ready: false,
                added: 0,
                nonce,
                changes: 0,
                open: None,
            };
            if !state.index.insert(record, meta.file_bytes(self.start)) {
                return Ok(());
            }
            state.index.written(take(&mut self.reserved));
        }
        let moved = match &self.file {
            Some((_, path)) => core.folder.finish(path, name),
            None => Err(io::ErrorKind::NotFound.into()),
        };
        let mut state = core.state.lock();
        let kept = match state.index.get_mut(name).filter(|record| record.nonce == meta.nonce) {
            Some(record) if moved.is_ok() => {
                record.ready = true;
                true
            }
            Some(_) => {
                state.index.remove(name);
                false
            }
            // It was purged in between.
            None => false,
        };
        drop(state);
        if moved.is_ok() {
            self.file = None;
        }
        if !kept && let Err(error) = core.folder.remove(name) {
            core.leftovers.store(true, Relaxed);
            return Err(error);
        }
        moved
    }

    /// Removes what was written and is not in its place.
    pub(crate) fn discard(&mut self, core: &Core) {
        if let Some((_, path)) = self.file.take()
            && let Err(error) = core.folder.remove_new(&path)
        {
            core.health.write_error(&error);
        }
        core.state.lock().index.written(take(&mut self.reserved));
    }
}
