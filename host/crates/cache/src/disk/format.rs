//! The form of a file: one stored response.
//!
//! ```text
//! fixed part, its checksum       magic, lengths, the ticket of the fill, a random number of this file
//! key, variant, tags             part of the same checksum
//! two slots for the head         each with its own checksum: a validation writes the head that the file has from then
//!                                on into the older one. If either is broken, so is the file: which head it had is not
//!                                known
//! padding                        so that a body of several blocks begins with a page
//! the body                       in one stretch
//! checksums of its blocks        each over the file's number, the block's and its bytes
//! ```
//!
//! The checksums are CRC-32, seeded with the random number, so that neither a block of another file nor one of
//! another place in this file passes for it. Integers are little-endian. What stands before the body but for the slots,
//! and the body itself, are never written again: the kernel may be sending them.

#[cfg(test)]
mod tests;

use std::ops::Range;

use crate::store::key::Key;

const MAGIC: &[u8; 8] = b"PCCACHE2";
/// How many bytes the fixed part has, with its checksum.
pub(crate) const FIXED: usize = 8 + 7 * 4 + 3 * 8 + 4;
/// How many bytes a slot has before its head: number, ticket, length, checksum, mark of a soft purge.
const SLOT: usize = 8 + 8 + 4 + 4 + 8;
/// The offset of the mark in a slot.
const MARK: usize = SLOT - 8;
/// How many bytes of a body a block has.
pub(crate) const BLOCK: usize = 64 << 10;
/// How many bytes a checksum has.
pub(crate) const SUM: usize = 4;
/// Where a body begins that has several blocks: at a multiple of this.
const PAGE: usize = 4096;
/// No key, variant, list of tags or head is longer, so that a broken length asks for no absurd amount of memory.
const PART_MAX: usize = 1 << 20;

/// All of a file but its heads and its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Meta {
    pub(crate) key: Key,
    pub(crate) variant: Box<[u8]>,
    pub(crate) tags: Vec<Box<[u8]>>,
    /// How long a head may be.
    pub(crate) head_max: usize,
    /// How many bytes there are between the slots and the body.
    pub(crate) padding: usize,
    pub(crate) body_bytes: u64,
    /// Which purges came before the response was asked for.
    pub(crate) ticket: u64,
    /// Drawn for each file.
    pub(crate) nonce: u64,
}

/// The head that counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HeadSlot {
    /// Which of the two slots it stands in.
    pub(crate) slot: usize,
    /// Counts the heads that the file has had.
    pub(crate) number: u64,
    /// Which purges came before it was received or validated.
    pub(crate) ticket: u64,
    pub(crate) head: Vec<u8>,
    /// Since when it is stale by a soft purge, 0 if it is not. Not part of the checksum: anything but 0 is a mark.
    pub(crate) stale_since: u64,
}

/// Reads values one after another.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, bytes: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(bytes)?;
        self.0 = rest;
        Some(taken)
    }

    fn u32(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(self.take(4)?.try_into().ok()?))
    }

    fn u64(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.take(8)?.try_into().ok()?))
    }

    fn length(&mut self) -> Option<usize> {
        usize::try_from(self.u32()?).ok().filter(|length| *length <= PART_MAX)
    }
}

/// Returns how many bytes the parts before the slots have, as the fixed part says.
fn parts_end(fixed: &[u8]) -> Option<usize> {
    let mut bytes = Bytes(fixed);
    if bytes.take(8)? != MAGIC {
        return None;
    }
    let (key, _start, _end) = (bytes.length()?, bytes.length()?, bytes.length()?);
    Some(FIXED + key + bytes.length()? + bytes.length()?)
}

/// Returns how many bytes there are before the body, as the fixed part says. `None` if it is not one.
pub(crate) fn body_start(fixed: &[u8]) -> Option<usize> {
    let mut bytes = Bytes(fixed.get(8 + 5 * 4..)?);
    let (head_max, padding) = (bytes.length()?, bytes.length()?);
    Some(parts_end(fixed)? + 2 * (SLOT + head_max) + padding)
}

impl Meta {
    /// Returns everything before the body, with `head` in the first slot, or `None` if a part is too long.
    pub(crate) fn encode(&self, head: &[u8]) -> Option<Vec<u8>> {
        let mut tags = Vec::new();
        for tag in &self.tags {
            tags.extend_from_slice(&u32::try_from(tag.len()).ok()?.to_le_bytes());
            tags.extend_from_slice(tag);
        }
        let url = self.key.url_range();
        let mut out = MAGIC.to_vec();
        let (key, variant) = (self.key.bytes().len(), self.variant.len());
        for length in [key, url.start, url.end, variant, tags.len(), self.head_max, self.padding] {
            out.extend_from_slice(&u32::try_from(length).ok().filter(|_| length <= PART_MAX)?.to_le_bytes());
        }
        for number in [self.body_bytes, self.ticket, self.nonce] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        let parts = [self.key.bytes(), &self.variant, &tags].concat();
        let sum = checksum(self.nonce, 0, &[&out, &parts]);
        out.extend_from_slice(&sum.to_le_bytes());
        out.extend_from_slice(&parts);
        out.extend_from_slice(&self.encode_slot(1, self.ticket, head)?);
        out.resize(out.len() + self.head_max - head.len() + SLOT + self.head_max + self.padding, 0);
        Some(out)
    }

