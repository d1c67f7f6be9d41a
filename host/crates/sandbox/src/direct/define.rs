//! Ways to define a host function for core modules.

use wasmtime::{Caller, Linker, Result, Val, ValType};

use super::abi::{Lift, Lower, Parameters, Reader, Writer, enter};
use super::shapes;
use crate::host::head::{Edit, HEAD_BYTES_MAX};
use crate::instance::state::State;

/// The name that a module has for a function.
pub(super) type Name<'a> = (&'a str, &'a str);

/// The parameters of a function of the contract.
pub(super) trait Params: Sized {
    fn flat(types: &mut Vec<ValType>);
    fn lift(parameters: &mut Parameters<'_>, reader: &mut Reader<'_>) -> Result<Self>;
}

macro_rules! params {
    ($($of:ident)*) => {
        impl<$($of: Lift),*> Params for ($($of,)*) {
            fn flat(types: &mut Vec<ValType>) {
                let _ = &types;
                $($of::flat(types);)*
            }

            fn lift(parameters: &mut Parameters<'_>, reader: &mut Reader<'_>) -> Result<Self> {
                let _ = (&parameters, &reader);
                Ok(($($of::lift(parameters, reader)?,)*))
            }
        }
    };
}

params!();
params!(A);
params!(A B);
params!(A B C);
params!(A B C D);

/// Defines a function by the types of its parameters and of what it gives. Returns that it did.
pub(super) fn typed<P: Params + 'static, R: Lower + 'static>(
    linker: &mut Linker<State>,
    name: Name<'_>,
    call: fn(&mut State, P) -> Result<R>,
) -> Result<bool> {
    let mut params = Vec::new();
    P::flat(&mut params);
    // What is more than one number lies in memory, at a place that the caller gives.
    let in_memory = R::SIZE > 0 && R::RESULT.is_none();
    if in_memory {
        params.push(ValType::I32);
    }
    let run = move |caller: &mut Caller<'_, State>, params: &[Val]| {
        let (mut reader, _) = enter(caller)?;
        let mut parameters = Parameters(params.iter());
        let taken = P::lift(&mut parameters, &mut reader)?;
        let place = if in_memory { parameters.number()? } else { 0 };
        let given = call(caller.data_mut(), taken)?;
        if R::RESULT.is_some() {
            return Ok(Some(given.value()));
        }
        given.store(&mut Writer(caller), place)?;
        Ok(None)
    };
    shapes::define(linker, name, params, R::RESULT, Box::new(run))?;
    Ok(true)
}

/// Writes whether an edit was made.
pub(super) fn edited(mut caller: Caller<'_, State>, edit: &Edit, out: u32) -> Result<()> {
    match edit {
        // By far the most: one byte, which says so.
        Ok(()) => enter(&mut caller)?.0.write(out, &[0]),
        Err(_) => edit.store(&mut Writer(&mut caller), out),
    }
}

/// Gives text or bytes that the state has, without a copy between it and the guest's memory but one into a buffer that
/// is used again: to make room for them the guest itself has to run.
pub(super) fn give<B: AsRef<[u8]> + ?Sized + 'static>(
    linker: &mut Linker<State>,
    name: Name<'_>,
    of: fn(&mut State) -> Result<&B>,
) -> Result<bool> {
    fill(linker, name, move |state, scratch| {
        scratch.extend_from_slice(of(state)?.as_ref());
        Ok(())
    })
}

/// The same for what is written into that buffer by `with`.
pub(super) fn fill(
    linker: &mut Linker<State>,
    (module, name): Name<'_>,
    with: impl Fn(&mut State, &mut Vec<u8>) -> Result<()> + Send + Sync + 'static,
) -> Result<bool> {
    linker.func_wrap(module, name, move |mut caller: Caller<'_, State>, out: u32| -> Result<()> {
        let (_, state) = enter(&mut caller)?;
        let mut scratch = state.take_scratch();
        with(state, &mut scratch)?;
        Writer(&mut caller).give(out, &scratch)?;
        caller.data_mut().put_back(scratch);
        Ok(())
    })?;
    Ok(true)
}

/// The same for what has a name and may be absent.
pub(super) fn give_optional(
    linker: &mut Linker<State>,
    (module, name): Name<'_>,
    of: for<'a> fn(&'a mut State, &str) -> Result<Option<&'a [u8]>>,
) -> Result<bool> {
    linker.func_wrap(
        module,
        name,
        move |mut caller: Caller<'_, State>, name: u32, length: u32, out: u32| -> Result<()> {
            let (mut reader, state) = enter(&mut caller)?;
            let mut scratch = state.take_scratch();
            let found = match of(state, reader.text(name, length)?)? {
                Some(bytes) => {
                    scratch.extend_from_slice(bytes);
                    true
                }
                None => false,
            };
            give_found(&mut caller, found, &scratch, out)?;
            caller.data_mut().put_back(scratch);
            Ok(())
        },
    )?;
    Ok(true)
}

pub(super) fn give_found(caller: &mut Caller<'_, State>, found: bool, bytes: &[u8], out: u32) -> Result<()> {
    let mut writer = Writer(caller);
    writer.write(out, &[u8::from(found)])?;
    if found { writer.give(out.wrapping_add(4), bytes) } else { Ok(()) }
}

impl State {
    /// The buffer for what is given, empty.
    pub(super) fn take_scratch(&mut self) -> Vec<u8> {
        let mut scratch =
            self.guest.as_mut().map(|guest| std::mem::take(&mut guest.scratch)).unwrap_or_default();
        scratch.clear();
        scratch
    }

    /// Keeps the buffer for the next time, unless it has become large.
    pub(super) fn put_back(&mut self, scratch: Vec<u8>) {
        if let Some(guest) = self.guest.as_mut().filter(|_| scratch.capacity() <= HEAD_BYTES_MAX) {
            guest.scratch = scratch;
        }
    }
}
