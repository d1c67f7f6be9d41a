//! From a config file to what can run: load, compile, configure, arrange. Nothing here touches what is running.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::Context;
use portcullis_model::{Gateway, Name, Origin, PolicyConfig, Secret, Server};
use portcullis_policy::PolicyFactory;
use portcullis_proxy::{Snapshot, SnapshotError};
use portcullis_sandbox::{ComponentInfo, Manifest, PolicyComponent, Sandbox, SandboxError, SandboxOptions};
use portcullis_telemetry::{AccessLog, Metrics};

use crate::changes;
use crate::plugins::{self, Catalog, ReadError};
use crate::refusal::{Refusal, RefusedPart};

/// A plugin file that is being written can be caught half-way; the config was read a moment before the plugin.
const ATTEMPTS: u32 = 3;

/// A configuration with its policies ready to run.
#[derive(Debug)]
pub(crate) struct Composed {
    /// What was configured.
    pub(crate) gateway: Gateway,
    /// The policies by name.
    pub(crate) policies: BTreeMap<Name, LoadedPolicy>,
    /// What was compiled for it, in no order; what an earlier generation had compiled is not in here.
    pub(crate) compiled: Vec<CompiledPlugin>,
}

/// A policy that is ready to run.
#[derive(Debug, Clone)]
pub(crate) struct LoadedPolicy {
    config: PolicyConfig,
    secrets: BTreeMap<Name, Secret>,
    component: Arc<PolicyComponent>,
    factory: Arc<dyn PolicyFactory>,
}

impl LoadedPolicy {
    /// What was configured.
    pub(crate) fn config(&self) -> &PolicyConfig {
        &self.config
    }

    /// What the component says of itself, where it has a manifest.
    pub(crate) fn manifest(&self) -> Option<&Manifest> {
        self.component.info().manifest.as_ref()
    }
}

/// How a component got ready.
#[derive(Debug, Clone)]
pub(crate) struct CompiledPlugin {
    /// Where it came from; of several policies that share it, the first's.
    pub(crate) source: String,
    digest: [u8; 32],
    component: Arc<PolicyComponent>,
    /// How long that took.
    pub(crate) took: Duration,
    /// Whether the machine code was in the cache.
    pub(crate) cached: bool,
}

/// A candidate for the next generation.
#[derive(Debug)]
pub(crate) struct Candidate {
    /// What it was made of.
    pub(crate) composed: Composed,
    /// What the workers run.
    pub(crate) snapshot: Snapshot,
    /// What it shares with all generations.
    pub(crate) process: Process,
    /// Where its exchanges are recorded.
    pub(crate) access_log: AccessLog,
}

/// What lives as long as the process, made by its first generation.
#[derive(Debug, Clone)]
pub(crate) struct Process {
    /// Where policies run.
    pub(crate) sandbox: Sandbox,
    /// What is counted.
    pub(crate) metrics: Arc<Metrics>,
    /// Worker threads.
    pub(crate) workers: usize,
}

/// What a candidate takes over from the generation before it.
#[derive(Debug, Clone)]
pub(crate) struct Previous {
    /// What all generations share.
    pub(crate) process: Process,
    /// What is running.
    pub(crate) composed: Arc<Composed>,
    /// What the workers run.
    pub(crate) snapshot: Arc<Snapshot>,
    /// The access log, to be kept where its settings are; `None` where it is to be opened anew.
    pub(crate) access_log: Option<AccessLog>,
}

/// Builds generation `generation` from the config at `path`. It reads files and compiles, so it takes a while and
/// belongs on a thread that may block.
///
/// # Errors
/// All that is wrong with it.
pub(crate) fn build(path: &Path, previous: Option<&Previous>, generation: u64) -> Result<Candidate, Refusal> {
    let mut attempt = 1;
    loop {
        match build_once(path, previous, generation) {
            Err(refusal) if refusal.is_transient() && attempt < ATTEMPTS => attempt += 1,
            outcome => return outcome,
        }
    }
}

