//! Looks at the time on each way back from the host to guest code.
//!
//! Guest code checks the epoch at the start of each function and loop. A component need do neither: it can call one
//! host function after the other in straight code, each of which takes its time. So the time is checked here too, after
//! whatever the engine calls for a guest, of ours or its own: host functions with the lifting of their arguments, the
//! release of handles, growth of memory, conversion of strings between components. Modules that are called directly do
//! without it: see `direct.rs`.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use wasmtime::{CallHook, CallHookHandler, Result, StoreContextMut};

use crate::instance::state::State;

/// Of a call on a thread: only looks.
pub(crate) fn on_thread(mut store: StoreContextMut<'_, State>, event: CallHook) -> Result<()> {
    match event {
        CallHook::ReturningFromHost => store.data_mut().budget.is_due().map(drop).map_err(Into::into),
        CallHook::CallingHost | CallHook::CallingWasm | CallHook::ReturningFromWasm => Ok(()),
    }
}

/// Of calls on fibers: also lets other exchanges go on once a tick.
pub(crate) struct OnFiber;

impl CallHookHandler<State> for OnFiber {
    /// As `async_trait` has it, written out: a future without a size takes no memory from the heap, and all are such
    /// but one in each tick.
    fn handle_call_event<'this, 'store, 'event>(
        &'this self,
        mut store: StoreContextMut<'store, State>,
        event: CallHook,
    ) -> Pin<Box<dyn Future<Output = Result<()>> + Send + 'event>>
    where
        'this: 'event,
        'store: 'event,
        Self: 'event,
    {
        if !matches!(event, CallHook::ReturningFromHost) {
            return Box::pin(GoOn);
        }
        match store.data_mut().budget.is_due() {
            Ok(false) => Box::pin(GoOn),
            Ok(true) => Box::pin(Yield { has_yielded: false }),
            Err(error) => Box::pin(std::future::ready(Err(error.into()))),
        }
    }
}

struct GoOn;

impl Future for GoOn {
    type Output = Result<()>;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(Ok(()))
    }
}

/// Is ready when it is polled a second time, which it asks for at once.
struct Yield {
    has_yielded: bool,
}

impl Future for Yield {
    type Output = Result<()>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if std::mem::replace(&mut self.has_yielded, true) {
            return Poll::Ready(Ok(()));
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }
}
