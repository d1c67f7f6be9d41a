//! Makes configured policies, and what workers need of one.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::rc::Rc;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Once, OnceLock};
use std::thread::available_parallelism;
use std::time::Duration;

use portcullis_model::{FailureMode, Isolation, Lock, Name, PolicyConfig, Secret, Version};
use portcullis_policy::{HookKind, Hooks, Policy, PolicyFactory};
use portcullis_services::clock;
use portcullis_services::cpu_time::thread_cpu_time;
use portcullis_services::crypto::{Keys, LeftOutKeys};
use portcullis_services::log_window::LogWindow;
use portcullis_services::matchers::Matchers;
use portcullis_traffic::Permits;

use crate::instance::fault::Failure;
use crate::instance::{ImageError, Instance, MakeError};
use crate::policy::context::PolicyContext;
use crate::policy::places::HookCalls;
use crate::policy::policy_services::PolicyServices;
use crate::policy::quarantine::PolicyQuarantine;
use crate::policy::shared::Live;
use crate::run::tick::TickThread;
use crate::run::worker::Worker;
use crate::runtime::Runtime;
use crate::{ConfigureError, PolicyComponent};

/// A hook that may run longer than this runs on a fiber, so that it does not keep the worker's other exchanges waiting.
/// A fiber costs about as much again as the call itself, which a short hook need not pay. A shadow always runs on one:
/// no exchange gets anything for the time that it would wait.
const SYNC_DEADLINE_MAX: Duration = Duration::from_millis(10);

/// If an instance takes longer than this to make, as those of JavaScript and Python do, one is made for each core while
/// the policy is configured: the workers would stop to make them one by one as it goes live.
const SPARE_AFTER: Duration = Duration::from_millis(5);

/// Returns the secrets that a policy is granted.
///
/// # Errors
/// If there is no such secret.
fn granted_secrets(
    config: &PolicyConfig,
    secrets: &BTreeMap<Name, Secret>,
) -> Result<BTreeMap<Name, Secret>, ConfigureError> {
    let missing =
        |name: &Name| ConfigureError::NoSecret { policy: config.name.clone(), secret: name.clone() };
    let granted = |name: &Name| Ok((name.clone(), secrets.get(name).ok_or_else(|| missing(name))?.clone()));
    config.grants.secrets.iter().map(granted).collect()
}

/// A configured policy.
pub(crate) struct Factory {
    context: Arc<PolicyContext>,
    failure_mode: FailureMode,
    tick: Duration,
    /// The instance that `configure` was first called in, for the first worker; more if they are slow to make.
    spares: Lock<Vec<Instance>>,
    /// Runs once, when the policy goes live: its first worker is made.
    live: Once,
    ticking: Lock<Option<TickThread>>,
}

impl Factory {
    pub(crate) fn new(
        sandbox: &Arc<Runtime>,
        component: &Arc<PolicyComponent>,
        config: &PolicyConfig,
        secrets: &BTreeMap<Name, Secret>,
    ) -> Result<Arc<Self>, ConfigureError> {
        let policy = &config.name;
        for capability in &component.info.imports {
            if !config.grants.allows(*capability) {
                let (policy, hint) = (policy.clone(), capability.grant_example());
                return Err(ConfigureError::NotGranted { policy, capability: capability.name(), hint });
            }
        }
        let granted = granted_secrets(config, secrets)?;
        let shared = sandbox.policies.get(&state_name(config));
        shared.provide(&config.grants);
        let waits = component.info.imports.iter().any(|capability| capability.waits());
        let policy_services = Arc::new(PolicyServices {
            name: policy.clone(),
            version: config.version,
            grants: config.grants.clone(),
            secrets: granted,
            limits: config.limits,
            yields: waits || config.limits.deadline > SYNC_DEADLINE_MAX || config.version == Version::Shadow,
            keys: Keys::default(),
            left_out: LeftOutKeys::default(),
            matchers: Matchers::default(),
            shared,
            http_calls: Permits::new(config.limits.http_calls),
            refused_requests: Arc::default(),
            outbound: sandbox.outbound.clone(),
            purge_window: purge_window(config),
            purger: sandbox.purger.clone(),
            log_window: LogWindow::new(config.limits.log_lines, config.limits.log_bytes),
        });
        let context = Arc::new(PolicyContext {
            policy: policy_services,
            component: component.clone(),
            config_json: config.config_json.clone(),
            isolation: config.isolation,
            image: OnceLock::new(),
            // What a shadow does is counted and compared, each time.
            quarantine: PolicyQuarantine::new(
                config.quarantine.filter(|_| config.version != Version::Shadow),
                config.on_error,
            ),
            instances: Permits::new(config.limits.instances.unwrap_or(u32::MAX)),
            hook_calls: HookCalls::new(config.limits.hook_calls),
            fault_window: LogWindow::new(u32::MAX, config.limits.log_bytes),
            sandbox: sandbox.clone(),
        });
        let start = thread_cpu_time();
        let failed =
            |Failure { kind, message }| ConfigureError::Failed { policy: policy.clone(), kind, message };
        let first = Instance::make(&context);
        context.policy.left_out.log(policy);
        let first = first.map_err(|error| match error {
            MakeError::Refused(reason) => ConfigureError::Refused { policy: policy.clone(), reason },
            MakeError::Failed(failure) => failed(failure),
        })?;
        let mut spares = Vec::new();
        match config.isolation {
            Isolation::Exchange => {
                let image = match &component.image {
                    Ok(source) => first.into_linked_image(source),
                    Err(reason) => Err(ImageError::Impossible(reason.clone())),
                };
                match image {
                    Ok(image) => drop(context.image.set(image)),
                    Err(ImageError::Failed(failure)) => return Err(failed(failure)),
                    Err(ImageError::Impossible(reason)) => tracing::warn!(
                        %policy,
                        "its instances cannot start from a configured image, so each exchange runs `configure` anew, which \
                         is slow: {reason}"
                    ),
                }
            }
            Isolation::Worker => {
                spares.push(first);
                if thread_cpu_time().saturating_sub(start) > SPARE_AFTER {
                    let cores = available_parallelism().map_or(1, NonZeroUsize::get);
                    // A worker that finds none makes its own, and sees the error then.
                    spares.extend((1..cores).map_while(|_| Instance::make(&context).ok()));
                }
            }
        }
        Ok(Arc::new(Self {
            context,
            failure_mode: config.on_error,
            tick: config.tick,
            spares: Lock::new(spares),
            live: Once::new(),
            ticking: Lock::new(None),
        }))
    }

