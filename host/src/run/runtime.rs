//! The runtime of the control side: a single thread for everything but traffic.

use anyhow::Context;
use tokio::runtime::{Builder, Runtime};
use tokio::task::LocalSet;

/// Threads that may load and compile at once: one does, and the other stands by for name look-ups.
const BLOCKING_THREADS_MAX: usize = 2;

/// The runtime for everything but traffic.
pub(crate) fn control_runtime() -> anyhow::Result<Runtime> {
    Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS_MAX)
        .thread_name("control")
        .build()
        .context("the control runtime cannot be started")
}

/// Waits for what runs on this thread alone.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> anyhow::Result<T> {
    let runtime = control_runtime()?;
    Ok(LocalSet::new().block_on(&runtime, future))
}
