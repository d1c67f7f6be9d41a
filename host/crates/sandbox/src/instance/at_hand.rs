//! What the hook that runs was given beside the exchange, and what it has decided so far.

use bytes::Bytes;
use portcullis_policy::{Again, BodyDecision, BodySplit, Decision, Hook, Outcome, Passed, Reply};

/// There for the length of a hook. Each hook begins with a new one, which most hooks leave empty: so it is small.
#[derive(Debug, Default)]
pub(crate) struct AtHand {
    /// Of the hooks of a body.
    pub(crate) piece: Option<Box<Piece>>,
    /// Of `on-completed`.
    pub(crate) outcome: Option<Box<Outcome>>,
    /// What the client is answered.
    pub(crate) reply: Option<Box<Reply>>,
}

/// A piece of a body.
#[derive(Debug)]
pub(crate) struct Piece {
    /// What was not let go yet.
    rest: Bytes,
    pub(crate) last: bool,
    passed: Passed,
    /// Whether any of it was let go, or something in its place.
    touched: bool,
    /// Bytes that were put in the place of others.
    replaced: usize,
    /// When the hook is called again with the rest; `None` if the rest goes on.
    again: Option<Again>,
}

impl AtHand {
    pub(crate) fn of(hook: Hook) -> Self {
        match hook {
            Hook::RequestHead | Hook::ResponseHead => Self::default(),
            Hook::RequestBody { chunk, last } | Hook::ResponseBody { chunk, last } => {
                Self { piece: Some(Box::new(Piece::new(chunk, last))), ..Self::default() }
            }
            Hook::Completed(outcome) => Self { outcome: Some(Box::new(outcome)), ..Self::default() },
        }
    }

    /// Returns what the hook has decided, now that it has returned.
    pub(crate) fn decided(self) -> Decision {
        match (self.reply, self.piece) {
            (Some(reply), _) => Decision::Reply(*reply),
            (None, Some(piece)) => Decision::Body(piece.decided()),
            (None, None) => Decision::Next,
        }
    }
}

impl Piece {
    fn new(bytes: Bytes, last: bool) -> Self {
        Self { rest: bytes, last, passed: Passed::default(), touched: false, replaced: 0, again: None }
    }

    pub(crate) fn size(&self) -> usize {
        self.rest.len()
    }

    /// At most `size` bytes from `offset` on.
    pub(crate) fn read(&self, offset: u64, size: u64) -> &[u8] {
        let start = self.within(offset);
        let end = self.within(offset.saturating_add(size));
        &self.rest[start..end]
    }

    /// Lets the first `size` bytes go, or all.
    pub(crate) fn pass(&mut self, size: u64) {
        let passed = self.rest.split_to(self.within(size));
        self.passed.push(passed);
        self.touched = true;
    }

    /// Lets `with` go in place of the first `size` bytes, or of all. Returns `false` and changes nothing if more than
    /// `bytes_max` would be put in the place of others.
    #[must_use]
    pub(crate) fn replace(&mut self, size: u64, with: Bytes, bytes_max: usize) -> bool {
        let replaced = self.replaced.saturating_add(with.len());
        if replaced > bytes_max {
            return false;
        }
        self.replaced = replaced;
        drop(self.rest.split_to(self.within(size)));
        self.passed.push(with);
        self.touched = true;
        true
    }

    /// Says when the hook is called again.
    pub(crate) fn ask(&mut self, again: Again) {
        self.again = Some(again);
    }

    fn within(&self, place: u64) -> usize {
        usize::try_from(place).unwrap_or(usize::MAX).min(self.rest.len())
    }

    fn decided(mut self) -> BodyDecision {
        let goes_on = |mut passed: Passed, rest: Bytes| {
            passed.push(rest);
            passed.into_bytes()
        };
        match self.again {
            Some(Again::Never) => BodyDecision::Split(BodySplit {
                passed: goes_on(self.passed, self.rest),
                kept: 0,
                again: Again::Never,
            }),
            // There is nothing to wait for at the end.
            Some(again) if !self.last => {
                let kept = self.rest.len();
                // Its own reference would have what is kept copied.
                drop(std::mem::take(&mut self.rest));
                match (again, self.touched) {
                    (Again::WithMore, false) => BodyDecision::Hold,
                    _ => BodyDecision::Split(BodySplit { passed: self.passed.into_bytes(), kept, again }),
                }
            }
            _ if self.touched => BodyDecision::Replace(goes_on(self.passed, self.rest)),
            _ => BodyDecision::Forward,
        }
    }
}

#[cfg(test)]
mod tests;
