//! What a policy makes in the host and names by plain numbers: keys, compiled patterns.
//!
//! They belong to the policy and not to an instance. Each instance of a policy is configured alike, or starts from the
//! memory of one that was, so the same content must have the same number in all of them. That holds after something was
//! replaced, too: an instance that is configured later makes the old content, and must find what is in its place.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;

use portcullis_model::Lock;

use arc_swap::ArcSwap;

/// SHA-256 over all that makes two things the same.
pub(crate) type Content = [u8; 32];

/// Things under numbers from 1 on, none of which is given twice. Reading takes no lock.
pub(crate) struct Numbered<T> {
    /// In the order of their numbers.
    items: ArcSwap<Vec<(u32, Arc<T>)>>,
    known: Lock<Known>,
    /// Held while something new is made, so that two workers do not make the same. `known` is free meanwhile: a hook
    /// that forgets something does not wait for what is being made.
    making: Lock<()>,
}

#[derive(Default)]
struct Known {
    /// The numbers by what they were first made of.
    numbers: HashMap<Content, u32>,
    /// What each number stands for now.
    items: HashMap<u32, Item>,
    bytes: usize,
    /// The number that was given last.
    last: u32,
}

struct Item {
    made_of: Content,
    content: Content,
    bytes: usize,
}

/// How many things there may be, and how many bytes they may take together.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Room {
    pub(crate) count: usize,
    pub(crate) bytes: usize,
}

/// What came of replacing something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Replaced {
    Done,
    /// There is nothing of that number.
    Absent,
    /// There is no room for it, and what was there stays.
    NoRoom,
}

impl<T> Default for Numbered<T> {
    fn default() -> Self {
        Self { items: ArcSwap::default(), known: Lock::default(), making: Lock::default() }
    }
}

impl<T> Numbered<T> {
    /// What has that number.
    pub(crate) fn get(&self, number: u32) -> Option<Arc<T>> {
        let items = self.items.load();
        // Its place until the first one is forgotten.
        let place = usize::try_from(number).ok()?.checked_sub(1)?;
        if let Some((_, item)) = items.get(place).filter(|(at, _)| *at == number) {
            return Some(item.clone());
        }
        let place = items.binary_search_by_key(&number, |(number, _)| *number).ok()?;
        items.get(place).map(|(_, item)| item.clone())
    }

    /// Returns the number of that content. If it has none yet, `make` makes the thing and says how many bytes it takes.
    /// Returns `None` if there is no room for it.
    pub(crate) fn number<E>(
        &self,
        content: Content,
        room: Room,
        make: impl FnOnce() -> Result<(T, usize), E>,
    ) -> Result<Option<u32>, E> {
        let _making = self.making.lock();
        {
            let known = self.known.lock();
            if let Some(number) = known.numbers.get(&content) {
                return Ok(Some(*number));
            }
            if known.items.len() >= room.count {
                return Ok(None);
            }
        }
        let (item, bytes) = make()?;
        let mut known = self.known.lock();
        let Some(number) = known.last.checked_add(1) else { return Ok(None) };
        if known.bytes.saturating_add(bytes) > room.bytes {
            return Ok(None);
        }
        known.last = number;
        known.bytes += bytes;
        known.numbers.insert(content, number);
        known.items.insert(number, Item { made_of: content, content, bytes });
        self.change(|items| items.push((number, Arc::new(item))));
        Ok(Some(number))
    }

    /// Puts something else under a number, unless it is there already.
    pub(crate) fn replace<E>(
        &self,
        number: u32,
        content: Content,
        room: Room,
        make: impl FnOnce() -> Result<(T, usize), E>,
    ) -> Result<Replaced, E> {
        match self.known.lock().items.get(&number) {
            None => return Ok(Replaced::Absent),
            Some(item) if item.content == content => return Ok(Replaced::Done),
            Some(_) => {}
        }
        let (new, bytes) = make()?;
        let mut known = self.known.lock();
        let known = &mut *known;
        // It may have been forgotten meanwhile.
        let Some(item) = known.items.get_mut(&number) else { return Ok(Replaced::Absent) };
        let others = known.bytes - item.bytes;
        if others.saturating_add(bytes) > room.bytes {
            return Ok(Replaced::NoRoom);
        }
        known.bytes = others + bytes;
        (item.content, item.bytes) = (content, bytes);
        let new = Arc::new(new);
        self.change(|items| {
            if let Ok(place) = items.binary_search_by_key(&number, |(number, _)| *number) {
                items[place].1 = new;
            }
        });
        Ok(Replaced::Done)
    }

    /// Forgets what has that number. A call that uses it at the moment ends with it.
    pub(crate) fn forget(&self, number: u32) {
        let mut known = self.known.lock();
        let Some(item) = known.items.remove(&number) else { return };
        known.numbers.remove(&item.made_of);
        known.bytes -= item.bytes;
        self.change(|items| items.retain(|(at, _)| *at != number));
    }

    /// Changes a copy of the list and puts it in place. The caller holds `known`, so that no change is lost.
    fn change(&self, change: impl FnOnce(&mut Vec<(u32, Arc<T>)>)) {
        let mut items = Vec::clone(&self.items.load());
        change(&mut items);
        self.items.store(Arc::new(items));
    }
}
