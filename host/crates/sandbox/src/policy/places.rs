//! The places that instances and hook calls hold among those that there may be.

use std::sync::Arc;

use portcullis_traffic::{Permit, Permits};

use crate::policy::shares::{Beyond, Client, ClientPlace, Clients, Holding};

/// The place of an instance among its policy's and among all; returned when dropped.
#[derive(Debug)]
pub(crate) struct InstancePlace {
    _policy: Permit,
    _all: Permit,
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
    /// Returns a place for an instance; for one that an exchange of a client keeps, within what is shared out.
    pub(crate) fn take(
        policy: &Permits,
        all: &Permits,
        client: Option<(&Arc<Clients>, Client)>,
    ) -> Result<Self, NoPlace> {
        let client = match client {
            Some((clients, client)) => {
                let free = all.max().saturating_sub(all.taken());
                let limit = (policy.max() < u32::MAX).then_some(policy.max());
                let holding = Holding { has: policy.taken(), limit, free, all: all.max() };
                match holding.one_more(clients, client) {
                    Ok(place) => place,
                    Err(_) if free == 0 => return Err(NoPlace::All),
                    Err(Beyond::Policy) if limit.is_some() => return Err(NoPlace::Policy),
                    Err(beyond) => return Err(NoPlace::Share(beyond)),
                }
            }
            None => None,
        };
        let policy = policy.acquire().ok_or(NoPlace::Policy)?;
        let all = all.acquire().ok_or(NoPlace::All)?;
        Ok(Self { _policy: policy, _all: all, _client: client })
    }
}

/// The hook calls of a policy that are under way and wait or may run long, over all workers.
#[derive(Debug)]
pub(crate) struct HookCalls {
    permits: Permits,
    /// The clients whose exchanges they are of, once clients are counted.
    clients: Arc<Clients>,
}

/// The place of a hook call; returned when dropped, also with the future that holds it.
#[derive(Debug)]
pub(crate) struct HookCallPlace {
    _permit: Permit,
    _client: Option<ClientPlace>,
}

impl HookCalls {
    pub(crate) fn new(max: u32) -> Self {
        Self { permits: Permits::new(max), clients: Arc::default() }
    }

    /// Returns a place for a call of an exchange of `client`, within what is shared out; without one, within what
    /// there is.
    pub(crate) fn place(&self, client: Option<Client>) -> Result<HookCallPlace, Beyond> {
        let client = match client {
            Some(client) => {
                let (has, max) = (self.under_way(), self.max());
                let holding = Holding { has, limit: Some(max), free: max.saturating_sub(has), all: max };
                holding.one_more(&self.clients, client)?
            }
            None => None,
        };
        let permit = self.permits.acquire().ok_or(Beyond::Policy)?;
        Ok(HookCallPlace { _permit: permit, _client: client })
    }

    pub(crate) fn under_way(&self) -> u32 {
        self.permits.taken()
    }

    pub(crate) fn max(&self) -> u32 {
        self.permits.max()
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::HookCalls;
    use crate::policy::shares::{Beyond, Client};

    fn client(address: &str) -> Option<Client> {
        Some(Client::of(address.parse::<IpAddr>().unwrap()))
    }

    #[test]
    fn one_client_gets_no_more_hook_calls_than_it_leaves_to_others() {
        let calls = HookCalls::new(250);
        let takes = |client| {
            let mut places = Vec::new();
            loop {
                match calls.place(client) {
                    Ok(place) => places.push(place),
                    Err(beyond) => return (places, beyond),
                }
            }
        };
        let (first, beyond) = takes(client("192.0.2.1"));
        assert_eq!((first.len(), beyond), (141, Beyond::Client));
        let (second, beyond) = takes(client("192.0.2.2"));
        assert_eq!((second.len(), beyond), (55, Beyond::Client));
        // What is of no client takes what is left.
        let (rest, beyond) = takes(None);
        assert_eq!((rest.len(), beyond), (54, Beyond::Policy));
        assert_eq!((calls.under_way(), calls.max()), (250, 250));
        drop((first, second, rest));
        assert_eq!(calls.under_way(), 0);
        assert_eq!(takes(client("192.0.2.1")).0.len(), 141, "what was returned is not remembered");
    }
}