    /// The policy goes live: only now do its limits replace those of its predecessor, whose config may yet have stayed.
    fn go_live(&self) {
        // What a canary shares with the active version is as large as that one was granted, and reports about the
        // policy are about the active one.
        if self.context.policy.version != Version::Canary {
            self.context.policy.shared.adjust(&self.context.policy.grants);
        }
        let live: Arc<dyn Live> = self.context.clone();
        self.context.policy.shared.goes_live(Arc::downgrade(&live), self.context.policy.version);
        self.context.quarantine.goes_live(&self.context.policy.shared, self.context.policy.version);
        if self.context.component.info.hooks.has(HookKind::Tick) {
            match TickThread::start(&self.context, self.tick) {
                Ok(thread) => *self.ticking.lock() = Some(thread),
                Err(error) => {
                    tracing::error!(policy = %self.context.policy.name, "cannot start a thread for on-tick: {error}");
                }
            }
        }
    }
}

/// Counts the purges of a policy in the current second, as the lines of a log are counted.
fn purge_window(config: &PolicyConfig) -> LogWindow {
    LogWindow::new(config.grants.cache_purge.as_ref().map_or(0, |grant| grant.per_second), u32::MAX)
}

/// The name that buckets, store and metrics belong to. A canary has those of its policy, for a client must meet one
/// limit and not two; a shadow has its own, for it must have no effect. No policy can be called so.
fn state_name(config: &PolicyConfig) -> Name {
    match config.version {
        Version::Active | Version::Canary => config.name.clone(),
        Version::Shadow => format!("{}@shadow", config.name).into(),
    }
}

impl PolicyFactory for Factory {
    fn name(&self) -> &Name {
        &self.context.policy.name
    }

    fn hooks(&self) -> Hooks {
        self.context.component.info.hooks
    }

    fn failure_mode(&self) -> FailureMode {
        self.failure_mode
    }

    fn informs_cache(&self) -> bool {
        self.context.component.info.informs_cache
    }

    fn body_bytes_max(&self) -> usize {
        self.context.policy.limits.body_bytes
    }

    fn worker(self: Arc<Self>) -> Rc<dyn Policy> {
        self.live.call_once(|| self.go_live());
        let spare = self.spares.lock().pop();
        let context = self.context.clone();
        Rc::new(Worker::new(self, context, spare))
    }

    fn detached(self: Arc<Self>) -> Rc<dyn Policy> {
        let context = self.context.clone();
        Rc::new(Worker::new(self, context, None))
    }

    fn may_log(&self, bytes: usize) -> bool {
        self.context.fault_window.admit(clock::monotonic().as_secs(), bytes).is_some()
    }

    fn refused_requests(&self) -> Option<Arc<AtomicU64>> {
        (self.context.policy.version == Version::Shadow).then(|| self.context.policy.refused_requests.clone())
    }
}

impl std::fmt::Debug for Factory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Factory").field("policy", &self.context.policy.name).finish_non_exhaustive()
    }
}
