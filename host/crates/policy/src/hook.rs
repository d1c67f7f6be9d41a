//! The hooks that a policy may have, and what each is given beside the exchange.

use bytes::Bytes;

/// One of the hooks that a policy may have. Those of an exchange stand in the order in which they run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum HookKind {
    /// Decides about the head of the request and may edit it.
    #[default]
    RequestHead,
    /// Decides about a piece of the request's body.
    RequestBody,
    /// Decides about the head of the response and may edit it.
    ResponseHead,
    /// Decides about a piece of the response's body.
    ResponseBody,
    /// Learns how the exchange ended.
    Completed,
    /// Runs at an interval, outside of exchanges.
    Tick,
}

impl HookKind {
    /// How many there are.
    pub const COUNT: usize = 6;

    /// All of them, in the order of their numbers: `HookKind::ALL[kind as usize] == kind`.
    pub const ALL: [Self; Self::COUNT] = [
        Self::RequestHead,
        Self::RequestBody,
        Self::ResponseHead,
        Self::ResponseBody,
        Self::Completed,
        Self::Tick,
    ];

    /// Returns the name of its function in WIT.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::RequestHead => "on-request-head",
            Self::RequestBody => "on-request-body",
            Self::ResponseHead => "on-response-head",
            Self::ResponseBody => "on-response-body",
            Self::Completed => "on-completed",
            Self::Tick => "on-tick",
        }
    }

    /// Returns the name of its interface in WIT.
    #[must_use]
    pub const fn interface(self) -> &'static str {
        match self {
            Self::RequestHead => "request-head",
            Self::RequestBody => "request-body",
            Self::ResponseHead => "response-head",
            Self::ResponseBody => "response-body",
            Self::Completed => "completed",
            Self::Tick => "tick",
        }
    }
}

/// A set of hooks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Hooks(u8);

impl Hooks {
    /// No hooks.
    pub const NONE: Self = Self(0);
    /// The hooks of bodies.
    pub const BODIES: Self = Self::of(&[HookKind::RequestBody, HookKind::ResponseBody]);

    /// Returns the set of `kinds`.
    #[must_use]
    pub const fn of(kinds: &[HookKind]) -> Self {
        let mut set = Self::NONE;
        let mut rest = kinds;
        while let [kind, others @ ..] = rest {
            set = set.with(*kind);
            rest = others;
        }
        set
    }

    /// Returns the set with `kind`.
    #[must_use]
    pub const fn with(self, kind: HookKind) -> Self {
        Self(self.0 | 1 << kind as u8)
    }

    /// Returns the hooks that are in either set.
    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Returns the hooks that are in both sets.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Returns the hooks of this set that are not in `other`.
    #[must_use]
    pub const fn except(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Returns whether `kind` is in the set.
    #[must_use]
    pub const fn has(self, kind: HookKind) -> bool {
        self.0 & 1 << kind as u8 != 0
    }

    /// Returns whether the set is empty.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Returns the hooks of the set, in order.
    pub fn iter(self) -> impl Iterator<Item = HookKind> {
        HookKind::ALL.into_iter().filter(move |kind| self.has(*kind))
    }
}

/// One of the two bodies of an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodySide {
    /// From the client.
    Request,
    /// To the client.
    Response,
}

impl BodySide {
    /// Returns the hook that decides about this body.
    #[must_use]
    pub const fn kind(self) -> HookKind {
        match self {
            Self::Request => HookKind::RequestBody,
            Self::Response => HookKind::ResponseBody,
        }
    }

    /// Returns the call of that hook with a piece of the body.
    #[must_use]
    pub fn hook(self, chunk: Bytes, last: bool) -> Hook {
        match self {
            Self::Request => Hook::RequestBody { chunk, last },
            Self::Response => Hook::ResponseBody { chunk, last },
        }
    }
}

