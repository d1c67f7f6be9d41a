//! The sandbox as a whole: compiles components and configures them to policies.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use portcullis_model::{Isolation, Lock, Name, PolicyConfig, Secret};
use portcullis_policy::PolicyFactory;
use portcullis_policy::outbound::Outbound;
use sha2::{Digest as _, Sha256};
use wasmtime::component::{Component, Linker};
use wasmtime::{Cache, Engine, Module};

use crate::component::{ImageSource, Linked};
use crate::engine::Engines;
use crate::factory::Factory;
use crate::hooks::HookIndices;
use crate::shared::{InstanceCount, MemoryTotal, SharedPolicies};
use crate::shares::Clients;
use crate::state::State;
use crate::ticker::TickerThread;
use crate::wipe::{PageMap, WipeIndices};
use crate::{
    Compiled, ConfigureError, PolicyComponent, SandboxError, SandboxReport, capabilities, host, image,
    inspect, split, wasi, weigh,
};

/// A core module with so much code is compiled apart from what `configure` left in it. Up to here compiling it again, with
/// what is known of its functions, takes some tens of milliseconds; and each exchange's instance is a little dearer for it.
const SPLIT_FROM: usize = 1 << 20;
/// Modules of one component that are kept: it has one or two, which are always the same.
const CODE_MODULES_MAX: usize = 16;

/// Compiles components whose code may take long or much memory, before the sandbox does: what it leaves in the cache, the sandbox
/// takes from there, and what it refuses is not compiled at all.
pub trait Compiler: std::fmt::Debug + Send + Sync {
    /// Compiles a component as [`Sandbox::rehearse`] does, within limits. Waits until it is done.
    ///
    /// # Errors
    /// When it cannot be compiled, or not within the limits.
    fn compile(&self, component: &[u8], isolation: Isolation) -> Result<(), SandboxError>;
}

/// How to make a [`Sandbox`].
#[derive(Debug, Clone)]
pub struct SandboxOptions {
    /// Where compiled code is kept from one start to the next; made with mode 0700 where it does not exist. `None` keeps
    /// nothing. Whoever can write there can run code as the gateway, so a folder that others can write is refused.
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

/// Compiles components and makes policies of them. Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct Sandbox(Arc<Inner>);

/// What policies need of the sandbox for as long as they live.
pub(crate) struct Inner {
    pub(crate) engines: Engines,
    /// For either engine.
    plain: Linker<State>,
    images: Linker<State>,
    /// One compilation at a time: each uses all cores, and only so do the cache's counters tell whose hit it was.
    compiling: Lock<()>,
    /// Compiles what may take long, one at a time.
    compiler: Option<Lock<Arc<dyn Compiler>>>,
    /// Bytes of code from which on a core module is compiled apart.
    split_from: usize,
    pub(crate) ticker: TickerThread,
    pub(crate) instances: Arc<InstanceCount>,
    /// Whose exchanges they are for, where it counts.
    pub(crate) clients: Arc<Clients>,
    /// Of instances that were wiped and wait for an exchange.
    pub(crate) spares: Arc<InstanceCount>,
    pub(crate) memory: Arc<MemoryTotal>,
    /// Tells what of an instance has to be wiped.
    pub(crate) pages: Option<PageMap>,
    pub(crate) policies: SharedPolicies,
    /// Who sends the requests of policies; nobody while it is empty.
    pub(crate) outbound: OnceLock<Arc<dyn Outbound>>,
}

impl Sandbox {
    /// Starts the engine and its ticker.
    ///
    /// # Errors
    /// When the folder for compiled code cannot be used or is not private, and when the engine does not run here.
    pub fn new(options: SandboxOptions) -> Result<Self, SandboxError> {
        Self::with(options, SPLIT_FROM)
    }

