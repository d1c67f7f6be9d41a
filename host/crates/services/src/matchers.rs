//! Sets of patterns and networks that are compiled once, and a reader of JSON.

mod error;
mod json;
mod networks;
mod patterns;

#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::sync::Arc;

pub use self::error::{Error, MakeError};
pub use self::json::{JsonError, JsonValue, read_json};
use self::networks::Networks;
use self::patterns::Patterns;
use crate::numbered::{Content, Numbered, Replaced, Room};
use aws_lc_rs::digest::{Context, SHA256};

/// Sets of each kind that a policy may have, and the bytes that they may take.
const ROOM: Room = Room { count: 64, bytes: 32 << 20 };
/// Bytes of a text that is compared with patterns.
const TEXT_BYTES_MAX: usize = 1 << 20;

/// The sets of a policy.
#[derive(Default)]
pub struct Matchers {
    patterns: Numbered<Patterns>,
    networks: Numbered<Networks>,
}

impl Matchers {
    /// Returns the number of a set of these patterns, which is compiled unless the policy has it.
    ///
    /// # Errors
    /// See [`MakeError`].
    pub fn make_patterns(&self, patterns: &[String]) -> Result<u32, MakeError> {
        let made = self.patterns.number(content(patterns), ROOM, || compile(patterns))?;
        made.ok_or(MakeError::TooMany)
    }

    /// Puts other patterns in the place of those of a set.
    ///
    /// # Errors
    /// See [`MakeError`].
    pub fn replace_patterns(&self, set: u32, patterns: &[String]) -> Result<(), MakeError> {
        replaced(self.patterns.replace(set, content(patterns), ROOM, || compile(patterns))?)
    }

    /// Forgets a set of patterns, if there is one of that number.
    pub fn forget_patterns(&self, set: u32) {
        self.patterns.forget(set);
    }

    /// Returns the number of a set of networks, one a line, which is made unless the policy has it.
    ///
    /// # Errors
    /// See [`MakeError`].
    pub fn make_networks(&self, text: &str) -> Result<u32, MakeError> {
        let made = self.networks.number(content(&[text]), ROOM, || read(text))?;
        made.ok_or(MakeError::TooMany)
    }

    /// Puts other networks in the place of those of a set.
    ///
    /// # Errors
    /// See [`MakeError`].
    pub fn replace_networks(&self, set: u32, text: &str) -> Result<(), MakeError> {
        replaced(self.networks.replace(set, content(&[text]), ROOM, || read(text))?)
    }

    /// Forgets a set of networks, if there is one of that number.
    pub fn forget_networks(&self, set: u32) {
        self.networks.forget(set);
    }

    fn patterns(&self, set: u32, text: &[u8]) -> Result<Arc<Patterns>, Error> {
        let patterns = self.patterns.get(set).ok_or(Error::NoSet)?;
        if text.len() > TEXT_BYTES_MAX { Err(Error::TooLarge) } else { Ok(patterns) }
    }

    /// Returns whether a pattern of the set matches.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn is_match(&self, set: u32, text: &[u8]) -> Result<bool, Error> {
        self.patterns(set, text)?.is_match(text)
    }

    /// Returns the patterns of the set that match, in their order.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn matches(&self, set: u32, text: &[u8]) -> Result<Vec<u32>, Error> {
        self.patterns(set, text)?.matches(text)
    }

    /// Returns the smallest network of the set that has the address.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn find(&self, set: u32, address: IpAddr) -> Result<Option<u32>, Error> {
        Ok(self.networks.get(set).ok_or(Error::NoSet)?.find(address))
    }
}

/// A set of patterns, and the bytes that it takes.
fn compile(patterns: &[String]) -> Result<(Patterns, usize), MakeError> {
    let made = Patterns::compile(patterns)?;
    let bytes = made.bytes();
    Ok((made, bytes))
}

/// A set of networks, and the bytes that it takes.
fn read(text: &str) -> Result<(Networks, usize), MakeError> {
    let made = Networks::read(text)?;
    let bytes = made.bytes();
    Ok((made, bytes))
}

fn replaced(replaced: Replaced) -> Result<(), MakeError> {
    match replaced {
        Replaced::Done => Ok(()),
        Replaced::Absent => Err(MakeError::NoSet),
        Replaced::NoRoom => Err(MakeError::TooMany),
    }
}

/// Each part with its length before it, so that no two lists can be written alike.
fn content<T: AsRef<str>>(parts: &[T]) -> Content {
    let mut context = Context::new(&SHA256);
    for part in parts {
        let part = part.as_ref().as_bytes();
        context.update(&part.len().to_le_bytes());
        context.update(part);
    }
    let mut content = Content::default();
    content.copy_from_slice(context.finish().as_ref());
    content
}

impl std::fmt::Debug for Matchers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Matchers").finish_non_exhaustive()
    }
}
