//! Chooses an endpoint of a set.

use std::cmp::Ordering;
use std::time::Duration;

use portcullis_model::Balance;

use crate::{Endpoint, EndpointSet, Endpoints, InFlight, Member, Tried, rendezvous};

/// How often a choice by count is made again because another worker changed the count in between.
const CLAIM_ATTEMPTS: u32 = 4;

/// The request that an endpoint is chosen for.
#[derive(Debug, Clone, Copy)]
pub struct Choice<'a> {
    /// The time.
    pub now: Duration,
    /// The endpoints that it was tried on before.
    pub tried: &'a Tried,
    /// What the endpoint is chosen by, however the upstream balances. Without it, one that balances by a hash goes by
    /// turns.
    pub key: Option<Key>,
}

/// A hash of what about a request its endpoint is chosen by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Key(u64);

impl Key {
    /// The key of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(rendezvous::hash(bytes))
    }
}

/// The endpoint of one attempt.
#[derive(Debug)]
pub struct Pick {
    /// Counts the exchange until it is dropped: keep it to the end of the response's body, or of the tunnel.
    pub in_flight: InFlight,
    /// How often the endpoint had answered by then.
    answers: u32,
}

impl Pick {
    fn new(in_flight: InFlight) -> Self {
        let answers = in_flight.endpoint().answers();
        Self { in_flight, answers }
    }

    /// Returns whether the endpoint has answered another exchange since it was chosen.
    #[must_use]
    pub fn has_answered_others(&self) -> bool {
        self.endpoint().answers() != self.answers
    }

    /// The endpoint.
    #[must_use]
    pub fn endpoint(&self) -> &std::sync::Arc<Endpoint> {
        self.in_flight.endpoint()
    }
}

impl Endpoints {
    /// Chooses an endpoint of the current set, as [`EndpointSet::pick`] does.
    pub fn pick(&self, choice: &Choice<'_>) -> Option<Pick> {
        self.load().pick(choice)
    }
}

impl EndpointSet {
    /// Chooses an endpoint that was not tried: a healthy one, or one to which a probe is due.
    ///
    /// If all that are left are ejected, they are chosen from as if they were healthy: refusing the request would
    /// be a certain failure, and an upstream that comes back whole is noticed by its first request. Returns `None`
    /// if all were tried.
    pub fn pick(&self, choice: &Choice<'_>) -> Option<Pick> {
        let untried = |member: &Member| !choice.tried.contains(member.endpoint.id());
        let available =
            |member: &Member| untried(member) && member.endpoint.health().is_available(choice.now);
        // A turn that ends in a refused probe means that another worker took it, and the endpoint is not available any
        // more; so there are at most as many of them as endpoints.
        for _ in 0..self.members.len() {
            match self.choose(choice.key, available) {
                Some(pick) if pick.endpoint().health().admit(&self.ejection, choice.now) => {
                    return Some(pick);
                }
                Some(_) => {}
                None => break,
            }
        }
        self.choose(choice.key, untried)
    }

    /// Returns the position of the endpoint that [`Self::pick`] would choose for a new request with this key. Takes
    /// no turn and no probe, and counts no exchange.
    #[must_use]
    pub fn peek(&self, now: Duration, key: Option<Key>) -> Option<usize> {
        let peek = |eligible: &dyn Fn(usize) -> bool| match (key, &self.balance) {
            (Some(key), _) => self.owner(key, eligible),
            (None, Balance::RoundRobin | Balance::Hash(_)) => self.turns.peek(eligible),
            (None, Balance::LeastRequests) => {
                let (least, load) = self.least(eligible)?;
                let is_least = |at: usize| eligible(at) && self.load(at).is_some_and(|other| other <= load);
                Some(self.turns.peek(is_least).unwrap_or(least))
            }
        };
        let is_available =
            |at: usize| self.members.get(at).is_some_and(|member| member.endpoint.health().is_available(now));
        peek(&is_available).or_else(|| peek(&|_| true))
    }

    fn choose(&self, key: Option<Key>, eligible: impl Fn(&Member) -> bool) -> Option<Pick> {
        let eligible = |at: usize| self.members.get(at).is_some_and(&eligible);
        let at = match (key, &self.balance) {
            (Some(key), _) => self.owner(key, eligible)?,
            (None, Balance::RoundRobin | Balance::Hash(_)) => self.turns.next(eligible)?,
            (None, Balance::LeastRequests) => return self.choose_least(eligible),
        };
        Some(Pick::new(self.members.get(at)?.endpoint.enter()))
    }

    /// Chooses the endpoint with the fewest exchanges in proportion to its weight; of several such, the one whose
    /// turn it is. The count is raised only if it is still what the choice was made by, so that two workers never
    /// see the same gap.
    fn choose_least(&self, eligible: impl Fn(usize) -> bool) -> Option<Pick> {
        let mut last = None;
        for _ in 0..CLAIM_ATTEMPTS {
            let (least, load) = self.least(&eligible)?;
            let is_least = |at: usize| eligible(at) && self.load(at).is_some_and(|other| other <= load);
            // Counts may have grown since; then the first that was found will do.
            let at = self.turns.next(is_least).unwrap_or(least);
            let endpoint = &self.members.get(at)?.endpoint;
            if let Some(seen) = self.load(at).filter(|now| *now <= load).map(|now| now.in_flight)
                && let Some(in_flight) = endpoint.claim(seen)
            {
                return Some(Pick::new(in_flight));
            }
            last = Some(endpoint);
        }
        last.map(|endpoint| Pick::new(endpoint.enter()))
    }

    /// Returns the position of the endpoint that the key belongs to, among the eligible ones.
    fn owner(&self, key: Key, eligible: impl Fn(usize) -> bool) -> Option<usize> {
        let scores = self.members.iter().enumerate().filter(|(at, _)| eligible(*at)).map(|(at, member)| {
            let Member { endpoint, weight } = member;
            (at, rendezvous::score(endpoint.hash(), key.0, *weight))
        });
        scores.max_by(|(_, score), (_, other)| score.total_cmp(other)).map(|(at, _)| at)
    }

    fn least(&self, eligible: impl Fn(usize) -> bool) -> Option<(usize, Load)> {
        let loads = (0..self.members.len()).filter(|at| eligible(*at));
        loads.filter_map(|at| Some((at, self.load(at)?))).min_by_key(|(_, load)| *load)
    }

    fn load(&self, at: usize) -> Option<Load> {
        let Member { endpoint, weight } = self.members.get(at)?;
        Some(Load { in_flight: endpoint.in_flight(), weight: *weight })
    }
}

/// Exchanges in proportion to a weight, compared exactly: `a/b < c/d` as `ad < cb`.
#[derive(Debug, Clone, Copy)]
struct Load {
    in_flight: u32,
    weight: u32,
}

impl Ord for Load {
    fn cmp(&self, other: &Self) -> Ordering {
        let product = |a: u32, b: u32| u64::from(a) * u64::from(b);
        product(self.in_flight, other.weight).cmp(&product(other.in_flight, self.weight))
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

#[cfg(test)]
mod tests;
