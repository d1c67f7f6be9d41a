//! From a config file to what can run: load, compile, configure, arrange. Nothing here touches what is running.

mod parts;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::Context;
use portcullis_admin::check_socket_folder;
use portcullis_config::{Diagnostics, Loaded, LoadedComponents, MainFile};
use portcullis_model::{Control, Gateway, Isolation, Name, PolicyConfig, Secret, Version};
use portcullis_net::SystemRoots;
use portcullis_policy::PolicyFactory;
use portcullis_proxy::Snapshot;
use portcullis_rollout::Rollout;
use portcullis_sandbox::{ComponentInfo, Manifest, PolicyComponent, Sandbox};
use portcullis_telemetry::AccessLog;

use self::parts::chain_of;
use crate::plugins::Catalog;
use crate::refusal::{Refusal, RefusedPart};
use crate::run::compiler::LongCompileNotice;
use crate::run::footprint;
use crate::run::process::{Process, ProcessError};
use crate::run::rollout;
use crate::run::stamp;

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

/// A policy that is ready to run, with the version of it that is tried.
#[derive(Debug, Clone)]
pub(crate) struct LoadedPolicy {
    active: LoadedVersion,
    tried: Option<LoadedCandidate>,
    /// What the chain runs: the active version, or what chooses between the two.
    factory: Arc<dyn PolicyFactory>,
}

/// A version of a policy that is ready to run.
#[derive(Debug, Clone)]
pub(crate) struct LoadedVersion {
    /// Without what is tried beside it.
    config: PolicyConfig,
    secrets: BTreeMap<Name, Secret>,
    component: Arc<PolicyComponent>,
    factory: Arc<dyn PolicyFactory>,
}

/// A version that is tried.
#[derive(Debug, Clone)]
struct LoadedCandidate {
    config: portcullis_model::Candidate,
    version: LoadedVersion,
    rollout: Arc<Rollout>,
}

/// How a component got ready.
#[derive(Debug, Clone)]
pub(crate) struct CompiledPlugin {
    /// Its source; that of the first of several policies that share it.
    pub(crate) source: String,
    code: CodeId,
    component: Arc<PolicyComponent>,
    /// How long that took.
    pub(crate) took: Duration,
    /// Whether the machine code was in the cache.
    pub(crate) cached: bool,
}

/// What compiled code is made of: a component's digest, and what it is compiled for.
type CodeId = ([u8; 32], Isolation);

fn code_id(policy: &PolicyConfig) -> CodeId {
    (policy.digest, policy.isolation)
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
    /// The log of its exchanges.
    pub(crate) access_log: AccessLog,
    /// The authorities that the machine trusts, as they were when this was made.
    pub(crate) roots: Arc<SystemRoots>,
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
    /// The access log that is open.
    pub(crate) access_log: AccessLog,
}

/// Builds generation `generation` from the config at `main`. It reads files and compiles, so it takes a while and
/// belongs on a thread that may block.
///
/// # Errors
/// All that is wrong with it.
pub(crate) fn build<'a>(
    main: impl Into<MainFile<'a>>,
    previous: Option<&Previous>,
    generation: u64,
) -> Result<Candidate, Refusal> {
    let main = main.into();
    let loaded = load(main)?;
    let gateway = &loaded.gateway;
    let files = gateway.files.clone();
    let other = |error: anyhow::Error| Refusal::Other { error, files: files.clone() };
    let process = match previous {
        Some(previous) => previous.process.clone(),
        None => Process::new(gateway).map_err(|error| match error {
            ProcessError::CacheDir(error) => Refusal::of_server_key(
                main,
                "cache-dir",
                "the cache folder cannot be used",
                error,
                files.clone(),
            ),
            ProcessError::Other(error) => other(error),
        })?,
    };
    check_instances(gateway, process.workers)?;
    let composed = compose(loaded, &process.sandbox, previous.map(|previous| &*previous.composed))
        .map_err(|refusal| refusal.at_lines(main))?;
    if let (true, Control::At(socket)) = (footprint::leaves_nothing(), &composed.gateway.server.control) {
        check_socket_folder(socket)
            .map_err(|error| Refusal::of_control_socket(main, &error, files.clone()))?;
    }
    let access_log = access_log(&composed.gateway, previous).map_err(|error| {
        Refusal::of_server_key(
            main,
            "access-log.file",
            "the access log cannot be opened",
            error,
            files.clone(),
        )
    })?;
    let factories = composed.factories();
    let before = previous.map(|previous| &*previous.snapshot);
    let roots = Arc::new(SystemRoots::new());
    let asking = process.outbound.check(&roots).context("policies ask servers over https");
    asking.map_err(other)?;
    let mut runs = composed.gateway.clone();
    if footprint::leaves_nothing() {
        footprint::check_cache_disks(&mut runs)
            .map_err(|refused| Refusal::Parts { refused, files: files.clone() })?;
    }
    let snapshot = Snapshot::build(
        runs,
        &factories,
        access_log.clone(),
        Arc::clone(&process.metrics),
        before,
        generation,
        &roots,
    )
    .map_err(|errors| {
        let refused = errors.iter().map(|error| RefusedPart::of_snapshot(error, &composed.gateway)).collect();
        Refusal::Parts { refused, files: files.clone() }
    })?;
    Ok(Candidate { composed, snapshot, process, access_log, roots })
}

