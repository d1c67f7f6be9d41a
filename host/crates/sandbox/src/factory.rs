//! A configured policy: what all its instances on all workers share.

use std::any::Any;
use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::rc::Rc;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Once, OnceLock};
use std::thread::available_parallelism;
use std::time::Duration;

use portcullis_model::{
    Capability, FailureMode, Grants, Isolation, Lock, Name, PolicyConfig, ResourceLimits, Secret, Version,
};
use portcullis_policy::{Hooks, Policy, PolicyFactory};

use crate::budget::thread_cpu_time;
use crate::capabilities::clock;
use crate::capabilities::crypto::{Keys, LeftOutKeys};
use crate::capabilities::log::LogWindow;
use crate::capabilities::matchers::Matchers;
use crate::component::{ImageSource, Linked};
use crate::fault::Failure;
use crate::instance::{ImageError, Instance, MakeError};
use crate::quarantine::PolicyQuarantine;
use crate::sandbox::Inner;
use crate::shared::{CallCount, InstanceCount, PolicyShared};
use crate::shares::Client;
use crate::tick::TickThread;
use crate::worker::Worker;
use crate::{ConfigureError, PolicyComponent, UnderWay};

/// A hook that may run longer than this runs on a fiber, so that it does not keep the worker's other exchanges waiting.
/// A fiber costs about as much again as the call itself, which a short hook need not pay. A shadow always runs on one: no
/// exchange gets anything for the time that it would wait.
const SYNC_DEADLINE_MAX: Duration = Duration::from_millis(10);

/// Where an instance takes longer than this to make, as those of JavaScript and Python do, one is made for each core while
/// the policy is configured: the workers would stop to make them one by one as it goes live.
const SPARE_AFTER: Duration = Duration::from_millis(5);

/// What instances of a policy are made of and may use.
pub(crate) struct PolicyContext {
    pub(crate) name: Name,
    /// Which of the policy's versions it is.
    pub(crate) version: Version,
    pub(crate) grants: Grants,
    /// Those that were granted, and no others.
    pub(crate) secrets: BTreeMap<Name, Secret>,
    pub(crate) limits: ResourceLimits,
    pub(crate) config_json: String,
    /// Made by its instances, mostly while they were configured, and valid in all of them.
    pub(crate) keys: Keys,
    /// The keys of key sets that could not be used.
    pub(crate) left_out: LeftOutKeys,
    pub(crate) matchers: Matchers,
    pub(crate) component: Arc<PolicyComponent>,
    pub(crate) isolation: Isolation,
    /// What instances start from, where each exchange has its own and the component can have an image.
    image: OnceLock<Linked>,
    pub(crate) shared: Arc<PolicyShared>,
    pub(crate) quarantine: PolicyQuarantine,
    /// Its own instances that are alive.
    pub(crate) instances: Arc<InstanceCount>,
    /// Its hook calls that are under way, where they wait or may run long.
    pub(crate) hook_calls: Arc<CallCount>,
    /// Its requests that are outstanding.
    pub(crate) http_calls: Arc<CallCount>,
    pub(crate) log_window: LogWindow,
    /// What is told of its faults has the bytes of its log once more.
    fault_window: LogWindow,
    pub(crate) sandbox: Arc<Inner>,
    /// Whether hooks run on fibers, because one of its imports waits or they may take long. Then nothing of it runs but on a
    /// fiber.
    pub(crate) yields: bool,
    /// Requests of its own that it was refused, because a shadow must have no effect.
    pub(crate) refused_requests: Arc<AtomicU64>,
}

impl PolicyContext {
    /// What instances start from. `None` where they are made of the component and configured.
    pub(crate) fn image(&self) -> Option<&Linked> {
        self.image.get()
    }

    /// What the instances that serve exchanges are made of.
    pub(crate) fn linked(&self) -> &Linked {
        self.image().unwrap_or(&self.component.linked)
    }

    /// An instance that nothing was done with since it was configured. It takes as long as `configure` does where there is
    /// no image.
    pub(crate) fn fresh_instance(self: &Arc<Self>, client: Option<Client>) -> Result<Instance, Failure> {
        match self.image() {
            Some(image) => Instance::start(self, image, client),
            None => Instance::make(self).map_err(MakeError::into_failure),
        }
    }

    /// What it has under way.
    pub(crate) fn under_way(&self) -> UnderWay {
        let asks = self.component.info.imports.contains(&Capability::HttpClient);
        UnderWay {
            version: self.version,
            hook_calls: self.hook_calls.under_way(),
            hook_calls_max: self.hook_calls.max(),
            http_calls: asks.then(|| self.http_calls.under_way()),
            http_calls_max: self.http_calls.max(),
        }
    }

    /// Makes the image of what `configured` has become.
    fn make_image(&self, source: &ImageSource, configured: Instance) -> Result<Linked, ImageError> {
        let image = configured.into_image(source)?;
        let compiled = self.sandbox.compile_image(source, &image);
        compiled.map_err(|error| ImageError::Impossible(format!("{error:#}")))
    }
}

