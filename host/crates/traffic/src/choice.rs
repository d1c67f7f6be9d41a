//! Chooses an endpoint of a set.

mod load;

use std::time::Duration;

use load::Load;
use portcullis_model::{Balance, Panic};

use crate::endpoint::WHOLE;
use crate::level::Level;
use crate::{Endpoint, EndpointSet, Endpoints, InFlight, Key, Member, Tried};

/// How often a choice by count is made again because another worker changed the count in between.
const CLAIM_ATTEMPTS: u32 = 4;

/// Endpoints of which the one with the fewest requests is found by looking at all of them. Of more, the better one of
/// two drawn by chance is taken: each endpoint that is looked at costs a cache line that other workers write to.
const COUNTED_MAX: usize = 16;

/// The request that an endpoint is chosen for.
#[derive(Clone, Copy)]
pub struct Choice<'a> {
    /// The time.
    pub now: Duration,
    /// The endpoints that it was tried on before.
    pub tried: &'a Tried,
    /// What the endpoint is chosen by, however the upstream balances. Without it, one that balances by a hash goes by
    /// turns.
    pub key: Option<Key>,
    /// Returns a number of which each bit is as likely as not. It is called only if chance decides.
    pub chance: &'a dyn Fn() -> u64,
}

impl std::fmt::Debug for Choice<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { now, tried, key, chance: _ } = self;
        f.debug_struct("Choice")
            .field("now", now)
            .field("tried", tried)
            .field("key", key)
            .finish_non_exhaustive()
    }
}

/// Why no endpoint was chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoPick {
    /// All were tried.
    NoneLeft,
    /// Those that are left have as many exchanges as they may have.
    Full,
}

/// The endpoint of one attempt.
#[derive(Debug)]
pub struct Pick {
    /// Counts the exchange until it is dropped: keep it to the end of the response's body, or of the tunnel.
    pub in_flight: InFlight,
    /// How often the endpoint had answered by then.
    answers: u32,
    /// When it was chosen.
    at: Duration,
}

impl Pick {
    fn new(in_flight: InFlight, at: Duration) -> Self {
        let answers = in_flight.endpoint().answers();
        Self { in_flight, answers, at }
    }

    /// Records that the head of the response arrived `now`, for balancing by latency.
    pub fn record_latency(&self, now: Duration) {
        self.endpoint().record_latency(self.took(now), now);
    }

    /// Returns when it was chosen.
    #[must_use]
    pub fn chosen(&self) -> Duration {
        self.at
    }

    /// Returns how long ago it was chosen.
    #[must_use]
    pub fn took(&self, now: Duration) -> Duration {
        now.saturating_sub(self.at)
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
    ///
    /// # Errors
    /// As [`EndpointSet::pick`].
    pub fn pick(&self, choice: &Choice<'_>) -> Result<Pick, NoPick> {
        self.load().pick(choice)
    }
}

impl EndpointSet {
    /// Chooses an endpoint that was not tried: a healthy one, or one to which a probe is due. Endpoints of a lower
    /// priority come if none of a higher one is left.
    ///
    /// If all that are left are left out, they are chosen from as if they were healthy: refusing the request would
    /// be a certain failure, and an upstream that comes back whole is noticed by its first request. The upstream's
    /// `panic` can have that begin earlier, or never.
    ///
    /// An endpoint that has as many exchanges as it may have is not chosen. That is exact if the callers choose one
    /// after the other, as under the lock of a [`Limiter`](crate::Limiter).
    ///
    /// # Errors
    /// All were tried, or a backup would have to take the place of an endpoint that is only full.
    pub fn pick(&self, choice: &Choice<'_>) -> Result<Pick, NoPick> {
        let is_untried =
            |member: &Member| !member.is_drained() && !choice.tried.contains(member.endpoint.id());
        let is_usable = |member: &Member| member.endpoint.health().is_available(choice.now);
        let untried = |member: &Member| is_untried(member) && !self.is_full(member);
        let available = |member: &Member| untried(member) && is_usable(member);
        let panics = matches!(self.rules.panic, Panic::Below(share) if self.is_below(share));
        for level in self.levels.iter().take_while(|_| !panics) {
            // A turn that ends in a refused probe means that another worker took it, and the endpoint is not available
            // any more; so there are at most as many of them as endpoints.
            for _ in level.range.clone() {
                match self.choose(level, choice, available) {
                    Some(pick) if pick.endpoint().health().admit(&self.rules.ejection, choice.now) => {
                        return Ok(pick);
                    }
                    Some(_) => {}
                    None => break,
                }
            }
            let is_only_full =
                |member: &Member| is_untried(member) && is_usable(member) && self.is_full(member);
            if self.rules.endpoint_requests_max.is_some() && self.of(level).iter().any(is_only_full) {
                return Err(NoPick::Full);
            }
        }
        if self.rules.panic == Panic::Off {
            return Err(NoPick::NoneLeft);
        }
        let any = self.levels.iter().find_map(|level| self.choose(level, choice, untried));
        any.ok_or(if self.members.iter().any(is_untried) { NoPick::Full } else { NoPick::NoneLeft })
    }

