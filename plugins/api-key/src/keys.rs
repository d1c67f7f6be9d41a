//! The digests of the keys, and the search for one.

use std::collections::BTreeSet;
use std::hint::black_box;

use portcullis_sdk::Field;
use sha2::{Digest as _, Sha256};

/// A SHA-256 digest, as the words that are compared.
pub(crate) type Digest = [u64; 4];

/// The keys that settings name, before they are put in order.
#[derive(Debug, Default)]
pub(crate) struct KeyList {
    keys: Vec<(Digest, String)>,
    names: BTreeSet<String>,
    digests: BTreeSet<Digest>,
}

impl KeyList {
    pub(crate) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Adds a key by its digest in hexadecimal. The error names what is wrong with it.
    pub(crate) fn add(&mut self, name: &str, sha256: &str) -> Result<(), String> {
        // The name goes into a field of the request, and must be able to.
        if name.is_empty() || Field::check_value(name.as_bytes()).is_err() {
            return Err(format!(
                "name {name:?}: expected text without control characters or spaces at its ends"
            ));
        }
        let digest = parse(sha256).ok_or_else(|| {
            format!("the digest of `{name}` is not 64 hexadecimal digits; make one with `printf %s KEY | sha256sum`")
        })?;
        if !self.names.insert(name.to_owned()) {
            return Err(format!("name `{name}` is there twice"));
        }
        if !self.digests.insert(digest) {
            return Err(format!("the key of `{name}` belongs to another name already"));
        }
        self.keys.push((digest, name.to_owned()));
        Ok(())
    }

    /// Adds the keys of a file, and hands each line that has none to `failed`.
    pub(crate) fn add_lines(&mut self, text: &str, mut failed: impl FnMut(String)) {
        for (at, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            // A name may have a colon, a digest does not.
            let added = match line.rsplit_once(':') {
                Some((name, digest)) => self.add(name.trim(), digest.trim()),
                None => Err("expected `name:digest`".to_owned()),
            };
            if let Err(error) = added {
                failed(format!("line {}: {error}", at + 1));
            }
        }
    }
}

/// All keys, in an order in which one is found at the same cost among a hundred thousand as among ten.
#[derive(Debug)]
pub(crate) struct Keys {
    /// In ascending order, so that those that begin with the same bits stand together; then `group` more that belong
    /// to no key, so that a search at the end reads as much as any other.
    digests: Vec<Digest>,
    /// The names of the digests, in their order.
    names: Vec<String>,
    /// For each value of a digest's first bits, the place of the first digest that begins with it or a greater one.
    starts: Vec<u32>,
    /// How far a digest's first word is shifted to leave those bits.
    shift: u32,
    /// The most digests that begin with the same bits: this many are compared for each request.
    group: usize,
}

impl From<KeyList> for Keys {
    fn from(list: KeyList) -> Self {
        let mut keys = list.keys;
        keys.sort_unstable_by_key(|key| key.0);
        let bits = keys.len().next_power_of_two().ilog2().max(1);
        let shift = u64::BITS - bits;
        let starts: Vec<u32> = (0..1u64 << bits)
            .map(|first| keys.partition_point(|(digest, _)| digest[0] >> shift < first) as u32)
            .collect();
        let ends = starts.iter().skip(1).copied().chain([keys.len() as u32]);
        let group = starts.iter().zip(ends).map(|(start, end)| end - start).max().unwrap_or(0) as usize;
        let (mut digests, names): (Vec<_>, Vec<_>) = keys.into_iter().unzip();
        digests.extend(std::iter::repeat_n(Digest::default(), group));
        digests.shrink_to_fit();
        Self { digests, names, starts, shift, group }
    }
}

impl Keys {
    /// Whose key this is.
    ///
    /// The digests that begin with the same bits as the wanted one are found by those bits, which a client cannot
    /// choose but by trying keys. As many are compared for every request, each in full and without a branch, whether or
    /// not one is there: so the time does not show how near a guess came, nor how many digests begin like it, which
    /// would be a sieve for guesses.
    pub(crate) fn name_of(&self, key: &[u8]) -> Option<&str> {
        self.name_of_digest(words(Sha256::digest(key).into()))
    }

    pub(crate) fn name_of_digest(&self, wanted: Digest) -> Option<&str> {
        let first = usize::try_from(wanted[0] >> self.shift).ok()?;
        let start = *self.starts.get(first)? as usize;
        let mut found = 0;
        for (at, digest) in self.digests.get(start..start + self.group)?.iter().enumerate() {
            let mut difference = 0;
            for (mine, theirs) in digest.iter().zip(wanted) {
                difference |= mine ^ theirs;
            }
            // All ones if nothing differs, else zero. The compiler must not see that it could stop here.
            let same = ((black_box(difference) | difference.wrapping_neg()) >> 63).wrapping_sub(1);
            found |= same & (at as u64 + 1);
        }
        let at = usize::try_from(found).ok()?.checked_sub(1)?;
        self.names.get(start + at).map(String::as_str)
    }
}

fn words(bytes: [u8; 32]) -> Digest {
    let mut words = [0; 4];
    for (word, bytes) in words.iter_mut().zip(bytes.chunks_exact(8)) {
        *word = bytes.iter().fold(0, |word, byte| word << 8 | u64::from(*byte));
    }
    words
}

pub(crate) fn parse(hex: &str) -> Option<Digest> {
    if hex.len() != 64 {
        return None;
    }
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(hex.as_bytes().chunks_exact(2)) {
        let [high, low] = [pair[0], pair[1]].map(|digit| char::from(digit).to_digit(16));
        *byte = (high? << 4 | low?) as u8;
    }
    Some(words(bytes))
}
