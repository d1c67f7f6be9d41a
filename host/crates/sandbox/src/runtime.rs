//! The engines with their linkers and ticker, and what is counted over all policies. Compiles configured images.

use portcullis_model::Lock;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};

use portcullis_policy::cache_purger::CachePurger;
use portcullis_policy::outbound::Outbound;
use portcullis_rewrite::looks::with_looks;
use portcullis_rewrite::single::{Single, single};
use portcullis_rewrite::split::split;
use portcullis_rewrite::wipe::{self, NotWipeable};
use portcullis_traffic::Permits;
use sha2::{Digest as _, Sha256};
use wasmtime::component::{Component, Linker};
use wasmtime::{Engine, Module};

use crate::component::hooks::{HookIndices, have_types};
use crate::component::wipe::{PageMap, WipeIndices};
use crate::component::{Image, ImageSource, Linked};
use crate::direct::{DirectCode, DirectWipe};
use crate::engine::Engines;
use crate::engine::ticker::TickerThread;
use crate::error::SandboxError;
use crate::inject::Injector;
use crate::instance::memory::MemoryTotal;
use crate::instance::state::State;
use crate::options::{Compiler, SandboxOptions};
use crate::policy::shared::SharedPolicies;
use crate::policy::shares::Clients;
use crate::{host, wasi};

/// Modules of one component that are kept: it has one or two, which are always the same.
const CODE_MODULES_MAX: usize = 16;

/// The engines with all that policies need of the sandbox for as long as they live.
pub(crate) struct Runtime {
    pub(crate) engines: Engines,
    /// For either engine.
    pub(crate) plain: Linker<State>,
    images: Linker<State>,
    /// One compilation at a time: each uses all cores, and only then do the cache's counters show whose hit it was.
    pub(crate) compiling: Lock<()>,
    /// Compiles what may take long, one at a time.
    pub(crate) compiler: Option<Lock<Arc<dyn Compiler>>>,
    /// Bytes of code from which on a core module is compiled apart.
    split_from: usize,
    pub(crate) ticker: TickerThread,
    pub(crate) instances: Permits,
    /// The clients whose exchanges they are for, once clients are counted.
    pub(crate) clients: Arc<Clients>,
    /// Of instances that were wiped and wait for an exchange.
    pub(crate) spares: Permits,
    pub(crate) memory: Arc<MemoryTotal>,
    /// Tells what of an instance has to be wiped.
    pub(crate) pages: Option<PageMap>,
    pub(crate) policies: SharedPolicies,
    /// What sends the requests of policies; empty until the gateway has it.
    pub(crate) outbound: Arc<OnceLock<Arc<dyn Outbound>>>,
    /// What carries out the purges of policies; empty until the gateway has it.
    pub(crate) purger: Arc<OnceLock<Arc<dyn CachePurger>>>,
    /// Makes things fail in tests.
    pub(crate) injector: Option<Arc<dyn Injector>>,
}

impl Runtime {
    /// Starts the engines and their ticker. Core modules with `split_from` bytes of code are compiled apart.
    ///
    /// # Errors
    /// See [`Sandbox::new`](crate::Sandbox::new).
    pub(crate) fn new(
        options: SandboxOptions,
        split_from: usize,
        injector: Option<Arc<dyn Injector>>,
    ) -> Result<Self, SandboxError> {
        let instances_max = options.instances_max.clamp(1, 100_000);
        let engines = Engines::new(instances_max, options.cache_dir.as_deref())?;
        let linker = |engine| linker(engine).map_err(|error| SandboxError::Engine(format!("{error:#}")));
        let (plain, images) = (linker(&engines.plain)?, linker(&engines.images)?);
        let ticked = vec![engines.plain.clone(), engines.images.clone()];
        let ticker = TickerThread::start(ticked).map_err(SandboxError::Thread)?;
        Ok(Self {
            plain,
            images,
            compiling: Lock::new(()),
            compiler: options.compiler.map(Lock::new),
            split_from,
            ticker,
            instances: Permits::new(instances_max),
            clients: Arc::default(),
            spares: Permits::new(engines.spares_max),
            pages: PageMap::open(),
            memory: Arc::new(MemoryTotal::new(options.memory_bytes_max)),
            policies: SharedPolicies::default(),
            outbound: Arc::default(),
            purger: Arc::default(),
            injector,
            engines,
        })
    }

    /// Links a component as it was shipped.
    pub(crate) fn link_plain(&self, component: &Component) -> wasmtime::Result<Linked> {
        self.link(&self.plain, component)
    }

    fn link(&self, linker: &Linker<State>, component: &Component) -> wasmtime::Result<Linked> {
        let mut linker = linker.clone();
        wasi::link(&mut linker, component)?;
        if let Some(injector) = &self.injector {
            injector.link(&mut linker, component)?;
        }
        Ok(Linked {
            pre: linker.instantiate_pre(component)?,
            indices: HookIndices::of(component)?,
            wipe: None,
        })
    }

