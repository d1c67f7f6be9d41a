//! Primary keys.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// The primary key of stored responses: bytes that say what was asked for, among them the URL. Cheap to clone.
#[derive(Clone, PartialEq, Eq)]
pub struct Key(Arc<Parts>);

#[derive(PartialEq, Eq)]
struct Parts {
    bytes: Box<[u8]>,
    url: Range<usize>,
}

impl Key {
    /// Returns a key of these bytes. `url` is the range of the URL in them, by which entries are purged and
    /// inspected; a range that is not within the bytes counts as an empty one.
    #[must_use]
    pub fn new(bytes: &[u8], url: Range<usize>) -> Self {
        let url = if bytes.get(url.clone()).is_some() { url } else { 0..0 };
        Self(Arc::new(Parts { bytes: bytes.into(), url }))
    }

    /// Returns all bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0.bytes
    }

    /// Returns the URL in them.
    #[must_use]
    pub fn url(&self) -> &[u8] {
        self.0.bytes.get(self.0.url.clone()).unwrap_or_default()
    }

    /// Returns the range of the URL in the bytes.
    pub(crate) fn url_range(&self) -> Range<usize> {
        self.0.url.clone()
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Key").field(&self.bytes().escape_ascii().to_string()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::Key;

    #[test]
    fn a_range_outside_is_an_empty_url() {
        assert_eq!(Key::new(b"route https://a/b", 6..17).url(), b"https://a/b");
        assert_eq!(Key::new(b"short", 2..6).url(), b"");
        #[expect(clippy::reversed_empty_ranges, reason = "a wrong range is what is tried")]
        let reversed = 4..2;
        assert_eq!(Key::new(b"short", reversed).url(), b"");
    }
}
