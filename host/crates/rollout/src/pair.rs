//! The two versions of a policy and what is done with them.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use portcullis_policy::{HookKind, Hooks, PolicyFactory};

use crate::side::Side;
use crate::state::Rollout;

/// Runs a future on this thread beside what runs there, until it ends or the thread does.
pub type Spawn = fn(Pin<Box<dyn Future<Output = ()>>>);

/// Two versions of a policy and their rollout.
pub(crate) struct Pair {
    pub(crate) versions: [Arc<dyn PolicyFactory>; 2],
    pub(crate) rollout: Arc<Rollout>,
    pub(crate) wall: fn() -> Duration,
    pub(crate) spawn: Spawn,
    /// Whether samples may hold values at all: a policy that can read secrets may write them anywhere.
    pub(crate) keeps_values: bool,
}

impl Pair {
    pub(crate) fn version(&self, side: Side) -> &Arc<dyn PolicyFactory> {
        &self.versions[side as usize]
    }

    /// Returns the hooks of both versions.
    pub(crate) fn hooks(&self) -> [Hooks; 2] {
        Side::BOTH.map(|side| self.version(side).hooks())
    }

    /// Returns the hooks that a shadow sees.
    pub(crate) fn shadowed_hooks(&self) -> Hooks {
        self.version(Side::Candidate).hooks().except(Hooks::of(&[HookKind::Tick]))
    }
}
