//! How to make a sandbox.

use std::path::PathBuf;
use std::sync::Arc;

use portcullis_model::Isolation;

use crate::error::SandboxError;

/// Compiles components whose code may take long or much memory, before the sandbox does: what it leaves in the cache,
/// the sandbox takes from there, and what it refuses is not compiled at all.
pub trait Compiler: std::fmt::Debug + Send + Sync {
    /// Compiles a component as [`Sandbox::rehearse`](crate::Sandbox::rehearse) does, within limits. Waits until it is
    /// done.
    ///
    /// # Errors
    /// When it cannot be compiled, or not within the limits.
    fn compile(&self, component: &[u8], isolation: Isolation) -> Result<(), SandboxError>;
}

/// How to make a [`Sandbox`](crate::Sandbox).
#[derive(Debug, Clone)]
pub struct SandboxOptions {
    /// The folder for compiled code, from one start to the next. It is made with mode 0700 if it does not exist. `None`
    /// keeps nothing. What is written there runs as the gateway, so a folder that others can write is refused.
    pub cache_dir: Option<PathBuf>,
    /// Instances that may be alive at once, over all policies and workers. More are refused as
    /// [`Exhausted`](portcullis_policy::FaultKind::Exhausted).
    pub instances_max: u32,
    /// Bytes of linear memory that they may have together. More are refused in the same way.
    pub memory_bytes_max: u64,
    /// What compiles components whose code may take long. Without one, the sandbox does.
    pub compiler: Option<Arc<dyn Compiler>>,
}

impl Default for SandboxOptions {
    /// No cache, 4,000 instances and 8 GiB, as `[server]` has it.
    fn default() -> Self {
        Self { cache_dir: None, instances_max: 4000, memory_bytes_max: 8 << 30, compiler: None }
    }
}