/// A hook of an exchange with what it is given beside the exchange.
#[derive(Debug, Clone)]
pub enum Hook {
    /// The head of the request.
    RequestHead,
    /// A piece of the request's body.
    RequestBody {
        /// The piece, with what was held back before in front of it.
        chunk: Bytes,
        /// Whether it is the last.
        last: bool,
    },
    /// The head of the response.
    ResponseHead,
    /// A piece of the response's body.
    ResponseBody {
        /// The piece, with what was held back before in front of it.
        chunk: Bytes,
        /// Whether it is the last.
        last: bool,
    },
    /// The exchange has ended.
    Completed(Outcome),
}

impl Hook {
    /// Returns which hook it is.
    #[must_use]
    pub const fn kind(&self) -> HookKind {
        match self {
            Self::RequestHead => HookKind::RequestHead,
            Self::RequestBody { .. } => HookKind::RequestBody,
            Self::ResponseHead => HookKind::ResponseHead,
            Self::ResponseBody { .. } => HookKind::ResponseBody,
            Self::Completed(_) => HookKind::Completed,
        }
    }

    /// Returns its name in WIT.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.kind().name()
    }

    /// Returns the body of which it is given a piece, the piece, and whether it is the last; `None` if it is no hook
    /// of a body.
    #[must_use]
    pub const fn piece(&self) -> Option<(BodySide, &Bytes, bool)> {
        match self {
            Self::RequestBody { chunk, last } => Some((BodySide::Request, chunk, *last)),
            Self::ResponseBody { chunk, last } => Some((BodySide::Response, chunk, *last)),
            Self::RequestHead | Self::ResponseHead | Self::Completed(_) => None,
        }
    }

    /// Returns the hooks of an exchange that may be called after this one. The body of the request may still be on
    /// its way while the response goes out.
    #[must_use]
    pub const fn following(&self) -> Hooks {
        use HookKind::{Completed, RequestBody, ResponseBody, ResponseHead};
        match self {
            Self::RequestHead => Hooks::of(&[RequestBody, ResponseHead, ResponseBody, Completed]),
            Self::RequestBody { last: false, .. } => {
                Hooks::of(&[RequestBody, ResponseHead, ResponseBody, Completed])
            }
            Self::RequestBody { last: true, .. } => Hooks::of(&[ResponseHead, ResponseBody, Completed]),
            Self::ResponseHead | Self::ResponseBody { last: false, .. } => {
                Hooks::of(&[RequestBody, ResponseBody, Completed])
            }
            Self::ResponseBody { last: true, .. } => Hooks::of(&[RequestBody, Completed]),
            Self::Completed(_) => Hooks::NONE,
        }
    }
}

/// How an exchange ended.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// The status that the client received; 0 if it received none.
    pub status: u16,
    /// Bytes of the request's body that were received.
    pub request_bytes: u64,
    /// Bytes of the response's body that were sent.
    pub response_bytes: u64,
    /// From the request's first byte to the response's last, in microseconds.
    pub duration_us: u64,
    /// The endpoint that answered.
    pub upstream: Option<String>,
    /// What went wrong.
    pub error: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::{HookKind, Hooks};

    #[test]
    fn every_kind_is_at_its_number_and_has_names_of_its_own() {
        for (number, kind) in HookKind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, number);
            assert_eq!(kind.name(), format!("on-{}", kind.interface()));
            assert_eq!(HookKind::ALL.iter().filter(|other| other.name() == kind.name()).count(), 1);
        }
    }

    #[test]
    fn a_set_has_what_was_put_into_it() {
        for kind in HookKind::ALL {
            let one = Hooks::of(&[kind]);
            assert!(one.iter().eq([kind]));
            assert!(Hooks::of(&HookKind::ALL).except(one).iter().all(|other| other != kind));
            assert_eq!(Hooks::NONE.with(kind).and(Hooks::of(&HookKind::ALL)), one);
        }
        assert!(Hooks::NONE.is_empty() && Hooks::NONE.iter().next().is_none());
    }
}
