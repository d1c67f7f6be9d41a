//! The part of a listener that a reload may change while its sockets stay.

use std::num::NonZeroU16;
use std::sync::atomic::{AtomicU16, Ordering};

use portcullis_model::Listener;

use crate::certificate::CertificateWarning;
use crate::tls_server::{ServerTls, TlsServerError};

/// What a listener's accept loops go by. They read it anew for each connection from an `ArcSwap`, and a connection
/// keeps the one it was accepted with.
#[derive(Debug)]
pub struct ListenerState {
    listener: Listener,
    tls: Option<ServerTls>,
    /// The port that it listens on; 0 while that is not known.
    port: AtomicU16,
}

impl ListenerState {
    /// Makes ready what `listener` describes. TLS that `previous` has for the same certificates is taken over, and with
    /// it the tickets and sessions that clients hold.
    ///
    /// # Errors
    /// If a certificate cannot be used. `previous` is then as it was.
    pub fn build(listener: Listener, previous: Option<&Self>) -> Result<Self, TlsServerError> {
        let (http1, http2) = (listener.http1, listener.http2);
        let tls = match (&listener.tls, previous) {
            (None, _) => None,
            (Some(wanted), Some(Self { listener: old, tls: Some(tls), .. }))
                if (old.http1, old.http2) == (http1, http2) && old.tls.as_ref() == Some(wanted) =>
            {
                Some(tls.clone())
            }
            (Some(wanted), _) => Some(ServerTls::build(wanted, http1, http2)?),
        };
        // The sockets of a listener that stays where it is are kept.
        let port = match previous.filter(|previous| previous.listener.address == listener.address) {
            Some(previous) => previous.port.load(Ordering::Relaxed),
            None => listener.address.port(),
        };
        Ok(Self { listener, tls, port: AtomicU16::new(port) })
    }

    /// The port that it listens on. `None` if the system was left to choose it and has not yet.
    #[must_use]
    pub fn port(&self) -> Option<NonZeroU16> {
        NonZeroU16::new(self.port.load(Ordering::Relaxed))
    }

    /// The port that clients connect to: the one that the config says, or else that it listens on.
    #[must_use]
    pub fn public_port(&self) -> Option<NonZeroU16> {
        self.listener.public_port.or_else(|| self.port())
    }

    /// Notes the port that the system chose.
    pub fn listens_on(&self, port: u16) {
        self.port.store(port, Ordering::Relaxed);
    }

    /// Name, protocols, timeouts and limits.
    #[must_use]
    pub fn listener(&self) -> &Listener {
        &self.listener
    }

    /// TLS, if the listener has it.
    #[must_use]
    pub fn tls(&self) -> Option<&ServerTls> {
        self.tls.as_ref()
    }

    /// What is odd about its certificates; for the log, once for each load.
    #[must_use]
    pub fn warnings(&self) -> &[CertificateWarning] {
        self.tls.as_ref().map_or(&[], ServerTls::warnings)
    }
}