/// Loads the config at `main`, and again if a file changed meanwhile.
fn load(main: MainFile<'_>) -> Result<Loaded, Refusal> {
    let files = |loaded: &Result<Loaded, Diagnostics>| match loaded {
        Ok(loaded) => loaded.gateway.files.clone(),
        Err(diagnostics) => diagnostics.files().to_vec(),
    };
    match stamp::read_at_rest(|| portcullis_config::load(main, &Catalog), files) {
        Ok(loaded) => loaded.map_err(Refusal::Config),
        Err((restless, files)) => Err(Refusal::Other { error: restless.into(), files }),
    }
}

/// Readies the policies of `gateway` in a sandbox of their own, for a run apart from traffic: no socket, no access log.
///
/// # Errors
/// If a plugin does not compile, or refuses its configuration.
pub(crate) fn policies(loaded: Loaded) -> Result<Composed, Refusal> {
    let gateway = &loaded.gateway;
    let process = Process::new(gateway)
        .map_err(|error| Refusal::Other { error: error.into(), files: gateway.files.clone() })?;
    compose(loaded, &process.sandbox, None)
}

/// Checks that each policy with an instance for each worker may have so many; with fewer, every exchange of some
/// workers would be a fault.
fn check_instances(gateway: &Gateway, workers: usize) -> Result<(), Refusal> {
    let of_workers = gateway.policies.iter().filter(|policy| policy.isolation == Isolation::Worker);
    let too_few = of_workers.filter_map(|policy| {
        let max = policy.limits.instances.filter(|max| (*max as usize) < workers)?;
        let reason = format!(
            "help: write `instances = {workers}` or more under its `limits`, or fewer `server.workers`, of which there are \
             {workers}"
        );
        Some(RefusedPart {
            message: format!("policy `{}` may have {max} instances, and each worker needs one", policy.name),
            origin: Some(policy.origin.clone()),
            reason: Some(reason),
            ..RefusedPart::default()
        })
    });
    let refused: Vec<RefusedPart> = too_few.collect();
    if refused.is_empty() { Ok(()) } else { Err(Refusal::Parts { refused, files: gateway.files.clone() }) }
}

/// Returns the access log that is open if its settings did not change, or else opens one.
fn access_log(gateway: &Gateway, previous: Option<&Previous>) -> anyhow::Result<AccessLog> {
    let settings = &gateway.server.access_log;
    if footprint::leaves_nothing() {
        footprint::check_access_log(settings)?;
        return Ok(AccessLog::off());
    }
    let open = previous.filter(|previous| previous.composed.gateway.server.access_log == *settings);
    match open {
        Some(previous) => Ok(previous.access_log.clone()),
        None => Ok(AccessLog::open(settings)?),
    }
}

impl Composed {
    /// What its plugins import that those of the same policies in `old` did not, a sentence each.
    pub(crate) fn newly_imported(&self, old: &Self) -> Vec<String> {
        let both =
            self.policies.iter().filter_map(|(name, policy)| Some((name, old.policies.get(name)?, policy)));
        both.flat_map(|(name, old, policy)| {
            // A version that was tried before it became the active one was reported when it was tried.
            let known = |version: &&LoadedVersion| {
                old.versions().any(|old| Arc::ptr_eq(&old.component, &version.component))
            };
            let info = old.active.component.info();
            policy.versions().filter(move |version| !known(version)).flat_map(move |version| {
                portcullis_inspect::newly_imported(name, info, version.component.info())
            })
        })
        .collect()
    }

    /// The policies as a snapshot takes them.
    pub(crate) fn factories(&self) -> HashMap<Name, Arc<dyn PolicyFactory>> {
        let policies = self.policies.iter();
        policies.map(|(name, policy)| (Name::clone(name), Arc::clone(&policy.factory))).collect()
    }

