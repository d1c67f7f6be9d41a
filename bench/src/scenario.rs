//! What is measured.

use clap::ValueEnum;

use crate::contender::Kind;

/// A kind of load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Scenario {
    /// HTTP/1.1 over TCP, keep-alive
    Plain,
    /// HTTP/1.1 over TLS 1.3, keep-alive
    Tls,
    /// HTTP/2 over TLS 1.3
    H2,
    /// HTTP/1.1 with the api-key policy, beside nginx without any
    OnePolicy,
    /// HTTP/1.1 with api-key, headers and rate-limit, beside nginx without any
    ThreePolicies,
    /// The same three policies, each with a fresh instance for each exchange
    ThreeFresh,
    /// The 99th percentile of a plain route beside one whose plugin burns its deadline
    Neighbour,
    /// Memory of a connection that waits between two requests
    Idle,
}

impl Scenario {
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Plain => "h1: HTTP/1.1 keep-alive, 100 B",
            Self::Tls => "h1-tls: HTTP/1.1 keep-alive over TLS 1.3, 100 B",
            Self::H2 => "h2: HTTP/2 over TLS 1.3, 100 B",
            Self::OnePolicy => "h1-policy-1: HTTP/1.1, api-key; nginx does it without",
            Self::ThreePolicies => {
                "h1-policy-3: HTTP/1.1, api-key, headers and rate-limit; nginx does it without"
            }
            Self::ThreeFresh => {
                "h1-policy-3-fresh: the same three, a fresh instance for each exchange; nginx does it without"
            }
            Self::Neighbour => "neighbour: p99 of h1 beside a route whose plugin burns its deadline",
            Self::Idle => "idle: memory of an idle keep-alive connection",
        }
    }

    pub(crate) fn is_http2(self) -> bool {
        self == Self::H2
    }

    pub(crate) fn is_tls(self) -> bool {
        matches!(self, Self::Tls | Self::H2)
    }

    /// Policies of the gateway's route.
    pub(crate) fn policies(self) -> u32 {
        match self {
            Self::OnePolicy => 1,
            Self::ThreePolicies | Self::ThreeFresh => 3,
            _ => 0,
        }
    }

    /// What the gateway may cost, as a multiple of nginx, where the project has promised something.
    pub(crate) fn ratio_max(self) -> Option<f64> {
        match self {
            Self::Plain => Some(1.05),
            Self::ThreePolicies => Some(1.6),
            _ => None,
        }
    }

    /// Whether a contender takes part. HAProxy has no policies, and nginx already stands for going without.
    pub(crate) fn takes(self, kind: Kind) -> bool {
        self.policies() == 0 || kind != Kind::Haproxy
    }
}
