//! Wiping an instance: it becomes again what it was when it started from its image, and serves another exchange.
//!
//! To start an instance is mostly to build what wasmtime has around its memory: tables of imports, references to
//! functions, a store. Nothing of that is the guest's, who can change its memory, its globals, its tables and the
//! handles that it has. So an image has something added (the crate `rewrite`): a second memory, which the guest's code
//! cannot name, with what is in the first one at the start, and functions that put its pages and the globals back.
//! Which pages were written, the kernel knows: they are its own copies, no longer those of the image.
//!
//! What has grown its memory or had a handle of WASI is not wiped but dropped; nor is an image wiped whose code could
//! change its tables, or whose memory is not all in one. Without Linux's `/proc/self/pagemap` nothing is.

#[cfg(test)]
mod tests;

use std::sync::OnceLock;
use std::sync::atomic::AtomicBool;

use portcullis_rewrite::wipe::{self as rewrite, NotWipeable, REGIONS, Wipeable};
use wasmtime::component::{
    Component, ComponentExportIndex, ComponentNamedList, Instance, Lift, Lower, TypedFunc, WasmList,
};
use wasmtime::{Result, Store, format_err};

pub(crate) use self::pages::PageMap;
use crate::instance::state::State;
use crate::run::block_on::block_on;

mod pages;

/// Bytes that a wipe may restore. If more were written, a new instance costs no more.
const RESTORED_BYTES_MAX: usize = 2 << 20;
/// What is restored once is restored each time from then on, whether it was written again or not. So an instance in
/// which one exchange wrote this much and far more than those before is dropped.
const RESTORED_BYTES_MUCH: usize = 256 << 10;

/// Whether instances of a component can be wiped; found out once for all its images, which have the same code.
#[derive(Debug, Default)]
pub(crate) struct WipeableCode(OnceLock<std::result::Result<(), NotWipeable>>);

impl WipeableCode {
    /// Adds to `image`, which is one of `component`, what wiping takes.
    ///
    /// # Errors
    /// What of it wiping would not undo.
    pub(crate) fn prepare(
        &self,
        component: &[u8],
        image: &[u8],
    ) -> std::result::Result<Wipeable, NotWipeable> {
        self.0.get_or_init(|| rewrite::check_code(component)).clone()?;
        rewrite::rewrite(image)
    }
}

/// The indices of what wiping needs in a component.
pub(crate) struct WipeIndices {
    memory: ComponentExportIndex,
    restore: ComponentExportIndex,
    resets: Vec<ComponentExportIndex>,
    /// Bytes of the second memory.
    pub(crate) kept_bytes: usize,
    /// Whether it went wrong once.
    pub(crate) failed: AtomicBool,
}

impl WipeIndices {
    /// Finds them in the component that `wipeable` was compiled to.
    pub(crate) fn of(component: &Component, wipeable: &Wipeable) -> Result<Self> {
        let find = |name: &str| {
            component.get_export_index(None, name).ok_or_else(|| format_err!("it has no export `{name}`"))
        };
        Ok(Self {
            memory: find(rewrite::MEMORY)?,
            restore: find(rewrite::RESTORE)?,
            resets: (0..wipeable.resets).map(|at| find(&rewrite::reset_name(at))).collect::<Result<_>>()?,
            kept_bytes: wipeable.memory_bytes,
            failed: AtomicBool::new(false),
        })
    }
}

/// So many places and lengths, as one call takes them.
type Regions = (u32, u32, u32, u32, u32, u32, u32, u32, u32, u32, u32, u32, u32, u32);
type Restore = TypedFunc<Regions, ()>;
type Reset = TypedFunc<(), ()>;

/// What wipes one instance.
pub(crate) struct Wiper {
    /// The address of its memory.
    address: usize,
    bytes: usize,
    restore: Restore,
    resets: Vec<Reset>,
    /// Places and lengths of what was written, kept for the next time.
    written: Vec<(u32, u32)>,
    /// Bytes that the first wipe restored.
    first: usize,
}

impl Wiper {
    /// Looks up what wipes `instance`.
    pub(crate) fn new(store: &mut Store<State>, instance: &Instance, indices: &WipeIndices) -> Result<Self> {
        let memory = instance.get_typed_func::<(), (WasmList<u8>,)>(&mut *store, indices.memory)?;
        let (list,) = call(store, memory, ())?;
        let memory = list.as_le_slice(&*store);
        let (address, bytes) = (memory.as_ptr().addr(), memory.len());
        if bytes != indices.kept_bytes {
            return Err(format_err!("its memory has {bytes} bytes and not {}", indices.kept_bytes));
        }
        Ok(Self {
            address,
            bytes,
            restore: instance.get_typed_func(&mut *store, indices.restore)?,
            resets: (indices.resets.iter())
                .map(|index| instance.get_typed_func(&mut *store, *index))
                .collect::<Result<_>>()?,
            written: Vec::new(),
            first: 0,
        })
    }

    /// Restores memory and globals. Returns `false` if more pages were written than restoring is worth; the caller then
    /// drops the instance.
    pub(crate) fn wipe(&mut self, store: &mut Store<State>, pages: &PageMap) -> Result<bool> {
        let written = &mut self.written;
        if !pages.written(self.address, self.bytes, RESTORED_BYTES_MAX, written)? {
            return Ok(false);
        }
        let bytes = written.iter().map(|(_, bytes)| *bytes as usize).sum();
        if self.first == 0 {
            self.first = bytes;
        }
        if bytes > RESTORED_BYTES_MUCH && bytes > 2 * self.first {
            return Ok(false);
        }
        // Once at least, whatever was written: the same call puts back the globals of the memory's module.
        let mut at = 0;
        loop {
            let mut regions = [0; 2 * REGIONS];
            for (pair, (place, bytes)) in regions.chunks_exact_mut(2).zip(written.iter().skip(at)) {
                pair.copy_from_slice(&[*place, *bytes]);
            }
            let [a, b, c, d, e, f, g, h, i, j, k, l, m, n] = regions;
            call(store, self.restore, (a, b, c, d, e, f, g, h, i, j, k, l, m, n))?;
            at += REGIONS;
            if at >= written.len() {
                break;
            }
        }
        for reset in &self.resets {
            call(store, *reset, ())?;
        }
        Ok(true)
    }
}

fn call<P, R>(store: &mut Store<State>, function: TypedFunc<P, R>, parameters: P) -> Result<R>
where
    P: ComponentNamedList + Lower,
    R: ComponentNamedList + Lift + 'static,
{
    if store.data().policy.yields {
        // If hooks run on fibers, everything runs on one.
        block_on(function.call_async(store, parameters))
    } else {
        function.call(store, parameters)
    }
}
