//! The part of a body that a hook has at hand.

use super::fields::BODY_BYTES_MAX;
use crate::Refused;

/// The bytes of a body that are at hand.
#[derive(Debug, Default)]
pub(crate) struct Piece {
    pub(crate) rest: Vec<u8>,
    pub(crate) last: bool,
    /// What was let go, or took the place of others.
    pub(crate) passed: Vec<u8>,
}

impl Piece {
    fn within(&self, place: u64) -> usize {
        usize::try_from(place).unwrap_or(usize::MAX).min(self.rest.len())
    }

    pub(crate) fn read(&self, offset: u64, size: u64) -> &[u8] {
        &self.rest[self.within(offset)..self.within(offset.saturating_add(size))]
    }

    pub(crate) fn pass(&mut self, size: u64) {
        let passed = self.rest.drain(..self.within(size));
        self.passed.extend(passed);
    }

    pub(crate) fn replace(&mut self, size: u64, with: &[u8]) -> Result<(), Refused> {
        if with.len() > BODY_BYTES_MAX {
            return Err(Refused::TooLarge);
        }
        self.rest.drain(..self.within(size));
        self.passed.extend_from_slice(with);
        Ok(())
    }
}
