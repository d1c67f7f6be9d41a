//! Failures that a test injects. A sandbox that is made by [`Sandbox::new`](crate::Sandbox::new) has none of this.

use std::fmt::Debug;
use std::sync::Arc;

use portcullis_model::Name;
use wasmtime::Result;
use wasmtime::component::{Component, Linker};

use crate::instance::refusal::InjectedRefusals;
use crate::instance::state::State;

/// Makes calls of the host fail and refuses instances, memory and tables.
pub(crate) trait Injector: Debug + Send + Sync {
    /// Replaces functions that `component` imports by ones that fail.
    ///
    /// # Errors
    /// When a function cannot be replaced.
    fn link(&self, linker: &mut Linker<State>, component: &Component) -> Result<()>;

    /// Returns what the instances of a policy are refused.
    fn refusals(&self, policy: &Name) -> Arc<dyn InjectedRefusals>;
}
