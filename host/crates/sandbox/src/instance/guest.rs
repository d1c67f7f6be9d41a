//! What runs in a store: a component, or the main module of one.

use portcullis_policy::HookKind;
use wasmtime::component::Instance;
use wasmtime::{Result, Store, format_err};

use crate::component::Code;
use crate::component::hooks::HookFuncs;
use crate::component::wipe::{PageMap, ThreadMark, Wiper};
use crate::direct::DirectInstance;
use crate::instance::bounds::handed_over_max;
use crate::instance::state::State;

/// What runs in the store.
#[expect(
    clippy::large_enum_variant,
    reason = "it lies in the box of its instance, and nearly all are direct"
)]
pub(super) enum GuestInstance {
    /// A component.
    Linked {
        instance: Instance,
        hooks: HookFuncs,
        /// What wipes it, once it was wiped.
        wiper: Option<Wiper>,
    },
    /// The main module of one, called directly.
    Direct(DirectInstance),
}

impl GuestInstance {
    /// It is about to run on this thread.
    pub(super) fn runs_here(&mut self) {
        let thread = ThreadMark::current();
        match self {
            Self::Direct(instance) => instance.runs_on(thread),
            Self::Linked { wiper: Some(wiper), .. } => wiper.written.runs_on(thread),
            Self::Linked { wiper: None, .. } => {}
        }
    }

    /// Restores everything that the guest could change. Returns `false` if restoring would take too long.
    pub(super) fn wipe(&mut self, code: Code<'_>, store: &mut Store<State>, pages: &PageMap) -> Result<bool> {
        match (self, code) {
            (Self::Linked { instance, wiper, .. }, Code::Linked(linked)) => {
                let Some(indices) = &linked.wipe else { return Ok(false) };
                if wiper.is_none() {
                    // All of its memory is taken for handed over, though none is.
                    store.set_hostcall_fuel(usize::MAX);
                    *wiper = Some(Wiper::new(store, instance, indices)?);
                    let fuel = handed_over_max(&store.data().policy);
                    store.set_hostcall_fuel(fuel);
                }
                wiper.as_mut().map_or(Ok(false), |wiper| wiper.wipe(store, pages))
            }
            (Self::Direct(instance), Code::Direct(_)) => instance.wipe(store, pages),
            // It is not one of what serves exchanges now.
            _ => Ok(false),
        }
    }

    /// Calls a hook on this thread's stack.
    pub(super) fn call(
        &mut self,
        code: Code<'_>,
        store: &mut Store<State>,
        kind: HookKind,
    ) -> Result<std::result::Result<(), String>> {
        match (self, code) {
            (Self::Direct(instance), Code::Direct(code)) => instance.call(code, store, kind),
            (Self::Linked { instance, hooks, .. }, Code::Linked(linked)) => {
                let hook = hooks.get(kind, &linked.indices, store, instance)?;
                first(hook.call(store, ()))
            }
            _ => Err(format_err!("it is not an instance of what serves exchanges")),
        }
    }

    /// The same on a fiber.
    pub(super) async fn call_on_fiber(
        &mut self,
        code: Code<'_>,
        store: &mut Store<State>,
        kind: HookKind,
    ) -> Result<std::result::Result<(), String>> {
        match (self, code) {
            (Self::Linked { instance, hooks, .. }, Code::Linked(linked)) => {
                let hook = hooks.get(kind, &linked.indices, store, instance)?;
                first(hook.call_async(store, ()).await)
            }
            _ => Err(format_err!("it is not an instance of what serves exchanges on fibers")),
        }
    }
}

/// The one result that a function of a component has.
pub(super) fn first<T>(answer: Result<(T,)>) -> Result<T> {
    answer.map(|(answer,)| answer)
}
