//! The functions of virtual WASI that do something, for core modules: see `wasi/functions.rs`, which has them for
//! components. A handle is a number that says all that it stands for.

use portcullis_services::random;
use wasmtime::{Caller, Linker, Result, bail, ensure};

use super::abi::{Lower, Writer, aligned, enter};
use super::define::typed;
use crate::instance::bounds::HANDLES_MAX;
use crate::instance::output::Output;
use crate::instance::state::State;
use crate::wasi::functions::{
    RANDOM_BYTES_MAX, STEP_NANOS, WAIT, WRITE_BYTES_MAX, exited, monotonic_nanos, random_number,
};

const STDIN: u32 = 1;
const STDOUT: u32 = 2;
const STDERR: u32 = 3;
const READY: u32 = 4;
const NEVER: u32 = 5;

/// `stream-error` of wasi:io/streams, of which there is one case here: the stream is closed.
struct Closed;

impl Lower for Closed {
    const SIZE: u32 = 8;
    const ALIGN: u32 = 4;

    fn store(&self, writer: &mut Writer<'_, '_>, at: u32) -> Result<()> {
        writer.write(aligned(at, <Self as Lower>::ALIGN)?, &[1])
    }
}

type Io<T> = std::result::Result<T, Closed>;

/// A handle of the guest's own, which counts.
fn handle(state: &mut State, number: u32) -> Result<u32> {
    ensure!(
        state.wasi_handles < HANDLES_MAX as u32,
        "it has {HANDLES_MAX} handles, which is as many as it may"
    );
    state.wasi_handles += 1;
    state.had_handles = true;
    Ok(number)
}

/// Checks that a handle is one of these.
fn is_of(handle: u32, known: &[u32]) -> Result<()> {
    ensure!(known.contains(&handle), "unknown handle index {handle}");
    Ok(())
}

/// Defines what drops a handle.
pub(super) fn drop_handle(linker: &mut Linker<State>, (module, name): (&str, &str)) -> Result<()> {
    linker.func_wrap(module, name, |mut caller: Caller<'_, State>, handle: u32| -> Result<()> {
        let (_, state) = enter(&mut caller)?;
        is_of(handle, &[STDIN, STDOUT, STDERR, READY, NEVER])?;
        state.wasi_handles = state.wasi_handles.saturating_sub(1);
        Ok(())
    })?;
    Ok(())
}

/// Defines a function of WASI. Returns `false` if it has to be called by way of the component.
pub(super) fn define(
    linker: &mut Linker<State>,
    name: (&str, &str),
    interface: &str,
    function: &str,
) -> Result<bool> {
    match (interface, function) {
        ("cli/environment", "get-environment") => {
            typed(linker, name, |_, (): ()| Ok(Vec::<(String, String)>::new()))
        }
        ("cli/environment", "get-arguments") => typed(linker, name, |_, (): ()| Ok(Vec::<String>::new())),
        ("cli/environment", "initial-cwd") => typed(linker, name, |_, (): ()| Ok(None::<String>)),
        ("cli/exit", "exit") => {
            typed(linker, name, |_, (status,): (u32,)| -> Result<()> { Err(exited(status == 0)) })
        }
        ("cli/stdin", "get-stdin") => typed(linker, name, |state, (): ()| handle(state, STDIN)),
        ("cli/stdout", "get-stdout") => typed(linker, name, |state, (): ()| handle(state, STDOUT)),
        ("cli/stderr", "get-stderr") => typed(linker, name, |state, (): ()| handle(state, STDERR)),
        ("cli/terminal-stdin" | "cli/terminal-stdout" | "cli/terminal-stderr", _) => {
            typed(linker, name, |_, (): ()| Ok(None::<u32>))
        }
        ("io/streams", _) => streams(linker, name, function),
        ("io/poll", _) => poll(linker, name, function),
        ("clocks/monotonic-clock" | "clocks/wall-clock", _) => clocks(linker, name, interface, function),
        ("random/random" | "random/insecure" | "random/insecure-seed", _) => randoms(linker, name, function),
        _ => Ok(false),
    }
}

