//! What is said of the host in a request to an upstream.

use crate::Name;

/// What the `Host` field (`:authority`) says to an upstream.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum HostHeader {
    /// What the client sent.
    #[default]
    Preserve,
    /// The endpoint's address as it stands in the config.
    Endpoint,
    /// A fixed value.
    Fixed(Name),
}
