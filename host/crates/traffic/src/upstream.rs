//! Chooses an endpoint of an upstream.

use std::sync::Arc;
use std::time::Duration;

use portcullis_model::{Balance, Ejection, Upstream};

use crate::round_robin::RoundRobin;
use crate::{EndpointState, InFlight, Tried};

/// How often a choice by count is made again because another worker changed the count in between.
const CLAIM_ATTEMPTS: u32 = 4;

/// The endpoints of an upstream and whose turn it is, shared by all workers.
#[derive(Debug)]
pub struct UpstreamState {
    endpoints: Box<[Arc<EndpointState>]>,
    /// As configured, by index.
    weights: Box<[u32]>,
    balance: Balance,
    ejection: Ejection,
    turns: RoundRobin,
}

/// The endpoint of one attempt.
#[derive(Debug)]
pub struct Pick {
    /// Its place in [`Upstream::endpoints`].
    pub index: usize,
    /// Counts the exchange until it is dropped: keep it to the end of the response's body, or of the tunnel.
    pub in_flight: InFlight,
    /// How often the endpoint had answered by then.
    answers: u32,
}

impl Pick {
    fn new(index: usize, in_flight: InFlight) -> Self {
        let answers = in_flight.endpoint().answers();
        Self { index, in_flight, answers }
    }

    /// Whether the endpoint has answered another exchange since it was chosen.
    #[must_use]
    pub fn has_answered_others(&self) -> bool {
        self.endpoint().answers() != self.answers
    }

    /// The endpoint.
    #[must_use]
    pub fn endpoint(&self) -> &Arc<EndpointState> {
        self.in_flight.endpoint()
    }
}

impl UpstreamState {
    /// All endpoints healthy and without exchanges.
    #[must_use]
    pub fn new(upstream: &Upstream) -> Self {
        Self::build(None, upstream)
    }

    /// The state of `upstream` as it is after a reload. Endpoints whose address was there before keep their counts and
    /// their health, whatever else of the upstream has changed, and turns go on where they were.
    #[must_use]
    pub fn rebuild(old: &Self, upstream: &Upstream) -> Self {
        Self::build(Some(old), upstream)
    }

    fn build(old: Option<&Self>, upstream: &Upstream) -> Self {
        let known: std::collections::HashMap<_, _> = old
            .into_iter()
            .flat_map(|old| &old.endpoints)
            .map(|state| (Arc::clone(state.address()), state))
            .collect();
        let endpoints = upstream.endpoints.iter().map(|endpoint| match known.get(&endpoint.address) {
            Some(state) => Arc::clone(state),
            None => Arc::new(EndpointState::new(Arc::clone(&endpoint.address))),
        });
        let turns = RoundRobin::new(upstream.endpoints.iter().map(|endpoint| endpoint.weight));
        if let Some(old) = old {
            turns.continue_from(&old.turns);
        }
        Self {
            endpoints: endpoints.collect(),
            weights: upstream.endpoints.iter().map(|endpoint| endpoint.weight.max(1)).collect(),
            balance: upstream.balance,
            ejection: upstream.ejection.clone(),
            turns,
        }
    }

    /// The endpoints, in the order of the config.
    #[must_use]
    pub fn endpoints(&self) -> &[Arc<EndpointState>] {
        &self.endpoints
    }

    /// Chooses an endpoint that is not in `tried`: a healthy one, or one to which a probe is due.
    ///
    /// Where all that are left are ejected, they are chosen from as if they were healthy: refusing the request would be
    /// a certain failure, and an upstream that comes back whole is noticed by its first request. `None` where all were
    /// tried.
    pub fn pick(&self, now: Duration, tried: &Tried) -> Option<Pick> {
        let untried = |at: usize| !tried.contains(at);
        let available =
            |at: usize| untried(at) && self.endpoints.get(at).is_some_and(|e| e.is_available(now));
        // A turn that ends in a refused probe means that another worker took it, and the endpoint is not available any
        // more; so there are at most as many of them as endpoints.
        for _ in 0..self.endpoints.len() {
            match self.choose(available) {
                Some(pick) if pick.endpoint().admit(&self.ejection, now) => return Some(pick),
                Some(_) => {}
                None => break,
            }
        }
        self.choose(untried)
    }

    /// The endpoint that [`Self::pick`] would choose first if it were asked now. Takes no turn, no place and no probe.
    #[must_use]
    pub fn peek(&self, now: Duration) -> Option<usize> {
        let available = |at: usize| self.endpoints.get(at).is_some_and(|endpoint| endpoint.is_available(now));
        let look = |eligible: &dyn Fn(usize) -> bool| match self.balance {
            Balance::RoundRobin => self.turns.peek(eligible),
            Balance::LeastRequests => {
                let (least, load) = self.least(eligible)?;
                let is_least = |at: usize| eligible(at) && self.load(at).is_some_and(|other| other <= load);
                Some(self.turns.peek(is_least).unwrap_or(least))
            }
        };
        look(&available).or_else(|| look(&|_| true))
    }

    /// What [`EndpointState::record_failure`] does, by this upstream's rule.
    pub fn record_failure(&self, endpoint: &EndpointState, now: Duration) -> bool {
        endpoint.record_failure(&self.ejection, now)
    }

    fn choose(&self, eligible: impl Fn(usize) -> bool) -> Option<Pick> {
        match self.balance {
            Balance::RoundRobin => {
                let index = self.turns.next(eligible)?;
                Some(Pick::new(index, self.endpoints.get(index)?.enter()))
            }
            Balance::LeastRequests => self.choose_least(eligible),
        }
    }

    /// The endpoint with the fewest exchanges in proportion to its weight; of several such, the one whose turn it is. The
    /// count is raised only if it is still what the choice was made by, so that two workers never see the same gap.
    fn choose_least(&self, eligible: impl Fn(usize) -> bool) -> Option<Pick> {
        let mut last = None;
        for _ in 0..CLAIM_ATTEMPTS {
            let (least, load) = self.least(&eligible)?;
            let is_least = |at: usize| eligible(at) && self.load(at).is_some_and(|other| other <= load);
            // Counts may have grown since; then the first that was found will do.
            let index = self.turns.next(is_least).unwrap_or(least);
            let endpoint = self.endpoints.get(index)?;
            if let Some(seen) = self.load(index).filter(|now| *now <= load).map(|now| now.in_flight)
                && let Some(in_flight) = endpoint.claim(seen)
            {
                return Some(Pick::new(index, in_flight));
            }
            last = Some((index, endpoint));
        }
        last.map(|(index, endpoint)| Pick::new(index, endpoint.enter()))
    }

    fn least(&self, eligible: impl Fn(usize) -> bool) -> Option<(usize, Load)> {
        let loads = (0..self.endpoints.len()).filter(|at| eligible(*at));
        loads.filter_map(|at| Some((at, self.load(at)?))).min_by_key(|(_, load)| *load)
    }

    fn load(&self, at: usize) -> Option<Load> {
        Some(Load { in_flight: self.endpoints.get(at)?.in_flight(), weight: *self.weights.get(at)? })
    }
}

/// Exchanges in proportion to a weight, compared exactly: `a/b < c/d` as `ad < cb`.
#[derive(Debug, Clone, Copy)]
struct Load {
    in_flight: u32,
    weight: u32,
}

impl Ord for Load {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        let product = |a: u32, b: u32| u64::from(a) * u64::from(b);
        product(self.in_flight, other.weight).cmp(&product(other.in_flight, self.weight))
    }
}

impl PartialOrd for Load {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
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