    /// Returns whether it has as many exchanges as an endpoint may have.
    fn is_full(&self, member: &Member) -> bool {
        self.rules.endpoint_requests_max.is_some_and(|max| member.endpoint.in_flight() >= max)
    }

    fn of(&self, level: &Level) -> &[Member] {
        self.members.get(level.range.clone()).unwrap_or_default()
    }

    /// Returns the position of the endpoint that [`Self::pick`] would choose for a new request with this key, or `None`
    /// if chance decides or the set is empty. Takes no turn and no probe, and counts no exchange.
    #[must_use]
    pub fn peek(&self, now: Duration, key: Option<Key>) -> Option<usize> {
        let member = |at: usize| self.members.get(at).filter(|member| !member.is_drained());
        let is_available =
            |at: usize| member(at).is_some_and(|member| member.endpoint.health().is_available(now));
        let all = |at: usize| member(at).is_some();
        let panics = matches!(self.rules.panic, Panic::Below(share) if self.is_below(share));
        let usable = self.levels.iter().find(|level| !panics && level.range.clone().any(is_available));
        match usable {
            Some(level) => self.peek_at(level, now, key, &is_available),
            None if self.rules.panic == Panic::Off => None,
            None => self.levels.iter().find_map(|level| self.peek_at(level, now, key, &all)),
        }
    }

    fn peek_at(
        &self,
        level: &Level,
        now: Duration,
        key: Option<Key>,
        eligible: &dyn Fn(usize) -> bool,
    ) -> Option<usize> {
        let mut eligible_now = level.range.clone().filter(|at| eligible(*at));
        let (first, second) = (eligible_now.next()?, eligible_now.next());
        let is_starting = |at: usize| self.part(at, now) < WHOLE;
        match (key, &self.rules.balance) {
            _ if second.is_none() => Some(first),
            (Some(key), balance) => Some(self.owner(level, balance, key, now, eligible)?.0),
            (None, Balance::RoundRobin | Balance::Hash { .. }) => {
                level.peek_turn(eligible).filter(|at| !is_starting(*at))
            }
            (None, Balance::LeastRequests) if level.range.len() <= COUNTED_MAX => {
                let (least, load) = self.least(level, now, eligible)?;
                let is_least =
                    |at: usize| eligible(at) && self.load(at, now).is_some_and(|other| other <= load);
                Some(level.peek_turn(is_least).unwrap_or(least))
            }
            (None, Balance::LeastRequests | Balance::PeakEwma | Balance::Random) => None,
        }
    }

    fn choose(&self, level: &Level, choice: &Choice<'_>, eligible: impl Fn(&Member) -> bool) -> Option<Pick> {
        let Choice { now, chance, key, .. } = *choice;
        let eligible = |at: usize| self.members.get(at).is_some_and(&eligible);
        let at = match (key, &self.rules.balance) {
            (Some(key), balance @ Balance::Hash { load_max: Some(_), .. }) => {
                let owner = || self.owner(level, balance, key, now, eligible);
                return self.claim(owner, now);
            }
            (Some(key), balance) => self.owner(level, balance, key, now, eligible)?.0,
            (None, Balance::RoundRobin | Balance::Hash { .. }) => {
                let at = level.turn(eligible)?;
                let other = |whole: &dyn Fn(usize) -> bool| level.spare_turn(|at| whole(at) && eligible(at));
                self.unless_starting(at, now, chance, other)
            }
            (None, Balance::Random) => {
                let at = level.draw(chance, eligible)?;
                let other =
                    |whole: &dyn Fn(usize) -> bool| level.draw(chance, |at| whole(at) && eligible(at));
                self.unless_starting(at, now, chance, other)
            }
            (None, Balance::LeastRequests) if level.range.len() <= COUNTED_MAX => {
                return self.claim(|| self.take_least(level, now, &eligible), now);
            }
            (None, Balance::LeastRequests) => {
                let load = |at: usize| self.load(at, now);
                return self.claim(|| self.better_of_two(level, chance, &eligible, load), now);
            }
            (None, Balance::PeakEwma) => {
                let cost = |at: usize| self.cost(at, now);
                return self.claim(|| self.better_of_two(level, chance, &eligible, cost), now);
            }
        };
        Some(Pick::new(self.members.get(at)?.endpoint.enter(), now))
    }

    /// Counts an exchange at the endpoint that `find` returns with the count that it saw. If the count has changed
    /// since, another one is found, so that two workers never see the same gap.
    fn claim(&self, find: impl Fn() -> Option<(usize, u32)>, now: Duration) -> Option<Pick> {
        let mut last = None;
        for _ in 0..CLAIM_ATTEMPTS {
            let (at, seen) = find()?;
            let endpoint = &self.members.get(at)?.endpoint;
            if let Some(in_flight) = endpoint.claim(seen) {
                return Some(Pick::new(in_flight, now));
            }
            last = Some(endpoint);
        }
        last.map(|endpoint| Pick::new(endpoint.enter(), now))
    }

