//! The functions of WASI that do something.

use wasmtime::component::{ComponentType, Lift, LinkerInstance, Lower, Resource, ResourceType};
use wasmtime::{Result, StoreContextMut, bail, ensure, format_err};

use crate::instance::output::Output;
use crate::instance::state::State;
use portcullis_services::random;

/// What a handle stands for is in its number alone.
pub(super) struct InputStream;
pub(super) struct OutputStream;
pub(super) struct Pollable;
/// Every other resource; none is ever made.
pub(super) struct Other;

/// The number of a pollable that is ready, and of one that would have to be waited for.
const READY: u32 = 0;
const NEVER: u32 = 1;

/// What one write may bring; WASI has guests ask first.
pub(crate) const WRITE_BYTES_MAX: u64 = 64 << 10;
/// What one call for random bytes may ask for.
pub(crate) const RANDOM_BYTES_MAX: u64 = 64 << 10;
/// The step of the clocks.
pub(crate) const STEP_NANOS: u64 = 1_000_000;

/// Why what waits ends the guest.
pub(crate) const WAIT: &str =
    "it wants to wait, which a policy cannot: every exchange of the worker would wait with it";

/// `stream-error` of wasi:io/streams.
#[derive(ComponentType, Lift, Lower)]
#[component(variant)]
enum StreamError {
    #[component(name = "last-operation-failed")]
    LastOperationFailed(Resource<Other>),
    #[component(name = "closed")]
    Closed,
}

/// `datetime` of wasi:clocks/wall-clock.
#[derive(ComponentType, Lower)]
#[component(record)]
struct Datetime {
    seconds: u64,
    nanoseconds: u32,
}

type Context<'a> = StoreContextMut<'a, State>;
type Io<T> = std::result::Result<T, StreamError>;

/// Defines a resource type. The same name is the same type in every interface, as it is in WASI.
pub(super) fn resource(instance: &mut LinkerInstance<'_, State>, name: &str) -> Result<()> {
    let ty = match name {
        "input-stream" => ResourceType::host::<InputStream>(),
        "output-stream" => ResourceType::host::<OutputStream>(),
        "pollable" => ResourceType::host::<Pollable>(),
        _ => ResourceType::host::<Other>(),
    };
    instance.resource(name, ty, |mut context, _| {
        let handles = &mut context.data_mut().wasi_handles;
        *handles = handles.saturating_sub(1);
        Ok(())
    })
}

/// A handle of the guest's own. Counted, because an image of its memory would have the handle's number and not the
/// handle.
fn handle<T: 'static>(mut context: Context<'_>, number: u32) -> Resource<T> {
    let state = context.data_mut();
    state.wasi_handles += 1;
    state.had_handles = true;
    Resource::new_own(number)
}

