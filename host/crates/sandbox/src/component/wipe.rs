//! Wiping an instance: it becomes again what it was when it started from its image, and serves another exchange.
//!
//! To start an instance is mostly to build what wasmtime has around its memory: tables of imports, references to
//! functions, a store. Nothing of that is the guest's, who can change its memory, its globals, its tables and the
//! handles that it has. So an image has something added (the crate `rewrite`): a second memory, which the guest's code
//! cannot name, with what is in the first one at the start, and functions that put its pages and the globals back.
//! Which pages were written, the kernel knows: they are its own copies, no longer those of the image. Its table of them
//! is read again only if the thread has had a page fault since (`faults.rs`).
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

use self::faults::Moment;
pub(crate) use self::faults::ThreadMark;
pub(crate) use self::pages::PageMap;
use crate::instance::state::State;
use crate::run::block_on::block_on;

mod faults;
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
        self.check(component)?;
        rewrite::rewrite(image)
    }

    /// Checks that no code of `component` does what wiping would not undo.
    ///
    /// # Errors
    /// What of it does.
    pub(crate) fn check(&self, component: &[u8]) -> std::result::Result<(), NotWipeable> {
        self.0.get_or_init(|| rewrite::check_code(component)).clone()
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
pub(crate) type Regions = (u32, u32, u32, u32, u32, u32, u32, u32, u32, u32, u32, u32, u32, u32);
type Restore = TypedFunc<Regions, ()>;
type Reset = TypedFunc<(), ()>;

/// What was written of the memory of one instance.
#[derive(Debug, Default)]
pub(crate) struct Written {
    /// Places and lengths, kept for the next time.
    regions: Vec<(u32, u32)>,
    /// The moment right before they were read, if they are all for as long as it lasts.
    known: Option<Moment>,
    /// Bytes that the first wipe restored.
    first: usize,
}

impl Written {
    /// Finds what was written of a memory at `address`. Returns `false` if that is more than restoring it is worth.
    pub(crate) fn find(&mut self, address: usize, bytes: usize, pages: &PageMap) -> Result<bool> {
        let now = pages.now();
        if now.is_some() && now == self.known {
            return Ok(true);
        }
        // What becomes written while the table is read is one fault more, by which the next time sees it.
        self.known = now;
        if !pages.written(address, bytes, RESTORED_BYTES_MAX, &mut self.regions)? {
            return Ok(false);
        }
        let written = self.regions.iter().map(|(_, bytes)| *bytes as usize).sum();
        if self.first == 0 {
            self.first = written;
        }
        Ok(written <= RESTORED_BYTES_MUCH || written <= 2 * self.first)
    }

    /// The guest of that memory is about to run on a thread. Only faults of the thread that has read what is written
    /// say what of that is new.
    pub(crate) fn runs_on(&mut self, thread: ThreadMark) {
        self.known = self.known.filter(|known| known.thread == thread);
    }

    /// Returns what restores it, call by call: one at least, whatever was written, because it puts back the globals
    /// too.
    pub(crate) fn calls(&self) -> impl Iterator<Item = Regions> {
        let calls = self.regions.len().div_ceil(REGIONS).max(1);
        (0..calls).map(|call| {
            let mut regions = [0; 2 * REGIONS];
            let written = self.regions.iter().skip(call * REGIONS);
            for (pair, (place, bytes)) in regions.chunks_exact_mut(2).zip(written) {
                pair.copy_from_slice(&[*place, *bytes]);
            }
            let [a, b, c, d, e, f, g, h, i, j, k, l, m, n] = regions;
            (a, b, c, d, e, f, g, h, i, j, k, l, m, n)
        })
    }
}

/// What wipes one instance of a component.
pub(crate) struct Wiper {
    /// The address of its memory.
    address: usize,
    bytes: usize,
    restore: Restore,
    resets: Vec<Reset>,
    pub(crate) written: Written,
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
            written: Written::default(),
        })
    }

    /// Restores memory and globals. Returns `false` if more pages were written than restoring is worth; the caller then
    /// drops the instance.
    pub(crate) fn wipe(&mut self, store: &mut Store<State>, pages: &PageMap) -> Result<bool> {
        if !self.written.find(self.address, self.bytes, pages)? {
            return Ok(false);
        }
        for regions in self.written.calls() {
            call(store, self.restore, regions)?;
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
