//! What runs in an instance: one of the functions that a component exports.

use portcullis_policy::Hook;

/// What runs in an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Stage {
    Configure,
    RequestHead,
    RequestBody,
    ResponseHead,
    ResponseBody,
    Completed,
    Tick,
}

impl Stage {
    pub(crate) fn of(hook: &Hook) -> Self {
        match hook {
            Hook::RequestHead => Self::RequestHead,
            Hook::RequestBody { .. } => Self::RequestBody,
            Hook::ResponseHead => Self::ResponseHead,
            Hook::ResponseBody { .. } => Self::ResponseBody,
            Hook::Completed(_) => Self::Completed,
        }
    }

    /// All of them, in the order of their numbers.
    pub(crate) const ALL: [Self; 7] = [
        Self::Configure,
        Self::RequestHead,
        Self::RequestBody,
        Self::ResponseHead,
        Self::ResponseBody,
        Self::Completed,
        Self::Tick,
    ];

    /// The function's name in WIT.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Configure => "configure",
            Self::RequestHead => "on-request-head",
            Self::RequestBody => "on-request-body",
            Self::ResponseHead => "on-response-head",
            Self::ResponseBody => "on-response-body",
            Self::Completed => "on-completed",
            Self::Tick => "on-tick",
        }
    }
}
