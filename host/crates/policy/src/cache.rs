//! What the policies of an exchange say to the cache of its route.

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

use portcullis_http::RequestHead;

use crate::attributes::Attributes;

/// What the policies of an exchange have said to the cache of its route.
#[derive(Debug, Clone, Default)]
pub struct CacheWishes {
    /// Knows what the request would be looked up by; `None` if its route has no cache.
    pub keys: Option<Arc<dyn CacheKeys>>,
    bypass: bool,
    parts: Vec<(String, String)>,
    tags: Vec<String>,
}

/// Why something was not noted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WishError {
    /// It is empty, or has control characters.
    Invalid,
    /// It is too long, or there are too many already.
    TooLarge,
}

/// What a request is looked up by.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CacheKeyView {
    /// The URL, by which its response is purged.
    pub url: String,
    /// What else counts, in words.
    pub parts: Vec<String>,
}

/// The keys of a route's cache.
pub trait CacheKeys: Send + Sync + fmt::Debug {
    /// Returns what `request`, which was not forwarded yet, would be looked up by if it went to `upstream` and nothing
    /// else changed. `None` if it could not be forwarded.
    fn key(
        &self,
        request: &RequestHead,
        upstream: &str,
        attributes: &Attributes,
        wishes: &CacheWishes,
    ) -> Option<CacheKeyView>;
}

impl CacheWishes {
    /// How many parts may be added to a key.
    pub const PARTS_MAX: usize = 16;
    /// How many tags may be added to a response.
    pub const TAGS_MAX: usize = 64;
    /// How many bytes the name of a part may have.
    pub const NAME_BYTES_MAX: usize = 256;
    /// How many bytes the value of a part may have.
    pub const VALUE_BYTES_MAX: usize = 4 << 10;
    /// How many bytes a tag may have.
    pub const TAG_BYTES_MAX: usize = 1 << 10;

    /// Adds a part to the key. One that is there already changes nothing.
    ///
    /// # Errors
    /// If it is out of bounds.
    pub fn vary_by(&mut self, name: &str, value: &str) -> Result<(), WishError> {
        check(name, Self::NAME_BYTES_MAX)?;
        if value.len() > Self::VALUE_BYTES_MAX {
            return Err(WishError::TooLarge);
        }
        if self.parts().any(|part| part == (name, value)) {
            return Ok(());
        }
        if self.parts.len() >= Self::PARTS_MAX {
            return Err(WishError::TooLarge);
        }
        self.parts.push((name.to_owned(), value.to_owned()));
        Ok(())
    }

    /// Adds a tag to the response that is fetched. One that is there already changes nothing.
    ///
    /// # Errors
    /// If it is out of bounds.
    pub fn add_tag(&mut self, tag: &str) -> Result<(), WishError> {
        check(tag, Self::TAG_BYTES_MAX)?;
        if self.tags.iter().any(|other| other == tag) {
            return Ok(());
        }
        if self.tags.len() >= Self::TAGS_MAX {
            return Err(WishError::TooLarge);
        }
        self.tags.push(tag.to_owned());
        Ok(())
    }

    /// Lets the exchange pass by the cache.
    pub fn bypass(&mut self) {
        self.bypass = true;
    }

    /// Returns whether the exchange passes by the cache.
    #[must_use]
    pub fn is_bypassed(&self) -> bool {
        self.bypass
    }

    /// Returns the parts of the key, in the order in which they were added.
    pub fn parts(&self) -> impl Iterator<Item = (&str, &str)> {
        self.parts.iter().map(|(name, value)| (&**name, &**value))
    }

    /// Returns the tags, in the order in which they were added.
    pub fn tags(&self) -> impl Iterator<Item = &str> {
        self.tags.iter().map(|tag| &**tag)
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.keys = None;
        self.bypass = false;
        self.parts.clear();
        self.tags.clear();
    }
}

/// Checks a name or a tag.
fn check(text: &str, bytes_max: usize) -> Result<(), WishError> {
    if text.is_empty() || text.bytes().any(|byte| byte.is_ascii_control()) {
        return Err(WishError::Invalid);
    }
    if text.len() > bytes_max { Err(WishError::TooLarge) } else { Ok(()) }
}
