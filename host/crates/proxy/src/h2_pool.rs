//! HTTP/2 connections to one endpoint, each shared by many exchanges of one worker.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use portcullis_net::{ConnectError, descriptors_are_short};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::addresses::Addresses;
use crate::h2::{ClientHandle, Lease};

/// Idle connections that a worker keeps to one endpoint. Each carries a hundred exchanges and more.
const IDLE_MAX: usize = 16;

/// A worker's HTTP/2 connections to one endpoint: those that can be used, and those that are being opened.
#[derive(Debug)]
pub(crate) struct H2Pool {
    addresses: Rc<Addresses>,
    idle_for: Duration,
    connections: RefCell<Vec<(ClientHandle, Instant)>>,
    openings: RefCell<Vec<Rc<Opening>>>,
    /// How many streams the last connection could have at once.
    granted: Cell<u32>,
    retired: Cell<bool>,
}

impl H2Pool {
    /// Returns an empty pool that keeps idle connections for at most `idle_for`.
    pub(crate) fn new(addresses: Rc<Addresses>, idle_for: Duration) -> Self {
        Self {
            addresses,
            idle_for,
            connections: RefCell::default(),
            openings: RefCell::default(),
            granted: Cell::new(u32::MAX),
            retired: Cell::new(false),
        }
    }

    /// Takes a place for a stream on a connection, which leads to `peer` if it is given.
    pub(crate) fn lease(&self, peer: Option<SocketAddr>, upload: bool) -> Option<Lease> {
        let mut connections = self.connections.borrow_mut();
        let mut found = None;
        // A connection that opens no more streams lives on for those that are open.
        connections.retain_mut(|(handle, used)| {
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

    /// Adds a connection that other exchanges may use as well.
    pub(crate) fn share(&self, handle: ClientHandle) {
        if !self.retired.get() {
            self.connections.borrow_mut().push((handle, Instant::now()));
        }
    }

    /// Returns a connection to `peer` that is being opened and will have room for one more stream, which is then taken.
    pub(crate) fn join(&self, peer: Option<SocketAddr>) -> Option<Rc<Opening>> {
        let openings = self.openings.borrow();
        let has_room = |opening: &&Rc<Opening>| {
            opening.claims.get() < self.granted.get() && (peer.is_none() || opening.peer == peer)
        };
        let opening = openings.iter().find(has_room)?;
        opening.claims.set(opening.claims.get() + 1);
        Some(opening.clone())
    }

    /// Records that a connection to `peer` is being opened. `alone` keeps other exchanges from waiting for it.
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

    /// Records that opening has ended: other exchanges may use the connection, or it failed.
    pub(crate) fn opened(&self, opening: &Rc<Opening>) {
        self.openings.borrow_mut().retain(|other| !Rc::ptr_eq(other, opening));
        if let Some(Ok(handle)) = &*opening.connected.borrow() {
            self.granted.set(handle.streams_max().max(1));
        }
        opening.settled.set(true);
        opening.changed.notify_waiters();
    }

    /// Closes connections that were idle for too long (while descriptors are short, all that are idle), and opens no
    /// more streams on those to addresses that the endpoint's name no longer has.
    pub(crate) fn sweep(&self) {
        let short = descriptors_are_short();
        let mut idle = 0;
        self.connections.borrow_mut().retain(|(handle, used)| {
            if !self.addresses.includes(handle.peer()) {
                handle.drain();
            }
            if handle.is_closed() || handle.is_draining() {
                return false;
            }
            if !handle.is_idle() {
                return true;
            }
            idle += 1;
            !short && idle <= IDLE_MAX && used.elapsed() < self.idle_for
        });
    }

    /// Keeps no connection from now on. Open streams continue.
    pub(crate) fn retire(&self) {
        self.retired.set(true);
        self.connections.borrow_mut().clear();
    }
}

/// A connection that is being opened, for all exchanges that wait for it.
#[derive(Debug)]
pub(crate) struct Opening {
    /// The address that it should lead to, if one was chosen.
    peer: Option<SocketAddr>,
    /// How many exchanges wait for it.
    claims: Cell<u32>,
    connected: RefCell<Option<Result<ClientHandle, ConnectError>>>,
    /// The endpoint's settings are known, or opening failed.
    settled: Cell<bool>,
    changed: Notify,
}

impl Opening {
    /// The address that it should lead to, if one was chosen.
    pub(crate) fn peer(&self) -> Option<SocketAddr> {
        self.peer
    }

    /// Records how connecting ended.
    pub(crate) fn connected(&self, connected: Result<ClientHandle, ConnectError>) {
        *self.connected.borrow_mut() = Some(connected);
        self.changed.notify_waiters();
    }

    /// Waits until it is connected and takes its first stream. Only the exchange that had it opened may do so.
    pub(crate) async fn first(&self) -> Result<Option<Lease>, ConnectError> {
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

    /// Waits until other exchanges may use it.
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
