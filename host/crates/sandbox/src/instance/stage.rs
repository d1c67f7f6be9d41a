//! What runs in an instance: one of the functions that a component exports.

use portcullis_policy::HookKind;

/// What runs in an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// `configure`, or what makes the instance before it.
    Configure,
    Hook(HookKind),
}

impl Stage {
    /// Returns the function's name in WIT.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Configure => "configure",
            Self::Hook(kind) => kind.name(),
        }
    }
}