    /// The same; core modules with `split_from` bytes of code are compiled apart.
    pub(crate) fn with(options: SandboxOptions, split_from: usize) -> Result<Self, SandboxError> {
        let instances_max = options.instances_max.clamp(1, 100_000);
        let engines = Engines::new(instances_max, options.cache_dir.as_deref())?;
        let linker = |engine| linker(engine).map_err(|error| SandboxError::Engine(format!("{error:#}")));
        let (plain, images) = (linker(&engines.plain)?, linker(&engines.images)?);
        let ticked = vec![engines.plain.clone(), engines.images.clone()];
        let ticker = TickerThread::start(ticked).map_err(SandboxError::Thread)?;
        Ok(Self(Arc::new(Inner {
            plain,
            images,
            compiling: Lock::new(()),
            compiler: options.compiler.map(Lock::new),
            split_from,
            ticker,
            instances: Arc::new(InstanceCount::new(instances_max)),
            clients: Arc::default(),
            spares: Arc::new(InstanceCount::new(engines.spares_max)),
            pages: PageMap::open(),
            memory: Arc::new(MemoryTotal::new(options.memory_bytes_max)),
            policies: SharedPolicies::default(),
            outbound: OnceLock::new(),
            engines,
        })))
    }

    /// Lets policies that are granted it send requests by `outbound`; without, they are told that it is busy. The first
    /// one that is given stays.
    pub fn send_by(&self, outbound: Arc<dyn Outbound>) {
        self.0.outbound.get_or_init(|| outbound);
    }

    /// Compiles a component for policies of that isolation, or takes its code from the cache, and links it. Takes up to
    /// seconds for languages that bring a runtime along: not for a worker's thread.
    ///
    /// # Errors
    /// When the bytes are no component that this gateway can run: see [`inspect()`].
    pub fn compile(&self, component: &[u8], isolation: Isolation) -> Result<Compiled, SandboxError> {
        let info = inspect(component)?;
        if let Some(compiler) = self.0.compiler.as_ref().filter(|_| weigh::is_heavy(component)) {
            let compiler = compiler.lock();
            compiler.compile(component, isolation)?;
        }
        let instrumented = match isolation {
            Isolation::Exchange => image::instrument(component),
            Isolation::Worker => Err("its instances are shared".to_owned()),
        };
        let compiling = self.0.compiling.lock();
        let hits = self.cache_hits();
        let start = Instant::now();
        let compile_error = |error: wasmtime::Error| SandboxError::Compile(format!("{error:#}"));
        let code = instrumented.as_ref().map_or(component, |(_, code)| code);
        let compiled = Component::from_binary(&self.0.engines.plain, code).map_err(compile_error)?;
        let (took, cached) = (start.elapsed(), self.cache_hits() > hits);
        drop(compiling);

        let linked = link(&self.0.plain, &compiled).map_err(compile_error)?;
        let image = instrumented.map(|(component, _)| ImageSource::new(component));
        Ok(Compiled { component: Arc::new(PolicyComponent { info, linked, image }), took, cached })
    }

    /// Compiles a component, and all of its images that is the same for every configuration: when it is compiled for a policy
    /// afterwards, by a sandbox with the same cache, that takes what is kept from there. No code of it runs.
    ///
    /// # Errors
    /// When the component cannot be compiled.
    pub fn rehearse(&self, component: &[u8], isolation: Isolation) -> Result<(), SandboxError> {
        let compiled = self.compile(component, isolation)?;
        let Ok(source) = &compiled.component.image else { return Ok(()) };
        let image = image::blank(&source.component);
        let compiled = image
            .and_then(|image| self.0.compile_image(source, &image).map_err(|error| format!("{error:#}")));
        if let Err(reason) = compiled {
            // Then an image of it will not be compiled either, and its instances be configured one by one.
            tracing::debug!("the image of a component cannot be compiled: {reason}");
        }
        Ok(())
    }

    fn cache_hits(&self) -> usize {
        self.0.engines.cache.as_ref().map_or(0, Cache::cache_hits)
    }

    /// Makes a policy: checks that all that the component imports is granted, makes an instance, and calls `configure` in
    /// it within `config.limits.configure_deadline`. Not for a worker's thread.
    ///
    /// Rate-limit buckets, store and metrics belong to the policy's name: a policy that is configured while another of
    /// the same name is alive goes on with them.
    ///
    /// # Errors
    /// When a capability was not granted, when a granted secret is not in `secrets`, and when the policy refuses its
    /// configuration or fails.
    pub fn configure(
        &self,
        component: &Arc<PolicyComponent>,
        config: &PolicyConfig,
        secrets: &BTreeMap<Name, Secret>,
    ) -> Result<Arc<dyn PolicyFactory>, ConfigureError> {
        Ok(Factory::new(&self.0, component, config, secrets)?)
    }

