//! A worker's connections to one endpoint.

use std::cell::{Cell, RefCell};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use portcullis_model::Name;
use portcullis_net::{ConnectError, Connected, Connector, Stream, UpstreamTlsContext, descriptors_are_short};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::addresses::Addresses;
use crate::{h1, h2};

/// Idle HTTP/2 connections that a worker keeps to one endpoint; each carries a hundred exchanges and more.
const H2_IDLE_MAX: usize = 16;

/// A worker's connections to one endpoint that can be used: the idle ones of HTTP/1, and all of HTTP/2.
#[derive(Debug)]
pub(crate) struct Pool {
    pub(crate) address: Name,
    pub(crate) idle_max: usize,
    pub(crate) idle_for: Duration,
    h1: RefCell<Vec<Idle>>,
    h2: RefCell<Vec<(h2::ClientHandle, Instant)>>,
    /// HTTP/2 connections that are being made.
    openings: RefCell<Vec<Rc<Opening>>>,
    /// How many streams the last HTTP/2 connection could have at once.
    granted: Cell<u32>,
    /// The configuration has this endpoint no more: nothing is kept.
    retired: Cell<bool>,
    /// The addresses of the endpoint's name.
    pub(crate) addresses: Addresses,
}

#[derive(Debug)]
struct Idle {
    connection: Box<h1::ClientConnection>,
    since: Instant,
    /// How long it may stay, at most as long as the pool allows.
    keep_for: Duration,
}

impl Idle {
    fn is_fresh(&self) -> bool {
        self.since.elapsed() < self.keep_for
    }
}

impl Pool {
    pub(crate) fn new(address: Name, idle_max: usize, idle_for: Duration) -> Self {
        let addresses = Addresses::of(&address);
        Self {
            address,
            idle_max,
            idle_for,
            h1: RefCell::default(),
            h2: RefCell::default(),
            openings: RefCell::default(),
            granted: Cell::new(u32::MAX),
            retired: Cell::new(false),
            addresses,
        }
    }

    /// Whether no connection is in it.
    pub(crate) fn is_empty(&self) -> bool {
        self.h1.borrow().is_empty() && self.h2.borrow().is_empty()
    }

    /// Keeps a connection that can be used again; the one that was used last is used first.
    pub(crate) fn keep(&self, connection: Box<h1::ClientConnection>) {
        let mut idle = self.h1.borrow_mut();
        let keep_for = connection.keep_for().map_or(self.idle_for, |allowed| allowed.min(self.idle_for));
        if idle.len() < self.idle_max
            && !keep_for.is_zero()
            && !self.retired.get()
            && self.addresses.has(connection.peer())
            // While descriptors are short, somebody waits for this one.
            && !descriptors_are_short()
        {
            idle.push(Idle { connection, since: Instant::now(), keep_for });
        }
    }

    /// Takes an idle connection, to `peer` if one is named.
    pub(crate) fn reuse_h1(&self, peer: Option<SocketAddr>) -> Option<Box<h1::ClientConnection>> {
        loop {
            let mut all = self.h1.borrow_mut();
            let at = match peer {
                None => all.len().checked_sub(1)?,
                Some(_) => all.iter().rposition(|idle| idle.connection.peer() == peer)?,
            };
            let mut idle = all.remove(at);
            if idle.is_fresh() && idle.connection.is_alive() {
                return Some(idle.connection);
            }
        }
    }

    /// Takes a place for a stream on a connection, which leads to `peer` if one is named.
    pub(crate) fn lease(&self, peer: Option<SocketAddr>, upload: bool) -> Option<h2::Lease> {
        let mut handles = self.h2.borrow_mut();
        let mut found = None;
        // One that opens no more streams lives on for those that it has.
        handles.retain_mut(|(handle, used)| {
            if found.is_none() && (peer.is_none() || handle.peer() == peer) {
                found = handle.lease(upload);
                if found.is_some() {
                    *used = Instant::now();
                }
            }
            !handle.is_closed() && !handle.is_draining()
        });
        found
    }

    /// Adds a connection that others may use as well.
    pub(crate) fn share(&self, handle: h2::ClientHandle) {
        if !self.retired.get() {
            self.h2.borrow_mut().push((handle, Instant::now()));
        }
    }

    /// An HTTP/2 connection to `peer` that is being made and will have room for one more, whose place is then taken.
    pub(crate) fn join(&self, peer: Option<SocketAddr>) -> Option<Rc<Opening>> {
        let openings = self.openings.borrow();
        let has_room = |opening: &&Rc<Opening>| {
            opening.claims.get() < self.granted.get() && (peer.is_none() || opening.peer == peer)
        };
        let opening = openings.iter().find(has_room)?;
        opening.claims.set(opening.claims.get() + 1);
        Some(opening.clone())
    }

