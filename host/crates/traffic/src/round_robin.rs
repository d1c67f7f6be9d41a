//! Smooth weighted round-robin, as nginx does it, without a lock on the usual way.
//!
//! In every turn, nginx's algorithm adds its weight to each endpoint's credit, chooses the endpoint with the most
//! credit, and subtracts the total of the weights from that endpoint's credit. Weights 5, 1, 1 result in `a a b a c
//! a a`: no run is longer than it must be. The order repeats after as many turns as the weights add up to, so it is
//! computed once. All workers then take turns from one atomic cursor, and over each whole period every endpoint
//! gets exactly its weight.
//!
//! A turn that falls on an endpoint that may not be chosen goes to another one by the same algorithm, run over
//! those that may be: each of them gets its weight's share of those turns as well. (Taking the next one in order
//! instead would give all of them to one neighbour.) Only these turns take a lock, for as long as it takes to look
//! at each endpoint.

use std::sync::atomic::{AtomicU64, Ordering};

use portcullis_model::Lock;

use crate::EndpointId;

/// Turns that an order may have: 256 KiB.
const PERIOD_MAX: u64 = 1 << 16;

/// Credits looked at while an order is computed: some 50 ms.
const WORK_MAX: u64 = 1 << 25;

/// The turns of a set of endpoints, which callers name by their position in it.
///
/// Inside, everything is in the order of their ids, so that the same endpoints in other positions have the same turns.
#[derive(Debug)]
pub(crate) struct RoundRobin {
    ids: Box<[EndpointId]>,
    weights: Box<[u32]>,
    positions: Box<[usize]>,
    /// Indices into these, turn by turn.
    order: Box<[u32]>,
    cursor: AtomicU64,
    /// The credits for the turns that fall on endpoints that may not be chosen.
    spare: Lock<Box<[i64]>>,
}

impl RoundRobin {
    /// Computes the order of the turns. A weight of 0 counts as 1.
    ///
    /// The period is the sum of the weights divided by their common divisor. If it would be over 65,536 turns, or
    /// take long to compute (over 2^25 divided by the number of endpoints), the weights are scaled down to fit and
    /// rounded, each to at least 1: shares are then off by less than one turn in a period. If all weights are
    /// equal, the period is the number of endpoints, however many there are.
    pub(crate) fn new(endpoints: impl Iterator<Item = (EndpointId, u32)>) -> Self {
        let mut endpoints: Vec<(EndpointId, u32, usize)> =
            endpoints.enumerate().map(|(at, (id, weight))| (id, weight.max(1), at)).collect();
        endpoints.sort_unstable_by_key(|(id, ..)| *id);
        let weights = reduce(endpoints.iter().map(|(_, weight, _)| *weight).collect());
        Self {
            ids: endpoints.iter().map(|(id, ..)| *id).collect(),
            positions: endpoints.iter().map(|(_, _, at)| *at).collect(),
            order: order(&weights),
            cursor: AtomicU64::new(0),
            spare: Lock::new(vec![0; weights.len()].into_boxed_slice()),
            weights,
        }
    }

    /// Continues where `old` is, so that a replaced set does not begin its order anew. If the endpoints and their
    /// weights are the same, every turn is what it would have been.
    pub(crate) fn continue_from(&self, old: &Self) {
        self.cursor.store(old.cursor.load(Ordering::Relaxed), Ordering::Relaxed);
        if self.ids == old.ids && self.weights == old.weights {
            let credits = old.credits();
            *self.spare.lock() = credits;
        }
    }

    /// Takes the next turn. Returns the position of its endpoint, or `None` if no endpoint is eligible.
    pub(crate) fn next(&self, eligible: impl Fn(usize) -> bool) -> Option<usize> {
        if self.positions.len() <= 1 {
            return self.only(eligible);
        }
        let turn = self.cursor.fetch_add(1, Ordering::Relaxed);
        if let Some(at) = self.at_turn(turn).filter(|at| eligible(*at)) {
            return Some(at);
        }
        let spare = self.next_spare(eligible);
        if spare.is_none() {
            // The turn is put back: the caller chooses next from those that are left out, and if each choice took two
            // turns, one of two such endpoints would have all of them.
            self.cursor.fetch_sub(1, Ordering::Relaxed);
        }
        spare
    }

