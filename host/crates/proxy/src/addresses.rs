//! The addresses of an endpoint's name, as one worker uses them: in turn, and not those that failed a moment ago.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

/// For how long an address that failed is passed over while its name has others.
const REST: Duration = Duration::from_secs(10);

/// For how long after its last use a name is looked up again and again.
const USED: Duration = Duration::from_secs(60);

/// The addresses of one endpoint. Of one that is an address itself there is nothing to know.
#[derive(Debug)]
pub(crate) struct Addresses {
    is_name: bool,
    /// None until the name was looked up.
    known: RefCell<Arc<[SocketAddr]>>,
    turn: Cell<usize>,
    /// Those that failed, and until when they are passed over.
    resting: RefCell<Vec<(SocketAddr, Instant)>>,
    used: Cell<bool>,
    used_at: Cell<Option<Instant>>,
}

impl Addresses {
    /// Those of `address`, which is `host:port`.
    pub(crate) fn of(address: &str) -> Self {
        Self {
            is_name: address.parse::<SocketAddr>().is_err(),
            known: RefCell::new(Arc::new([])),
            // Each worker begins with another one, so that few requests do not all go to the first.
            turn: Cell::new(crate::random::next() as usize),
            resting: RefCell::default(),
            used: Cell::new(false),
            used_at: Cell::new(None),
        }
    }

    /// Whether it is a name, which has addresses.
    pub(crate) fn is_name(&self) -> bool {
        self.is_name
    }

    /// Whether the name was used lately, so that a change of it matters.
    pub(crate) fn is_used(&self) -> bool {
        if self.used.take() {
            self.used_at.set(Some(Instant::now()));
        }
        self.used_at.get().is_some_and(|at| at.elapsed() < USED)
    }

    /// Takes over what a look-up gave.
    pub(crate) fn learn(&self, addresses: &Arc<[SocketAddr]>) {
        let mut known = self.known.borrow_mut();
        if !Arc::ptr_eq(&known, addresses) {
            *known = addresses.clone();
        }
    }

    /// Whether a connection to `peer` may serve. Only an endpoint that is a name has other addresses one day than it had.
    pub(crate) fn has(&self, peer: Option<SocketAddr>) -> bool {
        let known = self.known.borrow();
        known.is_empty() || peer.is_none_or(|peer| known.contains(&peer))
    }

    /// The address whose turn it is, of those that have not failed; `None` if there is nothing to choose.
    pub(crate) fn next(&self) -> Option<SocketAddr> {
        self.next_at(Instant::now)
    }

    fn next_at(&self, now: impl FnOnce() -> Instant) -> Option<SocketAddr> {
        if !self.is_name {
            return None;
        }
        self.used.set(true);
        let known = self.known.borrow();
        if known.len() < 2 {
            return known.first().copied();
        }
        let turn = self.turn.get();
        self.turn.set(turn.wrapping_add(1));
        let mut resting = self.resting.borrow_mut();
        if resting.is_empty() {
            return known.get(turn % known.len()).copied();
        }
        let now = now();
        resting.retain(|(_, until)| *until > now);
        let rests = |address: &SocketAddr| resting.iter().any(|(other, _)| other == address);
        let able = known.iter().filter(|address| !rests(address)).count();
        match able {
            0 => known.get(turn % known.len()).copied(),
            // By the turn among the able ones, so that no neighbour of a failed one gets two shares.
            _ => known.iter().filter(|address| !rests(address)).nth(turn % able).copied(),
        }
    }

    /// In which order to connect to `found`: `first`, then the others in turn, and those that failed at the end.
    pub(crate) fn order(&self, found: &[SocketAddr], first: Option<SocketAddr>) -> Vec<SocketAddr> {
        let mut order = found.to_vec();
        if order.len() > 1 {
            let at = first.and_then(|first| found.iter().position(|address| *address == first));
            order.rotate_left(at.unwrap_or_else(|| self.turn.get() % found.len()));
            let now = Instant::now();
            let resting = self.resting.borrow();
            let rests =
                |address: &SocketAddr| resting.iter().any(|(other, until)| other == address && *until > now);
            order.sort_by_key(|address| at.is_none_or(|at| found.get(at) != Some(address)) && rests(address));
        }
        order
    }

    /// Passes over `peer` for a while. Returns whether the name has another address that did not fail.
    pub(crate) fn rest(&self, peer: SocketAddr) -> bool {
        let known = self.known.borrow();
        if known.len() < 2 || !known.contains(&peer) {
            return false;
        }
        let now = Instant::now();
        let mut resting = self.resting.borrow_mut();
        resting.retain(|(other, until)| *until > now && *other != peer);
        resting.push((peer, now + REST));
        known.iter().any(|address| !resting.iter().any(|(other, _)| other == address))
    }

    /// Notes that `peer` answered.
    pub(crate) fn answered(&self, peer: SocketAddr) {
        let mut resting = self.resting.borrow_mut();
        if !resting.is_empty() {
            resting.retain(|(other, _)| *other != peer);
        }
    }
}

#[cfg(test)]
mod tests;
