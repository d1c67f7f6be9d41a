//! The part of a listener that a reload may change while its sockets stay.

use std::num::NonZeroU16;
use std::sync::atomic::{AtomicU16, Ordering};

use portcullis_model::Listener;

use crate::certificate::CertificateWarning;
use crate::tls_server::{ServerTls, TlsServerError};

/// The settings of a listener's accept loops. They read it anew for each connection from an `ArcSwap`, and a connection
/// keeps the one with which it was accepted.
#[derive(Debug)]
pub struct ListenerState {
    listener: Listener,
    tls: Option<ServerTls>,
    /// The port on which it listens; 0 if that is not known yet.
    port: AtomicU16,
}

impl ListenerState {
    /// Builds the state of `listener`. TLS that `previous` has for the same certificates is taken over, and with it the
    /// tickets and sessions of clients.
    ///
    /// # Errors
    /// If a certificate cannot be used. `previous` is then unchanged.
    pub fn build(listener: Listener, previous: Option<&Self>) -> Result<Self, TlsServerError> {
        let tls = match (&listener.tls, previous) {
            (None, _) => None,
            (Some(wanted), Some(Self { listener: old, tls: Some(tls), .. }))
                if old.protocols == listener.protocols && old.tls.as_ref() == Some(wanted) =>
            {
                Some(tls.clone())
            }
            (Some(wanted), _) => Some(ServerTls::build(wanted, listener.protocols)?),
        };
        // A listener whose address does not change keeps its sockets.
        let port = match previous.filter(|previous| previous.listener.address == listener.address) {
            Some(previous) => previous.port.load(Ordering::Relaxed),
            None => listener.address.port(),
        };
        Ok(Self { listener, tls, port: AtomicU16::new(port) })
    }

    /// Returns the port on which it listens, or `None` if the system chooses it and has not yet.
    #[must_use]
    pub fn port(&self) -> Option<NonZeroU16> {
        NonZeroU16::new(self.port.load(Ordering::Relaxed))
    }

    /// Returns the port to which clients connect: that of the config, or else the one on which it listens.
    #[must_use]
    pub fn public_port(&self) -> Option<NonZeroU16> {
        self.listener.public_port.or_else(|| self.port())
    }

    /// Records the port that the system chose.
    pub fn listens_on(&self, port: u16) {
        self.port.store(port, Ordering::Relaxed);
    }

    /// Returns whether something comes before HTTP on its connections.
    pub(crate) fn opens_first(&self) -> bool {
        self.tls.is_some() || self.listener.proxy_protocol.is_some()
    }

    /// Returns name, protocols, timeouts and limits.
    #[must_use]
    pub fn listener(&self) -> &Listener {
        &self.listener
    }

    /// Returns TLS, if the listener has it.
    #[must_use]
    pub fn tls(&self) -> Option<&ServerTls> {
        self.tls.as_ref()
    }

    /// Returns warnings about its certificates; for the log, once for each load.
    #[must_use]
    pub fn warnings(&self) -> &[CertificateWarning] {
        self.tls.as_ref().map_or(&[], ServerTls::warnings)
    }
}
