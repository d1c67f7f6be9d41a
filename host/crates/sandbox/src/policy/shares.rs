//! How what is scarce is shared out: instances among policies, and those of one policy and its hook calls among
//! clients.
//!
//! An exchange keeps an instance for as long as hooks of it may come, and how long that is may be a client's or an
//! upstream's to say. So a policy without a limit of its own gets no more than are free: one that takes all it can get
//! has half of them, two have a third each, and there is always something left for the others. From an eighth on, the
//! same holds for the clients of a policy: one that opens exchanges and lets them rest gets no more than are left to
//! the policy. Hook calls that wait or may run long have a limit for each policy, and its clients share them in the
//! same way.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, MutexGuard};

use portcullis_model::Lock;

/// What clients have is not counted below this part of what there is, nor below so many.
const UNCOUNTED_PART: u32 = 8;
const UNCOUNTED_MIN: u32 = 8;

/// The client that an instance or a hook call is for: an address; of IPv6 the network of 64 bits, which is what one
/// subscriber has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Client(u128);

impl Client {
    pub(crate) fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self(address.to_ipv6_mapped().to_bits()),
            IpAddr::V6(address) => Self(address.to_bits() >> 64 << 64),
        }
    }
}

/// What clients have, once they are counted. There are no more of them than instances or hook calls.
#[derive(Debug, Default)]
pub(crate) struct Clients(Lock<HashMap<Client, u32>>);

/// What one client has one of; given back when dropped.
#[derive(Debug)]
pub(crate) struct ClientPlace {
    clients: Arc<Clients>,
    client: Client,
}

impl Clients {
    /// One more for a client, if it has fewer than that.
    fn take(self: &Arc<Self>, client: Client, fewer_than: u32) -> Option<ClientPlace> {
        let mut clients = self.lock();
        let has = clients.get(&client).copied().unwrap_or_default();
        if has >= fewer_than {
            return None;
        }
        clients.insert(client, has + 1);
        drop(clients);
        Some(ClientPlace { clients: self.clone(), client })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Client, u32>> {
        self.0.lock()
    }
}

impl Drop for ClientPlace {
    fn drop(&mut self) {
        let mut clients = self.clients.lock();
        match clients.get_mut(&self.client) {
            Some(has) if *has > 1 => *has -= 1,
            _ => drop(clients.remove(&self.client)),
        }
    }
}

/// Why there is nothing for an exchange, although there is something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Beyond {
    /// The policy has as many as are free.
    Policy,
    /// The client has as many as are left to the policy.
    Client,
}

/// What a policy has, of what there is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Holding {
    pub(crate) has: u32,
    /// What it may have, if it has a limit of its own.
    pub(crate) limit: Option<u32>,
    pub(crate) free: u32,
    /// What there is, free or not.
    pub(crate) all: u32,
}

impl Holding {
    /// Asks for one more, for that client. Returns its place if clients are counted.
    pub(crate) fn one_more(
        self,
        clients: &Arc<Clients>,
        client: Client,
    ) -> Result<Option<ClientPlace>, Beyond> {
        let Self { has, limit, free, all } = self;
        let left = match limit {
            Some(limit) => limit.saturating_sub(has).min(free),
            None => free.saturating_sub(has),
        };
        if left == 0 {
            return Err(Beyond::Policy);
        }
        if has < (limit.unwrap_or(all) / UNCOUNTED_PART).max(UNCOUNTED_MIN) {
            return Ok(None);
        }
        clients.take(client, left).map(Some).ok_or(Beyond::Client)
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::sync::Arc;

    use super::{Beyond, Client, ClientPlace, Clients, Holding};

    fn client(address: &str) -> Client {
        Client::of(address.parse::<IpAddr>().unwrap())
    }

    /// Has a client take what it gets of a policy.
    fn takes(
        clients: &Arc<Clients>,
        client: Client,
        (has, limit, others): (&mut u32, Option<u32>, u32),
        places: &mut Vec<Option<ClientPlace>>,
    ) -> (u32, Beyond) {
        let before = *has;
        loop {
            let holding = Holding { has: *has, limit, free: 4000 - others - *has, all: 4000 };
            match holding.one_more(clients, client) {
                Ok(place) => places.push(place),
                Err(beyond) => return (*has - before, beyond),
            }
            *has += 1;
        }
    }

    #[test]
    fn a_policy_gets_what_is_free_and_no_client_all_of_that() {
        let (clients, mut places, mut has) = (Arc::default(), Vec::new(), 0);
        let (one, two) = (client("192.0.2.1"), client("192.0.2.2"));
        assert_eq!(takes(&clients, one, (&mut has, None, 0), &mut places), (1500, Beyond::Client));
        let (got, beyond) = takes(&clients, two, (&mut has, None, 0), &mut places);
        assert!((300..500).contains(&got) && beyond == Beyond::Client, "{got} {beyond:?}");
        // However many clients there are, half is free for other policies,
        for other in 3..50 {
            let other = client(&format!("192.0.2.{other}"));
            takes(&clients, other, (&mut has, None, 0), &mut places);
        }
        assert!((1990..=2000).contains(&has), "{has}");
        // which share it in the same way.
        let mut second = 0;
        takes(&clients, client("198.51.100.1"), (&mut second, None, has), &mut places);
        assert!((600..=1000).contains(&second), "{second}");
        places.clear();
        assert!(clients.lock().is_empty(), "what was given back is not remembered");
    }

    #[test]
    fn one_with_a_limit_of_its_own_gets_that() {
        let (clients, mut places, mut has) = (Arc::default(), Vec::new(), 0);
        for at in 0..100 {
            takes(&clients, client(&format!("192.0.2.{at}")), (&mut has, Some(3000), 0), &mut places);
        }
        assert_eq!(has, 3000);
        let (mut places, mut has) = (Vec::new(), 0);
        let limited = (&mut has, Some(3000), 3500);
        assert_eq!(takes(&clients, client("203.0.113.1"), limited, &mut places), (438, Beyond::Client));
    }

    #[test]
    fn the_smallest_there_can_be_is_given() {
        let holding = Holding { has: 0, limit: None, free: 1, all: 1 };
        assert!(holding.one_more(&Arc::default(), client("192.0.2.1")).is_ok());
        let holding = Holding { has: 0, limit: Some(1), free: 5, all: 5 };
        assert!(holding.one_more(&Arc::default(), client("192.0.2.1")).is_ok());
    }

    #[test]
    fn who_has_a_network_is_one_client() {
        assert_eq!(client("2001:db8::1"), client("2001:db8::ffff:1:2:3"));
        assert_ne!(client("2001:db8::1"), client("2001:db8:0:1::1"));
        assert_eq!(client("::ffff:192.0.2.1"), client("192.0.2.1"));
        assert_ne!(client("192.0.2.1"), client("192.0.2.2"));
    }
}
