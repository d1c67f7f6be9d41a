//! Smooth weighted round-robin, as nginx does it, without a lock on the usual way.
//!
//! nginx's algorithm gives each endpoint its weight as credit in every turn, takes the one with the most credit, and
//! takes the total of the weights from it. With weights 5, 1, 1 that gives `a a b a c a a`: never a run longer than it must
//! be. The order repeats after as many turns as the weights add up to, so it is worked out once; all workers then take
//! turns from one atomic cursor, and over each whole period every endpoint gets exactly its weight.
//!
//! A turn that falls on an endpoint that is left out is given to another by the algorithm itself, run over those that
//! may be chosen: each of them gets its weight's share of those turns as well. (Taking the next one in order instead would
//! give all of them to one neighbour.) Only these turns take a lock, for as long as it takes to look at each endpoint.

use std::sync::atomic::{AtomicU64, Ordering};

use portcullis_model::Lock;

/// Turns that an order may have: 256 KiB.
const PERIOD_MAX: u64 = 1 << 16;

/// Credits looked at while an order is worked out: some 50 ms.
const WORK_MAX: u64 = 1 << 25;

/// Whose turn it is, among endpoints that are known by their index.
#[derive(Debug)]
pub(crate) struct RoundRobin {
    weights: Box<[u32]>,
    order: Box<[u32]>,
    cursor: AtomicU64,
    /// The credits of the turns that fall on endpoints that are left out.
    spare: Lock<Box<[i64]>>,
}

impl RoundRobin {
    /// Works out the order. A weight of 0 counts as 1.
    ///
    /// The period is the sum of the weights divided by what they have in common. Over 65,536 turns, or where working it
    /// out would take long (over 2^25 divided by the number of endpoints), the weights are scaled down to fit and
    /// rounded, each to at least 1: shares are then off by less than one turn in a period. Where all weights are equal
    /// the period is the number of endpoints, however many there are.
    pub(crate) fn new(weights: impl Iterator<Item = u32>) -> Self {
        let weights = reduce(weights.map(|weight| weight.max(1)).collect());
        let order = order(&weights);
        let spare = Lock::new(vec![0; weights.len()].into_boxed_slice());
        Self { weights, order, cursor: AtomicU64::new(0), spare }
    }

    /// Goes on where `old` is, so that a reload does not start every order anew.
    pub(crate) fn continue_from(&self, old: &Self) {
        self.cursor.store(old.cursor.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    /// The endpoint that takes the next turn, among the eligible ones; `None` where none is.
    pub(crate) fn next(&self, eligible: impl Fn(usize) -> bool) -> Option<usize> {
        if self.weights.len() <= 1 {
            return (!self.weights.is_empty() && eligible(0)).then_some(0);
        }
        let turn = self.cursor.fetch_add(1, Ordering::Relaxed) % self.order.len() as u64;
        let at = self.order.get(turn as usize).map(|at| *at as usize)?;
        if eligible(at) { Some(at) } else { self.next_spare(eligible) }
    }

    /// The endpoint that [`Self::next`] would give now; takes no turn.
    pub(crate) fn peek(&self, eligible: impl Fn(usize) -> bool) -> Option<usize> {
        if self.weights.len() <= 1 {
            return (!self.weights.is_empty() && eligible(0)).then_some(0);
        }
        let turn = self.cursor.load(Ordering::Relaxed) % self.order.len() as u64;
        let at = self.order.get(turn as usize).map(|at| *at as usize)?;
        if eligible(at) {
            return Some(at);
        }
        let mut credits = self.spare.lock().clone();
        take_turn(&mut credits, &self.weights, eligible)
    }

    fn next_spare(&self, eligible: impl Fn(usize) -> bool) -> Option<usize> {
        // Nothing under the lock panics.
        let mut credits = self.spare.lock();
        take_turn(&mut credits, &self.weights, eligible)
    }
}

/// One turn of the algorithm. Of equal credits the first wins.
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

/// The weights in lowest terms, small enough for [`order`].
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

/// One period of turns.
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
