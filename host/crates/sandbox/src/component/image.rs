//! Configured images: a component whose memory is as `configure` left it.
//!
//! A component is instrumented so that its memories and globals can be read, `configure` runs once in an instance of
//! that, and what is then in memory becomes the initial memory of a new component (Wizer's method). An instance of it
//! is configured the moment it is made, and shares all pages that it does not write with every other one.
//!
//! Not every component can have an image. What cannot be told from its memory stops it: tables that the code changes,
//! modules inside nested components, handles that are held when `configure` returns. Such a policy is isolated all the
//! same, with an instance that is configured anew for each exchange.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use wasmtime::component::{ComponentNamedList, Instance, Lift, WasmList};
use wasmtime::{Result, Store, WasmBacktrace, format_err};
use wasmtime_wizer::{ComponentInstanceState, Wizer};

pub(crate) use self::instrumented::Instrumented;
use crate::instance::state::State;
use crate::run::block_on::block_on;

/// Why a component has no image; for the log.
pub(crate) type NoImage = String;

#[expect(clippy::mem_forget, reason = "the macro forgets guards that it has no more use for")]
mod instrumented {
    use wasmtime_wizer::ComponentContext;

    self_cell::self_cell!(
        /// A component that images can be made of, and what Wizer knows of it. To find that out is to read all of its
        /// code, which takes a third of a second for a JavaScript engine; so it is kept.
        pub(crate) struct Instrumented {
            owner: Vec<u8>,
            #[covariant]
            dependent: ComponentContext,
        }
    );
}

/// What images of `component` are made of, and the component with the exports through which its memory can be read.
///
/// # Errors
/// What it does that an image cannot hold.
pub(crate) fn instrument(component: &[u8]) -> std::result::Result<(Instrumented, Vec<u8>), NoImage> {
    guarded(|| {
        let mut code = Vec::new();
        let instrumented = Instrumented::try_new(component.to_vec(), |component| {
            let (context, instrumented) = Wizer::new().instrument_component(component)?;
            code = instrumented;
            Ok::<_, wasmtime::Error>(context)
        })?;
        Ok((instrumented, code))
    })
}

/// The image of a component: of what is in the memory of `instance`, which is one of its instrumented form. The
/// instance is good for nothing afterwards: reading it grew its memory.
///
/// # Errors
/// What is in it that an image cannot hold.
pub(crate) fn snapshot(
    component: &Instrumented,
    store: &mut Store<State>,
    instance: Instance,
) -> std::result::Result<Vec<u8>, NoImage> {
    let handles = store.data().wasi_handles;
    if handles > 0 {
        return Err(format!(
            "it keeps {handles} WASI handles from `configure` on, such as that of standard output once it has printed"
        ));
    }
    guarded(|| {
        let mut reader = Reader { store, instance, failed: None };
        let image = at_once(Wizer::new().snapshot_component(component.borrow_dependent(), &mut reader))?;
        match reader.failed {
            Some(error) => Err(error),
            None => Ok(image),
        }
    })
}

/// An image of an instance in which nothing is: its code is that of all images of the component.
///
/// # Errors
/// What is in it that an image cannot hold.
pub(crate) fn blank(component: &Instrumented) -> std::result::Result<Vec<u8>, NoImage> {
    let memory = guarded(|| memory_bytes(component.borrow_owner()).map_err(Into::into))?;
    let mut blank = Blank { memory: vec![0; memory] };
    guarded(|| at_once(Wizer::new().snapshot_component(component.borrow_dependent(), &mut blank)))
}

/// Bytes of the memory that a component's code starts with, up to what is worth making: how large it is has a part in
/// what is compiled.
fn memory_bytes(component: &[u8]) -> std::result::Result<usize, wasmparser::BinaryReaderError> {
    const BYTES_MAX: u64 = 64 << 20;
    let mut bytes = 0;
    for payload in wasmparser::Parser::new(0).parse_all(component) {
        if let wasmparser::Payload::MemorySection(section) = payload? {
            for memory in section {
                bytes = bytes.max(memory?.initial.saturating_mul(64 << 10));
            }
        }
    }
    Ok(usize::try_from(bytes.min(BYTES_MAX)).unwrap_or_default())
}

