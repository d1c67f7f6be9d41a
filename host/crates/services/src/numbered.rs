//! What a policy makes in the host and names by plain numbers: keys, compiled patterns.
//!
//! They belong to the policy and not to an instance. Each instance of a policy is configured alike, or starts from the
//! memory of one that was, so the same content must have the same number in all of them.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;

use portcullis_model::Lock;

use arc_swap::ArcSwap;

/// SHA-256 over all that makes two things the same.
pub(crate) type Content = [u8; 32];

/// Things under numbers from 1 on. Reading takes no lock.
pub(crate) struct Numbered<T> {
    items: ArcSwap<Vec<Arc<T>>>,
    known: Lock<Known>,
}

#[derive(Default)]
struct Known {
    numbers: HashMap<Content, u32>,
    bytes: usize,
}

/// How many things there may be, and how many bytes they may take together.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Room {
    pub(crate) count: usize,
    pub(crate) bytes: usize,
}

impl<T> Default for Numbered<T> {
    fn default() -> Self {
        Self { items: ArcSwap::default(), known: Lock::default() }
    }
}

impl<T> Numbered<T> {
    /// What has that number.
    pub(crate) fn get(&self, number: u32) -> Option<Arc<T>> {
        let at = usize::try_from(number).ok()?.checked_sub(1)?;
        self.items.load().get(at).cloned()
    }

    /// Returns the number of that content. If it has none yet, `make` makes the thing and says how many bytes it takes.
    /// Returns `None` if there is no room for it.
    pub(crate) fn number<E>(
        &self,
        content: Content,
        room: Room,
        make: impl FnOnce() -> Result<(T, usize), E>,
    ) -> Result<Option<u32>, E> {
        // Held while it is made, so that two workers do not make the same.
        let mut known = self.known.lock();
        if let Some(number) = known.numbers.get(&content) {
            return Ok(Some(*number));
        }
        let mut items = Vec::clone(&self.items.load());
        if items.len() >= room.count {
            return Ok(None);
        }
        let (item, bytes) = make()?;
        if known.bytes.saturating_add(bytes) > room.bytes {
            return Ok(None);
        }
        items.push(Arc::new(item));
        let number = u32::try_from(items.len()).ok();
        known.numbers.extend(number.map(|number| (content, number)));
        known.bytes += bytes;
        self.items.store(Arc::new(items));
        Ok(number)
    }
}
