//! The two wasmtime engines: their settings, their pools and what each keeps on disk.
//!
//! One compiles components as they were shipped, and takes their code from a cache. The other compiles configured
//! images, whose memory holds what the operator configured, perhaps secrets: what it keeps is functions alone.

pub(crate) mod functions;
pub(crate) mod ticker;

#[cfg(test)]
mod tests;

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use wasmtime::{
    Cache, CacheConfig, Config, Enabled, Engine, InstanceAllocationStrategy, OptLevel,
    PoolingAllocationConfig, WasmBacktraceDetails,
};

use crate::SandboxError;
use crate::engine::functions::Functions;

/// Stack of a guest. Frames of CPython are deep; of others a tenth of this is plenty.
const STACK_BYTES: usize = 512 << 10;
/// Stack of a fiber: the guest's, and room for host functions.
const FIBER_STACK_BYTES: usize = STACK_BYTES + (512 << 10);
/// Fibers at once, over all policies and workers: each takes two of the mappings of which a process may have 65,530.
const FIBERS_MAX: u32 = 1000;
/// Tables of an instance stay resident up to this size when its slot is given back. Its memory does not: most instances
/// are wiped instead (`wipe.rs`), and which of its pages to zero wasmtime asks the kernel in a way (`PAGEMAP_SCAN`, for
/// pages that are present) that misses those in the swap space, which the slot's next instance would find as they were.
const TABLE_KEEP_RESIDENT_BYTES: usize = 64 << 10;

/// Instances that were wiped and wait for an exchange have places of their own, a fourth of those in use and at most so
/// many.
const SPARES_SHARE: u32 = 4;
const SPARES_MAX: u32 = 1000;

/// Memory up to this size is mapped from an image, whatever is in it; larger memories only if they are dense.
const IMAGE_BYTES_MAX: u64 = 64 << 20;

/// What a component may consist of. A Rust policy has three core instances, one memory and two tables.
pub(crate) const CORE_INSTANCES_MAX: u32 = 200;
pub(crate) const MEMORIES_MAX: u32 = 8;
pub(crate) const TABLES_MAX: u32 = 40;
/// Elements of one table: CPython has some 10,000.
pub(crate) const TABLE_ELEMENTS_MAX: usize = 64 << 10;

/// How instances get their memory, the best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Allocation {
    /// From a pool of slots of 4 GiB of address space each, so that guests need no bounds checks.
    WidePool,
    /// From a pool of slots of 256 MiB, if address space is limited (`ulimit -v`, a 39-bit kernel).
    NarrowPool,
    /// From the system when an instance is made, which takes longer.
    OnDemand,
}

/// The engines, each for up to `instances_max` instances at once.
pub(crate) struct Engines {
    /// For components as they were shipped.
    pub(crate) plain: Engine,
    /// For configured images.
    pub(crate) images: Engine,
    /// Where the code of shipped components is kept.
    pub(crate) cache: Option<Cache>,
    /// Where the functions of images are kept.
    pub(crate) functions: Arc<Functions>,
    /// Instances of images for which there is place beside those in use.
    pub(crate) spares_max: u32,
}

impl Engines {
    /// Returns engines that keep code in `cache_dir`, if there is one.
    pub(crate) fn new(instances_max: u32, cache_dir: Option<&Path>) -> Result<Self, SandboxError> {
        let (mut cache, mut functions) = (None, None);
        if let Some(dir) = cache_dir {
            // A folder for each in there: the cache removes what it does not know, and plugins out of registries lie
            // beside.
            private_dir(dir)?;
            cache = Some(open_cache(&dir.join("compiled"))?);
            functions = Some(private_dir(&dir.join("functions"))?);
        }
        let functions = Functions::new(functions);
        let plain = engine(instances_max, |config| {
            config.cache(cache.clone());
            Ok(())
        })?;
        let spares_max = (instances_max / SPARES_SHARE).min(SPARES_MAX);
        let images = engine(instances_max + spares_max, |config| {
            config.enable_incremental_compilation(functions.clone()).map(|_| ())
        })?;
        Ok(Self { plain, images, cache, functions, spares_max })
    }
}

