//! The hooks of the contract: found by name once for a component, and once for each instance.

use bytes::Bytes;
use portcullis_policy::HookKind;
use wasmtime::component::{Component, ComponentExportIndex, ComponentNamedList, ComponentType, Instance};
use wasmtime::component::{Lift, Lower, TypedFunc};
use wasmtime::{Result, Store, format_err};

use crate::component::bindings::portcullis::policy::types::{BodyDecision, Decision};
use crate::instance::state::State;

/// The package of the contract.
pub(crate) const PACKAGE: &str = "portcullis:policy";
/// The version of the contract.
pub(crate) const VERSION: &str = "0.1.0";

/// The `outcome` of `completed`.
#[derive(Debug, ComponentType, Lower)]
#[component(record)]
pub(crate) struct WitOutcome {
    status: u16,
    #[component(name = "request-bytes")]
    request_bytes: u64,
    #[component(name = "response-bytes")]
    response_bytes: u64,
    #[component(name = "duration-us")]
    duration_us: u64,
    upstream: Option<String>,
    error: Option<String>,
}

impl From<portcullis_policy::Outcome> for WitOutcome {
    fn from(outcome: portcullis_policy::Outcome) -> Self {
        let portcullis_policy::Outcome {
            status,
            request_bytes,
            response_bytes,
            duration_us,
            upstream,
            error,
        } = outcome;
        Self { status, request_bytes, response_bytes, duration_us, upstream, error }
    }
}

/// The places of a component's hooks and of `configure`.
pub(crate) struct HookIndices {
    pub(crate) configure: Option<ComponentExportIndex>,
    hooks: [Option<ComponentExportIndex>; HookKind::COUNT],
}

/// What `configure` takes and returns.
pub(crate) type Configure = TypedFunc<(String,), (std::result::Result<(), String>,)>;
/// What a head hook takes and returns.
pub(crate) type HeadHook = TypedFunc<(), (Decision,)>;
/// What a body hook takes and returns.
pub(crate) type BodyHook = TypedFunc<(Bytes, bool), (BodyDecision,)>;
/// What `on-completed` takes and returns.
pub(crate) type CompletedHook = TypedFunc<(WitOutcome,), ()>;
/// What `on-tick` takes and returns.
pub(crate) type TickHook = TypedFunc<(), ()>;

/// The hooks of an instance with the contract's types, as far as they were looked up: most instances serve one exchange
/// and are asked for one or two.
#[derive(Default)]
pub(crate) struct HookFuncs {
    pub(crate) request_head: Option<HeadHook>,
    pub(crate) request_body: Option<BodyHook>,
    pub(crate) response_head: Option<HeadHook>,
    pub(crate) response_body: Option<BodyHook>,
    pub(crate) completed: Option<CompletedHook>,
    pub(crate) tick: Option<TickHook>,
}

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

    /// All functions of one instance. An error says that a hook has other types than the contract's.
    pub(crate) fn load(&self, store: &mut Store<State>, instance: &Instance) -> Result<HookFuncs> {
        Ok(HookFuncs {
            request_head: typed(store, instance, self.hook(HookKind::RequestHead))?,
            request_body: typed(store, instance, self.hook(HookKind::RequestBody))?,
            response_head: typed(store, instance, self.hook(HookKind::ResponseHead))?,
            response_body: typed(store, instance, self.hook(HookKind::ResponseBody))?,
            completed: typed(store, instance, self.hook(HookKind::Completed))?,
            tick: typed(store, instance, self.hook(HookKind::Tick))?,
        })
    }
}

/// The function at `index`, looked up unless it was before.
pub(crate) fn wanted<Params, Return>(
    found: &mut Option<TypedFunc<Params, Return>>,
    store: &mut Store<State>,
    instance: &Instance,
    index: Option<ComponentExportIndex>,
) -> Result<TypedFunc<Params, Return>>
where
    Params: ComponentNamedList + Lower,
    Return: ComponentNamedList + Lift,
{
    if found.is_none() {
        *found = typed(store, instance, index)?;
    }
    // The chain calls only hooks that there are.
    found.ok_or_else(|| format_err!("the component does not have this hook"))
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
