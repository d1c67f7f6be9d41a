//! The log of what was purged, so that nothing of it comes back after a kill.
//!
//! Each record has a number. A file has the number of the newest purge before its response was asked for, so that
//! what is read again at a start is compared with all later ones. Numbers grow over starts: each start begins an
//! epoch, which is their upper part, and writes it down before anything else. A log that is missing or broken could
//! hide a purge, so everything is removed then. Only a record cut short at the end is no fault: its purge was never
//! confirmed.

#[cfg(test)]
mod tests;

use std::collections::HashMap;

use crate::store::purges::{Hashes, Mode, Names, Purge};

/// How many bits of a number count within an epoch.
const EPOCH_SHIFT: u32 = 40;

const BASE: u8 = 0;
const KEY: u8 = 1;
const URL: u8 = 2;
const PREFIX: u8 = 3;
const TAG: u8 = 4;
const SOFT: u8 = 0x80;

/// What a record has before its text: the length of that and its complement, so that a broken length is not taken for
/// a record cut short; the checksum, kind, number, time.
const RECORD: usize = 4 + 4 + 4 + 1 + 8 + 8;

/// A purge that was written down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    kind: u8,
    number: u64,
    now: u64,
    text: Box<[u8]>,
}

impl Record {
    /// Returns the record of a purge.
    pub(crate) fn new(what: &Purge<'_>, mode: Mode, number: u64, now: u64) -> Self {
        let (kind, text) = match what {
            Purge::Key(text) => (KEY, text),
            Purge::Url(text) => (URL, text),
            Purge::Prefix(text) => (PREFIX, text),
            Purge::Tag(text) => (TAG, text),
        };
        let soft = if mode == Mode::Soft { SOFT } else { 0 };
        Self { kind: kind | soft, number, now, text: (*text).into() }
    }

    /// Returns the record that begins an epoch after `newest`, and the number that purges count from.
    pub(crate) fn next_epoch(newest: u64) -> (Self, u64) {
        let number = ((newest >> EPOCH_SHIFT) + 1) << EPOCH_SHIFT;
        (Self::base(number), number)
    }

    /// Returns a record that a log begins with. Purges up to this number were done before.
    pub(crate) fn base(number: u64) -> Self {
        Self { kind: BASE, number, now: 0, text: Box::default() }
    }

    /// Appends it to a log.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let start = out.len();
        // A key, a tag and a URL are far shorter.
        let length = u32::try_from(self.text.len()).unwrap_or(u32::MAX);
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(&(!length).to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        out.push(self.kind);
        out.extend_from_slice(&self.number.to_le_bytes());
        out.extend_from_slice(&self.now.to_le_bytes());
        out.extend_from_slice(&self.text);
        let sum = checksum(&out[start..]);
        out[start + 8..start + 12].copy_from_slice(&sum.to_le_bytes());
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (sum, kind) = (bytes.get(8..12)?, *bytes.get(12)?);
        let number = u64::from_le_bytes(bytes.get(13..21)?.try_into().ok()?);
        let now = u64::from_le_bytes(bytes.get(21..29)?.try_into().ok()?);
        let known = matches!(kind & !SOFT, KEY | URL | PREFIX | TAG) || kind == BASE;
        (known && checksum(bytes).to_le_bytes() == sum).then(|| Self {
            kind,
            number,
            now,
            text: bytes[RECORD..].into(),
        })
    }
}

/// Over all but the checksum itself.
fn checksum(record: &[u8]) -> u32 {
    let mut sum = crc32fast::Hasher::new();
    sum.update(&record[..8]);
    sum.update(&record[12..]);
    sum.finalize()
}

/// Reads a log. `None` if a purge may be missing.
pub(crate) fn read(log: &[u8]) -> Option<Vec<Record>> {
    let (mut records, mut rest) = (Vec::new(), log);
    while let Some((length, after)) = rest.split_first_chunk() {
        let Some(complement) = after.first_chunk() else { break };
        let length = u32::from_le_bytes(*length);
        if length != !u32::from_le_bytes(*complement) {
            return None;
        }
        let Some((record, after)) = rest.split_at_checked(RECORD + usize::try_from(length).ok()?) else {
            break;
        };
        records.push(Record::decode(record)?);
        rest = after;
    }
    // It begins with an epoch.
    records.first().is_some_and(|first| first.kind == BASE).then_some(records)
}

/// Returns the newest number in a log.
pub(crate) fn newest(records: &[Record]) -> u64 {
    records.iter().map(|record| record.number).max().unwrap_or_default()
}

/// What purges mean for a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// None of them names it.
    Kept,
    /// It was softly purged at this time.
    StaleSince(u64),
    /// It was purged.
    Removed,
}

/// The purges that files have to be compared with, until all files are in the index.
#[derive(Debug, Default)]
pub(crate) struct Bans {
    /// By the hash of a key, URL or tag: the newest hard and the newest soft purge.
    names: HashMap<u64, Ban>,
    prefixes: Vec<(Box<[u8]>, Ban)>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Ban {
    hard: u64,
    soft: u64,
    soft_now: u64,
}

impl Ban {
    fn add(&mut self, record: &Record) {
        if record.kind & SOFT == 0 {
            self.hard = self.hard.max(record.number);
        } else if record.number >= self.soft {
            (self.soft, self.soft_now) = (record.number, record.now.max(1));
        }
    }
}

impl Bans {
    /// Adds a purge.
    pub(crate) fn add(&mut self, hashes: &Hashes, record: &Record) {
        let name = match record.kind & !SOFT {
            KEY => hashes.key(&record.text),
            URL => hashes.url(&record.text),
            TAG => hashes.tag(&record.text),
            PREFIX => {
                match self.prefixes.iter_mut().find(|(prefix, _)| *prefix == record.text) {
                    Some((_, ban)) => ban.add(record),
                    None => {
                        let mut ban = Ban::default();
                        ban.add(record);
                        self.prefixes.push((record.text.clone(), ban));
                    }
                }
                return;
            }
            _ => return,
        };
        self.names.entry(name).or_default().add(record);
    }

    /// Returns what the purges mean for a file whose response was asked for at `asked`, and received or last
    /// validated by a request at `validated`.
    pub(crate) fn standing(&self, names: &Names, url: &[u8], asked: u64, validated: u64) -> Standing {
        let named = [names.key, names.url].into_iter().chain(names.tags.iter().copied());
        let named = named.filter_map(|name| self.names.get(&name));
        let prefixes = self.prefixes.iter().filter(|(prefix, _)| url.starts_with(prefix)).map(|(_, ban)| ban);
        let mut standing = Standing::Kept;
        for ban in named.chain(prefixes) {
            if ban.hard > asked {
                return Standing::Removed;
            }
            if ban.soft > validated {
                standing = Standing::StaleSince(ban.soft_now);
            }
        }
        standing
    }
}
