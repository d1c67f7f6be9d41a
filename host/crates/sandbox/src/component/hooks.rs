//! The hooks of the contract: found by name once for a component, and once for each instance.

use portcullis_policy::HookKind;
use wasmtime::component::types::{ComponentItem, Type};
use wasmtime::component::{
    Component, ComponentExportIndex, ComponentNamedList, Instance, Lift, Lower, TypedFunc,
};
use wasmtime::{Result, Store, format_err};

use crate::contract::{PACKAGE, VERSION};
use crate::instance::state::State;

/// The places of a component's hooks and of `configure`.
pub(crate) struct HookIndices {
    pub(crate) configure: Option<ComponentExportIndex>,
    hooks: [Option<ComponentExportIndex>; HookKind::COUNT],
}

/// What `configure` takes and returns.
pub(crate) type Configure = TypedFunc<(String,), (std::result::Result<(), String>,)>;
/// What every hook takes and returns: it asks for what it wants to know, and says what it decides, by functions.
pub(crate) type HookFunc = TypedFunc<(), (std::result::Result<(), String>,)>;

/// The hooks of an instance, as far as they were looked up: most instances serve one exchange and are asked for one or
/// two.
#[derive(Default)]
pub(crate) struct HookFuncs([Option<HookFunc>; HookKind::COUNT]);

impl HookIndices {
    pub(crate) fn of(component: &Component) -> Result<Self> {
        let find = |interface: &str, function: &str| -> Result<Option<ComponentExportIndex>> {
            let name = format!("{PACKAGE}/{interface}@{VERSION}");
            let Some(instance) = component.get_export_index(None, &*name) else { return Ok(None) };
            let found = component.get_export_index(Some(&instance), function);
            found.map(Some).ok_or_else(|| format_err!("`{name}` has no function `{function}`"))
        };
        let mut hooks = [None; HookKind::COUNT];
        for kind in HookKind::ALL {
            hooks[kind as usize] = find(kind.interface(), kind.name())?;
        }
        Ok(Self { configure: find("lifecycle", "configure")?, hooks })
    }

    /// Returns the place of a hook, or `None` if the component does not have it.
    pub(crate) fn hook(&self, kind: HookKind) -> Option<ComponentExportIndex> {
        self.hooks[kind as usize]
    }

    /// All functions of one instance. An error says that a hook has another type than the contract's.
    pub(crate) fn load(&self, store: &mut Store<State>, instance: &Instance) -> Result<HookFuncs> {
        let mut hooks = HookFuncs::default();
        for kind in HookKind::ALL {
            hooks.0[kind as usize] = typed(store, instance, self.hook(kind))?;
        }
        Ok(hooks)
    }
}

/// Returns whether the hooks of a component, and its `configure`, have the types of the contract.
pub(crate) fn have_types(component: &Component) -> bool {
    let has_type = |interface: &str, function: &str, texts: usize| {
        let name = format!("{PACKAGE}/{interface}@{VERSION}");
        let Some((_, instance)) = component.get_export(None, &*name) else { return true };
        let Some((ComponentItem::ComponentFunc(ty), _)) = component.get_export(Some(&instance), function)
        else {
            return false;
        };
        let takes = ty.params().len() == texts && ty.params().all(|(_, ty)| matches!(ty, Type::String));
        let results: Vec<Type> = ty.results().collect();
        let gives = matches!(&results[..], [Type::Result(result)]
            if result.ok().is_none() && matches!(result.err(), Some(Type::String)));
        takes && gives
    };
    HookKind::ALL.iter().all(|kind| has_type(kind.interface(), kind.name(), 0))
        && has_type("lifecycle", "configure", 1)
}

impl HookFuncs {
    /// Returns a hook, looked up unless it was before.
    pub(crate) fn get(
        &mut self,
        kind: HookKind,
        indices: &HookIndices,
        store: &mut Store<State>,
        instance: &Instance,
    ) -> Result<HookFunc> {
        let found = &mut self.0[kind as usize];
        if found.is_none() {
            *found = typed(store, instance, indices.hook(kind))?;
        }
        // The chain calls only hooks that there are.
        found.ok_or_else(|| format_err!("the component does not have this hook"))
    }
}

pub(crate) fn typed<Params, Return>(
    store: &mut Store<State>,
    instance: &Instance,
    index: Option<ComponentExportIndex>,
) -> Result<Option<TypedFunc<Params, Return>>>
where
    Params: ComponentNamedList + Lower,
    Return: ComponentNamedList + Lift,
{
    index.map(|index| instance.get_typed_func(store, index)).transpose()
}