fn streams(linker: &mut Linker<State>, name: (&str, &str), function: &str) -> Result<bool> {
    match function {
        "[method]output-stream.check-write" => typed(linker, name, |_, (stream,): (u32,)| {
            is_of(stream, &[STDOUT, STDERR])?;
            Ok(Io::Ok(WRITE_BYTES_MAX))
        }),
        "[method]output-stream.write" | "[method]output-stream.blocking-write-and-flush" => {
            typed(linker, name, |state, (stream, bytes): (u32, Vec<u8>)| {
                is_of(stream, &[STDOUT, STDERR])?;
                ensure!(bytes.len() as u64 <= WRITE_BYTES_MAX, "it wrote {} bytes at once", bytes.len());
                state.print(if stream == STDOUT { Output::Stdout } else { Output::Stderr }, &bytes)?;
                Ok(Io::Ok(()))
            })
        }
        "[method]output-stream.flush" | "[method]output-stream.blocking-flush" => {
            typed(linker, name, |_, (stream,): (u32,)| {
                is_of(stream, &[STDOUT, STDERR])?;
                Ok(Io::Ok(()))
            })
        }
        "[method]output-stream.subscribe" | "[method]input-stream.subscribe" => {
            typed(linker, name, |state, (stream,): (u32,)| {
                is_of(stream, &[STDIN, STDOUT, STDERR])?;
                handle(state, READY)
            })
        }
        "[method]input-stream.read" | "[method]input-stream.blocking-read" => {
            typed(linker, name, |_, (stream, _): (u32, u64)| {
                is_of(stream, &[STDIN])?;
                Ok(Io::<Vec<u8>>::Err(Closed))
            })
        }
        "[method]input-stream.skip" | "[method]input-stream.blocking-skip" => {
            typed(linker, name, |_, (stream, _): (u32, u64)| {
                is_of(stream, &[STDIN])?;
                Ok(Io::<u64>::Err(Closed))
            })
        }
        _ => Ok(false),
    }
}

fn poll(linker: &mut Linker<State>, name: (&str, &str), function: &str) -> Result<bool> {
    match function {
        "[method]pollable.ready" => typed(linker, name, |_, (pollable,): (u32,)| {
            is_of(pollable, &[READY, NEVER])?;
            Ok(pollable == READY)
        }),
        "[method]pollable.block" => typed(linker, name, |_, (pollable,): (u32,)| {
            is_of(pollable, &[READY, NEVER])?;
            ensure!(pollable == READY, "{WAIT}");
            Ok(())
        }),
        "poll" => typed(linker, name, |_, (list,): (Vec<u32>,)| {
            list.iter().try_for_each(|pollable| is_of(*pollable, &[READY, NEVER]))?;
            let ready = (0_u32..).zip(&list).filter(|(_, pollable)| **pollable == READY);
            let ready: Vec<u32> = ready.map(|(at, _)| at).collect();
            ensure!(!ready.is_empty(), "{WAIT}");
            Ok(ready)
        }),
        _ => Ok(false),
    }
}

fn clocks(linker: &mut Linker<State>, name: (&str, &str), interface: &str, function: &str) -> Result<bool> {
    match (interface, function) {
        ("clocks/monotonic-clock", "now") => typed(linker, name, |state, (): ()| Ok(monotonic_nanos(state))),
        ("clocks/monotonic-clock", "resolution") => typed(linker, name, |_, (): ()| Ok(STEP_NANOS)),
        ("clocks/monotonic-clock", "subscribe-instant") => typed(linker, name, |state, (when,): (u64,)| {
            let is_over = when <= monotonic_nanos(state);
            handle(state, if is_over { READY } else { NEVER })
        }),
        ("clocks/monotonic-clock", "subscribe-duration") => {
            typed(linker, name, |state, (duration,): (u64,)| {
                handle(state, if duration == 0 { READY } else { NEVER })
            })
        }
        ("clocks/wall-clock", "now") => typed(linker, name, |state, (): ()| {
            let now = state.wall();
            Ok((now.as_secs(), now.subsec_millis() * 1_000_000))
        }),
        ("clocks/wall-clock", "resolution") => typed(linker, name, |_, (): ()| Ok((0_u64, 1_000_000_u32))),
        _ => Ok(false),
    }
}

fn randoms(linker: &mut Linker<State>, name: (&str, &str), function: &str) -> Result<bool> {
    match function {
        "get-random-bytes" | "get-insecure-random-bytes" => typed(linker, name, |_, (count,): (u64,)| {
            let size = usize::try_from(count).ok().filter(|_| count <= RANDOM_BYTES_MAX);
            let Some(size) = size else {
                bail!("it asked for {count} random bytes; a call gives at most {RANDOM_BYTES_MAX}");
            };
            Ok(random::bytes(size)?)
        }),
        "get-random-u64" | "get-insecure-random-u64" => typed(linker, name, |_, (): ()| random_number()),
        "insecure-seed" | "get-insecure-seed" => {
            typed(linker, name, |_, (): ()| Ok((random_number()?, random_number()?)))
        }
        _ => Ok(false),
    }
}