    /// Returns `found`. If that is in its slow start, it is passed over as often as its part says, in favour of an
    /// `other` endpoint that has its whole share, if there is one.
    fn unless_starting(
        &self,
        found: usize,
        now: Duration,
        chance: &dyn Fn() -> u64,
        other: impl FnOnce(&dyn Fn(usize) -> bool) -> Option<usize>,
    ) -> usize {
        let part = self.part(found, now);
        if part == WHOLE || chance() % u64::from(WHOLE) < u64::from(part) {
            return found;
        }
        other(&|at| self.part(at, now) == WHOLE).unwrap_or(found)
    }

    /// Returns the eligible endpoint with the fewest exchanges in proportion to its weight, of several such the one
    /// whose turn it is, and its count.
    fn take_least(
        &self,
        level: &Level,
        now: Duration,
        eligible: &impl Fn(usize) -> bool,
    ) -> Option<(usize, u32)> {
        let (least, load) = self.least(level, now, eligible)?;
        let is_least = |at: usize| eligible(at) && self.load(at, now).is_some_and(|other| other <= load);
        // Counts may have grown since; then the first that was found will do.
        let at = level.turn(is_least).unwrap_or(least);
        self.in_flight(at)
    }

    fn least(&self, level: &Level, now: Duration, eligible: impl Fn(usize) -> bool) -> Option<(usize, Load)> {
        let loads = level.range.clone().filter(|at| eligible(*at));
        loads.filter_map(|at| Some((at, self.load(at, now)?))).min_by_key(|(_, load)| *load)
    }

    /// Returns the one of two eligible endpoints drawn by chance that `load` says has less, and its count.
    fn better_of_two<L: PartialOrd>(
        &self,
        level: &Level,
        chance: &dyn Fn() -> u64,
        eligible: &impl Fn(usize) -> bool,
        load: impl Fn(usize) -> L,
    ) -> Option<(usize, u32)> {
        let first = level.draw(chance, eligible)?;
        let second = level.draw(chance, |at| at != first && eligible(at));
        let better = second.filter(|second| load(*second) < load(first));
        self.in_flight(better.unwrap_or(first))
    }

    /// Returns the position of the endpoint that the key belongs to, among the eligible ones, and its count. With a
    /// bound for loads, those that have as many exchanges as it allows are passed over.
    fn owner(
        &self,
        level: &Level,
        balance: &Balance,
        key: Key,
        now: Duration,
        eligible: impl Fn(usize) -> bool,
    ) -> Option<(usize, u32)> {
        let Balance::Hash { load_max: Some(load_max), .. } = balance else {
            return Some((level.owner(&self.members, key, eligible)?, 0));
        };
        let members = || level.range.clone().filter(|at| eligible(*at)).filter_map(|at| self.members.get(at));
        let weights: u64 = members().map(|member| u64::from(member.weight)).sum();
        let exchanges: u64 = members().map(|member| u64::from(member.endpoint.in_flight())).sum();
        let has_room = |at: usize| {
            let load = self.load(at, now);
            load.is_some_and(|load| load.has_room(*load_max, exchanges + 1, weights))
        };
        let owner = level.owner(&self.members, key, |at| eligible(at) && has_room(at));
        self.in_flight(owner.or_else(|| level.owner(&self.members, key, &eligible))?)
    }

    fn in_flight(&self, at: usize) -> Option<(usize, u32)> {
        Some((at, self.members.get(at)?.endpoint.in_flight()))
    }

    /// Returns how much of its share an endpoint may have.
    fn part(&self, at: usize, now: Duration) -> u32 {
        match self.members.get(at) {
            Some(member) if !self.rules.slow_start.is_zero() => {
                member.endpoint.part(now, self.rules.slow_start)
            }
            _ => WHOLE,
        }
    }

    fn load(&self, at: usize, now: Duration) -> Option<Load> {
        let Member { endpoint, weight, .. } = self.members.get(at)?;
        Some(Load::new(endpoint.in_flight(), *weight, self.part(at, now)))
    }

    /// Returns how long a request would wait at an endpoint: its latency for each exchange under way and for this one.
    fn cost(&self, at: usize, now: Duration) -> f64 {
        let Some(Member { endpoint, weight, .. }) = self.members.get(at) else { return f64::INFINITY };
        let exchanges = f64::from(endpoint.in_flight());
        let latency = match endpoint.latency_nanos(now) {
            Some(latency) => latency,
            // The first request of an endpoint shows how quick it is; no other one goes there meanwhile.
            None if exchanges == 0.0 => 0.0,
            None => UNKNOWN_LATENCY,
        };
        let weight = f64::from(*weight) * f64::from(self.part(at, now));
        latency * (exchanges + 1.0) / weight
    }
}

/// The latency in nanoseconds of an endpoint that has its first request: more than that of any other.
const UNKNOWN_LATENCY: f64 = 1e15;

#[cfg(test)]
mod tests;
