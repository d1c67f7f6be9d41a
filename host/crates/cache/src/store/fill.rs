//! A response on its way into the stores.

use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;

use super::entry::Entry;
use super::growing::{MemoryBody, Writer};
use super::head::Head;
use super::key::Key;
use super::purges::Ticket;
use super::refused::Refused;
use super::shared::Shared;

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
}

/// A response that is being received and stored. Dropped before [`Fill::commit`], it makes its readers fail, and nothing
/// is stored.
#[derive(Debug)]
pub struct Fill<H: Head> {
    shared: Arc<Shared<H>>,
    entry: Arc<Entry<H>>,
    /// Until the end.
    writer: Option<Writer>,
    /// Whether the entry was not taken out of the store by this fill.
    visible: bool,
}

impl<H: Head> Fill<H> {
    /// Begins to store a response.
    pub(crate) fn begin(
        shared: &Arc<Shared<H>>,
        ticket: Ticket,
        new: NewEntry<'_, H>,
    ) -> Result<Self, Refused> {
        let NewEntry { key, variant, head, tags, length, object_bytes_max } = new;
        let max = shared.settings.memory.object_bytes_max.min(object_bytes_max);
        if length.is_some_and(|length| length > max) {
            return Err(Refused::TooLarge);
        }
        let names = shared.names(&key, tags)?;
        let body = MemoryBody::new(length);
        let writer = Some(Writer::new(Arc::clone(&body), max, shared.settings.window_bytes));
        let entry = shared.entry(key, variant, names, head, body)?;
        shared.memory.begin(&entry, ticket, &shared.purges)?;
        Ok(Self { shared: Arc::clone(shared), entry, writer, visible: true })
    }

    /// Returns the entry, whose body grows. Others may read it from now on, as long as its start is there: always, if
    /// the response is being stored, and else for those that begin before the next piece is appended.
    pub const fn entry(&self) -> &Arc<Entry<H>> {
        &self.entry
    }

    /// Appends a piece of the body and wakes the readers. It is copied, because what it is a part of may be much larger.
    pub fn append(&mut self, bytes: &Bytes) {
        let (memory, near) = (&self.shared.memory, self.entry.names.key);
        if let Some(writer) = &mut self.writer {
            writer.append(bytes, |bytes| memory.reserve(near, bytes));
        }
        if !self.stored() {
            self.hide();
        }
    }

    /// Returns whether it is still being stored: it is not too large so far, and there was room. If not, it is only
    /// passed on to the readers that it has.
    pub fn stored(&self) -> bool {
        self.writer.as_ref().is_some_and(|writer| !writer.passes_on())
    }

    /// Stops storing, and passes the rest on to the readers that there are.
    pub fn stop_storing(&mut self) {
        if let Some(writer) = &mut self.writer {
            writer.stop_storing();
        }
        self.hide();
    }

    /// Waits until the writer should go on: if the body is only passed on, until the fastest reader has caught up.
    /// Returns `false` if it has no reader, so that the rest of the body serves nothing.
    pub fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        self.writer.as_mut().map_or(Poll::Ready(false), |writer| writer.poll_room(cx))
    }

    /// Ends the body. The entry replaces an older one of the same variant. The readers see the end in either case.
    ///
    /// # Errors
    /// If the response is not stored. If the body has another length than was announced, its readers fail.
    pub fn commit(mut self) -> Result<Arc<Entry<H>>, Refused> {
        let Some(writer) = self.writer.take() else { return Err(Refused::Purged) };
        let right = self.entry.body.len().is_none_or(|announced| announced == writer.len());
        if !right || writer.passes_on() {
            // Out of the store before its readers see how it ended.
            self.hide();
            writer.complete(false);
            return Err(if right { Refused::TooLarge } else { Refused::WrongLength });
        }
        writer.complete(true);
        self.visible = false;
        if self.shared.memory.complete(&self.entry) {
            Ok(Arc::clone(&self.entry))
        } else {
            Err(Refused::Purged)
        }
    }

    /// Takes the entry out of the store.
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
