//! The endpoints of an upstream: an immutable set, and the place where the current one is published.
//!
//! A set is replaced as a whole. Endpoints whose address is in the old set and in the new one are the same
//! endpoints, with their id, counts and health; one that is not in the new set takes no more exchanges, and ends
//! with those that it has.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};
use portcullis_model::{Balance, Ejection, Name, Upstream};

use crate::round_robin::RoundRobin;
use crate::{Endpoint, EndpointId, Tried};

/// An endpoint of a set.
#[derive(Debug, Clone)]
pub struct Member {
    /// The endpoint.
    pub endpoint: Arc<Endpoint>,
    /// Its share beside the others; at least 1.
    pub weight: u32,
}

/// Endpoints and the rules by which one of them is chosen.
#[derive(Debug)]
pub struct EndpointSet {
    pub(crate) members: Box<[Member]>,
    pub(crate) balance: Balance,
    pub(crate) ejection: Ejection,
    pub(crate) turns: RoundRobin,
}

impl EndpointSet {
    fn new(
        endpoints: &[portcullis_model::Endpoint],
        balance: Balance,
        ejection: Ejection,
        old: Option<&Self>,
    ) -> Self {
        let old_members = old.into_iter().flat_map(|old| &old.members);
        let known: HashMap<&Name, &Arc<Endpoint>> =
            old_members.map(|member| (member.endpoint.address(), &member.endpoint)).collect();
        let mut positions = HashMap::new();
        let mut members: Vec<Member> = Vec::with_capacity(endpoints.len());
        for listed in endpoints {
            let at = *positions.entry(&listed.address).or_insert(members.len());
            // A config names no address twice, but a list that was discovered may.
            if let Some(twin) = members.get_mut(at) {
                twin.weight = twin.weight.saturating_add(listed.weight.max(1));
                continue;
            }
            let endpoint = match known.get(&listed.address) {
                Some(endpoint) => Arc::clone(endpoint),
                None => Arc::new(Endpoint::new(Arc::clone(&listed.address))),
            };
            members.push(Member { endpoint, weight: listed.weight.max(1) });
        }
        let turns = RoundRobin::new(members.iter().map(|member| (member.endpoint.id(), member.weight)));
        if let Some(old) = old {
            turns.continue_from(&old.turns);
        }
        Self { members: members.into_boxed_slice(), balance, ejection, turns }
    }

    /// Its endpoints, in the order in which they were listed.
    #[must_use]
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// Returns whether the endpoint is in it.
    #[must_use]
    pub fn contains(&self, id: EndpointId) -> bool {
        self.members.iter().any(|member| member.endpoint.id() == id)
    }

    /// Returns how many of its endpoints are not left out.
    #[must_use]
    pub fn healthy(&self) -> usize {
        self.members.iter().filter(|member| !member.endpoint.health().is_ejected()).count()
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

    /// The endpoints of `upstream` after a reload. Those that `old` has now keep their counts and their health,
    /// whatever else of the upstream has changed, and turns continue.
    #[must_use]
    pub fn rebuild(old: &Self, upstream: &Upstream) -> Self {
        Self::build(upstream, Some(&old.current()))
    }

    fn build(upstream: &Upstream, old: Option<&EndpointSet>) -> Self {
        let Upstream { endpoints, balance, ejection, .. } = upstream;
        Self(ArcSwap::from_pointee(EndpointSet::new(endpoints, balance.clone(), ejection.clone(), old)))
    }

    /// Replaces the set. Choices that are made from now on are made from `endpoints`.
    pub fn replace(&self, endpoints: &[portcullis_model::Endpoint]) {
        self.0.rcu(|old| EndpointSet::new(endpoints, old.balance.clone(), old.ejection.clone(), Some(old)));
    }

    /// The current set.
    #[must_use]
    pub fn current(&self) -> Arc<EndpointSet> {
        self.0.load_full()
    }

    /// Returns whether there is a current endpoint that is not in `tried`.
    #[must_use]
    pub fn has_untried(&self, tried: &Tried) -> bool {
        self.load().members.iter().any(|member| !tried.contains(member.endpoint.id()))
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
