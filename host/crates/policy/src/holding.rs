//! What a policy holds back of a body, and when it is worth asking it again.

use bytes::{Bytes, BytesMut};

use crate::decision::Again;

/// What one policy holds back of one body, with what came behind it since.
///
/// A policy that holds back is given all of it again together with what is new. Were it asked for every piece, the
/// cost would grow with the square of the pieces, which a peer makes as small as it likes. So it is asked again only
/// when what it was shown in all, with what it would be shown now, is at most twice what has come: about when as much
/// again has come. A policy that holds back little for a short time, such as the begin of a line, is asked as soon as
/// there is more.
#[derive(Debug, Default)]
pub struct Holding {
    bytes: BytesMut,
    /// How many of them, at the end, the policy has not seen.
    fresh: usize,
    /// Bytes of the body that came so far.
    came: u64,
    /// Bytes that the policy was shown so far, each as often as it was.
    shown: u64,
    /// When the policy wants to be asked again.
    again: Again,
    /// Whether the policy has let something go, or put something in its place.
    begun: bool,
}

impl Holding {
    /// Returns how many bytes are held back.
    pub fn held(&self) -> usize {
        self.bytes.len()
    }

    /// Returns whether there are some that the policy has not seen, and wants to see before the end.
    pub fn has_fresh(&self) -> bool {
        self.fresh > 0 && self.again == Again::WithMore
    }

    /// Returns when the policy wants to be asked again.
    pub fn again(&self) -> Again {
        self.again
    }

    /// Notes when the policy wants to be asked again.
    pub fn ask(&mut self, again: Again) {
        self.again = again;
    }

    /// Returns whether the policy has let something of the body go.
    pub fn has_begun(&self) -> bool {
        self.begun
    }

    /// Notes that the policy lets `bytes` go.
    pub fn let_go(&mut self, bytes: &[u8]) {
        self.begun |= !bytes.is_empty();
    }

    /// Puts `part` behind what is held back. Returns what the policy is to be shown; `None` if that can wait, which
    /// it cannot if it `must` be now.
    pub fn offer(&mut self, part: Bytes, must: bool) -> Option<Bytes> {
        self.came += part.len() as u64;
        let whole = (self.bytes.len() + part.len()) as u64;
        let can_wait = match self.again {
            Again::WithMore => !self.bytes.is_empty() && self.shown + whole > 2 * self.came,
            Again::AtEnd | Again::Never => true,
        };
        if !must && can_wait {
            self.fresh += part.len();
            self.bytes.extend_from_slice(&part);
            return None;
        }
        self.shown += whole;
        self.fresh = 0;
        if self.bytes.is_empty() {
            return Some(part);
        }
        self.bytes.extend_from_slice(&part);
        Some(std::mem::take(&mut self.bytes).freeze())
    }

    /// Keeps what the policy was shown.
    pub fn keep(&mut self, chunk: Bytes) {
        // If it is shared, as with a shadow, it is copied.
        self.bytes = chunk.try_into_mut().unwrap_or_else(|shared| BytesMut::from(&*shared));
    }
}

/// What a policy let go of a piece. Nearly always that is one run of bytes, which is not copied.
#[derive(Debug, Default)]
pub struct Passed {
    first: Bytes,
    joined: BytesMut,
}

impl Passed {
    /// Adds bytes behind those that were let go before.
    pub fn push(&mut self, bytes: Bytes) {
        if self.first.is_empty() && self.joined.is_empty() {
            self.first = bytes;
        } else if !bytes.is_empty() {
            self.joined.extend_from_slice(&std::mem::take(&mut self.first));
            self.joined.extend_from_slice(&bytes);
        }
    }

    /// Returns all of them.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        if self.joined.is_empty() { self.first } else { self.joined.freeze() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a policy is shown that holds everything: how many times, and bytes in all.
    fn shown_of(pieces: usize, piece: &'static [u8]) -> (usize, usize) {
        let (mut holding, mut calls, mut bytes) = (Holding::default(), 0, 0);
        for at in 1..=pieces {
            if let Some(chunk) = holding.offer(Bytes::from_static(piece), at == pieces) {
                calls += 1;
                bytes += chunk.len();
                holding.keep(chunk);
            }
        }
        assert_eq!((holding.held(), holding.has_fresh()), (pieces * piece.len(), false));
        (calls, bytes)
    }

    #[test]
    fn what_is_shown_grows_with_what_has_come() {
        for (pieces, piece) in [(1, &b"x"[..]), (2, b"x"), (100_000, b"x"), (64, &[7; 16 * 1024])] {
            let (calls, bytes) = shown_of(pieces, piece);
            assert!(bytes <= 3 * pieces * piece.len(), "{pieces} pieces: {bytes} bytes");
            assert!(calls <= 3 + pieces.ilog2() as usize, "{pieces} pieces: {calls} calls");
        }
    }

    #[test]
    fn a_policy_that_wants_all_is_asked_once() {
        let mut holding = Holding::default();
        holding.ask(Again::AtEnd);
        for _ in 0..1000 {
            assert_eq!(holding.offer(Bytes::from_static(b"ab"), false), None);
            assert!(!holding.has_fresh(), "it is not in a hurry");
        }
        assert_eq!(holding.offer(Bytes::from_static(b"c"), true).unwrap().len(), 2001);
    }

    #[test]
    fn who_holds_the_begin_of_a_line_is_asked_at_once() {
        let mut holding = Holding::default();
        for _ in 0..1000 {
            let begin = holding.offer(Bytes::from_static(b"a line that is cut of"), false).unwrap();
            holding.keep(begin);
            assert_eq!(holding.offer(Bytes::from_static(b"f\n"), false).unwrap(), "a line that is cut off\n");
        }
    }
}