    /// Takes one of the turns that fall on endpoints which may not be chosen.
    pub(crate) fn next_spare(&self, eligible: impl Fn(usize) -> bool) -> Option<usize> {
        // Nothing under the lock panics.
        let mut credits = self.spare.lock();
        self.take_spare(&mut credits, eligible)
    }

    /// Returns what [`Self::next`] would return now, without taking the turn.
    pub(crate) fn peek(&self, eligible: impl Fn(usize) -> bool) -> Option<usize> {
        if self.positions.len() <= 1 {
            return self.only(eligible);
        }
        let turn = self.cursor.load(Ordering::Relaxed);
        let at = self.at_turn(turn).filter(|at| eligible(*at));
        at.or_else(|| self.take_spare(&mut self.credits(), eligible))
    }

    fn only(&self, eligible: impl Fn(usize) -> bool) -> Option<usize> {
        self.positions.first().copied().filter(|at| eligible(*at))
    }

    fn at_turn(&self, turn: u64) -> Option<usize> {
        let index = *self.order.get((turn % self.order.len() as u64) as usize)?;
        self.positions.get(index as usize).copied()
    }

    fn take_spare(&self, credits: &mut [i64], eligible: impl Fn(usize) -> bool) -> Option<usize> {
        let eligible = |index: usize| self.positions.get(index).is_some_and(|at| eligible(*at));
        self.positions.get(take_turn(credits, &self.weights, eligible)?).copied()
    }

    fn credits(&self) -> Box<[i64]> {
        self.spare.lock().clone()
    }
}

/// Takes one turn of the algorithm. Of equal credits the first wins.
fn take_turn(credits: &mut [i64], weights: &[u32], eligible: impl Fn(usize) -> bool) -> Option<usize> {
    let (mut total, mut best) = (0, None);
    for (at, (credit, weight)) in credits.iter_mut().zip(weights).enumerate() {
        if !eligible(at) {
            continue;
        }
        *credit += i64::from(*weight);
        total += i64::from(*weight);
        if best.is_none_or(|(_, most)| *credit > most) {
            best = Some((at, *credit));
        }
    }
    let (at, credit) = best?;
    if let Some(slot) = credits.get_mut(at) {
        *slot = credit - total;
    }
    Some(at)
}

/// Returns the weights in lowest terms, small enough for [`order`].
fn reduce(mut weights: Box<[u32]>) -> Box<[u32]> {
    let common = weights.iter().copied().fold(0, gcd).max(1);
    weights.iter_mut().for_each(|weight| *weight /= common);
    let (count, sum) = (weights.len() as u64, weights.iter().map(|weight| u64::from(*weight)).sum::<u64>());
    let most = PERIOD_MAX.min(WORK_MAX / count.max(1));
    if sum > count && sum > most {
        // Rounded to nearest; a quotient is never larger than the weight was.
        let scale = |weight: u32| ((2 * u64::from(weight) * most + sum) / (2 * sum)).max(1) as u32;
        weights.iter_mut().for_each(|weight| *weight = scale(*weight));
        let common = weights.iter().copied().fold(0, gcd).max(1);
        weights.iter_mut().for_each(|weight| *weight /= common);
    }
    weights
}

/// Returns one period of turns.
fn order(weights: &[u32]) -> Box<[u32]> {
    if weights.iter().all(|weight| *weight == 1) {
        return (0..weights.len() as u32).collect();
    }
    let sum: u64 = weights.iter().map(|weight| u64::from(*weight)).sum();
    let mut credits = vec![0; weights.len()];
    (0..sum).filter_map(|_| take_turn(&mut credits, weights, |_| true)).map(|at| at as u32).collect()
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests;
