//! A response on its way into the stores.

use std::ops::Range;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;

use super::body::{Body, Place};
use super::entry::Entry;
use super::growing::MemoryBody;
use super::head::Head;
use super::key::Key;
use super::purges::Ticket;
use super::refused::Refused;
use super::shared::{Identity, Shared};
use super::writer::Writer;
use crate::disk::Writing;

/// Smaller blocks are copied into larger ones.
const SHARED_FROM: usize = 4 << 10;

/// A response that is to be stored.
#[derive(Debug)]
pub struct NewEntry<'a, H> {
    /// The primary key.
    pub key: Key,
    /// What tells it from other variants of the key. It replaces the one with the same.
    pub variant: &'a [u8],
    /// Its head.
    pub head: H,
    /// Its tags.
    pub tags: &'a [&'a [u8]],
    /// The length of its body, if that is known.
    pub length: Option<u64>,
    /// How long its body may be, if the route allows less than the store.
    pub object_bytes_max: u64,
    /// Whether it is kept in memory alone.
    pub only_in_memory: bool,
}

/// A response that is being received and stored. Dropped before [`Fill::commit`], it makes its readers fail, and
/// nothing is stored.
#[derive(Debug)]
pub struct Fill<H: Head> {
    shared: Arc<Shared<H>>,
    entry: Arc<Entry<H>>,
    /// Until the end.
    writer: Option<Writer>,
    /// Whether the entry is in memory, and this fill has not taken it out.
    visible: bool,
    /// As long as it is stored on the disk.
    disk: Option<Writing>,
    object_bytes_max: u64,
}

impl<H: Head> Fill<H> {
    /// Begins to store a response.
    pub(crate) fn begin(
        shared: &Arc<Shared<H>>,
        ticket: Ticket,
        new: NewEntry<'_, H>,
    ) -> Result<Self, Refused> {
        let NewEntry { key, variant, head, tags, length, object_bytes_max, only_in_memory } = new;
        let in_memory_max = shared.memory.object_bytes_max().min(object_bytes_max);
        let fits = |max: u64| length.is_none_or(|length| length <= max.min(object_bytes_max));
        let disk = shared.disk.as_ref().filter(|disk| !only_in_memory && fits(disk.object_bytes_max()));
        let in_memory = fits(in_memory_max);
        if !in_memory && disk.is_none() {
            return Err(Refused::TooLarge);
        }
        let names = shared.names(&key, tags)?;
        let (nonce, variant) = (shared.hashes.nonce(), variant.into());
        let body = MemoryBody::new(length);
        let mut writer = Writer::new(Arc::clone(&body), in_memory_max, shared.settings.window_bytes);
        let entry = shared.entry(Identity { key, variant, names, ticket, nonce }, head, body)?;
        if in_memory {
            shared.memory.begin(&entry, false, &shared.purges)?;
        } else {
            writer.stop_storing();
        }
        let disk = disk.and_then(|disk| disk.begin(tags, &entry));
        let (shared, writer) = (Arc::clone(shared), Some(writer));
        let fill = Self { shared, entry, writer, visible: in_memory, disk, object_bytes_max };
        if fill.stored() { Ok(fill) } else { Err(Refused::TooLarge) }
    }

    /// Returns the entry, whose body grows. Others may read it from now on, as long as its start is there: always, if
    /// the response is being stored in memory, and else for those that begin before the next piece is appended.
    pub const fn entry(&self) -> &Arc<Entry<H>> {
        &self.entry
    }

    /// Appends a piece of the body and wakes the readers. It is copied, because what it is a part of may be much
    /// larger.
    pub fn append(&mut self, bytes: &Bytes) {
        let Some(writer) = &mut self.writer else { return };
        let (memory, near) = (&self.shared.memory, self.entry.names.key);
        writer.append(bytes, |bytes| memory.reserve(near, bytes));
        let fits = writer.len() <= self.object_bytes_max;
        if writer.passes_on() {
            self.hide();
        }
        self.disk = self.disk.take().filter(|_| fits).and_then(|mut disk| disk.append(bytes).then_some(disk));
    }