    /// Has the body begin with a page. `start` is where it would begin otherwise.
    pub(crate) fn pad(&mut self, start: usize) {
        self.padding += start.next_multiple_of(PAGE) - start;
    }

    /// Returns the meta data at the start of a file, or `None` if it is not what was written.
    pub(crate) fn decode(file: &[u8]) -> Option<Self> {
        let end = parts_end(file)?;
        let (fixed, parts) = (file.get(..FIXED)?, file.get(FIXED..end)?);
        let (fixed, sum) = fixed.split_at(FIXED - 4);
        let mut bytes = Bytes(&fixed[8..]);
        let (key, start, url_end) = (bytes.length()?, bytes.length()?, bytes.length()?);
        let (variant, tags, head_max) = (bytes.length()?, bytes.length()?, bytes.length()?);
        let padding = bytes.length()?;
        let (body_bytes, ticket, nonce) = (bytes.u64()?, bytes.u64()?, bytes.u64()?);
        if checksum(nonce, 0, &[fixed, parts]).to_le_bytes() != sum {
            return None;
        }
        let mut bytes = Bytes(parts);
        let key = Key::new(bytes.take(key)?, start..url_end);
        let variant = bytes.take(variant)?.into();
        let mut encoded = Bytes(bytes.take(tags)?);
        let mut tags = Vec::new();
        while !encoded.0.is_empty() {
            let length = encoded.length()?;
            tags.push(encoded.take(length)?.into());
        }
        Some(Self { key, variant, tags, head_max, padding, body_bytes, ticket, nonce })
    }

    /// Returns the head that counts, from the start of the file. `None` if a slot is broken.
    pub(crate) fn head(&self, file: &[u8]) -> Option<HeadSlot> {
        let slot = |slot| self.decode_slot(slot, file.get(self.slot_range(slot, file)?)?);
        [slot(0)?, slot(1)?].into_iter().flatten().max_by_key(|slot| slot.number)
    }

    /// Returns what to write for a new head, and its offset in the file.
    pub(crate) fn next_head(&self, file: &[u8], ticket: u64, head: &[u8]) -> Option<(u64, Vec<u8>)> {
        let current = self.head(file)?;
        let (slot, number) = (1 - current.slot, current.number + 1);
        Some((self.slot_range(slot, file)?.start as u64, self.encode_slot(number, ticket, head)?))
    }

    /// Returns the offset in the file of the mark of a soft purge.
    pub(crate) fn mark_at(&self, file: &[u8]) -> Option<u64> {
        let current = self.head(file)?;
        Some((self.slot_range(current.slot, file)?.start + MARK) as u64)
    }

    /// Returns how long the file has to be.
    pub(crate) fn file_bytes(&self, body_start: u64) -> u64 {
        body_start + self.body_bytes + SUM as u64 * self.blocks()
    }

    /// Returns how many blocks the body has.
    pub(crate) const fn blocks(&self) -> u64 {
        self.body_bytes.div_ceil(BLOCK as u64)
    }

    fn slot_range(&self, slot: usize, file: &[u8]) -> Option<Range<usize>> {
        let start = parts_end(file)? + slot * (SLOT + self.head_max);
        Some(start..start + SLOT + self.head_max)
    }

    fn encode_slot(&self, number: u64, ticket: u64, head: &[u8]) -> Option<Vec<u8>> {
        if head.len() > self.head_max {
            return None;
        }
        let mut out = Vec::with_capacity(SLOT + head.len());
        out.extend_from_slice(&number.to_le_bytes());
        out.extend_from_slice(&ticket.to_le_bytes());
        out.extend_from_slice(&u32::try_from(head.len()).ok()?.to_le_bytes());
        let sum = checksum(self.nonce, 1, &[&out, head]);
        out.extend_from_slice(&sum.to_le_bytes());
        out.extend_from_slice(&0_u64.to_le_bytes());
        out.extend_from_slice(head);
        Some(out)
    }

    /// Returns the head in a slot, which is `None` if there was none yet. `None` if it is broken.
    #[expect(clippy::option_option, reason = "broken is not the same as empty")]
    fn decode_slot(&self, slot: usize, bytes: &[u8]) -> Option<Option<HeadSlot>> {
        let mut values = Bytes(bytes);
        let (number, ticket, length, sum) = (values.u64()?, values.u64()?, values.length()?, values.u32()?);
        let stale_since = values.u64()?;
        let head = values.take(length)?;
        if bytes[..SLOT].iter().all(|byte| *byte == 0) {
            return Some(None);
        }
        (checksum(self.nonce, 1, &[&bytes[..20], head]) == sum)
            .then(|| Some(HeadSlot { slot, number, ticket, head: head.to_vec(), stale_since }))
    }
}

/// Returns the checksum of a block.
pub(crate) fn block_checksum(nonce: u64, block: u64, bytes: &[u8]) -> u32 {
    checksum(nonce, block + 2, &[bytes])
}

/// Reads the checksums that stand behind a body.
pub(crate) fn decode_sums(bytes: &[u8]) -> Box<[u32]> {
    let (sums, _rest) = bytes.as_chunks::<SUM>();
    sums.iter().map(|sum| u32::from_le_bytes(*sum)).collect()
}

fn checksum(nonce: u64, part: u64, bytes: &[&[u8]]) -> u32 {
    let mut sum = crc32fast::Hasher::new();
    sum.update(&nonce.to_le_bytes());
    sum.update(&part.to_le_bytes());
    bytes.iter().for_each(|bytes| sum.update(bytes));
    sum.finalize()
}
