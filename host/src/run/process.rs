//! What lives as long as the process, whatever configuration runs.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use portcullis_model::Gateway;
use portcullis_proxy::{CacheControl, OutboundClient};
use portcullis_sandbox::{Compiler, Sandbox, SandboxError, SandboxOptions};
use portcullis_telemetry::Metrics;

use crate::run::cache_dir::default_cache_dir;
use crate::run::compiler::ChildCompiler;
use crate::run::footprint;
use crate::run::rollout::Rollouts;

/// What lives as long as the process, made by its first generation.
#[derive(Debug, Clone)]
pub(crate) struct Process {
    /// The sandbox in which policies run.
    pub(crate) sandbox: Sandbox,
    /// What is counted.
    pub(crate) metrics: Arc<Metrics>,
    /// The rollouts of the generation that runs.
    pub(crate) rollouts: Arc<Rollouts>,
    /// Worker threads.
    pub(crate) workers: usize,
    /// What sends the requests of policies.
    pub(crate) outbound: OutboundClient,
    /// The caches, for the purges of policies.
    pub(crate) caches: CacheControl,
    /// Whether the configuration on disk is refused.
    pub(crate) config_refused: Arc<AtomicBool>,
}

/// Why what all generations share cannot be made.
pub(super) enum ProcessError {
    /// The folder that `server.cache-dir` names cannot be used.
    CacheDir(anyhow::Error),
    /// Anything else.
    Other(anyhow::Error),
}

impl From<ProcessError> for anyhow::Error {
    fn from(error: ProcessError) -> Self {
        match error {
            ProcessError::CacheDir(error) | ProcessError::Other(error) => error,
        }
    }
}

impl Process {
    /// Sets up what a gateway with this configuration needs.
    ///
    /// # Errors
    /// If the system refuses a part of it.
    pub(super) fn new(gateway: &Gateway) -> Result<Self, ProcessError> {
        let server = &gateway.server;
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        let workers = server.workers.unwrap_or_else(cores);
        let mut cache_dir = server.cache_dir.clone().or_else(default_cache_dir);
        if footprint::leaves_nothing() {
            let checked = server.cache_dir.as_deref().map_or(Ok(()), footprint::check_cache_dir);
            checked.map_err(ProcessError::CacheDir)?;
            cache_dir = footprint::own_cache(cache_dir);
        }
        let compiler = |cache_dir: &Option<PathBuf>| {
            // A unit test is another binary than the gateway, which could not be started to compile.
            let compiler = (!cfg!(test)).then(|| ChildCompiler::new(server, cache_dir.clone()));
            compiler.map(|compiler| Arc::new(compiler) as Arc<dyn Compiler>)
        };
        let options = SandboxOptions {
            compiler: compiler(&cache_dir),
            cache_dir,
            instances_max: server.policy_instances_max,
            memory_bytes_max: server.policy_memory_bytes_max,
        };
        let sandbox = match Sandbox::new(options.clone()) {
            // The config does not name that folder, and without it plugins are only compiled again at each start.
            Err(error @ SandboxError::CacheDir { .. }) if server.cache_dir.is_none() => {
                tracing::warn!("{error}; `server.cache-dir` names another");
                Sandbox::new(SandboxOptions { cache_dir: None, compiler: compiler(&None), ..options })
            }
            outcome => outcome,
        };
        let sandbox = sandbox.map_err(|error| match error {
            SandboxError::CacheDir { .. } if server.cache_dir.is_some() => {
                ProcessError::CacheDir(error.into())
            }
            error => ProcessError::Other(anyhow::Error::from(error).context("the sandbox cannot be set up")),
        })?;
        let outbound = OutboundClient::new(server.policy_http_calls_max);
        sandbox.send_by(Arc::new(outbound.clone()));
        let caches = CacheControl::default();
        sandbox.purge_by(Arc::new(caches.clone()));
        let metrics = Arc::new(Metrics::new(workers));
        Ok(Self {
            sandbox,
            metrics,
            rollouts: Arc::default(),
            workers,
            outbound,
            caches,
            config_refused: Arc::default(),
        })
    }
}
