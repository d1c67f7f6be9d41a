//! The evidence on one hook: how many of its last calls succeeded, how many failed, and for which clients.

use std::net::IpAddr;
use std::time::Duration;

use portcullis_model::QuarantineRule;

/// The least time since the first fault: a burst of a moment does not show how other clients fare.
const SPAN: Duration = Duration::from_secs(1);
/// Parts of a window. All that is in one of them expires together.
const SLOTS: usize = 10;
/// The most clients that are remembered. If calls of more fail, some of them are forgotten.
const CLIENTS_MAX: usize = 256;

/// A client: its IPv4 address, or the 64 bits of the network of its IPv6 address. A client with one address of such a
/// network has them all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Network(u128);

impl Network {
    pub(super) fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self(address.to_ipv6_mapped().to_bits()),
            IpAddr::V6(address) => Self(address.to_bits() >> 64 << 64),
        }
    }
}

/// Clients whose calls failed, and when each one's last did.
#[derive(Debug)]
pub(super) struct Clients {
    failed: Vec<(Network, Duration)>,
    max: usize,
}

impl Clients {
    pub(super) fn new(rule: &QuarantineRule) -> Self {
        Self { failed: Vec::new(), max: rule.faults.max(CLIENTS_MAX) }
    }

    /// Records that a call of this client failed.
    pub(super) fn add(&mut self, client: Network, now: Duration) {
        if let Some((_, at)) = self.failed.iter_mut().find(|(known, _)| *known == client) {
            *at = now;
        } else if self.failed.len() < self.max {
            self.failed.push((client, now));
        } else if let Some(oldest) = self.failed.iter_mut().min_by_key(|(_, at)| *at) {
            *oldest = (client, now);
        }
    }

    pub(super) fn has(&self, client: Network) -> bool {
        self.failed.iter().any(|(known, _)| *known == client)
    }

    pub(super) fn clear(&mut self) {
        self.failed.clear();
    }

    fn since(&self, then: Duration) -> usize {
        self.failed.iter().filter(|(_, at)| *at >= then).count()
    }
}

/// The last window of one hook. It is brought up to date with each fault.
#[derive(Debug)]
pub(super) struct Evidence {
    window: Duration,
    slots: [Slot; SLOTS],
    clients: Clients,
    /// Calls that had succeeded by the last fault. Those that have succeeded since are counted with the next one.
    succeeded: u64,
}

/// A part of the window.
#[derive(Debug, Clone, Copy, Default)]
struct Slot {
    /// Its number, counted from the origin of the clock.
    number: u128,
    succeeded: u64,
    faults: u64,
    /// When the first of these faults happened.
    first: Duration,
}

impl Evidence {
    pub(super) fn new(rule: &QuarantineRule) -> Self {
        Self {
            window: rule.window.max(Duration::from_nanos(SLOTS as u64)),
            slots: [Slot::default(); SLOTS],
            clients: Clients::new(rule),
            succeeded: 0,
        }
    }

    /// Leaves out of account the calls that have succeeded so far.
    pub(super) fn ignore(&mut self, succeeded: u64) {
        self.succeeded = succeeded;
    }

    /// Records that a call failed, and how many had succeeded by then.
    pub(super) fn fault(&mut self, client: Network, succeeded: u64, now: Duration) {
        let number = self.slot_number(now);
        let new = succeeded.saturating_sub(self.succeeded);
        self.succeeded = succeeded;
        let at = usize::try_from(number % SLOTS as u128).unwrap_or(0);
        let Some(slot) = self.slots.get_mut(at) else { return };
        if slot.number != number {
            *slot = Slot { number, ..Slot::default() };
        }
        if slot.faults == 0 {
            slot.first = now;
        }
        slot.faults += 1;
        slot.succeeded = slot.succeeded.saturating_add(new);
        self.clients.add(client, now);
    }

    /// Returns whether the hook fails for all clients.
    pub(super) fn is_conclusive(&self, rule: &QuarantineRule, now: Duration) -> bool {
        let newest = self.slot_number(now);
        let slots = self
            .slots
            .iter()
            .filter(|slot| slot.faults > 0 && newest.saturating_sub(slot.number) < SLOTS as u128);
        let (mut faults, mut succeeded, mut first) = (0_u64, 0_u64, now);
        for slot in slots {
            faults = faults.saturating_add(slot.faults);
            succeeded = succeeded.saturating_add(slot.succeeded);
            first = first.min(slot.first);
        }
        let enough = rule.faults.max(1);
        if faults < enough as u64 || now.saturating_sub(first) < SPAN.min(self.window / 2) {
            return false;
        }
        let clients = self.clients.since(now.saturating_sub(self.window));
        succeeded == 0 || (clients >= enough && succeeded <= clients as u64)
    }

    /// Returns the clients whose calls failed, and forgets them.
    pub(super) fn take_clients(&mut self) -> Clients {
        let max = self.clients.max;
        std::mem::replace(&mut self.clients, Clients { failed: Vec::new(), max })
    }

    /// Forgets everything but how many calls have succeeded.
    pub(super) fn clear(&mut self) {
        self.slots = [Slot::default(); SLOTS];
        self.clients.clear();
    }

    fn slot_number(&self, now: Duration) -> u128 {
        now.as_nanos() / (self.window.as_nanos() / SLOTS as u128).max(1)
    }
}
