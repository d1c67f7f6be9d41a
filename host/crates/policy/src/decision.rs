//! What a policy decides, and how it fails.

use bytes::Bytes;
use portcullis_http::Fields;
use portcullis_model::Name;

/// What a policy decided.
#[derive(Debug)]
pub enum Decision {
    /// Go on.
    Next,
    /// Answer the client with this.
    Reply(Reply),
    /// Of a body hook: what becomes of the piece.
    Body(BodyDecision),
}

/// What becomes of a piece of a body.
#[derive(Debug)]
pub enum BodyDecision {
    /// It goes on unchanged.
    Forward,
    /// These bytes go on in its place.
    Replace(Bytes),
    /// The policy keeps it, and is given it again in front of the next piece.
    Hold,
    /// Some goes on, some is kept, and when the policy is called again is its own choice.
    Split(BodySplit),
}

impl BodyDecision {
    /// Returns how many bytes of a piece of `length` are kept.
    #[must_use]
    pub fn kept_of(&self, length: usize) -> usize {
        match self {
            Self::Forward | Self::Replace(_) => 0,
            Self::Hold => length,
            Self::Split(split) => split.kept.min(length),
        }
    }
}

/// A piece of a body of which a policy keeps a part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BodySplit {
    /// These bytes go on.
    pub passed: Bytes,
    /// So many bytes at the end of the piece are kept.
    pub kept: usize,
    /// When the policy is called again.
    pub again: Again,
}

/// When a policy that has decided about a piece of a body is called again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Again {
    /// If there is more.
    #[default]
    WithMore,
    /// Once, at the end, with all that came until then.
    AtEnd,
    /// Not for this body.
    Never,
}

/// A response that a policy gives in place of the upstream. The code that makes it has validated it.
#[derive(Debug, Default)]
pub struct Reply {
    /// 200 to 599.
    pub status: u16,
    /// Its fields, without framing.
    pub fields: Fields,
    /// Its body.
    pub body: Bytes,
}

/// A policy failed. The exchange goes on as its `FailureMode` says.
#[derive(Debug, Clone, thiserror::Error)]
#[error("policy `{policy}` failed in {hook}: {kind}: {message}")]
pub struct Fault {
    /// The policy.
    pub policy: Name,
    /// The hook, by its WIT name.
    pub hook: &'static str,
    /// What sort of failure it is.
    pub kind: FaultKind,
    /// The reason, with the Wasm backtrace if there is one.
    pub message: String,
}

impl Fault {
    /// Returns what the client receives if the policy fails closed: 500, or 503 if nothing has failed and there was
    /// only no place for the policy. The code that sends it adds a body.
    #[must_use]
    pub fn reply(&self) -> Reply {
        let mut reply = Reply { status: 500, ..Reply::default() };
        if self.kind == FaultKind::Exhausted {
            reply.status = 503;
            // Places become free as exchanges end, of which many do within a second. An empty section has room for it.
            reply.fields.append(b"retry-after", b"1").unwrap_or_default();
        }
        reply
    }
}

/// What sort of failure a [`Fault`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FaultKind {
    /// The guest trapped.
    Trap,
    /// The guest used up its time.
    Deadline,
    /// The guest asked for more memory, tables or instances than it may have.
    Memory,
    /// The guest returned something that is not allowed, such as a reply with an invalid field.
    InvalidReturn,
    /// The guest handed over or held back more bytes than it may.
    TooLarge,
    /// A hook took longer than its timeout, waiting included.
    Timeout,
    /// A hook returned an error.
    Failed,
    /// There was no instance, no memory for one, or no core to run it: a total of the gateway or of the policy is used
    /// up, or the machine is too busy.
    Exhausted,
    /// The policy was not called, because it failed too often lately.
    Quarantined,
}

impl FaultKind {
    /// Returns whether the policy itself caused it, rather than what others have left for it.
    #[must_use]
    pub fn is_its_own(self) -> bool {
        match self {
            Self::Trap
            | Self::Deadline
            | Self::Memory
            | Self::InvalidReturn
            | Self::TooLarge
            | Self::Timeout
            | Self::Failed => true,
            Self::Exhausted | Self::Quarantined => false,
        }
    }

    /// Returns its name in the log and in metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Trap => "trap",
            Self::Deadline => "deadline",
            Self::Memory => "memory",
            Self::InvalidReturn => "invalid-return",
            Self::TooLarge => "too-large",
            Self::Timeout => "timeout",
            Self::Failed => "failed",
            Self::Exhausted => "exhausted",
            Self::Quarantined => "quarantined",
        }
    }
}

impl std::fmt::Display for FaultKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}