/// Defines a function, if it does something.
pub(super) fn define(
    instance: &mut LinkerInstance<'_, State>,
    interface: &str,
    function: &str,
) -> Result<bool> {
    match interface {
        "cli/environment"
        | "cli/exit"
        | "cli/stdin"
        | "cli/stdout"
        | "cli/stderr"
        | "filesystem/preopens" => cli(instance, function),
        "cli/terminal-stdin" | "cli/terminal-stdout" | "cli/terminal-stderr" => {
            instance.func_wrap(function, |_: Context<'_>, (): ()| Ok((None::<Resource<Other>>,)))?;
            Ok(true)
        }
        "io/streams" => streams(instance, function),
        "io/poll" => poll(instance, function),
        "clocks/monotonic-clock" | "clocks/wall-clock" => clocks(instance, interface, function),
        "random/random" | "random/insecure" | "random/insecure-seed" => randoms(instance, function),
        _ => Ok(false),
    }
}

fn cli(instance: &mut LinkerInstance<'_, State>, function: &str) -> Result<bool> {
    match function {
        "get-environment" => {
            instance.func_wrap(function, |_: Context<'_>, (): ()| Ok((Vec::<(String, String)>::new(),)))?;
        }
        "get-arguments" => {
            instance.func_wrap(function, |_: Context<'_>, (): ()| Ok((Vec::<String>::new(),)))?;
        }
        "initial-cwd" => instance.func_wrap(function, |_: Context<'_>, (): ()| Ok((None::<String>,)))?,
        "get-directories" => {
            instance.func_wrap(function, |_: Context<'_>, (): ()| {
                Ok((Vec::<(Resource<Other>, String)>::new(),))
            })?;
        }
        "exit" => instance.func_wrap(
            function,
            |_: Context<'_>, (status,): (std::result::Result<(), ()>,)| -> Result<()> {
                Err(exited(status.is_ok()))
            },
        )?,
        "get-stdin" => instance
            .func_wrap(function, |context: Context<'_>, (): ()| Ok((handle::<InputStream>(context, 0),)))?,
        "get-stdout" => output(instance, function, Output::Stdout)?,
        "get-stderr" => output(instance, function, Output::Stderr)?,
        _ => return Ok(false),
    }
    Ok(true)
}

fn output(instance: &mut LinkerInstance<'_, State>, function: &str, output: Output) -> Result<()> {
    instance.func_wrap(function, move |context: Context<'_>, (): ()| {
        Ok((handle::<OutputStream>(context, output as u32),))
    })
}

fn streams(instance: &mut LinkerInstance<'_, State>, function: &str) -> Result<bool> {
    match function {
        "[method]input-stream.read" | "[method]input-stream.blocking-read" => {
            instance.func_wrap(function, |_: Context<'_>, (_, _): (Resource<InputStream>, u64)| {
                Ok((Io::<Vec<u8>>::Err(StreamError::Closed),))
            })?
        }
        "[method]input-stream.skip" | "[method]input-stream.blocking-skip" => instance
            .func_wrap(function, |_: Context<'_>, (_, _): (Resource<InputStream>, u64)| {
                Ok((Io::<u64>::Err(StreamError::Closed),))
            })?,
        "[method]input-stream.subscribe" => {
            instance.func_wrap(function, |context: Context<'_>, (_,): (Resource<InputStream>,)| {
                Ok((handle::<Pollable>(context, READY),))
            })?;
        }
        "[method]output-stream.check-write" => {
            instance.func_wrap(function, |_: Context<'_>, (_,): (Resource<OutputStream>,)| {
                Ok((Io::Ok(WRITE_BYTES_MAX),))
            })?;
        }
        "[method]output-stream.write" | "[method]output-stream.blocking-write-and-flush" => instance
            .func_wrap(
                function,
                |mut context: Context<'_>, (stream, bytes): (Resource<OutputStream>, Vec<u8>)| {
                    // As `check-write` says; WASI has a guest that writes more trap.
                    ensure!(bytes.len() as u64 <= WRITE_BYTES_MAX, "it wrote {} bytes at once", bytes.len());
                    let is_stdout = stream.rep() == Output::Stdout as u32;
                    let output = if is_stdout { Output::Stdout } else { Output::Stderr };
                    context.data_mut().print(output, &bytes)?;
                    Ok((Io::Ok(()),))
                },
            )?,
        "[method]output-stream.flush" | "[method]output-stream.blocking-flush" => {
            instance
                .func_wrap(function, |_: Context<'_>, (_,): (Resource<OutputStream>,)| Ok((Io::Ok(()),)))?;
        }
        "[method]output-stream.subscribe" => {
            instance.func_wrap(function, |context: Context<'_>, (_,): (Resource<OutputStream>,)| {
                Ok((handle::<Pollable>(context, READY),))
            })?;
        }
        _ => return Ok(false),
    }
    Ok(true)
}

