//! What is asked of endpoints again and again, to know whether they work.

use std::fmt;
use std::time::Duration;

use crate::{Name, Share};

/// A check that all endpoints of an upstream have to pass: an element of `health-checks`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthCheck {
    /// What is asked.
    pub probe: HealthProbe,
    /// The port that is asked in place of the endpoint's own.
    pub port: Option<u16>,
    /// From the end of one check to the beginning of the next: 10 s.
    pub interval: Duration,
    /// How much longer or shorter each of these is, by chance: 10 %.
    pub jitter: Share,
    /// How long a check may take, with connecting: 2 s.
    pub timeout: Duration,
    /// Passes in a row after which an endpoint that was left out is used: 2.
    pub rise: u32,
    /// Failures in a row after which an endpoint is left out: 3.
    pub fall: u32,
}

/// What a health check asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HealthProbe {
    /// An HTTP request, in the upstream's protocol.
    Http {
        /// GET, HEAD or OPTIONS.
        method: Name,
        /// The path, with a query if there is one.
        path: Name,
        /// What Host says; `None` is the host of the upstream, or the endpoint's address.
        host: Option<Name>,
        /// The statuses that pass, sorted; empty is 200 to 299.
        statuses: Vec<u16>,
        /// Text that the body must contain, in its first 64 KiB.
        body: Option<Name>,
    },
    /// `grpc.health.v1.Health/Check`.
    Grpc {
        /// The service that is asked about; empty is the server as a whole.
        service: Name,
    },
    /// A TCP connection, on which nothing is sent.
    Tcp,
}

impl fmt::Display for HealthCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.probe {
            HealthProbe::Http { method, path, .. } => write!(f, "{method} {path}")?,
            HealthProbe::Grpc { service } if service.is_empty() => f.write_str("gRPC health")?,
            HealthProbe::Grpc { service } => write!(f, "gRPC health of {service}")?,
            HealthProbe::Tcp => f.write_str("TCP connect")?,
        }
        self.port.map_or(Ok(()), |port| write!(f, " at port {port}"))
    }
}
