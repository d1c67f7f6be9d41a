//! Components whose main module is called directly.
//!
//! A call into a component, or out of one, looks up its function again, keeps an account of borrowed handles, copies
//! text into strings of its own and checks it there once more: 0.3 to 0.4 us each, four times what the contract's
//! functions themselves take. Nearly every component is one core module and what links it (the crate `rewrite` finds
//! it, `single.rs`), so here that module is an instance by itself, and the host reads and writes its memory as the
//! Component Model says (`abi.rs`): handles are resolved once, and what a guest hands over is read where it lies.
//!
//! The engine is not asked to look at the time on each way back from the host, which it would do for every small thing
//! that a guest calls it for: host functions look when they are entered (`abi.rs`), and the module itself before each
//! instruction that may take long (`looks.rs` of the crate `rewrite`).
//!
//! A component of another form, one that calls a function that is not here, and one whose hooks run on fibers is called
//! by way of wasmtime's components. What a policy sees is the same.

mod abi;
mod contract;
mod define;
pub(crate) mod guest;
mod shapes;
mod types;
mod wasi;

use std::sync::atomic::AtomicBool;

use portcullis_policy::HookKind;
use portcullis_rewrite::single::{self, Imported, Single};
use portcullis_rewrite::wipe as rewrite;
use wasmtime::{Engine, Instance, InstancePre, Linker, Memory, Module, Result, Store, TypedFunc, ensure};
use wasmtime::{bail, format_err};

use self::guest::{Guest, Realloc};
use crate::component::wipe::{PageMap, Regions, ThreadMark, Written};
use crate::contract::PACKAGE;
use crate::instance::state::State;

/// A module that is called directly, linked.
pub(crate) struct DirectCode {
    pre: InstancePre<State>,
    hooks: [Option<ExportNames>; HookKind::COUNT],
    configure: Option<ExportNames>,
    realloc: Option<String>,
    memory: String,
    /// How its instances are wiped, if they are.
    pub(crate) wipe: Option<DirectWipe>,
}

/// A function of the module, and what is to be called when its result was read.
#[derive(Clone)]
struct ExportNames {
    function: String,
    post_return: Option<String>,
}

/// How instances of an image are wiped.
pub(crate) struct DirectWipe {
    /// Bytes of its memory.
    pub(crate) bytes: usize,
    /// Whether it went wrong once.
    pub(crate) failed: AtomicBool,
}

impl DirectCode {
    /// Links `module`, which `single` describes. Returns `None` if it imports what is not here.
    pub(crate) fn link(
        engine: &Engine,
        single: &Single,
        module: &Module,
        wipe: Option<DirectWipe>,
    ) -> Result<Option<Self>> {
        let mut linker = Linker::new(engine);
        if define_imports(&mut linker, single)?.is_some() {
            return Ok(None);
        }
        let names = |interface: &str, function: &str| {
            let mut exports = single.exports.iter();
            let (name, post_return) = exports.find(|(name, _)| is_export(name, interface, function))?;
            Some(ExportNames { function: name.clone(), post_return: post_return.clone() })
        };
        Ok(Some(Self {
            pre: linker.instantiate_pre(module)?,
            hooks: HookKind::ALL.map(|kind| names(kind.interface(), kind.name())),
            configure: names("lifecycle", "configure"),
            realloc: single.realloc.clone(),
            memory: single.memory.clone(),
            wipe,
        }))
    }

    /// Makes an instance.
    pub(crate) fn instantiate(&self, store: &mut Store<State>, bytes_max: usize) -> Result<DirectInstance> {
        let instance = self.pre.instantiate(&mut *store)?;
        self.instance(store, instance, bytes_max)
    }

    /// The same on a fiber.
    pub(crate) async fn instantiate_on_fiber(
        &self,
        store: &mut Store<State>,
        bytes_max: usize,
    ) -> Result<DirectInstance> {
        let instance = self.pre.instantiate_async(&mut *store).await?;
        self.instance(store, instance, bytes_max)
    }

    fn instance(
        &self,
        store: &mut Store<State>,
        instance: Instance,
        bytes_max: usize,
    ) -> Result<DirectInstance> {
        let memory = instance.get_memory(&mut *store, &self.memory);
        let memory = memory.ok_or_else(|| format_err!("it has no memory"))?;
        let realloc = match &self.realloc {
            Some(name) => Some(instance.get_typed_func(&mut *store, name)?),
            None => None,
        };
        let guest = Guest { memory, realloc, closed: false, bytes_max, scratch: Vec::new() };
        store.data_mut().guest = Some(Box::new(guest));
        Ok(DirectInstance {
            instance,
            memory,
            hooks: [const { None }; HookKind::COUNT],
            restore: None,
            written: Written::default(),
        })
    }
}

