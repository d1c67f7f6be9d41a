//! The sandbox as a whole: compiles components and configures them to policies.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use portcullis_model::{Isolation, Name, PolicyConfig, Secret};
use portcullis_policy::PolicyFactory;
use portcullis_policy::cache_purger::CachePurger;
use portcullis_policy::outbound::Outbound;
use wasmtime::Cache;
use wasmtime::component::Component;

use crate::component::ImageSource;
use crate::component::{image, weigh};
use crate::inject::Injector;
use crate::policy::factory::Factory;
use crate::runtime::Runtime;
use crate::{
    Compiled, ConfigureError, PolicyComponent, SandboxError, SandboxOptions, SandboxReport, inspect,
};

/// A core module with so much code is compiled apart from what `configure` left in it. Up to here compiling it again,
/// with what is known of its functions, takes some tens of milliseconds; and each exchange's instance is a little
/// dearer for it.
pub(crate) const SPLIT_FROM: usize = 1 << 20;

/// Compiles components and makes policies of them. Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct Sandbox(pub(crate) Arc<Runtime>);

impl Sandbox {
    /// Starts the engine and its ticker.
    ///
    /// # Errors
    /// When the folder for compiled code cannot be used or is not private, and when the engine does not run here.
    pub fn new(options: SandboxOptions) -> Result<Self, SandboxError> {
        Self::with(options, SPLIT_FROM, None)
    }

    /// The same; core modules with `split_from` bytes of code are compiled apart, and `injector` makes things fail.
    pub(crate) fn with(
        options: SandboxOptions,
        split_from: usize,
        injector: Option<Arc<dyn Injector>>,
    ) -> Result<Self, SandboxError> {
        Runtime::new(options, split_from, injector).map(|runtime| Self(Arc::new(runtime)))
    }

    /// Lets policies that are granted it send requests by `outbound`; without it they get the error `busy`. The first
    /// one that is given stays.
    pub fn send_by(&self, outbound: Arc<dyn Outbound>) {
        self.0.outbound.get_or_init(|| outbound);
    }

    /// Lets policies that are granted it purge caches by `purger`; without it they get an error. The first one that is
    /// given stays.
    pub fn purge_by(&self, purger: Arc<dyn CachePurger>) {
        self.0.purger.get_or_init(|| purger);
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

        let linked = self.0.link_plain(&compiled).map_err(|error| match info.other_contract() {
            Some(note) => SandboxError::Compile(format!("{note} ({error:#})")),
            None => compile_error(error),
        })?;
        let image = instrumented.map(|(component, _)| ImageSource::new(component));
        let direct = match isolation {
            Isolation::Worker => self.0.compile_direct(component, &linked).map_err(compile_error)?,
            Isolation::Exchange => None,
        };
        Ok(Compiled { component: Arc::new(PolicyComponent { info, linked, direct, image }), took, cached })
    }

    /// Compiles a component, and all of its images that is the same for every configuration: when it is compiled for a
    /// policy afterwards, by a sandbox with the same cache, that takes what is kept from there. No code of it runs.
    ///
    /// # Errors
    /// When the component cannot be compiled.
    pub fn rehearse(&self, component: &[u8], isolation: Isolation) -> Result<(), SandboxError> {
        let compiled = self.compile(component, isolation)?;
        let Ok(source) = &compiled.component.image else { return Ok(()) };
        let image = image::blank(&source.component);
        let compiled = image.and_then(|image| {
            self.0.compile_image(source, &image, false).map_err(|error| format!("{error:#}"))
        });
        if let Err(reason) = compiled {
            // Then an image of it will not be compiled either, and its instances be configured one by one.
            tracing::debug!("the image of a component cannot be compiled: {reason}");
        }
        Ok(())
    }

    fn cache_hits(&self) -> usize {
        self.0.engines.cache.as_ref().map_or(0, Cache::cache_hits)
    }

    /// Makes a policy: checks that all that the component imports is granted, makes an instance, and calls `configure`
    /// in it within `config.limits.configure_deadline`. Not for a worker's thread.
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
            instances: self.0.instances.taken(),
            instances_max: self.0.instances.max(),
            memory_bytes: self.0.memory.bytes(),
            memory_bytes_max: self.0.memory.max(),
            policies: self.0.policies.report(),
        }
    }
}

impl std::fmt::Debug for Sandbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sandbox").field("instances", &self.0.instances.taken()).finish_non_exhaustive()
    }
}