fn build_once(path: &Path, previous: Option<&Previous>, generation: u64) -> Result<Candidate, Refusal> {
    let gateway = portcullis_config::load(path, &Catalog).map_err(Refusal::Config)?;
    let files = gateway.files.clone();
    let other = |error: anyhow::Error| Refusal::Other { error, files: files.clone() };
    let process = match previous {
        Some(previous) => previous.process.clone(),
        None => Process::new(&gateway).map_err(other)?,
    };
    let composed = compose(gateway, &process.sandbox, previous.map(|previous| &*previous.composed))?;
    let access_log = access_log(&composed.gateway, previous).map_err(other)?;
    let factories = composed.factories();
    let before = previous.map(|previous| &*previous.snapshot);
    let snapshot = Snapshot::build(
        composed.gateway.clone(),
        factories,
        access_log.clone(),
        Arc::clone(&process.metrics),
        before,
        generation,
    )
    .map_err(|errors| {
        let refused = errors.iter().map(|error| RefusedPart::of_snapshot(error, &composed.gateway)).collect();
        Refusal::Parts { refused, files: files.clone() }
    })?;
    Ok(Candidate { composed, snapshot, process, access_log })
}

/// Readies the policies of `gateway` in a sandbox of their own, for a run apart from traffic: no socket, no access log.
///
/// # Errors
/// Where a plugin does not compile, or refuses its configuration.
pub(crate) fn policies(gateway: Gateway) -> Result<Composed, Refusal> {
    let process =
        Process::new(&gateway).map_err(|error| Refusal::Other { error, files: gateway.files.clone() })?;
    compose(gateway, &process.sandbox, None)
}

/// The access log that is open, where its settings did not change and nobody asked for a new one.
fn access_log(gateway: &Gateway, previous: Option<&Previous>) -> anyhow::Result<AccessLog> {
    let settings = &gateway.server.access_log;
    let open = previous.filter(|previous| previous.composed.gateway.server.access_log == *settings);
    match open.and_then(|previous| previous.access_log.clone()) {
        Some(open) => Ok(open),
        None => AccessLog::open(settings).context("`server.access-log`"),
    }
}

impl Composed {
    /// What its plugins import that those of the same policies in `old` did not, a sentence each.
    pub(crate) fn newly_imported(&self, old: &Self) -> Vec<String> {
        self.newly_imported_since(|policy| Some(old.policies.get(policy)?.component.info().clone()))
    }

    /// The policies as a snapshot takes them.
    pub(crate) fn factories(&self) -> HashMap<Name, Arc<dyn PolicyFactory>> {
        let policies = self.policies.iter();
        policies.map(|(name, policy)| (Name::clone(name), Arc::clone(&policy.factory))).collect()
    }

    /// The same, where `old` tells what the plugin of a policy was like.
    pub(crate) fn newly_imported_since(&self, old: impl Fn(&Name) -> Option<ComponentInfo>) -> Vec<String> {
        let both = self.policies.iter().filter_map(|(name, policy)| Some((name, old(name)?, policy)));
        both.flat_map(|(name, old, policy)| changes::newly_imported(name, &old, policy.component.info()))
            .collect()
    }
}

impl Process {
    fn new(gateway: &Gateway) -> anyhow::Result<Self> {
        let server = &gateway.server;
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        let workers = server.workers.unwrap_or_else(cores);
        let options = SandboxOptions {
            cache_dir: server.cache_dir.clone().or_else(default_cache_dir),
            instances_max: server.policy_instances_max,
        };
        let sandbox = match Sandbox::new(options.clone()) {
            // Nobody asked for that folder, and without it plugins are compiled at each start, which is all.
            Err(error @ SandboxError::CacheDir { .. }) if server.cache_dir.is_none() => {
                tracing::warn!("{error}; `server.cache-dir` names another");
                Sandbox::new(SandboxOptions { cache_dir: None, ..options })
            }
            outcome => outcome,
        };
        let sandbox = sandbox.context("the sandbox cannot be set up")?;
        Ok(Self { sandbox, metrics: Arc::new(Metrics::new(workers)), workers })
    }
}