    /// Appends a part of a body that is complete in memory. Whole blocks of it are shared and not copied; a piece of a
    /// block is copied, so that no small piece keeps a large block. Returns `false` if the part is not there.
    pub fn append_part(&mut self, of: &Body, part: Range<u64>) -> bool {
        let Place::Memory(body) = &of.0 else { return false };
        let Some(pieces) = body.whole().filter(|_| body.len().is_some_and(|length| part.end <= length))
        else {
            return false;
        };
        for piece in pieces {
            let start = piece.end - piece.bytes.len() as u64;
            let (from, to) = (part.start.max(start), part.end.min(piece.end));
            if from >= to {
                continue;
            }
            if (from, to) == (start, piece.end) && piece.bytes.len() >= SHARED_FROM {
                let Some(writer) = &mut self.writer else { return false };
                let (memory, near) = (&self.shared.memory, self.entry.names.key);
                writer.share(&piece.bytes, |bytes| memory.reserve(near, bytes));
            } else {
                // Both are within the piece, whose length is a `usize`.
                self.append(&piece.bytes.slice((from - start) as usize..(to - start) as usize));
            }
        }
        if self.writer.as_ref().is_some_and(Writer::passes_on) {
            self.hide();
        }
        true
    }

    /// Returns whether it is still being stored: it is not too large so far, and there was room. If not, it is only
    /// passed on to the readers that it has.
    pub fn stored(&self) -> bool {
        self.disk.is_some() || self.writer.as_ref().is_some_and(|writer| !writer.passes_on())
    }

    /// Stops storing, and passes the rest on to the readers that there are.
    pub fn stop_storing(&mut self) {
        if let Some(writer) = &mut self.writer {
            writer.stop_storing();
        }
        self.disk = None;
        self.hide();
    }

    /// Waits until the writer should go on: until the disk has room for more and, if the body is not stored in
    /// memory, the fastest reader has caught up. Returns `false` if the rest of the body serves nothing: it is not
    /// stored, and has no reader.
    pub fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        if let Some(disk) = &self.disk {
            ready!(disk.poll_room(cx));
        }
        let room = self.writer.as_mut().map_or(Poll::Ready(false), |writer| writer.poll_room(cx));
        room.map(|read| read || self.disk.is_some())
    }

    /// Returns how many bytes the disk has written, if [`Fill::poll_room`] waits for it.
    pub fn waits_for_disk(&self) -> Option<u64> {
        self.disk.as_ref().and_then(Writing::behind)
    }

    /// Stops storing on the disk, which cannot keep up. In memory it goes on.
    pub fn leave_disk(&mut self) {
        self.disk = None;
    }

    /// Ends the body. The entry replaces an older one of the same variant. The readers see the end in either case. On
    /// the disk it is found some moments later.
    ///
    /// # Errors
    /// If the response is not stored. If the body has another length than was announced, its readers fail.
    pub fn commit(mut self) -> Result<Arc<Entry<H>>, Refused> {
        let Some(writer) = self.writer.take() else { return Err(Refused::Purged) };
        let right = self.entry.body.len().is_none_or(|announced| announced == writer.len());
        let in_memory = right && !writer.passes_on();
        if !in_memory {
            // Out of the store before its readers see how it ended.
            self.hide();
        }
        writer.complete(in_memory);
        self.visible = false;
        let disk = self.disk.take();
        if !right {
            return Err(Refused::WrongLength);
        }
        if !in_memory && disk.is_none() {
            return Err(Refused::TooLarge);
        }
        if in_memory && !self.shared.memory.complete(&self.entry) {
            return Err(Refused::Purged);
        }
        if !in_memory {
            self.shared.memory.remove_like(&self.entry);
        }
        match (disk, &self.shared.disk) {
            (Some(disk), _) => disk.finish(),
            // What is there is older.
            (None, Some(disk)) => disk.forget(self.entry.key.bytes(), &self.entry.variant),
            (None, None) => {}
        }
        Ok(Arc::clone(&self.entry))
    }

    /// Takes the entry out of memory.
    fn hide(&mut self) {
        if std::mem::take(&mut self.visible) {
            self.shared.memory.remove(&self.entry);
        }
    }
}

impl<H: Head> Drop for Fill<H> {
    fn drop(&mut self) {
        // Before its writer is dropped, which makes the readers fail.
        self.hide();
    }
}