/// Defines what the module that `single` describes imports. Returns the first function that is not here.
fn define_imports(linker: &mut Linker<State>, single: &Single) -> Result<Option<String>> {
    for (from, name, imported) in &single.imports {
        let name = (from.as_str(), name.as_str());
        let (defined, interface, function) = match imported {
            Imported::Drop { interface, resource } if interface.starts_with("wasi:") => {
                wasi::drop_handle(linker, name)?;
                (true, interface, resource)
            }
            Imported::Drop { interface, resource } => (false, interface, resource),
            Imported::Function { interface, name: function } => {
                let unversioned = interface.split_once('@').map_or(interface.as_str(), |(name, _)| name);
                let defined = match unversioned.split_once('/') {
                    Some((PACKAGE, interface)) => contract::define(linker, name, interface, function)?,
                    _ => match unversioned.strip_prefix("wasi:") {
                        Some(interface) => wasi::define(linker, name, interface, function)?,
                        None => false,
                    },
                };
                (defined, interface, function)
            }
        };
        if !defined {
            return Ok(Some(format!("{interface}#{function}")));
        }
    }
    Ok(None)
}

/// Returns why hooks of `component` are called by way of wasmtime's components, if its main module has to be smaller
/// than `split_from`; `None` if they are called directly. Compiles nothing.
pub(crate) fn obstacle(component: &[u8], split_from: usize) -> Option<String> {
    let single = match single::single(component) {
        Ok(single) => single,
        Err(reason) => return Some(reason.to_string()),
    };
    if single.code_bytes >= split_from {
        return Some(format!(
            "it has {} bytes of code, beside which a call costs little, and is not compiled twice",
            single.code_bytes
        ));
    }
    match define_imports(&mut Linker::new(&Engine::default()), &single) {
        Ok(None) => None,
        Ok(Some(function)) => Some(format!("it calls `{function}`")),
        Err(error) => Some(format!("{error:#}")),
    }
}

/// Whether a module's export is that function of the contract: which version of it the name has, was looked at when the
/// component was inspected.
fn is_export(name: &str, interface: &str, function: &str) -> bool {
    let of_it = name.strip_prefix(PACKAGE).and_then(|rest| rest.strip_prefix('/')?.strip_prefix(interface));
    let version = of_it.and_then(|rest| rest.strip_prefix('@')?.strip_suffix(function)?.strip_suffix('#'));
    version.is_some()
}

/// An instance of a module.
pub(crate) struct DirectInstance {
    instance: Instance,
    memory: Memory,
    /// Those that were looked up.
    hooks: [Option<Export<()>>; HookKind::COUNT],
    restore: Option<TypedFunc<Regions, ()>>,
    /// What was written, between two wipes.
    written: Written,
}

/// A function of an instance, and what is to be called when its result was read.
struct Export<P> {
    function: TypedFunc<P, u32>,
    post_return: Option<TypedFunc<u32, ()>>,
}

impl DirectInstance {
    /// Calls `configure`, if the component has it.
    pub(crate) fn configure(
        &mut self,
        code: &DirectCode,
        store: &mut Store<State>,
        config: &str,
    ) -> Result<Option<std::result::Result<(), String>>> {
        let Some(names) = &code.configure else { return Ok(None) };
        let export = export::<(u32, u32)>(&self.instance, store, names)?;
        let at = self.hand(store, config)?;
        let result = export.function.call(&mut *store, (at, u32::try_from(config.len())?))?;
        returned(self.memory, store, result, export.post_return.as_ref()).map(Some)
    }

    /// The same on a fiber.
    pub(crate) async fn configure_on_fiber(
        &mut self,
        code: &DirectCode,
        store: &mut Store<State>,
        config: &str,
    ) -> Result<Option<std::result::Result<(), String>>> {
        let Some(names) = &code.configure else { return Ok(None) };
        let export = export::<(u32, u32)>(&self.instance, store, names)?;
        let at = self.hand(store, config)?;
        let result = export.function.call_async(&mut *store, (at, u32::try_from(config.len())?)).await?;
        returned(self.memory, store, result, export.post_return.as_ref()).map(Some)
    }

