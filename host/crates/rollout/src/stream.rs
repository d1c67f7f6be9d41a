//! What two versions make of one body, piece by piece.
//!
//! The pieces that a policy is given have what it held back before in front of what is new. The two versions may hold
//! back different parts, so each has its own account here, and only what they have passed on in the end can be
//! compared.

use bytes::Bytes;
use portcullis_policy::{Again, BodyDecision, BodySide, BodySplit, Decision, Fault, Holding};
use sha2::{Digest as _, Sha256};

/// One body, as far as it has come.
#[derive(Default)]
pub(crate) struct Stream {
    /// Bytes that the active version holds back, and is given again in front of the next piece.
    held: usize,
    /// What the shadow holds back.
    kept: Holding,
    active: Passed,
    shadow: Passed,
    /// Whether the shadow has had the last piece.
    pub(crate) ended: bool,
}

/// What one version has passed on.
#[derive(Default)]
struct Passed {
    bytes: u64,
    digest: Sha256,
}

/// A part of a body for the shadow, with what it held back in front.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) chunk: Bytes,
    pub(crate) last: bool,
}

/// The shadow holds back as much as it may.
#[derive(Debug)]
pub(crate) struct Full;

impl Stream {
    /// Returns what is new in a piece that the active version is given.
    pub(crate) fn new_in(&self, chunk: &Bytes) -> Bytes {
        chunk.slice(self.held.min(chunk.len())..)
    }

    /// Notes what the active version has decided about a piece.
    pub(crate) fn decided(&mut self, chunk: &Bytes, last: bool, result: &Result<Decision, Fault>) {
        self.held = 0;
        match result {
            Ok(Decision::Body(BodyDecision::Hold)) if !last => self.held = chunk.len(),
            Ok(Decision::Body(BodyDecision::Replace(bytes))) => self.active.add(bytes),
            Ok(Decision::Body(BodyDecision::Split(BodySplit { passed, kept, again }))) => {
                self.active.add(passed);
                let rest = chunk.slice(chunk.len().saturating_sub(*kept)..);
                match last || *again == Again::Never {
                    true => self.active.add(&rest),
                    false => self.held = rest.len(),
                }
            }
            Ok(Decision::Next | Decision::Body(_)) => self.active.add(chunk),
            // What becomes of it now is for the failure mode or for the reply.
            Ok(Decision::Reply(_)) | Err(_) => {}
        }
    }

    /// Returns the next part of `piece` for a shadow that may be given so many bytes; `None` if the shadow is shown
    /// it later, together with more. With `must` it is shown now.
    pub(crate) fn part(
        &mut self,
        piece: &mut Bytes,
        last: bool,
        must: bool,
        bytes_max: usize,
    ) -> Result<Option<Part>, Full> {
        if self.kept.again() == Again::Never {
            // It has let all of it go.
            self.shadow.add(&std::mem::take(piece));
            self.ended |= last;
            return Ok(None);
        }
        let part = piece.split_to(piece.len().min(bytes_max.saturating_sub(self.kept.held())));
        if part.is_empty() && !piece.is_empty() {
            return Err(Full);
        }
        let last = last && piece.is_empty();
        let full = self.kept.held() + part.len() >= bytes_max && self.kept.again() == Again::WithMore;
        match self.kept.offer(part, last || must || full) {
            Some(chunk) => Ok(Some(Part { chunk, last })),
            None if piece.is_empty() => Ok(None),
            None => Err(Full),
        }
    }

    /// Notes what the shadow has decided about a part.
    pub(crate) fn shadowed(&mut self, part: &Part, result: &Result<Decision, Fault>) {
        self.ended = part.last;
        match result {
            Ok(Decision::Body(BodyDecision::Hold)) if !part.last => self.kept.keep(part.chunk.clone()),
            Ok(Decision::Body(BodyDecision::Replace(bytes))) => self.shadow.add(bytes),
            Ok(Decision::Body(BodyDecision::Split(BodySplit { passed, kept, again }))) => {
                self.shadow.add(passed);
                let rest = part.chunk.slice(part.chunk.len().saturating_sub(*kept)..);
                self.kept.ask(*again);
                match part.last || *again == Again::Never {
                    true => self.shadow.add(&rest),
                    false if rest.is_empty() => {}
                    false => self.kept.keep(rest),
                }
            }
            Ok(Decision::Next | Decision::Body(_)) => self.shadow.add(&part.chunk),
            Ok(Decision::Reply(_)) | Err(_) => {}
        }
    }

    /// Returns what each has passed on, in words, if it is not the same at the end.
    pub(crate) fn difference(&self) -> Option<(String, String)> {
        if !self.ended || self.active.is_like(&self.shadow) {
            return None;
        }
        let words = |passed: &Passed| format!("{} bytes", passed.bytes);
        let other = if self.active.bytes == self.shadow.bytes { ", but other ones" } else { "" };
        Some((words(&self.active), format!("{}{other}", words(&self.shadow))))
    }
}

impl Passed {
    fn add(&mut self, bytes: &Bytes) {
        self.bytes += bytes.len() as u64;
        self.digest.update(bytes);
    }

    fn is_like(&self, other: &Self) -> bool {
        self.bytes == other.bytes && self.digest.clone().finalize() == other.digest.clone().finalize()
    }
}

/// Returns the name of a difference in this body.
pub(crate) fn kind(side: BodySide) -> &'static str {
    match side {
        BodySide::Request => "request-body",
        BodySide::Response => "response-body",
    }
}