fn engine(
    instances_max: u32,
    set: impl Fn(&mut Config) -> wasmtime::Result<()>,
) -> Result<Engine, SandboxError> {
    let mut refused = None;
    for allocation in [Allocation::WidePool, Allocation::NarrowPool, Allocation::OnDemand] {
        let mut config = config(allocation, instances_max);
        match set(&mut config).and_then(|()| Engine::new(&config)) {
            Ok(engine) => {
                if let Some(error) = refused {
                    let cost = match allocation {
                        Allocation::OnDemand => {
                            "making an instance takes longer, and hooks check bounds of memory"
                        }
                        Allocation::WidePool | Allocation::NarrowPool => "hooks check bounds of memory",
                    };
                    tracing::warn!(
                        ?allocation,
                        "the system grants less address space than the pool of policy instances asks for: {cost}. Raise the \
                         limit (`ulimit -v`, LimitAS= of a systemd unit), or lower `server.policy-instances-max` ({error:#})"
                    );
                }
                return Ok(engine);
            }
            Err(error) => refused = Some(error),
        }
    }
    Err(SandboxError::Engine(refused.map(|error| format!("{error:#}")).unwrap_or_default()))
}

fn config(allocation: Allocation, instances_max: u32) -> Config {
    let mut config = Config::new();
    config
        .cranelift_opt_level(OptLevel::Speed)
        .epoch_interruption(true)
        // Halves the cost of a call; WASI 0.3 is what it would be for.
        .concurrency_support(false)
        .wasm_backtrace_max_frames(NonZeroUsize::new(32))
        // File and line would mean to parse debug information that a stranger wrote, on the worker's thread.
        .wasm_backtrace_details(WasmBacktraceDetails::Disable)
        .memory_guaranteed_dense_image_size(IMAGE_BYTES_MAX)
        .max_wasm_stack(STACK_BYTES)
        .async_stack_size(FIBER_STACK_BYTES);
    let slot_bytes = match allocation {
        Allocation::WidePool => 4 << 30,
        Allocation::NarrowPool => 256 << 20,
        Allocation::OnDemand => {
            // Little address space for each memory, which moves as it grows.
            config
                .memory_reservation(1 << 20)
                .memory_reservation_for_growth(1 << 20)
                .memory_guard_size(64 << 10);
            return config;
        }
    };
    config.memory_reservation(slot_bytes);
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(instances_max)
        .total_core_instances(instances_max.saturating_mul(20))
        .total_memories(instances_max.saturating_mul(2))
        .total_tables(instances_max.saturating_mul(4))
        .total_stacks(instances_max.min(FIBERS_MAX))
        .max_memory_size(usize::try_from(slot_bytes).unwrap_or(usize::MAX))
        .max_core_instances_per_component(CORE_INSTANCES_MAX)
        .max_memories_per_component(MEMORIES_MAX)
        // The guest's, and in an image the one that keeps what is in it at first.
        .max_memories_per_module(2)
        .max_tables_per_component(TABLES_MAX)
        .max_tables_per_module(TABLES_MAX)
        .table_elements(TABLE_ELEMENTS_MAX)
        .linear_memory_keep_resident(0)
        .table_keep_resident(TABLE_KEEP_RESIDENT_BYTES)
        .pagemap_scan(Enabled::No);
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    config
}

/// Opens the folder, which only its owner may write: a file that is put there can run code as the gateway.
fn open_cache(dir: &Path) -> Result<Cache, SandboxError> {
    let mut config = CacheConfig::new();
    config.with_directory(private_dir(dir)?);
    Cache::new(config)
        .map_err(|error| SandboxError::CacheDir { path: dir.to_path_buf(), reason: format!("{error:#}") })
}

/// Returns the folder, which is made if it does not exist.
fn private_dir(dir: &Path) -> Result<PathBuf, SandboxError> {
    let fail = |reason: String| SandboxError::CacheDir { path: dir.to_path_buf(), reason };
    make_private(dir).map_err(|error| fail(error.to_string()))?;
    check_private(dir).map_err(fail)?;
    dir.canonicalize().map_err(|error| fail(error.to_string()))
}

#[cfg(unix)]
fn make_private(dir: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

#[cfg(unix)]
fn check_private(dir: &Path) -> Result<(), String> {
    use std::os::unix::fs::MetadataExt;
    let meta = std::fs::metadata(dir).map_err(|error| error.to_string())?;
    let owner = rustix::process::geteuid().as_raw();
    if meta.uid() != owner {
        return Err(format!(
            "it belongs to user {}, but the gateway runs as {owner}; name another folder",
            meta.uid()
        ));
    }
    if meta.mode() & 0o022 != 0 {
        return Err(format!(
            "others can write to it (mode {:o}); run `chmod 700` on it",
            meta.mode() & 0o777
        ));
    }
    Ok(())
}

#[cfg(not(unix))]
fn make_private(dir: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(dir)
}

/// The folder inherits the access list of the user's own folders.
#[cfg(not(unix))]
fn check_private(_: &Path) -> Result<(), String> {
    Ok(())
}
