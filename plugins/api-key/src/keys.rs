//! The digests of the keys, and the search for one.

use std::collections::BTreeSet;
use std::hint::black_box;

use portcullis_sdk::Field;
use sha2::{Digest as _, Sha256};

/// A SHA-256 digest, as the words that are compared.
type Digest = [u64; 4];

/// All keys.
#[derive(Debug, Default)]
pub(crate) struct Keys {
    // Apart, so that a search reads nothing but digests.
    digests: Vec<Digest>,
    names: Vec<String>,
    known: BTreeSet<String>,
    known_digests: BTreeSet<Digest>,
}

impl Keys {
    /// No more keys will come: forgets what only served to find duplicates.
    pub(crate) fn sealed(self) -> Self {
        Self { digests: self.digests, names: self.names, ..Self::default() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.digests.is_empty()
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
        if !self.known.insert(name.to_owned()) {
            return Err(format!("name `{name}` is there twice"));
        }
        if !self.known_digests.insert(digest) {
            return Err(format!("the key of `{name}` belongs to another name already"));
        }
        self.digests.push(digest);
        self.names.push(name.to_owned());
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

    /// Whose key this is.
    ///
    /// Every digest is compared in full, whatever the others gave, so that the time says nothing of how near a guess
    /// came or where in the list a key stands. A hash table over digests would be as good against guesses, who cannot
    /// choose a digest's bits, but its safety would rest on that argument; a thousand keys cost some three microseconds
    /// this way.
    pub(crate) fn name_of(&self, key: &[u8]) -> Option<&str> {
        let wanted = words(Sha256::digest(key).into());
        let mut found = 0;
        for (at, digest) in self.digests.iter().enumerate() {
            let mut difference = 0;
            for (mine, theirs) in digest.iter().zip(wanted) {
                difference |= mine ^ theirs;
            }
            // All ones if nothing differs, else zero. The compiler must not see that it could stop here.
            let same = ((black_box(difference) | difference.wrapping_neg()) >> 63).wrapping_sub(1);
            found |= same & (at as u64 + 1);
        }
        let at = usize::try_from(found).ok()?.checked_sub(1)?;
        self.names.get(at).map(String::as_str)
    }
}

fn words(bytes: [u8; 32]) -> Digest {
    let mut words = [0; 4];
    for (word, bytes) in words.iter_mut().zip(bytes.chunks_exact(8)) {
        *word = bytes.iter().fold(0, |word, byte| word << 8 | u64::from(*byte));
    }
    words
}

fn parse(hex: &str) -> Option<Digest> {
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
