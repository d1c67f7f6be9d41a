//! Idle connections to one endpoint that one exchange uses at a time, kept by one worker for the next exchange.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use portcullis_http::proxy_protocol::ProxyHeader;
use portcullis_net::descriptors_are_short;
use tokio::time::Instant;

use crate::addresses::Addresses;

/// A connection that can be used again.
pub(crate) trait Reusable {
    /// Returns its address, if the endpoint is a name.
    fn peer(&self) -> Option<SocketAddr>;

    /// Returns what it told the endpoint of its client, if it did. Only that client's exchanges may use it.
    fn announced(&self) -> Option<ProxyHeader> {
        None
    }

    /// Returns how long it may stay idle, if the endpoint said so.
    fn keep_for(&self) -> Option<Duration>;

    /// Returns whether it can be used again now.
    fn is_alive(&mut self) -> bool;
}

/// A worker's idle connections to one endpoint.
#[derive(Debug)]
pub(crate) struct Pool<C> {
    addresses: Rc<Addresses>,
    idle_max: usize,
    idle_for: Duration,
    idle: RefCell<Vec<Idle<C>>>,
    retired: Cell<bool>,
}

#[derive(Debug)]
struct Idle<C> {
    connection: Box<C>,
    since: Instant,
    /// How long it may stay, at most as long as the pool allows.
    keep_for: Duration,
}

impl<C> Idle<C> {
    fn is_fresh(&self) -> bool {
        self.since.elapsed() < self.keep_for
    }
}

impl<C: Reusable> Pool<C> {
    /// Returns an empty pool that keeps at most `idle_max` connections for at most `idle_for`.
    pub(crate) fn new(addresses: Rc<Addresses>, idle_max: usize, idle_for: Duration) -> Self {
        Self { addresses, idle_max, idle_for, idle: RefCell::default(), retired: Cell::new(false) }
    }

    /// Returns whether the pool keeps as many connections for as long as these say.
    pub(crate) fn keeps(&self, idle_max: usize, idle_for: Duration) -> bool {
        self.idle_max == idle_max && self.idle_for == idle_for
    }

    /// Returns whether no connection is in it.
    pub(crate) fn is_empty(&self) -> bool {
        self.idle.borrow().is_empty()
    }

    /// Keeps a connection that can be used again. The one that was used last is used first.
    pub(crate) fn keep(&self, connection: Box<C>) {
        let mut idle = self.idle.borrow_mut();
        let keep_for = connection.keep_for().map_or(self.idle_for, |allowed| allowed.min(self.idle_for));
        let is_one_clients = connection.announced().is_some();
        if (idle.len() < self.idle_max || is_one_clients && !idle.is_empty())
            && !keep_for.is_zero()
            && !self.retired.get()
            && self.addresses.includes(connection.peer())
            // While descriptors are short, another connection needs this one's.
            && !descriptors_are_short()
        {
            // Of other clients' connections the oldest is the one whose client has most likely gone.
            if idle.len() == self.idle_max {
                idle.remove(0);
            }
            idle.push(Idle { connection, since: Instant::now(), keep_for });
        }
    }

    /// Takes an idle connection, to `peer` if it is given, that says the same of its client.
    pub(crate) fn reuse(&self, peer: Option<SocketAddr>, announced: Option<ProxyHeader>) -> Option<Box<C>> {
        loop {
            let mut all = self.idle.borrow_mut();
            let at = all.iter().rposition(|Idle { connection, .. }| {
                (peer.is_none() || connection.peer() == peer) && connection.announced() == announced
            })?;
            let mut idle = all.remove(at);
            if idle.is_fresh() && idle.connection.is_alive() {
                return Some(idle.connection);
            }
        }
    }

    /// Closes connections that were idle for too long (while descriptors are short, all of them) and those to addresses
    /// that the endpoint's name no longer has.
    pub(crate) fn sweep(&self) {
        let short = descriptors_are_short();
        self.idle
            .borrow_mut()
            .retain(|idle| !short && idle.is_fresh() && self.addresses.includes(idle.connection.peer()));
    }

    /// Closes idle connections, and keeps none from now on. Exchanges of an older generation may hold the pool for
    /// hours.
    pub(crate) fn retire(&self) {
        self.retired.set(true);
        self.idle.borrow_mut().clear();
    }
}

#[cfg(test)]
mod tests;