/// The method's implementation takes some of what it does not know for impossible. A plugin may contain it all the
/// same.
fn guarded<T>(work: impl FnOnce() -> Result<T>) -> std::result::Result<T, NoImage> {
    match catch_unwind(AssertUnwindSafe(work)) {
        // A backtrace has names that the plugin chose, of any length.
        Ok(done) => done.map_err(|error| match error.downcast_ref::<WasmBacktrace>() {
            Some(_) => error.root_cause().to_string(),
            None => format!("{error:#}"),
        }),
        Err(_) => Err("something in it was not expected; please report this".to_owned()),
    }
}

/// Nothing here waits.
fn at_once<F: Future<Output = Result<Vec<u8>>>>(future: F) -> Result<Vec<u8>> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => Err(format_err!("reading its memory had to wait")),
    }
}

/// Reads an instrumented instance by its accessors.
struct Reader<'a> {
    store: &'a mut Store<State>,
    instance: Instance,
    /// The first that went wrong. What is read after that does not matter.
    failed: Option<wasmtime::Error>,
}

impl Reader<'_> {
    fn call<R>(&mut self, interface: &str, function: &str) -> Result<R>
    where
        R: Lift + 'static,
        (R,): ComponentNamedList + Lift,
    {
        let missing = || format_err!("the accessor `{function}` is missing");
        let interface =
            self.instance.get_export_index(&mut *self.store, None, interface).ok_or_else(missing)?;
        let function = self
            .instance
            .get_export_index(&mut *self.store, Some(&interface), function)
            .ok_or_else(missing)?;
        let function = self.instance.get_typed_func::<(), (R,)>(&mut *self.store, &function)?;
        let store = &mut *self.store;
        let (value,) = if store.data().policy.yields {
            // If hooks run on fibers, everything runs on one.
            block_on(function.call_async(store, ()))?
        } else {
            function.call(store, ())?
        };
        Ok(value)
    }

    fn scalar<R>(&mut self, interface: &str, function: &str) -> R
    where
        R: Lift + Default + 'static,
        (R,): ComponentNamedList + Lift,
    {
        self.call(interface, function).unwrap_or_else(|error| {
            self.failed.get_or_insert(error);
            R::default()
        })
    }
}

impl ComponentInstanceState for Reader<'_> {
    async fn call_func_ret_list_u8(
        &mut self,
        instance: &str,
        func: &str,
        contents: impl FnOnce(&[u8]) + Send,
    ) {
        match self.call::<WasmList<u8>>(instance, func) {
            Ok(list) => contents(list.as_le_slice(&*self.store)),
            Err(error) => {
                self.failed.get_or_insert(error);
                contents(&[]);
            }
        }
    }

    async fn call_func_ret_s32(&mut self, instance: &str, func: &str) -> i32 {
        self.scalar(instance, func)
    }

    async fn call_func_ret_s64(&mut self, instance: &str, func: &str) -> i64 {
        self.scalar(instance, func)
    }

    async fn call_func_ret_f32(&mut self, instance: &str, func: &str) -> u32 {
        self.scalar::<f32>(instance, func).to_bits()
    }

    async fn call_func_ret_f64(&mut self, instance: &str, func: &str) -> u64 {
        self.scalar::<f64>(instance, func).to_bits()
    }
}

/// Reads an instance that there is not.
struct Blank {
    memory: Vec<u8>,
}

impl ComponentInstanceState for Blank {
    async fn call_func_ret_list_u8(&mut self, _: &str, _: &str, contents: impl FnOnce(&[u8]) + Send) {
        contents(&self.memory);
    }

    async fn call_func_ret_s32(&mut self, _: &str, _: &str) -> i32 {
        0
    }

    async fn call_func_ret_s64(&mut self, _: &str, _: &str) -> i64 {
        0
    }

    async fn call_func_ret_f32(&mut self, _: &str, _: &str) -> u32 {
        0
    }

    async fn call_func_ret_f64(&mut self, _: &str, _: &str) -> u64 {
        0
    }
}