    /// The same; `old` returns what the plugin of a policy was like.
    pub(crate) fn newly_imported_since(&self, old: impl Fn(&Name) -> Option<ComponentInfo>) -> Vec<String> {
        let both = self.policies.iter().filter_map(|(name, policy)| Some((name, old(name)?, policy)));
        both.flat_map(|(name, old, policy)| {
            let versions: Vec<_> = policy.versions().map(|version| version.component.info()).collect();
            versions.into_iter().flat_map(move |new| portcullis_inspect::newly_imported(name, &old, new))
        })
        .collect()
    }

    /// The rollouts, by policy.
    pub(crate) fn rollouts(&self) -> impl Iterator<Item = &Arc<Rollout>> {
        self.policies.values().filter_map(|policy| Some(&policy.tried.as_ref()?.rollout))
    }

    fn versions(&self) -> impl Iterator<Item = &LoadedVersion> {
        self.policies.values().flat_map(LoadedPolicy::versions)
    }
}

impl LoadedPolicy {
    /// What was configured of the active version.
    pub(crate) fn config(&self) -> &PolicyConfig {
        &self.active.config
    }

    /// What the active version's component says of itself, if it has a manifest.
    pub(crate) fn manifest(&self) -> Option<&Manifest> {
        self.active.component.info().manifest.as_ref()
    }

    /// The rollout of the version that is tried, if there is one.
    pub(crate) fn rollout(&self) -> Option<&Arc<Rollout>> {
        self.tried.as_ref().map(|tried| &tried.rollout)
    }

    /// Keys of the policy that say something else for the version that is tried.
    pub(crate) fn differing_keys(&self) -> Vec<&'static str> {
        let Some(tried) = &self.tried else { return Vec::new() };
        let (active, tried) = (&self.active.config, &tried.version.config);
        [
            ("plugin", active.plugin != tried.plugin),
            ("config", active.config_json != tried.config_json),
            ("grants", active.grants != tried.grants),
            ("limits", active.limits != tried.limits),
        ]
        .into_iter()
        .filter_map(|(key, differs)| differs.then_some(key))
        .collect()
    }

    fn versions(&self) -> impl Iterator<Item = &LoadedVersion> {
        std::iter::once(&self.active).chain(self.tried.as_ref().map(|tried| &tried.version))
    }
}

/// Readies the policies of `gateway`. A version of a policy of which nothing changed keeps its factory, and so its
/// instances, whatever happens to the version beside it.
fn compose(loaded: Loaded, sandbox: &Sandbox, previous: Option<&Composed>) -> Result<Composed, Refusal> {
    let Loaded { gateway, components } = loaded;
    let secrets_of = |version: &PolicyConfig| -> BTreeMap<Name, Secret> {
        let granted = version.grants.secrets.iter();
        granted.filter_map(|name| Some((Name::clone(name), gateway.secrets.get(name)?.clone()))).collect()
    };
    let mut versions = BTreeMap::new();
    let mut fresh = Vec::new();
    for version in gateway.policies.iter().flat_map(versions_of) {
        let secrets = secrets_of(&version);
        let kept = previous.and_then(|previous| previous.policies.get(&version.name)).and_then(|before| {
            let is_same = |before: &&LoadedVersion| before.config == version && before.secrets == secrets;
            before.versions().find(is_same)
        });
        match kept {
            // With its place in the new config.
            Some(before) => {
                let key = key(&version);
                versions.insert(key, LoadedVersion { config: version, ..before.clone() });
            }
            None => fresh.push((version, secrets)),
        }
    }

    let (compiled, mut refused) = compile_missing(&fresh, sandbox, &components, previous);
    // They may be large, and nothing needs them from here on.
    drop(components);
    let known: HashMap<CodeId, &Arc<PolicyComponent>> = previous
        .into_iter()
        .flat_map(|previous| {
            previous.versions().map(|version| (code_id(&version.config), &version.component))
        })
        .chain(compiled.iter().map(|plugin| (plugin.code, &plugin.component)))
        .collect();
    let ready: Vec<_> = fresh
        .into_iter()
        .filter_map(|(version, secrets)| {
            let component = Arc::clone(known.get(&code_id(&version))?);
            Some((version, secrets, component))
        })
        .collect();
    drop(known);
    let configured =
        in_parallel(&ready, |(version, secrets, component)| sandbox.configure(component, version, secrets));
    for ((config, secrets, component), outcome) in ready.into_iter().zip(configured) {
        match outcome {
            Ok(factory) => {
                let key = key(&config);
                versions.insert(key, LoadedVersion { config, secrets, component, factory });
            }
            Err(error) => refused.push(RefusedPart::of_configure(&config, &error)),
        }
    }
    if !refused.is_empty() {
        refused
            .sort_by_key(|part| part.origin.as_ref().map(|origin| (Arc::clone(&origin.file), origin.line)));
        return Err(Refusal::Parts { refused, files: gateway.files });
    }
    let policies = gateway.policies.iter().filter_map(|policy| {
        let before = previous.and_then(|previous| previous.policies.get(&policy.name));
        let active = versions.remove(&key(policy))?;
        let tried = match policy.candidate.as_deref() {
            Some(candidate) => Some((candidate, versions.remove(&key(candidate.version()))?)),
            None => None,
        };
        Some((Name::clone(&policy.name), arrange(active, tried, before)))
    });
    let policies = policies.collect();
    Ok(Composed { gateway, policies, compiled })
}