/// The user's cache folder, by the XDG base directory specification. `CACHE_DIRECTORY` is what systemd gives a unit with
/// `CacheDirectory=`. Without any, nothing is kept and plugins are compiled at each start.
pub(crate) fn default_cache_dir() -> Option<PathBuf> {
    let folder =
        |variable: &str| std::env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute());
    folder("CACHE_DIRECTORY")
        .or_else(|| folder("XDG_CACHE_HOME").map(|path| path.join("portcullis")))
        .or_else(|| folder("HOME").map(|path| path.join(".cache/portcullis")))
}

/// Readies the policies of `gateway`. A policy of which nothing changed keeps its factory, and so its instances.
fn compose(gateway: Gateway, sandbox: &Sandbox, previous: Option<&Composed>) -> Result<Composed, Refusal> {
    let secrets_of = |policy: &PolicyConfig| -> BTreeMap<Name, Secret> {
        let granted = policy.grants.secrets.iter();
        granted.filter_map(|name| Some((Name::clone(name), gateway.secrets.get(name)?.clone()))).collect()
    };
    let mut policies = BTreeMap::new();
    let mut fresh = Vec::new();
    for policy in &gateway.policies {
        let secrets = secrets_of(policy);
        let kept = previous
            .and_then(|previous| previous.policies.get(&policy.name))
            .filter(|before| changes::same_policy(&before.config, policy) && before.secrets == secrets);
        match kept {
            Some(before) => drop(policies.insert(Name::clone(&policy.name), before.clone())),
            None => fresh.push((policy, secrets)),
        }
    }

    let (compiled, mut refused) = compile_missing(&fresh, sandbox, &gateway.server, previous);
    let known: HashMap<[u8; 32], &Arc<PolicyComponent>> = previous
        .into_iter()
        .flat_map(|previous| {
            previous.policies.values().map(|policy| (policy.config.digest, &policy.component))
        })
        .chain(compiled.iter().map(|plugin| (plugin.digest, &plugin.component)))
        .collect();
    let ready: Vec<_> = fresh
        .into_iter()
        .filter_map(|(policy, secrets)| Some((policy, secrets, Arc::clone(known.get(&policy.digest)?))))
        .collect();
    drop(known);
    let configured =
        in_parallel(&ready, |(policy, secrets, component)| sandbox.configure(component, policy, secrets));
    for ((policy, secrets, component), outcome) in ready.into_iter().zip(configured) {
        match outcome {
            Ok(factory) => {
                let loaded = LoadedPolicy { config: policy.clone(), secrets, component, factory };
                policies.insert(Name::clone(&policy.name), loaded);
            }
            Err(error) => refused.push(RefusedPart::of_configure(policy, &chain_of(&error))),
        }
    }
    if !refused.is_empty() {
        refused
            .sort_by_key(|part| part.origin.as_ref().map(|origin| (Arc::clone(&origin.file), origin.line)));
        return Err(Refusal::Parts { refused, files: gateway.files });
    }
    Ok(Composed { gateway, policies, compiled })
}

/// Compiles each component among `fresh` that the generation before did not have, once; those that fail are named by
/// every policy that wants them.
fn compile_missing(
    fresh: &[(&PolicyConfig, BTreeMap<Name, Secret>)],
    sandbox: &Sandbox,
    server: &Server,
    previous: Option<&Composed>,
) -> (Vec<CompiledPlugin>, Vec<RefusedPart>) {
    let known = |digest: &[u8; 32]| {
        previous
            .is_some_and(|previous| previous.policies.values().any(|policy| policy.config.digest == *digest))
    };
    let mut missing: BTreeMap<[u8; 32], &PolicyConfig> = BTreeMap::new();
    for (policy, _) in fresh.iter().filter(|(policy, _)| !known(&policy.digest)) {
        missing.entry(policy.digest).or_insert(policy);
    }
    let missing: Vec<&PolicyConfig> = missing.into_values().collect();
    let outcomes = in_parallel(&missing, |policy| compile(policy, sandbox, server));

    let (mut compiled, mut refused) = (Vec::new(), Vec::new());
    for (first, outcome) in missing.into_iter().zip(outcomes) {
        match outcome {
            Ok(plugin) => compiled.push(plugin),
            Err((reason, transient)) => {
                let users = fresh.iter().filter(|(policy, _)| policy.digest == first.digest);
                refused.extend(
                    users.map(|(policy, _)| RefusedPart::of_policy(policy, reason.clone(), transient)),
                );
            }
        }
    }
    (compiled, refused)
}

