//! The endpoints of an upstream: an immutable set, and the place where the current one is published.
//!
//! A set is replaced as a whole, and has a level for each priority. Endpoints whose address is in the old set and in
//! the new one are the same endpoints, with their id, counts and health; one that is not in the new set takes no more
//! exchanges, and ends with those that it has.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};
use portcullis_model::{Balance, Ejection, Name, Panic, Share, Upstream};

use crate::level::Level;
use crate::{Endpoint, EndpointId, Member, Tried};

/// Endpoints and the rules by which one of them is chosen.
#[derive(Debug)]
pub struct EndpointSet {
    pub(crate) members: Box<[Member]>,
    /// By priority.
    pub(crate) levels: Box<[Level]>,
    pub(crate) rules: Rules,
}

/// The rules by which an endpoint is chosen.
#[derive(Debug, Clone)]
pub(crate) struct Rules {
    pub(crate) balance: Balance,
    pub(crate) ejection: Ejection,
    pub(crate) panic: Panic,
    pub(crate) slow_start: Duration,
    /// Exchanges that an endpoint may have under way.
    pub(crate) endpoint_requests_max: Option<u32>,
}

impl Rules {
    fn of(upstream: &Upstream) -> Self {
        let Upstream { balance, ejection, panic, slow_start, limits, .. } = upstream;
        Self {
            balance: balance.clone(),
            ejection: ejection.clone(),
            panic: *panic,
            slow_start: *slow_start,
            endpoint_requests_max: limits.endpoint_requests_max,
        }
    }
}

impl EndpointSet {
    /// The set of `endpoints`, in the place of `old` from a moment on.
    fn new(endpoints: &[portcullis_model::Endpoint], rules: Rules, old: Option<(&Self, Duration)>) -> Self {
        let old_members = old.into_iter().flat_map(|(old, _)| &old.members);
        let known: HashMap<&Name, &Arc<Endpoint>> =
            old_members.map(|member| (member.endpoint.address(), &member.endpoint)).collect();
        // If none stays, nothing is there that the others could be spared for.
        let stays = endpoints.iter().any(|listed| known.contains_key(&listed.address));
        let added = old.filter(|_| stays).map(|(_, now)| now);
        let mut positions = HashMap::new();
        let mut members: Vec<Member> = Vec::with_capacity(endpoints.len());
        for listed in endpoints {
            let at = *positions.entry(&listed.address).or_insert(members.len());
            // A config names no address twice, but a list that was discovered may.
            if let Some(twin) = members.get_mut(at) {
                twin.weight = twin.weight.saturating_add(listed.weight);
                twin.priority = twin.priority.min(listed.priority);
                continue;
            }
            let endpoint = match known.get(&listed.address) {
                Some(endpoint) => Arc::clone(endpoint),
                None => Arc::new(Endpoint::new(Arc::clone(&listed.address), added)),
            };
            members.push(Member { endpoint, weight: listed.weight, priority: listed.priority });
        }
        members.sort_by_key(|member| member.priority);
        let mut levels: Vec<Level> = Vec::new();
        let mut start = 0;
        for same in members.chunk_by(|member, next| member.priority == next.priority) {
            let Some(Member { priority, .. }) = same.first() else { continue };
            let level = Level::new(*priority, start..start + same.len(), &members);
            let olds = old.into_iter().flat_map(|(old, _)| &old.levels);
            if let Some(old) = olds.into_iter().find(|old| old.priority == *priority) {
                level.continue_from(old);
            }
            start += same.len();
            levels.push(level);
        }
        Self { members: members.into_boxed_slice(), levels: levels.into_boxed_slice(), rules }
    }

    /// Its endpoints, by priority, and those of one priority in the order in which they were listed.
    #[must_use]
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// Returns whether the endpoint is in it.
    #[must_use]
    pub fn contains(&self, id: EndpointId) -> bool {
        self.members.iter().any(|member| member.endpoint.id() == id)
    }

    /// Returns whether so few of its endpoints are healthy that exchanges go to all as if all were, as the upstream's
    /// `panic` says.
    #[must_use]
    pub fn panics(&self) -> bool {
        match self.rules.panic {
            Panic::Off => false,
            Panic::NoneLeft => self.healthy() == 0 && self.serving().next().is_some(),
            Panic::Below(share) => self.is_below(share),
        }
    }

    /// Returns whether fewer than this share of its endpoints are healthy. Those that are drained do not count.
    pub(crate) fn is_below(&self, share: Share) -> bool {
        let (healthy, all) = (self.healthy() as u64, self.serving().count() as u64);
        healthy * u64::from(Share::ALL.hundredths()) < all * u64::from(share.hundredths())
    }

    /// Returns whether one more of its endpoints may be left out for what it did.
    #[must_use]
    pub fn may_eject(&self) -> bool {
        let share = self.rules.ejection.share_max;
        if share == Share::ALL {
            return true;
        }
        let ejected = self.members.iter().filter(|member| member.endpoint.health().is_ejected()).count();
        (ejected as u64) < share.of(self.members.len() as u64)
    }

    /// Returns those that take exchanges: all that are not drained.
    fn serving(&self) -> impl Iterator<Item = &Member> {
        self.members.iter().filter(|member| !member.is_drained())
    }

    /// Returns how many of its endpoints are neither left out nor drained.
    #[must_use]
    pub fn healthy(&self) -> usize {
        self.serving().filter(|member| !member.endpoint.health().is_left_out()).count()
    }
}

/// The current endpoints of an upstream, shared by all workers and replaced while they choose.
#[derive(Debug)]
pub struct Endpoints(ArcSwap<EndpointSet>);

impl Endpoints {
    /// The endpoints of `upstream`, all healthy and without exchanges.
    #[must_use]
    pub fn new(upstream: &Upstream) -> Self {
        Self::build(upstream, None)
    }

    /// The endpoints of `upstream` after a reload. Those that `old` has `now` keep their counts and their health,
    /// whatever else of the upstream has changed, and turns continue.
    #[must_use]
    pub fn rebuild(old: &Self, upstream: &Upstream, now: Duration) -> Self {
        Self::build(upstream, Some((&old.current(), now)))
    }

    fn build(upstream: &Upstream, old: Option<(&EndpointSet, Duration)>) -> Self {
        Self(ArcSwap::from_pointee(EndpointSet::new(&upstream.endpoints, Rules::of(upstream), old)))
    }

    /// Replaces the set. Choices that are made from `now` on are made from `endpoints`.
    pub fn replace(&self, endpoints: &[portcullis_model::Endpoint], now: Duration) {
        self.0.rcu(|old| EndpointSet::new(endpoints, old.rules.clone(), Some((old, now))));
    }

    /// The current set.
    #[must_use]
    pub fn current(&self) -> Arc<EndpointSet> {
        self.0.load_full()
    }

    /// Returns whether there is a current endpoint that takes exchanges and is not in `tried`.
    #[must_use]
    pub fn has_untried(&self, tried: &Tried) -> bool {
        self.load().serving().any(|member| !tried.contains(member.endpoint.id()))
    }

    /// Returns whether `set` is the current one.
    #[must_use]
    pub fn is_current(&self, set: &Arc<EndpointSet>) -> bool {
        Arc::ptr_eq(&self.load(), set)
    }

    /// Returns the current set for a moment, without counting a reference.
    pub(crate) fn load(&self) -> Guard<Arc<EndpointSet>> {
        self.0.load()
    }
}

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