    /// Compiles a configured image of `source`: of its code only what the image of another configuration did not have
    /// as well. What it holds is never written anywhere: see `functions.rs`. `on_fibers` says that its hooks will run
    /// on fibers.
    pub(crate) fn compile_image(
        &self,
        source: &ImageSource,
        image: &[u8],
        on_fibers: bool,
    ) -> wasmtime::Result<Image> {
        let _compiling = self.compiling.lock();
        if !on_fibers && let Some(direct) = self.compile_direct_image(source, image)? {
            return Ok(Image::Direct(direct));
        }
        self.compile_linked_image(source, image).map(Image::Linked)
    }

    /// Compiles the main module of a component as it was shipped, if it can be called directly.
    pub(crate) fn compile_direct(
        &self,
        component: &[u8],
        linked: &Linked,
    ) -> wasmtime::Result<Option<DirectCode>> {
        // Of other types the component itself tells, when it is configured.
        let Some((single, module)) = self.single(component).filter(|_| have_types(linked.pre.component()))
        else {
            return Ok(None);
        };
        let _compiling = self.compiling.lock();
        let engine = &self.engines.plain;
        let compiled = Module::from_binary(engine, &with_looks(module)?)?;
        DirectCode::link(engine, &single, &compiled, None)
    }

    fn compile_direct_image(
        &self,
        source: &ImageSource,
        image: &[u8],
    ) -> wasmtime::Result<Option<DirectCode>> {
        let Some((single, module)) = self.single(image) else { return Ok(None) };
        let module = &*with_looks(module)?;
        let wipeable = match (&self.pages, source.wipeable.check(source.component.borrow_owner())) {
            (Some(_), Ok(())) => wipe::rewrite_module(module),
            (None, _) => Err(NotWipeable::Unsuitable("the system does not say what was written")),
            (_, Err(reason)) => Err(reason),
        };
        let wipeable = wipeable.inspect_err(|reason| {
            tracing::debug!("instances of a component are not wiped but dropped: {reason}");
        });
        let Engines { images, functions, .. } = &self.engines;
        let compile = |module: &[u8]| functions.with(&source.digest, || Module::from_binary(images, module));
        match wipeable {
            Ok((module, bytes)) => {
                let wipe = DirectWipe { bytes, failed: AtomicBool::new(false) };
                DirectCode::link(images, &single, &compile(&module)?, Some(wipe))
            }
            Err(_) => DirectCode::link(images, &single, &compile(module)?, None),
        }
    }

    /// Returns the main module of a component that can be called directly. Not one with much code, such as an engine of
    /// another language: to compile it once more takes long, and beside what it does a call costs little. None in tests
    /// that have calls of components fail.
    fn single<'a>(&self, component: &'a [u8]) -> Option<(Single, &'a [u8])> {
        if self.injector.is_some() {
            return None;
        }
        match single(component) {
            Ok(single) if single.code_bytes < self.split_from => {
                let module = component.get(single.module.clone())?;
                Some((single, module))
            }
            Ok(_) => None,
            Err(reason) => {
                tracing::debug!("a component is not called directly: {reason}");
                None
            }
        }
    }

    fn compile_linked_image(&self, source: &ImageSource, image: &[u8]) -> wasmtime::Result<Linked> {
        if self.pages.is_none() {
            return self.compile_parts(source, image);
        }
        let wipeable = match source.wipeable.prepare(source.component.borrow_owner(), image) {
            Ok(wipeable) => wipeable,
            Err(reason) => {
                tracing::debug!("instances of a component are not wiped but dropped: {reason}");
                return self.compile_parts(source, image);
            }
        };
        let wiped = self.compile_parts(source, &wipeable.component).and_then(|mut linked| {
            linked.wipe = Some(WipeIndices::of(linked.pre.component(), &wipeable)?);
            Ok(linked)
        });
        wiped.or_else(|error| {
            // What was added clashes with something that is there already, such as an export of the same name.
            tracing::debug!("instances of a component are not wiped but dropped: {error:#}");
            self.compile_parts(source, image)
        })
    }

    fn compile_parts(&self, source: &ImageSource, image: &[u8]) -> wasmtime::Result<Linked> {
        let Engines { images, functions, .. } = &self.engines;
        let split = match split(image, self.split_from) {
            Ok(split) => split,
            Err(whole) => {
                tracing::debug!("the image of a component is compiled whole: {whole}");
                let compile = || Component::from_binary(images, image);
                return self.link(&self.images, &functions.with(&source.digest, compile)?);
            }
        };
        let mut linker = self.images.clone();
        for (name, code) in &split.code {
            linker.root().module(name, &self.code_module(source, code)?)?;
        }
        let compile = || Component::from_binary(images, &split.component);
        self.link(&linker, &functions.with(&source.digest, compile)?)
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
    Ok(linker)
}