fn compile(
    policy: &PolicyConfig,
    sandbox: &Sandbox,
    server: &Server,
) -> Result<CompiledPlugin, (String, bool)> {
    let bytes = plugins::read(policy, server).map_err(|error| {
        (error.to_string(), matches!(error, ReadError::Moved(_) | ReadError::Unreadable(..)))
    })?;
    let compiled = sandbox.compile(&bytes).map_err(|error| (chain_of(&error), false))?;
    Ok(CompiledPlugin {
        source: policy.plugin.to_string(),
        digest: policy.digest,
        component: compiled.component,
        took: compiled.took,
        cached: compiled.cached,
    })
}

impl RefusedPart {
    fn of_policy(policy: &PolicyConfig, reason: String, transient: bool) -> Self {
        let message = format!("policy `{}` cannot run", policy.name);
        Self { message, origin: Some(policy.origin.clone()), reason: Some(reason), transient }
    }

    /// `text` names the policy; a backtrace stands on lines of its own.
    fn of_configure(policy: &PolicyConfig, text: &str) -> Self {
        let (message, rest) = text.split_once('\n').unwrap_or((text, ""));
        let reason = (!rest.trim().is_empty()).then(|| rest.to_owned());
        Self { message: message.to_owned(), origin: Some(policy.origin.clone()), reason, transient: false }
    }

    fn of_snapshot(error: &SnapshotError, gateway: &Gateway) -> Self {
        let origin: Option<&Origin> = match error {
            SnapshotError::Listener { listener: name, .. } => gateway
                .listeners
                .iter()
                .find(|listener| listener.name == *name)
                .map(|listener| &listener.origin),
            SnapshotError::Upstream { upstream: name, .. } => gateway
                .upstreams
                .iter()
                .find(|upstream| upstream.name == *name)
                .map(|upstream| &upstream.origin),
            SnapshotError::Policy { route: name, .. } => {
                gateway.routes.iter().find(|route| route.name == *name).map(|route| &route.origin)
            }
        };
        Self { message: chain_of(error), origin: origin.cloned(), reason: None, transient: false }
    }
}

/// An error with its causes, such as each part says something new.
fn chain_of(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let part = error.to_string();
        if !text.contains(&part) {
            text.push_str(": ");
            text.push_str(&part);
        }
        cause = error.source();
    }
    text
}

/// `work` on each of `items`, on as many threads as there are cores, in the order of `items`. The threads are gone when
/// it returns.
fn in_parallel<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(items.len());
    if threads <= 1 {
        return items.iter().map(work).collect();
    }
    let next = AtomicUsize::new(0);
    let take = || -> Vec<(usize, R)> {
        let one = || {
            let at = next.fetch_add(1, Ordering::Relaxed);
            items.get(at).map(|item| (at, work(item)))
        };
        std::iter::from_fn(one).collect()
    };
    let mut results: Vec<(usize, R)> = std::thread::scope(|scope| {
        let handles: Vec<_> = (0..threads).map(|_| scope.spawn(take)).collect();
        let joined = handles.into_iter().map(|handle| match handle.join() {
            Ok(done) => done,
            Err(panic) => std::panic::resume_unwind(panic),
        });
        joined.flatten().collect()
    });
    results.sort_by_key(|(at, _)| *at);
    results.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests;