/// A configured policy.
pub(crate) struct Factory {
    context: Arc<PolicyContext>,
    failure_mode: FailureMode,
    tick: Duration,
    /// The instance that `configure` was first called in, for the first worker; more where they are slow to make.
    spares: Lock<Vec<Instance>>,
    /// Runs once, when the policy goes live: its first worker is made.
    live: Once,
    ticking: Lock<Option<TickThread>>,
}

impl Factory {
    pub(crate) fn new(
        sandbox: &Arc<Inner>,
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
        let mut granted = BTreeMap::new();
        for name in &config.grants.secrets {
            let Some(secret) = secrets.get(name) else {
                return Err(ConfigureError::NoSecret { policy: policy.clone(), secret: name.clone() });
            };
            granted.insert(name.clone(), secret.clone());
        }
        let shared = sandbox.policies.get(&state_name(config));
        shared.provide(&config.grants);
        let waits = component.info.imports.contains(&Capability::HttpClient);
        let context = Arc::new(PolicyContext {
            name: policy.clone(),
            version: config.version,
            grants: config.grants.clone(),
            secrets: granted,
            limits: config.limits,
            config_json: config.config_json.clone(),
            keys: Keys::default(),
            left_out: LeftOutKeys::default(),
            matchers: Matchers::default(),
            component: component.clone(),
            isolation: config.isolation,
            image: OnceLock::new(),
            shared,
            // What a shadow does is counted and compared, each time.
            quarantine: PolicyQuarantine::new(
                config.quarantine.filter(|_| config.version != Version::Shadow),
                config.on_error,
            ),
            instances: Arc::new(InstanceCount::new(config.limits.instances.unwrap_or(u32::MAX))),
            hook_calls: Arc::new(CallCount::new(config.limits.hook_calls)),
            http_calls: Arc::new(CallCount::new(config.limits.http_calls)),
            log_window: LogWindow::new(config.limits.log_lines, config.limits.log_bytes),
            fault_window: LogWindow::new(u32::MAX, config.limits.log_bytes),
            sandbox: sandbox.clone(),
            yields: waits || config.limits.deadline > SYNC_DEADLINE_MAX || config.version == Version::Shadow,
            refused_requests: Arc::default(),
        });
        let start = thread_cpu_time();
        let failed =
            |Failure { kind, message }| ConfigureError::Failed { policy: policy.clone(), kind, message };
        let first = Instance::make(&context);
        context.left_out.log(policy);
        let first = first.map_err(|error| match error {
            MakeError::Refused(reason) => ConfigureError::Refused { policy: policy.clone(), reason },
            MakeError::Failed(failure) => failed(failure),
        })?;
        let mut spares = Vec::new();
        match config.isolation {
            Isolation::Exchange => {
                let image = match &component.image {
                    Ok(source) => context.make_image(source, first),
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

    /// The policy goes live: only now do its limits replace those of its forerunner, whose config may yet have stayed.
    fn go_live(&self) {
        // What a canary shares with the active version is as large as that one was granted, and what is told of the policy
        // is of the active one.
        if self.context.version != Version::Canary {
            self.context.shared.adjust(&self.context.grants);
        }
        self.context.shared.goes_live(&self.context);
        self.context.quarantine.goes_live(&self.context.shared, self.context.version);
        if self.context.component.info.hooks.tick {
            match TickThread::start(&self.context, self.tick) {
                Ok(thread) => *self.ticking.lock() = Some(thread),
                Err(error) => {
                    tracing::error!(policy = %self.context.name, "cannot start a thread for on-tick: {error}");
                }
            }
        }
    }
}

/// The name that buckets, store and metrics belong to. A canary has those of its policy, for a client must meet one limit
/// and not two; a shadow has its own, for it must have no effect. No policy can be called so.
fn state_name(config: &PolicyConfig) -> Name {
    match config.version {
        Version::Active | Version::Canary => config.name.clone(),
        Version::Shadow => format!("{}@shadow", config.name).into(),
    }
}

impl PolicyFactory for Factory {
    fn name(&self) -> &Name {
        &self.context.name
    }

    fn hooks(&self) -> Hooks {
        self.context.component.info.hooks
    }

    fn failure_mode(&self) -> FailureMode {
        self.failure_mode
    }

    fn body_bytes_max(&self) -> usize {
        self.context.limits.body_bytes
    }

    fn worker(self: Arc<Self>) -> Rc<dyn Policy> {
        self.live.call_once(|| self.go_live());
        let spare = self.spares.lock().pop();
        let context = self.context.clone();
        Rc::new(Worker::new(self, context, spare))
    }

    fn apart(self: Arc<Self>) -> Rc<dyn Policy> {
        let context = self.context.clone();
        Rc::new(Worker::new(self, context, None))
    }

    fn may_tell(&self, bytes: usize) -> bool {
        self.context.fault_window.admit(clock::monotonic().as_secs(), bytes).is_some()
    }

    fn refused_requests(&self) -> Option<Arc<AtomicU64>> {
        (self.context.version == Version::Shadow).then(|| self.context.refused_requests.clone())
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl std::fmt::Debug for Factory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Factory").field("policy", &self.context.name).finish_non_exhaustive()
    }
}