    /// Notes that an HTTP/2 connection to `peer` is being made. `alone` keeps others from waiting for it.
    pub(crate) fn open(&self, peer: Option<SocketAddr>, alone: bool) -> Rc<Opening> {
        let opening = Rc::new(Opening {
            peer,
            claims: Cell::new(if alone { u32::MAX } else { 1 }),
            connected: RefCell::default(),
            settled: Cell::new(false),
            changed: Notify::new(),
        });
        self.openings.borrow_mut().push(opening.clone());
        opening
    }

    /// Notes that the connection of `opening` has got so far as it gets: others may use it, or it failed.
    pub(crate) fn opened(&self, opening: &Rc<Opening>) {
        self.openings.borrow_mut().retain(|other| !Rc::ptr_eq(other, opening));
        if let Some(Ok(handle)) = &*opening.connected.borrow() {
            self.granted.set(handle.streams_max().max(1));
        }
        opening.settled.set(true);
        opening.changed.notify_waiters();
    }

    /// Connects to the endpoint with `connector`, to `first` if it is one of its addresses and answers, and to no address that
    /// `may` refuses. Returns the address if the endpoint is a name.
    pub(crate) async fn connect(
        &self,
        connector: &Connector,
        tls: Option<&UpstreamTlsContext>,
        timeout: Duration,
        first: Option<SocketAddr>,
        may: impl Fn(IpAddr) -> bool,
    ) -> Result<(Stream, Option<SocketAddr>), ConnectError> {
        let choose = |found: &[SocketAddr]| {
            let mut order = self.addresses.order(found, first);
            order.retain(|address| may(address.ip()));
            order
        };
        let connected = connector.connect_to(&self.address, tls, timeout, choose).await;
        self.follow(connector);
        let Connected { stream, peer, failed } = connected?;
        for address in failed {
            self.addresses.rest(address);
        }
        Ok((stream, self.addresses.is_name().then_some(peer)))
    }

    /// Takes over the addresses that the endpoint's name has now, if it is one that is used, and has them looked up again.
    pub(crate) fn follow(&self, connector: &Connector) {
        if self.addresses.is_name()
            && self.addresses.is_used()
            && let Some(addresses) = connector.refresh(&self.address)
        {
            self.addresses.learn(&addresses);
        }
    }

    /// Closes what was idle for too long (while descriptors are short, all that is idle), and what leads to addresses that the
    /// endpoint's name has no more.
    pub(crate) fn sweep(&self) {
        let short = descriptors_are_short();
        self.h1
            .borrow_mut()
            .retain(|idle| !short && idle.is_fresh() && self.addresses.has(idle.connection.peer()));
        let mut idle = 0;
        self.h2.borrow_mut().retain(|(handle, used)| {
            if !self.addresses.has(handle.peer()) {
                handle.drain();
            }
            if handle.is_closed() || handle.is_draining() {
                return false;
            }
            if !handle.is_idle() {
                return true;
            }
            idle += 1;
            !short && idle <= H2_IDLE_MAX && used.elapsed() < self.idle_for
        });
    }

    /// Closes what is idle, and keeps nothing from now on: the configuration has the endpoint no more, and exchanges of an
    /// older generation may hold the pool for hours.
    pub(crate) fn retire(&self) {
        self.retired.set(true);
        self.h1.borrow_mut().clear();
        // What is under way on them goes on.
        self.h2.borrow_mut().clear();
    }
}

/// An HTTP/2 connection that is being made, for all who wait for it.
#[derive(Debug)]
pub(crate) struct Opening {
    /// The address that it shall lead to, if one was chosen.
    peer: Option<SocketAddr>,
    /// How many wait for it.
    claims: Cell<u32>,
    connected: RefCell<Option<Result<h2::ClientHandle, ConnectError>>>,
    /// The endpoint's settings are known, or it failed.
    settled: Cell<bool>,
    changed: Notify,
}

impl Opening {
    pub(crate) fn peer(&self) -> Option<SocketAddr> {
        self.peer
    }

    /// Notes how connecting ended.
    pub(crate) fn connected(&self, connected: Result<h2::ClientHandle, ConnectError>) {
        *self.connected.borrow_mut() = Some(connected);
        self.changed.notify_waiters();
    }

    /// Waits until it is connected and takes its first stream, which only the exchange may that had it opened.
    pub(crate) async fn first(&self) -> Result<Option<h2::Lease>, ConnectError> {
        loop {
            if let Some(connected) = &*self.connected.borrow() {
                return match connected {
                    Ok(handle) => Ok(handle.clone().lease(false)),
                    Err(error) => Err(error.clone()),
                };
            }
            self.changed.notified().await;
        }
    }

    /// Waits until others may use it as well.
    pub(crate) async fn usable(&self) -> Result<(), ConnectError> {
        loop {
            if self.settled.get() {
                return match &*self.connected.borrow() {
                    Some(Err(error)) => Err(error.clone()),
                    _ => Ok(()),
                };
            }
            self.changed.notified().await;
        }
    }
}

#[cfg(test)]
mod tests;
