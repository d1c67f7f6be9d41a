//! The endpoints of one priority, and the ways to find one among them.
//!
//! Callers name an endpoint by its position in the whole set, and say which ones are eligible.

use std::ops::Range;

use crate::round_robin::RoundRobin;
use crate::{Key, Member, rendezvous};

/// How often a random choice is made again before the eligible endpoints are added up.
const DRAWS: u32 = 4;

/// Endpoints of one priority, which follow each other in their set.
#[derive(Debug)]
pub(crate) struct Level {
    pub(crate) priority: u8,
    pub(crate) range: Range<usize>,
    /// By position in the level, like what follows.
    turns: RoundRobin,
    /// The sum of the weights up to each endpoint, its own included.
    sums: Box<[u64]>,
    has_equal_weights: bool,
}

impl Level {
    /// The level of those members that `range` holds.
    pub(crate) fn new(priority: u8, range: Range<usize>, members: &[Member]) -> Self {
        let members = members.get(range.clone()).unwrap_or_default();
        let sums = members.iter().scan(0, |sum, member| {
            *sum += u64::from(member.weight);
            Some(*sum)
        });
        let first = members.first().map(|member| member.weight);
        Self {
            priority,
            turns: RoundRobin::new(members.iter().map(|member| (member.endpoint.id(), member.weight))),
            sums: sums.collect(),
            has_equal_weights: members.iter().all(|member| Some(member.weight) == first),
            range,
        }
    }

    /// Continues the turns of `old`.
    pub(crate) fn continue_from(&self, old: &Self) {
        self.turns.continue_from(&old.turns);
    }

    /// Takes the next turn.
    pub(crate) fn turn(&self, eligible: impl Fn(usize) -> bool) -> Option<usize> {
        let start = self.range.start;
        self.turns.next(|at| eligible(start + at)).map(|at| start + at)
    }

    /// Takes a turn beside the others, for one that falls on an endpoint which does not take it.
    pub(crate) fn spare_turn(&self, eligible: impl Fn(usize) -> bool) -> Option<usize> {
        let start = self.range.start;
        self.turns.next_spare(|at| eligible(start + at)).map(|at| start + at)
    }

    /// Returns what [`Self::turn`] would return now, without taking the turn.
    pub(crate) fn peek_turn(&self, eligible: impl Fn(usize) -> bool) -> Option<usize> {
        let start = self.range.start;
        self.turns.peek(|at| eligible(start + at)).map(|at| start + at)
    }

    /// Returns one of the eligible endpoints, each with a chance in proportion to its weight.
    pub(crate) fn draw(&self, chance: &dyn Fn() -> u64, eligible: impl Fn(usize) -> bool) -> Option<usize> {
        // With a sum of 0 all are drained, and every ticket would be beyond the last of them.
        let all = self.sums.last().copied().filter(|all| *all > 0)?;
        for _ in 0..DRAWS {
            let ticket = below(chance(), all);
            let at = self.range.start + self.sums.partition_point(|sum| *sum <= ticket);
            if eligible(at) {
                return Some(at);
            }
        }
        let weights = || self.range.clone().zip(self.weights()).filter(|(at, _)| eligible(*at));
        let sum: u64 = weights().map(|(_, weight)| weight).sum();
        let mut ticket = below(chance(), sum);
        weights().find_map(|(at, weight)| match ticket.checked_sub(weight) {
            Some(left) => {
                ticket = left;
                None
            }
            None => Some(at),
        })
    }

    fn weights(&self) -> impl Iterator<Item = u64> {
        let before = std::iter::once(&0).chain(&self.sums);
        self.sums.iter().zip(before).map(|(sum, before)| sum - before)
    }

    /// Returns the endpoint that the key belongs to, among the eligible ones.
    pub(crate) fn owner(
        &self,
        members: &[Member],
        key: Key,
        eligible: impl Fn(usize) -> bool,
    ) -> Option<usize> {
        let members = members.get(self.range.clone())?;
        let eligible = self.range.clone().zip(members).filter(|(at, _)| eligible(*at));
        if self.has_equal_weights {
            let bits =
                eligible.map(|(at, Member { endpoint, .. })| (at, rendezvous::bits(endpoint.hash(), key.0)));
            return bits.max_by_key(|(_, bits)| *bits).map(|(at, _)| at);
        }
        let scores = eligible.map(|(at, Member { endpoint, weight, .. })| {
            (at, rendezvous::score(endpoint.hash(), key.0, *weight))
        });
        scores.max_by(|(_, score), (_, other)| score.total_cmp(other)).map(|(at, _)| at)
    }
}

/// Returns a number below `end`, or 0 if `end` is 0. What 64 bits of chance cannot divide evenly is less than one part
/// in 2^32 for any sum of weights.
fn below(chance: u64, end: u64) -> u64 {
    let product = u128::from(chance) * u128::from(end);
    // The upper half of a product is below each of its factors.
    u64::try_from(product >> 64).unwrap_or_default()
}
