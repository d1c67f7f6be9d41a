//! One endpoint as one worker uses it: its addresses and the connections to them.

use std::rc::Rc;
use std::sync::Arc;

use portcullis_model::{Name, Upstream, UpstreamTimeouts};
use portcullis_net::Connector;
use portcullis_telemetry::EndpointMetrics;
use portcullis_traffic::Endpoint;

use crate::addresses::Addresses;
use crate::h1;
use crate::h2_pool::H2Pool;
use crate::pool::Pool;

/// An endpoint on one worker.
#[derive(Debug)]
pub(crate) struct LocalEndpoint {
    /// The same endpoint as all workers see it.
    pub(crate) shared: Arc<Endpoint>,
    pub(crate) metrics: Arc<EndpointMetrics>,
    pub(crate) addresses: Rc<Addresses>,
    /// The idle connections of HTTP/1.
    pub(crate) h1: Rc<Pool<h1::ClientConnection>>,
    /// The connections of HTTP/2.
    pub(crate) h2: H2Pool,
}

impl LocalEndpoint {
    /// An endpoint without a connection, which keeps idle ones as `config` says.
    pub(crate) fn new(shared: Arc<Endpoint>, metrics: Arc<EndpointMetrics>, config: &Upstream) -> Self {
        let Upstream { idle_connections_max, timeouts: UpstreamTimeouts { pool_idle, .. }, .. } = config;
        let addresses = Rc::new(Addresses::of(shared.address().clone()));
        Self {
            shared,
            metrics,
            h1: Rc::new(Pool::new(addresses.clone(), *idle_connections_max, *pool_idle)),
            h2: H2Pool::new(addresses.clone(), *pool_idle),
            addresses,
        }
    }

    /// `host:port`, as configured.
    pub(crate) fn address(&self) -> &Name {
        self.shared.address()
    }

    /// Returns whether it keeps idle connections as `config` says.
    pub(crate) fn keeps_like(&self, config: &Upstream) -> bool {
        let Upstream { idle_connections_max, timeouts: UpstreamTimeouts { pool_idle, .. }, .. } = config;
        self.h1.keeps(*idle_connections_max, *pool_idle)
    }

    /// Closes connections that were idle for too long, or whose address the endpoint's name does not have any more.
    pub(crate) fn sweep(&self, connector: &Connector) {
        self.addresses.follow(connector);
        self.h1.sweep();
        self.h2.sweep();
    }

    /// Closes what is idle, and keeps no connection from now on. Exchanges that are under way finish on theirs.
    pub(crate) fn retire(&self) {
        self.h1.retire();
        self.h2.retire();
    }
}

#[cfg(test)]
mod tests;
