//! What was purged while fills were under way.
//!
//! A response that an upstream was asked for before a purge may be what the purge was meant to remove. So each fill
//! takes a [`Ticket`] before its request is sent, and is refused at the end if anything that it would be removed by
//! was purged since. Nothing is kept for each fill and for each purge, so that neither can grow: purges are numbered,
//! and a table of fixed size has the newest number for each class of names. The names of the newest purges are kept
//! too, so that a fill is refused in vain only if it is of a class with a purged name and very many purges came since.

use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use portcullis_model::Lock;

use super::key::Key;

/// What to purge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purge<'a> {
    /// The entries of one primary key.
    Key(&'a [u8]),
    /// The entries of all keys with this URL.
    Url(&'a [u8]),
    /// The entries of all keys whose URL begins so: all entries if it is empty.
    Prefix(&'a [u8]),
    /// The entries that have this tag.
    Tag(&'a [u8]),
}

/// How to purge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Remove the entries.
    Hard,
    /// Keep them, but for validation and for the rules of stale responses.
    Soft,
}

/// The moment before a request was sent to an upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket(pub(crate) u64);

/// How many classes of names there are.
const CLASSES: usize = 4_096;

/// So many names are remembered. A route may have that many writes during the time of one fill before fills of other
/// URLs are refused with them.
const NAMES_MAX: usize = 1_024;

/// So many prefixes are remembered. Fills that began before an older one are refused.
const PREFIXES_MAX: usize = 64;

/// The names by which an entry can be purged, hashed with the process's own random keys.
#[derive(Debug, Clone)]
pub(crate) struct Names {
    pub(crate) key: u64,
    pub(crate) url: u64,
    pub(crate) tags: Box<[u64]>,
}

/// The hash functions of names.
#[derive(Debug, Default)]
pub(crate) struct Hashes(RandomState);

impl Hashes {
    pub(crate) fn key(&self, bytes: &[u8]) -> u64 {
        self.0.hash_one(bytes)
    }

    pub(crate) fn url(&self, bytes: &[u8]) -> u64 {
        self.0.hash_one(("url", bytes))
    }

    pub(crate) fn tag(&self, bytes: &[u8]) -> u64 {
        self.0.hash_one(("tag", bytes))
    }

    /// Returns a number that was not returned before, as good as surely.
    pub(crate) fn nonce(&self) -> u64 {
        RandomState::new().hash_one("nonce")
    }

    /// Returns the names of an entry.
    pub(crate) fn names(&self, key: &Key, tags: &[&[u8]]) -> Names {
        let mut tags: Vec<u64> = tags.iter().map(|tag| self.tag(tag)).collect();
        tags.sort_unstable();
        tags.dedup();
        Names { key: self.key(key.bytes()), url: self.url(key.url()), tags: tags.into() }
    }
}

/// The numbers of the newest purges.
#[derive(Debug)]
pub(crate) struct Purges {
    newest: AtomicU64,
    classes: Box<[AtomicU64]>,
    /// The names of the newest purges, each at the place of its number.
    recent: Box<[AtomicU64]>,
    /// The number of the newest purge of a prefix, so that most fills need no lock.
    newest_prefix: AtomicU64,
    prefixes: Lock<Prefixes>,
}

#[derive(Debug, Default)]
struct Prefixes {
    /// The oldest first.
    recent: VecDeque<(u64, Box<[u8]>)>,
    /// The newest that is not among them any more.
    forgotten: u64,
}

impl Default for Purges {
    fn default() -> Self {
        Self::after(0)
    }
}

impl Purges {
    /// Returns numbers that go on after `newest`.
    pub(crate) fn after(newest: u64) -> Self {
        Self {
            newest: AtomicU64::new(newest),
            classes: (0..CLASSES).map(|_| AtomicU64::new(0)).collect(),
            recent: (0..NAMES_MAX).map(|_| AtomicU64::new(0)).collect(),
            newest_prefix: AtomicU64::new(0),
            prefixes: Lock::default(),
        }
    }

    /// Returns the present moment.
    pub(crate) fn ticket(&self) -> Ticket {
        Ticket(self.newest.load(SeqCst))
    }

    /// Notes a purge, before anything is removed. Returns its number.
    pub(crate) fn note(&self, hashes: &Hashes, what: &Purge<'_>) -> u64 {
        // One after the other: a thread that is late with its name must not put it over one that is newer by a round.
        let mut prefixes = self.prefixes.lock();
        let number = self.newest.fetch_add(1, SeqCst) + 1;
        let name = match what {
            Purge::Key(key) => hashes.key(key),
            Purge::Url(url) => hashes.url(url),
            Purge::Tag(tag) => hashes.tag(tag),
            Purge::Prefix(prefix) => {
                prefixes.add(number, prefix);
                self.newest_prefix.fetch_max(number, SeqCst);
                return number;
            }
        };
        self.recent(number).store(name, SeqCst);
        self.class(name).fetch_max(number, SeqCst);
        number
    }

    /// Returns whether an entry with these names was purged since `ticket`, or may have been.
    pub(crate) fn since(&self, ticket: Ticket, names: &Names, url: &[u8]) -> bool {
        if self.newest.load(SeqCst) <= ticket.0 {
            return false;
        }
        let names = || [names.key, names.url].into_iter().chain(names.tags.iter().copied());
        (names().any(|name| self.class(name).load(SeqCst) > ticket.0) && self.has_named(ticket, names))
            || (self.newest_prefix.load(SeqCst) > ticket.0 && self.prefixes.lock().since(ticket, url))
    }

    /// Returns whether one of the names was purged since `ticket`, or may have been: so many purges came since that
    /// not all of their names are known.
    fn has_named<I: Iterator<Item = u64>>(&self, ticket: Ticket, names: impl Fn() -> I) -> bool {
        let are_known = |newest: u64| newest - ticket.0 <= NAMES_MAX as u64;
        let newest = self.newest.load(SeqCst);
        if !are_known(newest) {
            return true;
        }
        let named = (ticket.0 + 1..=newest).any(|number| {
            let purged = self.recent(number).load(SeqCst);
            names().any(|name| name == purged)
        });
        // Meanwhile newer ones may have taken the places of those that were to be compared.
        named || !are_known(self.newest.load(SeqCst))
    }

    fn recent(&self, number: u64) -> &AtomicU64 {
        // The remainder is always within the table.
        &self.recent[(number % NAMES_MAX as u64) as usize]
    }

    fn class(&self, name: u64) -> &AtomicU64 {
        // The remainder is always within the table.
        &self.classes[(name % CLASSES as u64) as usize]
    }
}

impl Prefixes {
    fn add(&mut self, number: u64, prefix: &[u8]) {
        self.recent.push_back((number, prefix.into()));
        while self.recent.len() > PREFIXES_MAX {
            if let Some((number, _)) = self.recent.pop_front() {
                self.forgotten = self.forgotten.max(number);
            }
        }
    }

    fn since(&self, ticket: Ticket, url: &[u8]) -> bool {
        self.forgotten > ticket.0
            || self.recent.iter().any(|(number, prefix)| *number > ticket.0 && url.starts_with(prefix))
    }
}

#[cfg(test)]
mod tests {
    use super::{Hashes, Key, NAMES_MAX, PREFIXES_MAX, Purge, Purges};

    fn purged(what: &Purge<'_>) -> bool {
        let (hashes, purges) = (Hashes::default(), Purges::default());
        let key = Key::new(b"r https://a/b/c", 2..15);
        let names = hashes.names(&key, &[b"red", b"blue"]);
        let before = purges.ticket();
        purges.note(&hashes, what);
        assert!(!purges.since(purges.ticket(), &names, key.url()));
        purges.since(before, &names, key.url())
    }

    #[test]
    fn refuses_what_a_purge_would_have_removed() {
        assert!(purged(&Purge::Key(b"r https://a/b/c")));
        assert!(purged(&Purge::Url(b"https://a/b/c")));
        assert!(purged(&Purge::Prefix(b"https://a/b")));
        assert!(purged(&Purge::Prefix(b"")));
        assert!(purged(&Purge::Tag(b"blue")));
        assert!(!purged(&Purge::Prefix(b"https://a/c")));
        assert!(!purged(&Purge::Prefix(b"https://a/b/c/d")));
    }

    #[test]
    fn other_names_do_not_matter() {
        let (hashes, purges) = (Hashes::default(), Purges::default());
        let key = Key::new(b"r https://a/b/c", 2..15);
        let names = hashes.names(&key, &[b"red", b"blue"]);
        let before = purges.ticket();
        // Far more than it takes to meet one of its classes.
        for tag in 0..NAMES_MAX {
            purges.note(&hashes, &Purge::Tag(tag.to_string().as_bytes()));
            assert!(!purges.since(before, &names, key.url()), "{tag}");
        }
    }

    #[test]
    fn a_purge_is_not_forgotten() {
        let (hashes, purges) = (Hashes::default(), Purges::after(17));
        let key = Key::new(b"r https://a/b/c", 2..15);
        let names = hashes.names(&key, &[b"red", b"blue"]);
        let before = purges.ticket();
        purges.note(&hashes, &Purge::Tag(b"blue"));
        for tag in 0..2 * NAMES_MAX {
            purges.note(&hashes, &Purge::Tag(tag.to_string().as_bytes()));
            assert!(purges.since(before, &names, key.url()), "{tag}");
        }
    }

    #[test]
    fn a_fill_older_than_the_remembered_prefixes_is_refused() {
        let (hashes, purges) = (Hashes::default(), Purges::default());
        let key = Key::new(b"https://a/", 0..10);
        let names = hashes.names(&key, &[]);
        let before = purges.ticket();
        for _ in 0..PREFIXES_MAX {
            purges.note(&hashes, &Purge::Prefix(b"https://b/"));
        }
        assert!(!purges.since(before, &names, key.url()));
        purges.note(&hashes, &Purge::Prefix(b"https://b/"));
        assert!(purges.since(before, &names, key.url()));
        assert!(!purges.since(purges.ticket(), &names, key.url()));
    }
}