/// The versions of a policy, each as a policy by itself.
fn versions_of(policy: &PolicyConfig) -> impl Iterator<Item = PolicyConfig> {
    let tried = policy.candidate.as_deref().map(|candidate| candidate.version().clone());
    std::iter::once(PolicyConfig { candidate: None, ..policy.clone() }).chain(tried)
}

fn key(version: &PolicyConfig) -> (Name, Version) {
    (Name::clone(&version.name), version.version)
}

/// Puts the versions of a policy together. A rollout keeps its state for as long as nothing changes of what is tried
/// and of how.
fn arrange(
    active: LoadedVersion,
    tried: Option<(&portcullis_model::Candidate, LoadedVersion)>,
    before: Option<&LoadedPolicy>,
) -> LoadedPolicy {
    let Some((config, version)) = tried else {
        let factory = Arc::clone(&active.factory);
        return LoadedPolicy { active, tried: None, factory };
    };
    let kept = before.and_then(|before| {
        let tried = before.tried.as_ref()?;
        (tried.config == *config).then_some((before, tried))
    });
    let same = |one: &LoadedVersion, other: &LoadedVersion| Arc::ptr_eq(&one.factory, &other.factory);
    let (rollout, factory) = match kept {
        Some((before, tried)) if same(&before.active, &active) && same(&tried.version, &version) => {
            (Arc::clone(&tried.rollout), Arc::clone(&before.factory))
        }
        kept => {
            let rollout = match kept {
                Some((_, tried)) => {
                    tried.rollout.relabel(rollout::label(&active.config));
                    Arc::clone(&tried.rollout)
                }
                None => rollout::begin(&active.config, config),
            };
            let factory: Arc<dyn PolicyFactory> = rollout::factory(
                &active.factory,
                &version.factory,
                &rollout,
                &active.config,
                &version.config,
            );
            (rollout, factory)
        }
    };
    let tried = Some(LoadedCandidate { config: config.clone(), version, rollout });
    LoadedPolicy { active, tried, factory }
}

/// Compiles each component among `fresh` that the generation before did not have, once; those that fail are named by
/// every policy that wants them.
fn compile_missing(
    fresh: &[(PolicyConfig, BTreeMap<Name, Secret>)],
    sandbox: &Sandbox,
    components: &LoadedComponents,
    previous: Option<&Composed>,
) -> (Vec<CompiledPlugin>, Vec<RefusedPart>) {
    let known = |code: CodeId| {
        previous.is_some_and(|previous| previous.versions().any(|version| code_id(&version.config) == code))
    };
    let mut missing: BTreeMap<CodeId, &PolicyConfig> = BTreeMap::new();
    for (policy, _) in fresh.iter().filter(|(policy, _)| !known(code_id(policy))) {
        missing.entry(code_id(policy)).or_insert(policy);
    }
    let missing: Vec<&PolicyConfig> = missing.into_values().collect();
    let outcomes = in_parallel(&missing, |policy| compile(policy, sandbox, components));

    let (mut compiled, mut refused) = (Vec::new(), Vec::new());
    for (first, outcome) in missing.into_iter().zip(outcomes) {
        match outcome {
            Ok(plugin) => compiled.push(plugin),
            Err(reason) => {
                let users = fresh.iter().filter(|(policy, _)| code_id(policy) == code_id(first));
                refused.extend(users.map(|(policy, _)| RefusedPart::of_policy(policy, reason.clone())));
            }
        }
    }
    (compiled, refused)
}

fn compile(
    policy: &PolicyConfig,
    sandbox: &Sandbox,
    components: &LoadedComponents,
) -> Result<CompiledPlugin, String> {
    let bytes = components.get(&policy.digest).ok_or("its component was not read")?;
    let _notice = LongCompileNotice::begin(&policy.plugin.to_string());
    let compiled = sandbox.compile(bytes, policy.isolation).map_err(|error| chain_of(&error))?;
    Ok(CompiledPlugin {
        source: policy.plugin.to_string(),
        code: code_id(policy),
        component: compiled.component,
        took: compiled.took,
        cached: compiled.cached,
    })
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