    /// What the policies that are alive have counted.
    #[must_use]
    pub fn metrics(&self) -> SandboxReport {
        SandboxReport {
            instances: self.0.instances.alive(),
            instances_max: self.0.instances.max(),
            memory_bytes: self.0.memory.bytes(),
            memory_bytes_max: self.0.memory.max(),
            policies: self.0.policies.report(),
        }
    }
}

#[cfg(test)]
impl Sandbox {
    /// The rate-limit buckets of the policies of that name.
    pub(crate) fn buckets(&self, policy: &Name) -> Option<Arc<portcullis_traffic::RateLimiter>> {
        self.0.policies.get(policy).buckets.table()
    }

    /// Instances that were wiped and wait for an exchange.
    pub(crate) fn spares(&self) -> u32 {
        self.0.spares.alive()
    }

    /// The same component, linked once more.
    pub(crate) fn link_again(&self, component: &PolicyComponent) -> Arc<PolicyComponent> {
        let PolicyComponent { info, linked, image: source } = component;
        let linked = link(&self.0.plain, linked.pre.component()).expect("it was linked before");
        let instrument = |source: &ImageSource| image::instrument(source.component.borrow_owner());
        let image = source.as_ref().map_err(Clone::clone).and_then(instrument);
        let image = image.map(|(component, _)| ImageSource::new(component));
        Arc::new(PolicyComponent { info: info.clone(), linked, image })
    }
}

impl Inner {
    /// Compiles a configured image of `source`: of its code only what the image of another configuration did not have as
    /// well. What it holds is never written anywhere: see `functions.rs`.
    pub(crate) fn compile_image(&self, source: &ImageSource, image: &[u8]) -> wasmtime::Result<Linked> {
        let _compiling = self.compiling.lock();
        if self.pages.is_none() {
            return self.compile_parts(source, image);
        }
        let wipeable = match source.wipeable.prepare(source.component.borrow_owner(), image) {
            Ok(wipeable) => wipeable,
            Err(odd) => {
                tracing::debug!("instances of a component are not wiped but dropped: {odd}");
                return self.compile_parts(source, image);
            }
        };
        let mut linked = self.compile_parts(source, &wipeable.component)?;
        linked.wipe = Some(WipeIndices::of(linked.pre.component(), &wipeable)?);
        Ok(linked)
    }

    fn compile_parts(&self, source: &ImageSource, image: &[u8]) -> wasmtime::Result<Linked> {
        let Engines { images, functions, .. } = &self.engines;
        let split = match split::split(image, self.split_from) {
            Ok(split) => split,
            Err(whole) => {
                tracing::debug!("the image of a component is compiled whole: {whole}");
                let compile = || Component::from_binary(images, image);
                return link(&self.images, &functions.with(&source.digest, compile)?);
            }
        };
        let mut linker = self.images.clone();
        for (name, code) in &split.code {
            linker.root().module(name, &self.code_module(source, code)?)?;
        }
        let compile = || Component::from_binary(images, &split.component);
        link(&linker, &functions.with(&source.digest, compile)?)
    }

    /// A part of all images of `source`, compiled when the first of them is.
    fn code_module(&self, source: &ImageSource, code: &[u8]) -> wasmtime::Result<Module> {
        let digest = Sha256::digest(code).into();
        let mut known = source.code.lock();
        if let Some(module) = known.get(&digest) {
            return Ok(module.clone());
        }
        let Engines { images, functions, .. } = &self.engines;
        let module = functions.with(&digest, || Module::from_binary(images, code))?;
        if known.len() >= CODE_MODULES_MAX {
            known.clear();
        }
        known.insert(digest, module.clone());
        Ok(module)
    }
}

fn linker(engine: &Engine) -> wasmtime::Result<Linker<State>> {
    let mut linker = Linker::new(engine);
    host::link(&mut linker)?;
    capabilities::link(&mut linker)?;
    Ok(linker)
}

fn link(linker: &Linker<State>, component: &Component) -> wasmtime::Result<Linked> {
    let mut linker = linker.clone();
    wasi::link(&mut linker, component)?;
    #[cfg(test)]
    crate::tests::injected::link(&mut linker, component)?;
    Ok(Linked { pre: linker.instantiate_pre(component)?, indices: HookIndices::of(component)?, wipe: None })
}

impl std::fmt::Debug for Sandbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sandbox").field("instances", &self.0.instances.alive()).finish_non_exhaustive()
    }
}
