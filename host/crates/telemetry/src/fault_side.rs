//! The side at fault when an exchange failed.

/// The side that was at fault for an exchange that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultSide {
    /// The client: it broke the protocol, went away, was too slow, or asked for what is not served.
    Client,
    /// The upstream: it could not be reached, broke the protocol, went away or was too slow.
    Upstream,
    /// A policy: it failed, or it stopped a body half-way.
    Policy,
    /// The gateway or its operator: it drained, had no socket left, or reached a limit while both sides were active.
    Gateway,
}

impl FaultSide {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Client, Self::Upstream, Self::Policy, Self::Gateway];

    /// Returns its name in records and labels.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Upstream => "upstream",
            Self::Policy => "policy",
            Self::Gateway => "gateway",
        }
    }
}

impl std::fmt::Display for FaultSide {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}
