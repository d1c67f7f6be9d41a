//! Exchanges in proportion to a weight, compared exactly.

use std::cmp::Ordering;

use portcullis_model::Share;

use crate::endpoint::WHOLE;

/// Exchanges in proportion to a weight, compared exactly: `a/b < c/d` as `ad < cb`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Load {
    exchanges: u64,
    /// In parts of [`WHOLE`].
    weight: u64,
}

impl Load {
    /// The load of an endpoint that may have a `part` of its share. In its slow start it counts one exchange that is
    /// not there: without it, it would be the one with the fewest most of the time.
    pub(super) fn new(in_flight: u32, weight: u32, part: u32) -> Self {
        let more = u64::from(part < WHOLE);
        Self { exchanges: u64::from(in_flight) + more, weight: u64::from(weight) * u64::from(part) }
    }

    /// Returns whether one more exchange leaves it at `most` of its share of `exchanges`, rounded up, with `weights` as
    /// the sum of all weights.
    pub(super) fn has_room(self, most: Share, exchanges: u64, weights: u64) -> bool {
        let weight = u128::from(self.weight) * u128::from(most.hundredths());
        let shares = u128::from(weights) * u128::from(WHOLE) * u128::from(Share::ALL.hundredths());
        let capacity = (u128::from(exchanges) * weight).div_ceil(shares.max(1));
        u128::from(self.exchanges) < capacity
    }
}

impl Ord for Load {
    fn cmp(&self, other: &Self) -> Ordering {
        let product = |a: u64, b: u64| u128::from(a) * u128::from(b);
        product(self.exchanges, other.weight).cmp(&product(other.exchanges, self.weight))
    }
}

impl PartialOrd for Load {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Load {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Load {}