/// Nothing here ever waits: event loops continue if something is ready, and a call that would sleep traps.
fn poll(instance: &mut LinkerInstance<'_, State>, function: &str) -> Result<bool> {
    match function {
        "[method]pollable.ready" => {
            instance.func_wrap(function, |_: Context<'_>, (pollable,): (Resource<Pollable>,)| {
                Ok((pollable.rep() == READY,))
            })?;
        }
        "[method]pollable.block" => {
            instance.func_wrap(function, |_: Context<'_>, (pollable,): (Resource<Pollable>,)| {
                ensure!(pollable.rep() == READY, "{WAIT}");
                Ok(())
            })?;
        }
        "poll" => instance.func_wrap(function, |_: Context<'_>, (list,): (Vec<Resource<Pollable>>,)| {
            let ready = (0_u32..).zip(&list).filter(|(_, pollable)| pollable.rep() == READY);
            let ready: Vec<u32> = ready.map(|(at, _)| at).collect();
            ensure!(!ready.is_empty(), "{WAIT}");
            Ok((ready,))
        })?,
        _ => return Ok(false),
    }
    Ok(true)
}

fn clocks(instance: &mut LinkerInstance<'_, State>, interface: &str, function: &str) -> Result<bool> {
    match (interface, function) {
        ("clocks/monotonic-clock", "now") => {
            instance
                .func_wrap(function, |context: Context<'_>, (): ()| Ok((monotonic_nanos(context.data()),)))?;
        }
        ("clocks/monotonic-clock", "resolution") => {
            instance.func_wrap(function, |_: Context<'_>, (): ()| Ok((STEP_NANOS,)))?;
        }
        ("clocks/monotonic-clock", "subscribe-instant") => {
            instance.func_wrap(function, |context: Context<'_>, (when,): (u64,)| {
                let is_over = when <= monotonic_nanos(context.data());
                Ok((handle::<Pollable>(context, if is_over { READY } else { NEVER }),))
            })?;
        }
        ("clocks/monotonic-clock", "subscribe-duration") => {
            instance.func_wrap(function, |context: Context<'_>, (duration,): (u64,)| {
                Ok((handle::<Pollable>(context, if duration == 0 { READY } else { NEVER }),))
            })?;
        }
        ("clocks/wall-clock", "now") => instance.func_wrap(function, |context: Context<'_>, (): ()| {
            let now = context.data().wall();
            Ok((Datetime { seconds: now.as_secs(), nanoseconds: now.subsec_millis() * 1_000_000 },))
        })?,
        ("clocks/wall-clock", "resolution") => {
            instance.func_wrap(function, |_: Context<'_>, (): ()| {
                Ok((Datetime { seconds: 0, nanoseconds: 1_000_000 },))
            })?;
        }
        _ => return Ok(false),
    }
    Ok(true)
}

pub(crate) fn monotonic_nanos(state: &State) -> u64 {
    u64::try_from(state.monotonic().as_millis()).unwrap_or(u64::MAX).saturating_mul(STEP_NANOS)
}

/// All from the operating system, the insecure ones too: they seed hash tables that clients fill.
fn randoms(instance: &mut LinkerInstance<'_, State>, function: &str) -> Result<bool> {
    match function {
        "get-random-bytes" | "get-insecure-random-bytes" => {
            instance.func_wrap(function, |_: Context<'_>, (count,): (u64,)| {
                let size = usize::try_from(count).ok().filter(|_| count <= RANDOM_BYTES_MAX);
                let Some(size) = size else {
                    bail!("it asked for {count} random bytes; a call gives at most {RANDOM_BYTES_MAX}");
                };
                Ok((random::bytes(size)?,))
            })?;
        }
        "get-random-u64" | "get-insecure-random-u64" => {
            instance.func_wrap(function, |_: Context<'_>, (): ()| Ok((random_number()?,)))?;
        }
        "insecure-seed" | "get-insecure-seed" => {
            instance
                .func_wrap(function, |_: Context<'_>, (): ()| Ok(((random_number()?, random_number()?),)))?;
        }
        _ => return Ok(false),
    }
    Ok(true)
}

pub(crate) fn random_number() -> Result<u64> {
    let mut bytes = [0; 8];
    random::fill(&mut bytes)?;
    Ok(u64::from_le_bytes(bytes))
}

/// Why `exit` ends the guest.
pub(crate) fn exited(success: bool) -> wasmtime::Error {
    let status = if success { "success" } else { "failure" };
    format_err!("it called exit with {status}; a policy has no process to end")
}
