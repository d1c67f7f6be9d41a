//! The addresses of an endpoint's name, as one worker uses them: in turn, and without those that failed a moment ago.

use std::cell::{Cell, RefCell};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use portcullis_model::Name;
use portcullis_net::{ConnectError, Connected, Connector, Stream, UpstreamTlsContext};
use tokio::time::Instant;

/// How long an address that failed is passed over while its name has others.
const FAILED_FOR: Duration = Duration::from_secs(10);

/// How long after its last use a name is still looked up again and again.
const USED_FOR: Duration = Duration::from_secs(60);

/// The addresses of one endpoint. If the endpoint is an address and not a name, there is nothing to know.
#[derive(Debug)]
pub(crate) struct Addresses {
    /// `host:port`, as configured.
    endpoint: Name,
    is_name: bool,
    /// Empty until the name was looked up.
    known: RefCell<Arc<[SocketAddr]>>,
    turn: Cell<usize>,
    /// Addresses that failed, and until when they are passed over.
    failed: RefCell<Vec<(SocketAddr, Instant)>>,
    used: Cell<bool>,
    used_at: Cell<Option<Instant>>,
}

impl Addresses {
    /// Returns the addresses of `endpoint`, which is `host:port`.
    pub(crate) fn of(endpoint: Name) -> Self {
        Self {
            is_name: endpoint.parse::<SocketAddr>().is_err(),
            endpoint,
            known: RefCell::new(Arc::new([])),
            // Each worker begins with a different one, so that a few requests do not all go to the first.
            turn: Cell::new(crate::random::next() as usize),
            failed: RefCell::default(),
            used: Cell::new(false),
            used_at: Cell::new(None),
        }
    }

    /// Connects with `connector`: first to `first`, if it is one of the endpoint's addresses, and only to addresses
    /// that `may` allows. Returns the address as well if the endpoint is a name.
    pub(crate) async fn connect(
        &self,
        connector: &Connector,
        tls: Option<&UpstreamTlsContext>,
        timeout: Duration,
        first: Option<SocketAddr>,
        may: impl Fn(IpAddr) -> bool,
    ) -> Result<(Stream, Option<SocketAddr>), ConnectError> {
        let choose = |found: &[SocketAddr]| {
            let mut order = self.order(found, first);
            order.retain(|address| may(address.ip()));
            order
        };
        let connected = connector.connect_to(&self.endpoint, tls, timeout, choose).await;
        self.follow(connector);
        let Connected { stream, peer, failed } = connected?;
        for address in failed {
            self.mark_failed(address);
        }
        Ok((stream, self.is_name.then_some(peer)))
    }

    /// Takes over the addresses that the name has now and has it looked up again, if the endpoint is a name and was
    /// used lately.
    pub(crate) fn follow(&self, connector: &Connector) {
        if self.is_name
            && self.was_used_lately()
            && let Some(addresses) = connector.refresh(&self.endpoint)
        {
            self.update(&addresses);
        }
    }

    fn was_used_lately(&self) -> bool {
        if self.used.take() {
            self.used_at.set(Some(Instant::now()));
        }
        self.used_at.get().is_some_and(|at| at.elapsed() < USED_FOR)
    }

    fn update(&self, addresses: &Arc<[SocketAddr]>) {
        let mut known = self.known.borrow_mut();
        if !Arc::ptr_eq(&known, addresses) {
            *known = addresses.clone();
        }
    }

    /// Returns whether a connection to `peer` may still be used. Only a name can lose an address that it had.
    pub(crate) fn includes(&self, peer: Option<SocketAddr>) -> bool {
        let known = self.known.borrow();
        known.is_empty() || peer.is_none_or(|peer| known.contains(&peer))
    }

    /// Returns the address whose turn it is among those that have not failed, or `None` if there is nothing to choose.
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
        let mut failed = self.failed.borrow_mut();
        if failed.is_empty() {
            return known.get(turn % known.len()).copied();
        }
        let now = now();
        failed.retain(|(_, until)| *until > now);
        let has_failed = |address: &SocketAddr| failed.iter().any(|(other, _)| other == address);
        let able = known.iter().filter(|address| !has_failed(address)).count();
        match able {
            0 => known.get(turn % known.len()).copied(),
            // The turn counts among the usable ones, so that the one after a failed address does not get two shares.
            _ => known.iter().filter(|address| !has_failed(address)).nth(turn % able).copied(),
        }
    }

    /// Returns `found` in the order in which to connect: `first`, then the others in turn, and those that failed last.
    fn order(&self, found: &[SocketAddr], first: Option<SocketAddr>) -> Vec<SocketAddr> {
        let mut order = found.to_vec();
        if order.len() > 1 {
            let at = first.and_then(|first| found.iter().position(|address| *address == first));
            order.rotate_left(at.unwrap_or_else(|| self.turn.get() % found.len()));
            let now = Instant::now();
            let failed = self.failed.borrow();
            let has_failed =
                |address: &SocketAddr| failed.iter().any(|(other, until)| other == address && *until > now);
            order.sort_by_key(|address| {
                at.is_none_or(|at| found.get(at) != Some(address)) && has_failed(address)
            });
        }
        order
    }

    /// Passes over `peer` for a while. Returns whether the name has another address that has not failed.
    pub(crate) fn mark_failed(&self, peer: SocketAddr) -> bool {
        let known = self.known.borrow();
        if known.len() < 2 || !known.contains(&peer) {
            return false;
        }
        let now = Instant::now();
        let mut failed = self.failed.borrow_mut();
        failed.retain(|(other, until)| *until > now && *other != peer);
        failed.push((peer, now + FAILED_FOR));
        known.iter().any(|address| !failed.iter().any(|(other, _)| other == address))
    }

    /// Records that `peer` answered.
    pub(crate) fn mark_answered(&self, peer: SocketAddr) {
        let mut failed = self.failed.borrow_mut();
        if !failed.is_empty() {
            failed.retain(|(other, _)| *other != peer);
        }
    }
}

#[cfg(test)]
mod tests;
