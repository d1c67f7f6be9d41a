//! A virtual WASI 0.2 for language runtimes: no files, no environment, no arguments, no sockets, no HTTP.
//!
//! What a runtime needs to start and to fail is answered: empty lists, closed input, output that goes to the log,
//! random numbers, and clocks that move in steps of a millisecond (so that they are no fine timer for a policy without
//! the grant `clock`). Every other function of WASI exists and traps with its name. There is no table of resources and
//! no state but two line buffers, so an instance costs nothing for having it.

pub(crate) mod functions;
mod stdio;

use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, Linker, LinkerInstance};
use wasmtime::{Result, bail};

use crate::instance::fault::readable;
use crate::instance::state::State;

/// Defines every function of WASI that `component` imports, under the version that it names.
pub(crate) fn link(linker: &mut Linker<State>, component: &Component) -> Result<()> {
    let engine = linker.engine().clone();
    for (name, import) in component.component_type().imports(&engine) {
        let Some(interface) = name.strip_prefix("wasi:") else { continue };
        let ComponentItem::ComponentInstance(items) = import.ty else {
            bail!("`{name}` is imported as something other than an interface");
        };
        let interface = interface.split_once('@').map_or(interface, |(interface, _)| interface);
        let mut instance = linker.instance(name)?;
        for (item, export) in items.exports(&engine) {
            match export.ty {
                ComponentItem::ComponentFunc(_) => link_function(&mut instance, interface, item)?,
                ComponentItem::Resource(_) => functions::resource(&mut instance, item)?,
                ComponentItem::Type(_) => {}
                _ => bail!("`{name}` has an item `{item}` that is neither function nor type"),
            }
        }
    }
    Ok(())
}

fn link_function(instance: &mut LinkerInstance<'_, State>, interface: &str, function: &str) -> Result<()> {
    if functions::define(instance, interface, function)? {
        return Ok(());
    }
    let name = readable(&format!("wasi:{interface}#{function}"));
    instance.func_new(function, move |_, _, _, _| {
        bail!("it called `{name}`, which policies do not have: they have no files, no sockets and no way to wait")
    })
}
