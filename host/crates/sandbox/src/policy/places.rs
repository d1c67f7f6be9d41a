//! How many instances, hook calls and requests there may be, and the places that those that are there hold.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::policy::shares::{Beyond, Client, ClientPlace, Clients, Holding};

/// How many instances are alive: of a policy, or over all of them.
#[derive(Debug)]
pub(crate) struct InstanceCount {
    alive: AtomicU32,
    max: u32,
}

/// The place of an instance among its policy's and among all; given back when dropped.
#[derive(Debug)]
pub(crate) struct InstancePlace {
    policy: Arc<InstanceCount>,
    all: Arc<InstanceCount>,
    _client: Option<ClientPlace>,
}

/// Why there is no place for an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoPlace {
    /// All are taken.
    All,
    /// The policy has as many as it may.
    Policy,
    /// The policy, or the client, has as many as an exchange of it may take.
    Share(Beyond),
}

impl InstancePlace {
    /// A place for an instance; of one that an exchange of a client keeps, within what is shared out.
    pub(crate) fn take(
        policy: &Arc<InstanceCount>,
        all: &Arc<InstanceCount>,
        client: Option<(&Arc<Clients>, Client)>,
    ) -> Result<Self, NoPlace> {
        let client = match client {
            Some((clients, client)) => {
                let free = all.max.saturating_sub(all.alive());
                let limit = (policy.max < u32::MAX).then_some(policy.max);
                let holding = Holding { has: policy.alive(), limit, free, all: all.max };
                match holding.one_more(clients, client) {
                    Ok(place) => place,
                    Err(_) if free == 0 => return Err(NoPlace::All),
                    Err(Beyond::Policy) if limit.is_some() => return Err(NoPlace::Policy),
                    Err(beyond) => return Err(NoPlace::Share(beyond)),
                }
            }
            None => None,
        };
        if !policy.enter() {
            return Err(NoPlace::Policy);
        }
        if !all.enter() {
            policy.leave();
            return Err(NoPlace::All);
        }
        Ok(Self { policy: policy.clone(), all: all.clone(), _client: client })
    }
}

/// The place of an instance that was wiped and waits for an exchange; given back when dropped.
#[derive(Debug)]
pub(crate) struct SparePlace(Arc<InstanceCount>);

impl SparePlace {
    pub(crate) fn take(spares: &Arc<InstanceCount>) -> Option<Self> {
        spares.enter().then(|| Self(spares.clone()))
    }
}

impl Drop for SparePlace {
    fn drop(&mut self) {
        self.0.leave();
    }
}

impl Drop for InstancePlace {
    fn drop(&mut self) {
        self.policy.leave();
        self.all.leave();
    }
}

impl InstanceCount {
    pub(crate) fn new(max: u32) -> Self {
        Self { alive: AtomicU32::new(0), max }
    }

    /// Counts one more, if there may be one.
    fn enter(&self) -> bool {
        let entered = self.alive.fetch_update(Ordering::AcqRel, Ordering::Acquire, |alive| {
            (alive < self.max).then_some(alive + 1)
        });
        entered.is_ok()
    }

    fn leave(&self) {
        self.alive.fetch_sub(1, Ordering::AcqRel);
    }

    pub(crate) fn alive(&self) -> u32 {
        self.alive.load(Ordering::Acquire)
    }

    pub(crate) fn max(&self) -> u32 {
        self.max
    }
}

/// How many calls of one kind are under way, over all workers.
#[derive(Debug)]
pub(crate) struct CallCount {
    under_way: AtomicU32,
    max: u32,
}

/// The place of a call among its kind; given back when dropped, also with the future that holds it.
#[derive(Debug)]
pub(crate) struct CallPlace(Arc<CallCount>);

impl CallCount {
    pub(crate) fn new(max: u32) -> Self {
        Self { under_way: AtomicU32::new(0), max }
    }

    /// Returns a place for one more, if there may be one.
    pub(crate) fn place(self: &Arc<Self>) -> Option<CallPlace> {
        let entered = self.under_way.fetch_update(Ordering::AcqRel, Ordering::Acquire, |under_way| {
            (under_way < self.max).then_some(under_way + 1)
        });
        entered.is_ok().then(|| CallPlace(self.clone()))
    }

    pub(crate) fn under_way(&self) -> u32 {
        self.under_way.load(Ordering::Relaxed)
    }

    pub(crate) fn max(&self) -> u32 {
        self.max
    }
}

impl Drop for CallPlace {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::AcqRel);
    }
}