    /// Calls a hook.
    pub(crate) fn call(
        &mut self,
        code: &DirectCode,
        store: &mut Store<State>,
        kind: HookKind,
    ) -> Result<std::result::Result<(), String>> {
        let found = &mut self.hooks[kind as usize];
        if found.is_none() {
            let names = code.hooks[kind as usize].as_ref();
            // The chain calls only hooks that there are.
            let names = names.ok_or_else(|| format_err!("the component does not have this hook"))?;
            *found = Some(export(&self.instance, store, names)?);
        }
        let Some(Export { function, post_return }) = found else {
            bail!("the component does not have this hook")
        };
        let at = function.call(&mut *store, ())?;
        returned(self.memory, store, at, post_return.as_ref())
    }

    /// Its guest is about to run on a thread.
    pub(crate) fn runs_on(&mut self, thread: ThreadMark) {
        self.written.runs_on(thread);
    }

    /// Restores memory and globals: see `wipe.rs`. Returns `false` if more pages were written than restoring is worth.
    pub(crate) fn wipe(&mut self, store: &mut Store<State>, pages: &PageMap) -> Result<bool> {
        let (address, bytes) = (self.memory.data_ptr(&*store).addr(), self.memory.data_size(&*store));
        if !self.written.find(address, bytes, pages)? {
            return Ok(false);
        }
        if self.restore.is_none() {
            self.restore = Some(self.instance.get_typed_func(&mut *store, rewrite::CORE_RESTORE)?);
        }
        let Some(restore) = &self.restore else { return Ok(false) };
        self.written.calls().try_for_each(|regions| restore.call(&mut *store, regions))?;
        Ok(true)
    }

    /// Gives text to the guest, and returns where it is.
    fn hand(&self, store: &mut Store<State>, text: &str) -> Result<u32> {
        if text.is_empty() {
            return Ok(1);
        }
        let Some(realloc): Option<Realloc> = store.data().guest()?.realloc.clone() else {
            bail!("the guest takes nothing");
        };
        closed(store, true);
        let at = realloc.call(&mut *store, (0, 0, 1, u32::try_from(text.len())?));
        closed(store, false);
        let at = at?;
        let memory = self.memory.data_mut(&mut *store).get_mut(at as usize..);
        let place = memory.and_then(|rest| rest.get_mut(..text.len()));
        place
            .ok_or_else(|| format_err!("realloc return: beyond end of memory"))?
            .copy_from_slice(text.as_bytes());
        Ok(at)
    }
}

fn export<P: wasmtime::WasmParams>(
    instance: &Instance,
    store: &mut Store<State>,
    names: &ExportNames,
) -> Result<Export<P>> {
    Ok(Export {
        function: instance.get_typed_func(&mut *store, &names.function)?,
        post_return: match &names.post_return {
            Some(name) => Some(instance.get_typed_func(&mut *store, name)?),
            None => None,
        },
    })
}

/// Reads the `result<_, string>` that a function has returned the place of, and lets the guest release it.
fn returned(
    memory: Memory,
    store: &mut Store<State>,
    at: u32,
    post_return: Option<&TypedFunc<u32, ()>>,
) -> Result<std::result::Result<(), String>> {
    // Nothing may have looked since the last call of the host.
    store.data_mut().budget.check()?;
    ensure!(at.is_multiple_of(4), "return pointer not aligned");
    let bytes_max = store.data().guest()?.bytes_max;
    let bytes = memory.data(&*store);
    let value = bytes.get(at as usize..).and_then(|rest| rest.get(..12));
    let value = value.ok_or_else(|| format_err!("pointer out of bounds of memory"))?;
    let number = |bytes: &[u8]| bytes.try_into().map(u32::from_le_bytes).unwrap_or_default() as usize;
    let result = match value[0] {
        0 => Ok(()),
        1 => {
            let (place, length) = (number(&value[4..8]), number(&value[8..12]));
            if length > bytes_max {
                bail!("too much data is being copied; fuel allocated for hostcalls has been exhausted");
            }
            let text = bytes.get(place..).and_then(|rest| rest.get(..length));
            let text = text.ok_or_else(|| format_err!("string pointer/length out of bounds of memory"))?;
            Err(std::str::from_utf8(text)?.to_owned())
        }
        _ => bail!("invalid expected discriminant"),
    };
    if let Some(post_return) = post_return {
        closed(store, true);
        let released = post_return.call(&mut *store, at);
        closed(store, false);
        released?;
    }
    Ok(result)
}

/// Says whether the guest may call the host.
fn closed(store: &mut Store<State>, closed: bool) {
    if let Some(guest) = &mut store.data_mut().guest {
        guest.closed = closed;
    }
}
