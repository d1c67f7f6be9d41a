//! What went wrong in a guest, in words that help its author.

#[cfg(test)]
mod tests;

use std::fmt::Write as _;

use portcullis_model::Name;
use portcullis_model::text::{cut, escape, one_line};
use portcullis_policy::{Fault, FaultKind, HookKind};
use portcullis_services::OutOfTime;
use wasmtime::{PoolConcurrencyLimitError, Store, Trap, WasmBacktrace};

use crate::instance::budget::{Starved, TooSlow};
use crate::instance::memory::is_out_of_memory;
use crate::instance::refusal::Refusal;
use crate::instance::state::State;

/// Bytes of a message. Names of functions, of imports and what a guest wrote are in it.
const MESSAGE_BYTES_MAX: usize = 4 << 10;
/// Frames of a backtrace that are told; the rest of a deep recursion says nothing new.
const FRAMES_MAX: usize = 16;
/// Bytes of a frame: monomorphised names go on for pages.
const FRAME_BYTES_MAX: usize = 120;
/// Bytes of a name that are read.
const MANGLED_BYTES_MAX: usize = 4 << 10;

/// A fault before it is known whose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) kind: FaultKind,
    pub(crate) message: String,
}

impl Failure {
    pub(crate) fn new(kind: FaultKind, message: impl Into<String>) -> Self {
        Self { kind, message: bounded(&message.into()) }
    }

    /// What an error of a call or an instantiation was. The store is only good for dropping afterwards.
    pub(crate) fn of(error: &wasmtime::Error, store: &mut Store<State>) -> Self {
        let fuel = store.hostcall_fuel();
        let state = store.data_mut();
        let (kind, mut message) = match state.memory.take_refused() {
            _ if error.downcast_ref::<TooSlow>().is_some() => {
                (FaultKind::Timeout, error.root_cause().to_string())
            }
            _ if error.downcast_ref::<Starved>().is_some() => {
                (FaultKind::Exhausted, error.root_cause().to_string())
            }
            _ if error.downcast_ref::<OutOfTime>().is_some() => {
                (FaultKind::Deadline, error.root_cause().to_string())
            }
            Some(Refusal::Memory(bytes)) => {
                let max = state.memory.bytes_max();
                let message =
                    format!("it asked for {bytes} bytes of memory and may have {max} (`limits.memory`)");
                (FaultKind::Memory, message)
            }
            Some(Refusal::Table(elements)) => (
                FaultKind::Memory,
                format!("it asked for tables of {elements} elements in all, which is too many"),
            ),
            Some(Refusal::Total(more)) => {
                let (bytes, max) = state.memory.total();
                let message = format!(
                    "it asked for {more} bytes of memory more; all policies together have {bytes} and may have {max} \
                     (`server.policy-memory-max`)"
                );
                (FaultKind::Exhausted, message)
            }
            Some(Refusal::System) => (FaultKind::Exhausted, no_memory("it may not grow")),
            None => sort(error, fuel),
        };
        // The rest is worth more than the end of a name.
        message.truncate(message.floor_char_boundary(MESSAGE_BYTES_MAX / 4));
        let wrote = state.stdio.take_tail();
        if !wrote.is_empty() {
            write_to(&mut message, format_args!("; it wrote: {wrote}"));
        }
        if let Some(trace) = error.downcast_ref::<WasmBacktrace>() {
            append_backtrace(&mut message, trace);
        }
        Self::new(kind, message)
    }

    /// The fault of a policy.
    pub(crate) fn into_fault(self, policy: &Name, hook: HookKind) -> Fault {
        Fault { policy: policy.clone(), hook: hook.name(), kind: self.kind, message: self.message }
    }
}

/// The beginning of a text of which a plugin chose parts, for one line.
pub(crate) fn bounded(text: &str) -> String {
    let mut line = one_line(text, MESSAGE_BYTES_MAX);
    line.truncate(line.floor_char_boundary(MESSAGE_BYTES_MAX));
    if text.len() > MESSAGE_BYTES_MAX {
        line.push('…');
    }
    line
}

/// Why a policy refuses its configuration: the first lines of what it said.
pub(crate) fn refusal(reason: &str) -> String {
    const LINES_MAX: usize = 20;
    const LINE_BYTES_MAX: usize = 400;
    let line = |line: &str| one_line(line, LINE_BYTES_MAX);
    let lines: Vec<String> = reason.trim_end().lines().take(LINES_MAX).map(line).collect();
    lines.join("\n")
}

fn no_memory(cause: &str) -> String {
    format!("the operating system gave no memory: {cause}")
}

fn sort(error: &wasmtime::Error, fuel: usize) -> (FaultKind, String) {
    if let Some(trap) = error.downcast_ref::<Trap>() {
        let text = match trap {
            Trap::StackOverflow => "its call stack overflowed".to_owned(),
            Trap::UnreachableCodeReached => {
                "it reached `unreachable`, which is how a guest panics or aborts".to_owned()
            }
            other => other.to_string(),
        };
        return (FaultKind::Trap, text);
    }
    if error.downcast_ref::<PoolConcurrencyLimitError>().is_some() {
        return (FaultKind::Exhausted, error.root_cause().to_string());
    }
    let cause = error.root_cause().to_string();
    if is_out_of_memory(error) {
        return (FaultKind::Exhausted, no_memory(&cause));
    }
    // Wasmtime has no type for this one.
    if cause.contains("fuel allocated for hostcalls has been exhausted") {
        return (FaultKind::TooLarge, format!("it handed over more than {fuel} bytes at once"));
    }
    (FaultKind::Trap, cause)
}

fn append_backtrace(message: &mut String, trace: &WasmBacktrace) {
    let frames = trace.frames();
    for (at, frame) in frames.iter().take(FRAMES_MAX).enumerate() {
        message.push_str(if at == 0 { "; in " } else { " < " });
        match frame.func_name() {
            Some(name) => message.push_str(&readable(name)),
            None => write_to(message, format_args!("<wasm function {}>", frame.func_index())),
        }
    }
    if frames.len() > FRAMES_MAX {
        message.push_str(" < …");
    }
}

/// The name of a function as its author knows it. It is whatever a plugin says, so that what is made of it is bounded
/// before it is made: a mangled name of C++ can stand for a text of any length, and the crate that knows them makes all
/// of it. Those stay as they are.
pub(crate) fn readable(name: &str) -> String {
    let mut short = Short(String::new());
    let written = match rustc_demangle::try_demangle(cut(name, MANGLED_BYTES_MAX)) {
        // Without the hash that ends it.
        Ok(demangled) => write!(short, "{demangled:#}"),
        Err(_) => short.write_str(name),
    };
    // An error says that it is full.
    let (Ok(()) | Err(_)) = written;
    escape(&short.0).into_owned()
}

/// Text that takes [`FRAME_BYTES_MAX`] bytes and no more.
struct Short(String);

impl std::fmt::Write for Short {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        let fits = cut(text, FRAME_BYTES_MAX - self.0.len());
        self.0.push_str(fits);
        if fits.len() == text.len() { Ok(()) } else { Err(std::fmt::Error) }
    }
}

fn write_to(text: &mut String, args: std::fmt::Arguments<'_>) {
    text.write_fmt(args).expect("a string takes what fits into memory");
}
